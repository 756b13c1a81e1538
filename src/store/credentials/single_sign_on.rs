//! The credentials of a role that IAM Identity Center gives whoever ran `aws sso login`
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-sso-credentials.html>).
//!
//! The token of that login is read where the AWS command line leaves it; it is never renewed here.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde::Deserialize;
use sha1::{Digest, Sha1};
use time::OffsetDateTime;
use url::Url;

use super::chain::{Sources, denied};
use super::document::{Document, date};
use super::service::Service;
use super::{Found, document};
use crate::config::is_region;
use crate::config::partition::host;
use crate::config::profile::{Files, Profile};
use crate::secret::{SecretBytes, SecretString};
use crate::store::StoreError;
use crate::store::signature::hex;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Whose role in which account, and with whose login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SingleSignOn {
    token_file: PathBuf,
    region: String,
    account: String,
    role: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    access_token: SecretString,
    expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    role_credentials: Document,
}

impl SingleSignOn {
    /// The profile's; `None` where it has none.
    pub(super) fn of(files: &Files, profile: &Profile) -> Result<Option<Self>, StoreError> {
        let of_profile = |name| profile.in_config(name).map(SecretString::expose);
        if of_profile("sso_account_id").is_none() && of_profile("sso_role_name").is_none() {
            return Ok(None);
        }
        let session = of_profile("sso_session");
        let of_session = session.map(|name| files.sso_session(name));
        if of_session.as_ref().is_some_and(|session| !session.exists()) {
            return Err(denied(
                "the sso-session that the AWS profile names is not there",
            ));
        }
        let either = |name, missing| -> Result<String, StoreError> {
            let of_session = of_session
                .as_ref()
                .and_then(|session| session.in_config(name));
            let found = match (of_session.map(SecretString::expose), of_profile(name)) {
                (Some(one), Some(other)) if one != other => {
                    let reason = "the AWS profile and its sso-session disagree on where to sign in";
                    return Err(denied(reason));
                }
                (one, other) => one.or(other),
            };
            found.map(str::to_owned).ok_or_else(|| denied(missing))
        };
        let url = either("sso_start_url", "the AWS profile lacks sso_start_url")?;
        let region = either("sso_region", "the AWS profile lacks sso_region")?;
        if !is_region(&region) {
            return Err(denied(
                "the AWS profile's sso_region is not a region's name",
            ));
        }
        let cache = files.home(".aws/sso/cache").ok_or_else(none)?;
        let name = hex(&Sha1::digest(session.unwrap_or(&url)));
        Ok(Some(Self {
            token_file: cache.join(format!("{name}.json")),
            region,
            account: either("sso_account_id", "the AWS profile lacks sso_account_id")?,
            role: either("sso_role_name", "the AWS profile lacks sso_role_name")?,
        }))
    }

    fn token(&self) -> Result<SecretString, StoreError> {
        let text = SecretBytes::of_file(&self.token_file, document::MOST_BYTES);
        let text = text.map_err(|_| none())?;
        let token: Token = serde_json::from_slice(&text).map_err(|_| none())?;
        // Older ones end in another word for it.
        let end = date(&token.expires_at.replace("UTC", "Z")).ok_or_else(none)?;
        match end > OffsetDateTime::now_utc() {
            true => Ok(token.access_token),
            false => Err(ended()),
        }
    }

    /// One GET with the token.
    pub(super) fn fetch(&self, sources: &Sources, deadline: Instant) -> Result<Found, StoreError> {
        let token = self.token()?;
        let service = Service::new("IAM Identity Center", sources.outward()?, TIMEOUT);
        let mut url = match &sources.aws.sso_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let host = host("portal.sso", &self.region, sources.aws.variant);
                Url::parse(&format!("https://{host}/")).map_err(|_| service.nonsense())?
            }
        };
        url.set_path("federation/credentials");
        url.query_pairs_mut()
            .append_pair("role_name", &self.role)
            .append_pair("account_id", &self.account);
        let headers = [("x-amz-sso_bearer_token", token.expose())];
        let request = service.request(Method::GET, &url, &headers)?;
        let answer = service.send(request, deadline)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(ended()),
            _ => return Err(service.refusal(&answer, "")),
        }
        serde_json::from_slice(&answer.body)
            .ok()
            .and_then(|answered: Answered| answered.role_credentials.found("single sign-on"))
            .ok_or_else(|| service.nonsense())
    }
}

fn none() -> StoreError {
    denied("there is no token of IAM Identity Center: run aws sso login")
}

fn ended() -> StoreError {
    denied("the token of IAM Identity Center has ended: run aws sso login")
}
