//! A role assumed with other credentials of ours
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).

use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use url::form_urlencoded::Serializer;

use super::chain::{Sources, denied};
use super::sts::{FORM, SESSION, Sts, VERSION};
use super::{Credentials, Found};
use crate::config::profile::Profile;
use crate::secret::SecretString;
use crate::store::StoreError;
use crate::store::signature::sign;

/// Which role, and what its session is to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Role {
    arn: String,
    session: String,
    /// Known to the role's owner and to us.
    external_id: Option<SecretString>,
    duration: Option<u32>,
}

impl Role {
    /// The profile's; `None` where it has none, or one for a web identity.
    pub(super) fn of(profile: &Profile) -> Result<Option<Self>, StoreError> {
        let of_profile = |name| profile.get(name).map(|value| value.expose().to_owned());
        let Some(arn) = of_profile("role_arn") else {
            return Ok(None);
        };
        if of_profile("web_identity_token_file").is_some() {
            return Ok(None);
        }
        if of_profile("mfa_serial").is_some() {
            let reason = "the AWS profile's role wants an MFA code (mfa_serial), and nobody is here to be asked for it";
            return Err(denied(reason));
        }
        let duration = of_profile("duration_seconds").map(|seconds| seconds.parse());
        Ok(Some(Self {
            arn,
            session: of_profile("role_session_name").unwrap_or_else(|| SESSION.to_owned()),
            external_id: profile.get("external_id").cloned(),
            duration: duration
                .transpose()
                .map_err(|_| denied("the AWS profile's duration_seconds is not a number"))?,
        }))
    }

    fn form(&self) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole")
            .append_pair("Version", VERSION)
            .append_pair("RoleArn", &self.arn)
            .append_pair("RoleSessionName", &self.session);
        if let Some(id) = &self.external_id {
            form.append_pair("ExternalId", id.expose());
        }
        if let Some(seconds) = self.duration {
            form.append_pair("DurationSeconds", &seconds.to_string());
        }
        form.finish()
    }

    /// One POST to STS, signed with `credentials`.
    pub(super) fn assume(
        &self,
        sources: &Sources,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        let sts = Sts::of(sources)?;
        let form = self.form();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(FORM))]);
        let request = sign(
            "sts",
            Method::POST,
            &sts.url,
            headers,
            form.as_bytes(),
            credentials,
            sts.region,
        )?;
        sts.credentials("assumed role", request, deadline)
    }
}
