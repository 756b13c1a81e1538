//! What an answer of S3's means.

use std::time::SystemTime;

use http::header::{DATE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::MOST_ERROR_BYTES;
use crate::config::is_region;
use crate::store::http::Answer;
use crate::store::{Fetched, MOST_BYTES, StoreError};

/// What the answer to a GET means; `conditional` where it named a version.
pub(super) fn found(answer: Answer, conditional: bool) -> Result<Fetched, StoreError> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if conditional => return Ok(Fetched::Unchanged),
        _ => {
            return Err(match refusal(&answer) {
                StoreError::Absent if is_marker(&answer) => StoreError::Disabled,
                error => error,
            });
        }
    }
    if answer.too_long || answer.body.len() > MOST_BYTES {
        return Err(StoreError::NotAKey(
            "its object is too large for a Fernet key",
        ));
    }
    let tag = answer.headers.get(ETAG);
    Ok(Fetched::Object {
        tag: tag.and_then(|tag: &HeaderValue| Some(tag.to_str().ok()?.to_owned())),
        content: answer.body,
    })
}

/// Whether the answer says that what it found is a delete marker. Amazon's does; some servers never do.
fn is_marker(answer: &Answer) -> bool {
    let marker = answer.headers.get("x-amz-delete-marker");
    marker.is_some_and(|marker| marker == "true")
}

/// The store's clock.
pub(super) fn date(answer: &Answer) -> Option<SystemTime> {
    let date = answer.headers.get(DATE)?.to_str().ok()?;
    OffsetDateTime::parse(date, &Rfc2822).ok().map(Into::into)
}

/// The part of S3's error document that decides what an answer means.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorDocument {
    code: String,
    region: String,
}

impl ErrorDocument {
    fn of(answer: &Answer) -> Self {
        std::str::from_utf8(&answer.body)
            .ok()
            .and_then(|xml| quick_xml::de::from_str(xml).ok())
            .unwrap_or_default()
    }
}

/// Whether it is the credentials that the store does not take, so that others may do: temporary ones ended before we
/// expected it, or a key was replaced by another.
pub(super) fn blames_credentials(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 400 | 401 | 403)
        && matches!(
            ErrorDocument::of(answer).code.as_str(),
            "ExpiredToken"
                | "TokenRefreshRequired"
                | "InvalidToken"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
        )
}

/// The code in an error answer. A code is one of S3's words; anything else a server may write there is
/// not repeated.
pub(super) fn code(answer: &Answer) -> String {
    let code = ErrorDocument::of(answer).code;
    match code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true if !code.is_empty() => code,
        _ => "no code".to_owned(),
    }
}

/// What an answer other than the object means
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
pub(super) fn refusal(answer: &Answer) -> StoreError {
    let status = answer.status.as_u16();
    let word = code(answer);
    let said = format!("the store answered {status} ({word})");
    match (status, word.as_str()) {
        (404, "NoSuchKey") => StoreError::Absent,
        // Neither says what the store would allow with a right clock, or with credentials that have not ended.
        (_, "RequestTimeTooSkewed") => StoreError::unsigned(format_args!(
            "{said}: this machine's clock differs too much from the store's"
        )),
        (400 | 401 | 403, "ExpiredToken" | "TokenRefreshRequired") => StoreError::unsigned(said),
        (400, "InvalidToken") | (401 | 403, _) => StoreError::Denied(said),
        // What a server does not implement it will not implement a moment later.
        (501 | 505, _) => StoreError::lasting(said),
        (429 | 500..=599, _) => StoreError::passing(said),
        _ => StoreError::lasting(said),
    }
}

/// The region that an answer says the bucket is in.
pub(super) fn region(answer: &Answer) -> Option<String> {
    if !matches!(answer.status.as_u16(), 301 | 307 | 400) {
        return None;
    }
    let region = match answer.headers.get("x-amz-bucket-region") {
        Some(region) => region.to_str().ok()?.to_owned(),
        None => ErrorDocument::of(answer).region,
    };
    is_region(&region).then_some(region)
}

/// See [`crate::fuzzing`].
pub(crate) fn fuzz_answer(
    status: u16,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
    conditional: bool,
) -> Option<(Option<String>, Result<bool, StoreError>)> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            http::HeaderName::from_bytes(name).ok()?,
            HeaderValue::from_bytes(value).ok()?,
        );
    }
    let answer = Answer {
        status: StatusCode::from_u16(status).ok()?,
        headers: map,
        body: crate::secret::SecretBytes::copy_of(&body[..body.len().min(MOST_ERROR_BYTES)])
            .ok()?,
        too_long: body.len() > MOST_ERROR_BYTES,
    };
    let _ = date(&answer);
    let region = region(&answer);
    let found = found(answer, conditional).map(|found| match found {
        Fetched::Object { content, .. } => {
            crate::cipher::MasterKey::from_object(&content).is_some()
        }
        Fetched::Unchanged => false,
    });
    Some((region, found))
}
