//! The JSON document in which EC2 and container agents hand out credentials.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::service::Service;
use super::{Credentials, Found};
use crate::secret::SecretString;
use crate::store::StoreError;
use crate::store::http::Answer;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Document {
    /// EC2's; `Success` unless there are no credentials.
    code: Option<String>,
    access_key_id: String,
    secret_access_key: SecretString,
    token: Option<SecretString>,
    expiration: Option<String>,
}

/// The credentials in `answer`.
pub(super) fn parse(
    service: &Service,
    source: &'static str,
    answer: &Answer,
) -> Result<Found, StoreError> {
    if answer.status != http::StatusCode::OK {
        return Err(service.refusal(answer, ""));
    }
    let document: Document =
        serde_json::from_slice(&answer.body).map_err(|_| service.nonsense())?;
    if let Some(code) = document.code.filter(|code| code != "Success") {
        return Err(match service.refusal(answer, &code) {
            StoreError::Unavailable { reason, .. } => StoreError::Denied(reason),
            denied => denied,
        });
    }
    if document.access_key_id.is_empty() || document.secret_access_key.expose().is_empty() {
        return Err(service.nonsense());
    }
    Ok(Found {
        credentials: Credentials {
            id: document.access_key_id,
            secret: document.secret_access_key,
            token: document.token,
        },
        source,
        expiration: document
            .expiration
            .map(|text| date(&text).ok_or_else(|| service.nonsense()))
            .transpose()?,
        is_renewable: true,
        is_extendable: false,
    })
}

/// A date as AWS writes it.
pub(super) fn date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::credentials::service::tests::{answer, service};

    fn parse(status: u16, body: &str) -> Result<Found, StoreError> {
        super::parse(&service(), "test", &answer(status, body))
    }

    #[test]
    fn a_document_is_read_with_its_end() {
        let found = parse(
            200,
            r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "AK", "SecretAccessKey": "a\/b",
                "Token": "t", "Expiration": "2026-01-02T03:04:05Z", "LastUpdated": "2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(found.credentials.id, "AK");
        assert_eq!(found.credentials.secret.expose(), "a/b");
        assert_eq!(found.credentials.token.unwrap().expose(), "t");
        assert_eq!(found.expiration.unwrap().unix_timestamp(), 1_767_323_045);
    }

    #[test]
    fn a_document_without_an_end_does_not_expire() {
        let found = parse(200, r#"{"AccessKeyId": "AK", "SecretAccessKey": "s"}"#).unwrap();
        assert_eq!((found.expiration, found.credentials.token), (None, None));
    }

    #[test]
    fn what_is_no_credentials_is_told_apart_by_what_trying_again_may_bring() {
        let denied = |reason: &str| StoreError::Denied(reason.to_owned());
        let nonsense = StoreError::passing("the test gave no credentials");
        for (status, body, expected) in [
            (200, "", nonsense.clone()),
            (200, "<html>planted</html>", nonsense.clone()),
            (200, r#"{"AccessKeyId": "AK"}"#, nonsense.clone()),
            (
                200,
                r#"{"AccessKeyId": "", "SecretAccessKey": "planted"}"#,
                nonsense.clone(),
            ),
            (
                200,
                r#"{"AccessKeyId": "AK", "SecretAccessKey": "planted", "Expiration": "soon"}"#,
                nonsense,
            ),
            (
                200,
                r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "planted"}"#,
                denied("the test answered 200 (AssumeRoleUnauthorizedAccess)"),
            ),
            (
                200,
                r#"{"Code": "not a word: planted"}"#,
                denied("the test answered 200"),
            ),
            (401, "planted", denied("the test answered 401")),
            (404, "{}", denied("the test answered 404")),
            (302, "", StoreError::lasting("the test answered 302")),
            (429, "", StoreError::passing("the test answered 429")),
            (503, "", StoreError::passing("the test answered 503")),
        ] {
            assert_eq!(
                parse(status, body).unwrap_err(),
                expected,
                "{status} {body}"
            );
        }
    }
}
