//! AWS's Security Token Service: where it is, and the credentials of a role in its answers
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html>).

use std::ops::Deref;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use serde::Deserialize;
use url::Url;

use super::chain::Sources;
use super::document::date;
use super::service::Service;
use super::{Credentials, Found};
use crate::config::Aws;
use crate::config::partition::{Variant, host};
use crate::secret::SecretString;
use crate::store::StoreError;
use crate::store::http::Answer;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The version of its interface.
pub(super) const VERSION: &str = "2011-06-15";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// How a session is called in AWS's logs where nothing else is said.
pub(super) const SESSION: &str = "sqlite-journal-crypt";
/// Those that shared one STS before they had their own
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html>).
const LEGACY: [&str; 15] = [
    "ap-northeast-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The one that is asked: like any service of AWS's over https, by the proxy if any.
pub(super) struct Sts<'a> {
    service: Service<'a>,
    pub(super) url: Url,
    /// What requests to it are signed for.
    pub(super) region: &'a str,
}

impl<'a> Sts<'a> {
    pub(super) fn of(sources: &'a Sources) -> Result<Self, StoreError> {
        let (url, region) = place(sources.aws)?;
        Ok(Self {
            service: Service::new("AWS STS", sources.outward()?, TIMEOUT),
            url,
            region,
        })
    }

    /// The credentials in the answer to `request`.
    pub(super) fn credentials<B: Deref<Target = [u8]>>(
        &self,
        source: &'static str,
        request: Request<B>,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        let answer = self.service.send(request, deadline)?;
        parse(&self.service, source, &answer)
    }
}

/// Its URL, and the region that requests to it are signed for.
fn place(aws: &Aws) -> Result<(Url, &str), StoreError> {
    let region = aws.region();
    if let Some(endpoint) = &aws.sts_endpoint {
        return Ok((endpoint.clone(), region));
    }
    let is_global = aws.global_sts && aws.variant == Variant::default() && LEGACY.contains(&region);
    let (host, region) = match is_global {
        true => ("sts.amazonaws.com".to_owned(), "us-east-1"),
        false => (host("sts", region, aws.variant), region),
    };
    let url = Url::parse(&format!("https://{host}/"));
    let url = url.map_err(|_| StoreError::lasting("the region makes no URL"))?;
    Ok((url, region))
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    role: AssumedRole,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRole {
    credentials: Document,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: SecretString,
    session_token: SecretString,
    expiration: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RefusalError {
    code: String,
}

fn parse(
    service: &Service<'_>,
    source: &'static str,
    answer: &Answer,
) -> Result<Found, StoreError> {
    let xml = std::str::from_utf8(&answer.body).map_err(|_| service.nonsense())?;
    if answer.status != StatusCode::OK {
        let code = quick_xml::de::from_str(xml).unwrap_or_else(|_| Refusal::default());
        let code = code.error.code;
        return Err(match service.refusal(answer, &code) {
            // STS could not reach the identity provider, and says to try again.
            StoreError::Denied(said) if code == "IDPCommunicationError" => {
                StoreError::passing(said)
            }
            refusal => refusal,
        });
    }
    let response: Response = quick_xml::de::from_str(xml).map_err(|_| service.nonsense())?;
    let document = response.role.credentials;
    Ok(Found {
        credentials: Credentials {
            id: document.access_key_id,
            secret: document.secret_access_key,
            token: Some(document.session_token),
        },
        source,
        expiration: Some(date(&document.expiration).ok_or_else(|| service.nonsense())?),
        is_renewable: true,
        is_extendable: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::credentials::service::tests::{answer, service};

    /// Of AssumeRoleWithWebIdentity; AssumeRole's has another name for its result.
    const ANSWER: &str = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>subject</SubjectFromWebIdentityToken>
    <AssumedRoleUser><Arn>arn</Arn><AssumedRoleId>id</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <SessionToken>t+/=&amp;</SessionToken>
      <SecretAccessKey>s</SecretAccessKey>
      <Expiration>2026-01-02T03:04:05Z</Expiration>
      <AccessKeyId>ASIA</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"#;

    #[test]
    fn the_answers_of_sts_are_read() {
        let assumed = ANSWER.replace("WithWebIdentity", "");
        for text in [ANSWER, &assumed] {
            let found = parse(&service(), "test", &answer(200, text)).unwrap();
            assert_eq!(found.credentials.id, "ASIA");
            assert_eq!(found.credentials.secret.expose(), "s");
            assert_eq!(found.credentials.token.unwrap().expose(), "t+/=&");
            assert_eq!(found.expiration.unwrap().unix_timestamp(), 1_767_323_045);
            let cut = &text[..text.len() / 2];
            let cut = parse(&service(), "test", &answer(200, cut));
            assert!(cut.unwrap_err().is_passing());
        }
    }

    #[test]
    fn a_refusal_of_sts_is_told_by_its_code() {
        let refusal = |status, code| {
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>planted\
                 </Message></Error><RequestId>r</RequestId></ErrorResponse>"
            );
            parse(&service(), "test", &answer(status, &xml)).unwrap_err()
        };
        let denied = |reason: &str| StoreError::Denied(reason.to_owned());
        assert_eq!(
            refusal(400, "ExpiredTokenException"),
            denied("the test answered 400 (ExpiredTokenException)")
        );
        assert_eq!(
            refusal(403, "AccessDenied"),
            denied("the test answered 403 (AccessDenied)")
        );
        assert_eq!(
            refusal(400, "IDPCommunicationError"),
            StoreError::passing("the test answered 400 (IDPCommunicationError)")
        );
        assert_eq!(
            refusal(503, "ServiceUnavailable"),
            StoreError::passing("the test answered 503 (ServiceUnavailable)")
        );
    }

    #[test]
    fn the_region_s_own_sts_is_asked_unless_another_is_named_or_the_old_ways_are() {
        let mut aws = Aws::default();
        let at = |aws: &Aws| {
            let (url, region) = place(aws).unwrap();
            format!("{url} {region}")
        };
        assert_eq!(at(&aws), "https://sts.us-east-1.amazonaws.com/ us-east-1");
        aws.region = Some("cn-north-1".to_owned());
        aws.global_sts = true;
        assert_eq!(
            at(&aws),
            "https://sts.cn-north-1.amazonaws.com.cn/ cn-north-1"
        );
        aws.region = Some("eu-west-1".to_owned());
        assert_eq!(at(&aws), "https://sts.amazonaws.com/ us-east-1");
        aws.variant.fips = true;
        assert_eq!(
            at(&aws),
            "https://sts-fips.eu-west-1.amazonaws.com/ eu-west-1"
        );
        aws.sts_endpoint = Some(Url::parse("https://sts.internal").unwrap());
        assert_eq!(at(&aws), "https://sts.internal/ eu-west-1");
    }
}
