//! The JSON document in which credentials are handed out.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::service::Service;
use super::{Credentials, Found};
use crate::secret::SecretString;
use crate::store::StoreError;
use crate::store::http::Answer;

/// The most bytes of a document; a session token may have some thousands.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// Under the names that services, a program or a file have for its parts.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Document {
    /// EC2's; `Success` unless there are no credentials.
    code: Option<String>,
    /// A program's.
    pub(super) version: Option<u64>,
    #[serde(alias = "accessKeyId")]
    access_key_id: String,
    #[serde(alias = "secretAccessKey")]
    secret_access_key: SecretString,
    #[serde(alias = "SessionToken", alias = "sessionToken")]
    token: Option<SecretString>,
    #[serde(alias = "expiration", alias = "expiresAt")]
    expiration: Option<End>,
}

/// When credentials end.
#[derive(Deserialize)]
#[serde(untagged)]
enum End {
    Date(String),
    /// Milliseconds since 1970.
    Unix(i64),
}

impl Document {
    /// The credentials in it, if they are whole.
    pub(super) fn found(self, source: &'static str) -> Option<Found> {
        if self.access_key_id.is_empty() || self.secret_access_key.expose().is_empty() {
            return None;
        }
        let expiration = match self.expiration {
            None => None,
            Some(End::Date(text)) => Some(date(&text)?),
            Some(End::Unix(milliseconds)) => {
                Some(OffsetDateTime::from_unix_timestamp(milliseconds / 1000).ok()?)
            }
        };
        Some(Found {
            credentials: Credentials {
                id: self.access_key_id,
                secret: self.secret_access_key,
                token: self.token,
            },
            source,
            expiration,
            is_renewable: true,
            is_extendable: false,
        })
    }
}

/// The credentials in `answer`.
pub(super) fn parse(
    service: &Service<'_>,
    source: &'static str,
    answer: &Answer,
) -> Result<Found, StoreError> {
    if answer.status != http::StatusCode::OK {
        return Err(service.refusal(answer, ""));
    }
    let mut document: Document =
        serde_json::from_slice(&answer.body).map_err(|_| service.nonsense())?;
    if let Some(code) = document.code.take().filter(|code| code != "Success") {
        return Err(match service.refusal(answer, &code) {
            StoreError::Unavailable { reason, .. } => StoreError::Denied(reason),
            denied => denied,
        });
    }
    document.found(source).ok_or_else(|| service.nonsense())
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
    fn its_parts_have_other_names_elsewhere() {
        for body in [
            r#"{"accessKeyId": "AK", "secretAccessKey": "s", "sessionToken": "t", "expiration": 1767323045000}"#,
            r#"{"accessKeyId": "AK", "secretAccessKey": "s", "sessionToken": "t", "accountId": "1",
                "expiresAt": "2026-01-02T03:04:05Z"}"#,
            r#"{"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": "s", "SessionToken": "t",
                "Expiration": "2026-01-02T04:04:05+01:00"}"#,
        ] {
            let found = parse(200, body).unwrap();
            assert_eq!(found.credentials.id, "AK");
            assert_eq!(found.credentials.token.unwrap().expose(), "t");
            assert_eq!(found.expiration.unwrap().unix_timestamp(), 1_767_323_045);
        }
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
