//! What an administrator does to key objects: create one, hide one and bring it back, shred one with all its versions.

use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::S3;
use super::answer::{code, found, refusal};
use super::versions::{Entry, Listing, Seen, is_listed, version_query, versioning_is_on, versions};
use crate::id::ObjectName;
use crate::store::http::Answer;
use crate::store::{Fetched, Replaced, Shredded, StoreError, beside};

/// Where copies of an object may be that are never looked for.
const ELSEWHERE: [&str; 2] = [
    "replicas of the bucket",
    "backups and inventories of the bucket",
];

/// Writes the object unless there is one, and reads it back.
///
/// `If-None-Match: *` keeps an object from being overwritten. Some servers ignore it, so that the name
/// must be one that nobody else can have chosen.
pub(super) fn create(
    s3: &S3,
    name: &ObjectName,
    content: &[u8],
    timeout: Duration,
) -> Result<(), StoreError> {
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let answer = send(
        s3,
        Method::PUT,
        name.as_str(),
        "",
        headers,
        content,
        timeout,
    )?;
    // "It exists" is also the answer to a second try after one that was served but not answered: what
    // is read back tells.
    if !answer.status.is_success() && answer.status != StatusCode::PRECONDITION_FAILED {
        return Err(refusal(&answer));
    }
    let error = match s3.find(name, None, Instant::now() + timeout) {
        Ok(Fetched::Object { content: found, .. }) if found[..] == *content => return Ok(()),
        Ok(_) => {
            return Err(StoreError::lasting(
                "an object of its name holds something else",
            ));
        }
        Err(StoreError::Absent) => not_found_again(),
        Err(error) => error,
    };
    if answer.status.is_success() {
        // What cannot be read back is of no use to anyone.
        let _ = shred_one(s3, name, timeout);
    }
    Err(error)
}

/// Writes the content beside the object and reads it back, then in its place; then deletes what else there is of it. Where
/// versions are kept, that is the older ones.
pub(super) fn replace(
    s3: &S3,
    name: &ObjectName,
    content: &[u8],
    is_superseded: &dyn Fn(&[u8]) -> bool,
    timeout: Duration,
) -> Result<Replaced, StoreError> {
    let beside = beside(name)?;
    let before = match versions(s3, name, timeout)? {
        Some(listed) if listed.seen() != Seen::Object => {
            return Err(StoreError::passing(
                "somebody else hid or deleted it meanwhile",
            ));
        }
        listed => listed.unwrap_or_default(),
    };
    let written = put(s3, &beside, content, timeout);
    if written.is_ok() {
        put(s3, name, content, timeout)?;
    }
    shred_one(s3, &beside, timeout)?;
    written?;
    let mut replaced = Replaced {
        not_looked_at: ELSEWHERE.to_vec(),
        ..Replaced::default()
    };
    let Some(listed) = versions(s3, name, timeout)? else {
        return Ok(replaced);
    };
    let known = |marker: &Entry| {
        before
            .delete_marker
            .iter()
            .any(|m| m.version_id == marker.version_id)
    };
    if !listed.delete_marker.iter().all(known) {
        // What was written is over the marker that somebody put there.
        refused(delete(s3, name, None, timeout)?)?;
        return Err(StoreError::passing(
            "somebody else disabled it meanwhile, and it is disabled again",
        ));
    }
    let is_copy = |version: &str| {
        let (query, none) = (version_query(version), HeaderMap::new());
        let answer = send(s3, Method::GET, name.as_str(), &query, none, b"", timeout)?;
        match found(answer, false) {
            Ok(Fetched::Object { content, .. }) => Ok(Some(is_superseded(&content))),
            Ok(_) | Err(StoreError::NotAKey(_)) => Ok(Some(false)),
            Err(StoreError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    };
    // What was written may have been hidden, replaced or deleted meanwhile; then the older ones are all that there is.
    let (latest, older): (Vec<_>, Vec<_>) = listed.version.iter().partition(|v| v.is_latest);
    match latest[..] {
        [latest] if is_copy(&latest.version_id)? == Some(true) => {}
        _ => {
            return Err(StoreError::passing(
                "somebody else changed it meanwhile, so that nothing was deleted",
            ));
        }
    }
    for older in older {
        match is_copy(&older.version_id)? {
            Some(true) => {
                refused(delete(s3, name, Some(&older.version_id), timeout)?)?;
                replaced.deleted += 1;
            }
            Some(false) => replaced.kept += 1,
            // It went by itself meanwhile.
            None => {}
        }
    }
    Ok(replaced)
}

/// Writes the object, whatever there is of its name, and reads it back.
fn put(s3: &S3, name: &ObjectName, content: &[u8], timeout: Duration) -> Result<(), StoreError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let path = name.as_str();
    let answer = send(s3, Method::PUT, path, "", headers, content, timeout)?;
    if !answer.status.is_success() {
        return Err(refusal(&answer));
    }
    match s3.find(name, None, Instant::now() + timeout) {
        Ok(Fetched::Object { content: found, .. }) if found[..] == *content => Ok(()),
        Ok(_) => Err(StoreError::lasting(
            "its object holds something else after it was written",
        )),
        Err(StoreError::Absent) => Err(not_found_again()),
        Err(error) => Err(error),
    }
}

fn not_found_again() -> StoreError {
    StoreError::lasting("it is not found after it was written")
}

/// Puts a delete marker over the versions; whether there was none. Only where the bucket keeps versions: elsewhere the
/// same request deletes the object.
pub(super) fn disable(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<bool, StoreError> {
    if !versioning_is_on(s3, timeout)? {
        return Err(StoreError::Denied(format!(
            "the bucket keeps no versions, so that nothing would bring it back; turn them on first: aws s3api \
             put-bucket-versioning --bucket {} --versioning-configuration Status=Enabled",
            s3.bucket
        )));
    }
    match listed(s3, name, timeout)?.seen() {
        Seen::Hidden(_) => return Ok(false),
        Seen::Nothing => return Err(StoreError::Absent),
        Seen::Object => {}
    }
    refused(delete(s3, name, None, timeout)?)?;
    match listed(s3, name, timeout)?.seen() {
        Seen::Hidden(_) => Ok(true),
        Seen::Nothing => Err(StoreError::lasting(
            "no version of it is listed after it was disabled",
        )),
        Seen::Object => Err(StoreError::lasting(
            "it is still seen after it was disabled",
        )),
    }
}

/// Deletes the delete markers over the newest version, the latest first; whether there was one.
pub(super) fn enable(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<bool, StoreError> {
    /// Each call of [`disable`] whose answer was lost may have left one more.
    const MOST: usize = 100;
    for removed in 0..MOST {
        match listed(s3, name, timeout)?.seen() {
            Seen::Object => return Ok(removed > 0),
            Seen::Nothing => return Err(StoreError::Absent),
            Seen::Hidden(marker) => refused(delete(s3, name, Some(&marker), timeout)?)?,
        }
    }
    Err(StoreError::passing(
        "more delete markers than expected hide it",
    ))
}

fn listed(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<Listing, StoreError> {
    versions(s3, name, timeout)?.ok_or_else(|| StoreError::lasting("the store lists no versions"))
}

fn refused(code: Option<String>) -> Result<(), StoreError> {
    match code {
        None => Ok(()),
        Some(code) => Err(StoreError::Denied(format!("the store refuses ({code})"))),
    }
}

/// Deletes the object, and what a call of [`replace`] that was killed left beside it.
pub(super) fn shred(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<Shredded, StoreError> {
    let mut shredded = shred_one(s3, name, timeout)?;
    // A name that is too long for one more ending has nothing beside it.
    if let Ok(beside) = beside(name)
        && left(s3, &beside, timeout)? > 0
    {
        let left = shred_one(s3, &beside, timeout)?;
        shredded.versions += left.versions;
        shredded.delete_markers += left.delete_markers;
    }
    Ok(shredded)
}

/// Deletes all versions first and delete markers last: a marker that went first would bring a version
/// back to readers.
fn shred_one(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<Shredded, StoreError> {
    let mut shredded = Shredded {
        not_looked_at: ELSEWHERE.to_vec(),
        ..Shredded::default()
    };
    let mut kept = Vec::new();
    match versions(s3, name, timeout)? {
        Some(listed) => {
            for version in &listed.version {
                let found = protection(s3, name, &version.version_id, timeout);
                shredded.replication = found.replication.or(shredded.replication.take());
                match delete(s3, name, Some(&version.version_id), timeout)? {
                    None => shredded.versions += 1,
                    Some(code) => kept.push(found.lock.unwrap_or(code)),
                }
            }
            for marker in &listed.delete_marker {
                match delete(s3, name, Some(&marker.version_id), timeout)? {
                    None => shredded.delete_markers += 1,
                    Some(code) => kept.push(code),
                }
            }
        }
        None => {
            let there = is_listed(s3, name, timeout)?;
            match delete(s3, name, None, timeout)? {
                None => shredded.versions += u64::from(there),
                Some(code) => kept.push(code),
            }
        }
    }
    look_again(s3, name, &mut shredded, &kept, timeout)?;
    Ok(shredded)
}

/// How many versions and delete markers a listing finds.
fn left(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<usize, StoreError> {
    Ok(match versions(s3, name, timeout)? {
        Some(listed) => listed.version.len() + listed.delete_marker.len(),
        None => usize::from(is_listed(s3, name, timeout)?),
    })
}

/// Whether a listing or a fetch still finds the object.
fn look_again(
    s3: &S3,
    name: &ObjectName,
    shredded: &mut Shredded,
    kept: &[String],
    timeout: Duration,
) -> Result<(), StoreError> {
    let left = left(s3, name, timeout)?;
    let fetched = s3.find(name, None, Instant::now() + timeout);
    match (left, fetched) {
        (0, Err(StoreError::Absent)) => Ok(()),
        (0, Err(StoreError::Denied(_))) => {
            shredded.not_looked_at.push(
                "whether a fetch finds it, which was denied, as S3 does where s3:ListBucket is missing; \
                 no listing does",
            );
            Ok(())
        }
        (
            _,
            Err(
                error @ (StoreError::Unavailable { .. }
                | StoreError::NoCredentials { .. }
                | StoreError::NotSent(_)),
            ),
        ) => Err(error),
        (left, fetched) => Err(StoreError::Denied(format!(
            "the bucket keeps it: {} deleted, {left} still listed, {} by a fetch ({})",
            shredded.versions + shredded.delete_markers,
            match fetched {
                Err(StoreError::Absent | StoreError::Disabled) => "not found",
                _ => "found",
            },
            match kept.is_empty() {
                true => "all deletions were acknowledged".to_owned(),
                false => kept.join(", "),
            }
        ))),
    }
}

/// Deletes one version, or the object of a store without versions; the code where the store refuses.
fn delete(
    s3: &S3,
    name: &ObjectName,
    version: Option<&str>,
    timeout: Duration,
) -> Result<Option<String>, StoreError> {
    let query = version.map_or(String::new(), version_query);
    let none = HeaderMap::new();
    let answer = send(
        s3,
        Method::DELETE,
        name.as_str(),
        &query,
        none,
        b"",
        timeout,
    )?;
    match answer.status {
        status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(None),
        _ => Ok(Some(code(&answer))),
    }
}

/// What a version's headers say of itself; nothing where it may not be read.
#[derive(Default)]
struct Protection {
    replication: Option<String>,
    lock: Option<String>,
}

fn protection(s3: &S3, name: &ObjectName, version: &str, timeout: Duration) -> Protection {
    let (query, none) = (version_query(version), HeaderMap::new());
    let Ok(answer) = send(s3, Method::GET, name.as_str(), &query, none, b"", timeout) else {
        return Protection::default();
    };
    let header = |name| word(answer.headers.get(name)?);
    let hold = header("x-amz-object-lock-legal-hold").filter(|hold| hold == "ON");
    let mode = header("x-amz-object-lock-mode");
    let until = header("x-amz-object-lock-retain-until-date").unwrap_or_default();
    Protection {
        replication: header("x-amz-replication-status"),
        lock: match (hold, mode) {
            (Some(_), _) => Some("object lock: legal hold".to_owned()),
            (None, Some(mode)) => Some(format!("object lock: {mode} until {until}")),
            (None, None) => None,
        },
    }
}

/// A header's value if it is a word or a date; nothing else that a server may write is repeated.
fn word(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_:.".contains(&b);
    (text.len() <= 64 && text.bytes().all(plain)).then(|| text.to_owned())
}

/// Sends a request until it has an answer that is more than "not now".
pub(super) fn send(
    s3: &S3,
    method: Method,
    path: &str,
    query: &str,
    headers: HeaderMap,
    body: &[u8],
    timeout: Duration,
) -> Result<Answer, StoreError> {
    s3.retry.run(Instant::now() + timeout, |until| {
        let answer = s3.exchange(method.clone(), path, query, headers.clone(), body, until)?;
        match (answer.status, refusal(&answer)) {
            (StatusCode::CONFLICT, _) => Err(StoreError::passing("the store answered 409")),
            (_, error) if error.is_passing() => Err(error),
            _ => Ok(answer),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_and_dates_of_a_header_are_repeated() {
        let word = |text| word(&HeaderValue::from_static(text));
        assert_eq!(word("COMPLIANCE").as_deref(), Some("COMPLIANCE"));
        assert_eq!(
            word("2027-01-01T00:00:00.000Z").as_deref(),
            Some("2027-01-01T00:00:00.000Z")
        );
        assert_eq!(word("dear diary"), None);
    }
}
