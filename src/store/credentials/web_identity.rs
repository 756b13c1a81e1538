//! A role assumed with a token of an identity provider, such as a Kubernetes service account's
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::container::read_token;
use super::document::date;
use super::service::Service;
use super::{Credentials, Found};
use crate::config::Aws;
use crate::config::aws::WebIdentity;
use crate::config::partition::{Variant, host};
use crate::config::profile::Profile;
use crate::secret::{SecretBytes, SecretString};
use crate::store::StoreError;
use crate::store::http::{Answer, Http};

const TIMEOUT: Duration = Duration::from_secs(5);
/// How the session is called in AWS's logs where nothing else is said.
const SESSION: &str = "sqlite-journal-crypt";

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

/// Who wants which role, and as whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    token_file: PathBuf,
    role: String,
    session: String,
}

impl Identity {
    /// The environment's, each part of which may be the profile's instead; `None` without a token file.
    pub(super) fn of(
        environment: &WebIdentity,
        profile: &Profile,
    ) -> Result<Option<Self>, StoreError> {
        let of_profile = |name| profile.get(name).map(|value| value.expose().to_owned());
        let token_file = environment
            .token_file
            .clone()
            .or_else(|| of_profile("web_identity_token_file").map(PathBuf::from));
        let Some(token_file) = token_file else {
            return Ok(None);
        };
        let role = environment.role.clone().or_else(|| of_profile("role_arn"));
        let session = environment.session.clone();
        Ok(Some(Self {
            token_file,
            role: role.ok_or_else(|| {
                StoreError::Denied(
                    "there is a web identity token file, but neither AWS_ROLE_ARN nor the AWS \
                     profile's role_arn"
                        .to_owned(),
                )
            })?,
            session: session
                .or_else(|| of_profile("role_session_name"))
                .unwrap_or_else(|| SESSION.to_owned()),
        }))
    }

    /// The form that is posted: the token is never in a URL, which proxies and servers log.
    fn form(&self) -> Result<SecretBytes, StoreError> {
        let token = read_token(&self.token_file).ok_or_else(|| {
            StoreError::Denied("the web identity token file cannot be read".to_owned())
        })?;
        // Room for all of it, each character in three: growing would leave copies behind.
        let room = 256 + 3 * (token.expose().len() + self.role.len() + self.session.len());
        let mut form = Serializer::new(String::with_capacity(room));
        form.append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role)
            .append_pair("RoleSessionName", &self.session)
            .append_pair("WebIdentityToken", token.expose());
        let form = SecretString::from(form.finish());
        SecretBytes::copy_of(form.expose().as_bytes()).map_err(|_| StoreError::out_of_memory())
    }
}

/// One unsigned POST to STS, which is asked like any service of AWS's: over https, by the proxy if any.
pub(super) fn fetch(
    aws: &'static Aws,
    identity: &Identity,
    deadline: Instant,
) -> Result<Found, StoreError> {
    let endpoint = endpoint(aws)?;
    let service = Service::new("AWS STS", Http::new(aws, 1), TIMEOUT)?;
    let request = Request::post(endpoint.as_str())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(identity.form()?)
        .map_err(|_| service.nonsense())?;
    parse(&service, &service.send(request, deadline)?)
}

fn endpoint(aws: &Aws) -> Result<Url, StoreError> {
    if let Some(endpoint) = &aws.sts_endpoint {
        return Ok(endpoint.clone());
    }
    let region = aws.region();
    let is_global = aws.global_sts && aws.variant == Variant::default() && LEGACY.contains(&region);
    let host = match is_global {
        true => "sts.amazonaws.com".to_owned(),
        false => host("sts", region, aws.variant),
    };
    Url::parse(&format!("https://{host}/"))
        .map_err(|_| StoreError::lasting("the region makes no URL"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    assume_role_with_web_identity_result: AssumedRole,
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

fn parse(service: &Service, answer: &Answer) -> Result<Found, StoreError> {
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
    let Response {
        assume_role_with_web_identity_result: role,
    } = quick_xml::de::from_str(xml).map_err(|_| service.nonsense())?;
    let Document {
        access_key_id,
        secret_access_key,
        session_token,
        expiration,
    } = role.credentials;
    Ok(Found {
        credentials: Credentials {
            id: access_key_id,
            secret: secret_access_key,
            token: Some(session_token),
        },
        source: "web identity",
        expiration: Some(date(&expiration).ok_or_else(|| service.nonsense())?),
        is_renewable: true,
        is_extendable: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::credentials::service::tests::{answer, service};

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
    fn the_answer_of_sts_is_read() {
        let found = parse(&service(), &answer(200, ANSWER)).unwrap();
        assert_eq!(found.credentials.id, "ASIA");
        assert_eq!(found.credentials.secret.expose(), "s");
        assert_eq!(found.credentials.token.unwrap().expose(), "t+/=&");
        assert_eq!(found.expiration.unwrap().unix_timestamp(), 1_767_323_045);
        let cut = &ANSWER[..ANSWER.len() / 2];
        assert!(
            parse(&service(), &answer(200, cut))
                .unwrap_err()
                .is_passing()
        );
    }

    #[test]
    fn a_refusal_of_sts_is_told_by_its_code() {
        let refusal = |status, code| {
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>planted\
                 </Message></Error><RequestId>r</RequestId></ErrorResponse>"
            );
            parse(&service(), &answer(status, &xml)).unwrap_err()
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
    fn the_region_s_own_sts_is_asked_unless_another_is_named() {
        let at = |region: Option<&str>, named: Option<&str>| {
            let aws = Aws {
                region: region.map(str::to_owned),
                sts_endpoint: named.map(|url| Url::parse(url).unwrap()),
                ..Aws::default()
            };
            endpoint(&aws).unwrap().to_string()
        };
        assert_eq!(
            at(Some("eu-west-1"), None),
            "https://sts.eu-west-1.amazonaws.com/"
        );
        assert_eq!(
            at(Some("cn-north-1"), None),
            "https://sts.cn-north-1.amazonaws.com.cn/"
        );
        assert_eq!(at(None, None), "https://sts.us-east-1.amazonaws.com/");
        assert_eq!(
            at(Some("x"), Some("https://sts.internal")),
            "https://sts.internal/"
        );
        let legacy = |region: &str| {
            let aws = Aws {
                region: Some(region.to_owned()),
                global_sts: true,
                ..Aws::default()
            };
            endpoint(&aws).unwrap().to_string()
        };
        assert_eq!(legacy("eu-west-1"), "https://sts.amazonaws.com/");
        assert_eq!(
            legacy("eu-west-99"),
            "https://sts.eu-west-99.amazonaws.com/"
        );
    }

    #[test]
    fn the_form_holds_the_token_as_it_is_in_the_file_now() {
        let root = tempfile::tempdir().unwrap();
        let identity = Identity {
            token_file: root.path().join("token"),
            role: "arn:aws:iam::1:role/r".to_owned(),
            session: "s".to_owned(),
        };
        assert_eq!(
            identity.form().unwrap_err().to_string(),
            "the web identity token file cannot be read"
        );
        for token in ["a.b+c", "later"] {
            std::fs::write(&identity.token_file, format!("{token}\n")).unwrap();
            let form = identity.form().unwrap();
            let pairs: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
            let of = |name: &str| pairs.iter().find(|(n, _)| n == name).unwrap().1.clone();
            assert_eq!(of("Action"), "AssumeRoleWithWebIdentity");
            assert_eq!(of("Version"), "2011-06-15");
            assert_eq!(of("RoleArn"), identity.role);
            assert_eq!(of("RoleSessionName"), "s");
            assert_eq!(of("WebIdentityToken"), token);
        }
    }
}
