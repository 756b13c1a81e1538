//! The versions that a bucket keeps of an object.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use s3::signing::uri_encode;
use serde::Deserialize;

use super::S3;
use super::admin::send;
use super::answer::refusal;
use crate::id::ObjectName;
use crate::store::StoreError;
use crate::store::http::Answer;

/// Entries asked for in one page of a listing: few enough for the most that is read of an answer.
const PAGE: u16 = 25;

/// What is to be listed, as a part of a query.
pub(super) const VERSIONS: &str = "versions=";
pub(super) const OBJECTS: &str = "list-type=2";

/// A page of S3's ListObjectVersions, which names the next one by two markers, or of ListObjectsV2, which has a token for it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>).
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listing {
    pub(super) version: Vec<Entry>,
    pub(super) delete_marker: Vec<Entry>,
    pub(super) contents: Vec<Entry>,
    is_truncated: bool,
    next_key_marker: String,
    next_version_id_marker: String,
    next_continuation_token: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) version_id: String,
    pub(super) is_latest: bool,
    pub(super) size: u64,
    pub(super) last_modified: String,
}

/// What readers of a name find.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A version.
    Object,
    /// A delete marker that hides versions; its id.
    Hidden(String),
    /// Neither, or a marker over nothing.
    Nothing,
}

/// Every version and delete marker of exactly this name; `None` of a store that keeps no versions.
pub(super) fn versions(
    s3: &S3,
    name: &ObjectName,
    timeout: Duration,
) -> Result<Option<Listing>, StoreError> {
    pages(s3, name, timeout).map_err(listed)
}

/// A store that takes the request for one of an object has no list.
pub(super) fn listed(error: StoreError) -> StoreError {
    match error {
        StoreError::Absent => StoreError::lasting("the store lists no objects"),
        error => error,
    }
}

/// As [`versions`]; [`StoreError::Absent`] of a store that takes the request for one of an object.
fn pages(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<Option<Listing>, StoreError> {
    let mut found = Listing::default();
    let name = name.as_str();
    let kept = each_page(s3, VERSIONS, name, PAGE, timeout, &mut |page| {
        let of_this_name =
            |entries: Vec<Entry>| entries.into_iter().filter(|entry| entry.key == name);
        found.version.extend(of_this_name(page.version));
        found.delete_marker.extend(of_this_name(page.delete_marker));
        // What begins with the name sorts behind it.
        page.next_key_marker.as_str() <= name
    })?;
    Ok(kept.then_some(found))
}

/// Lists what begins with `prefix`, page by page, for as long as `take` wants more; whether the store lists what is asked
/// for at all.
pub(super) fn each_page(
    s3: &S3,
    what: &str,
    prefix: &str,
    size: u16,
    timeout: Duration,
    take: &mut dyn FnMut(Listing) -> bool,
) -> Result<bool, StoreError> {
    let mut from = String::new();
    loop {
        let query = format!(
            "max-keys={size}&prefix={}&{what}{from}",
            uri_encode(prefix, true)
        );
        let answer = send(s3, Method::GET, "", &query, HeaderMap::new(), b"", timeout)?;
        if answer.status == StatusCode::NOT_IMPLEMENTED && from.is_empty() {
            return Ok(false);
        }
        let page = Listing::of(&answer)?;
        let next = page.next();
        if !take(page) || next.is_empty() {
            return Ok(true);
        }
        if next == from {
            return Err(StoreError::lasting("its listing does not end"));
        }
        from = next;
    }
}

/// Whether the bucket keeps versions of what is deleted
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>). One that did once and no longer does
/// may delete for good.
pub(super) fn versioning_is_on(s3: &S3, timeout: Duration) -> Result<bool, StoreError> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Configuration {
        status: String,
    }
    let none = HeaderMap::new();
    let answer = send(s3, Method::GET, "", "versioning=", none, b"", timeout)?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_IMPLEMENTED => return Ok(false),
        _ => {
            return Err(match refusal(&answer) {
                StoreError::Denied(said) => StoreError::Denied(format!(
                    "whether the bucket keeps versions may not be asked (s3:GetBucketVersioning): {said}"
                )),
                error => error,
            });
        }
    }
    let configuration: Option<Configuration> = std::str::from_utf8(&answer.body)
        .ok()
        .and_then(|xml| quick_xml::de::from_str(xml).ok());
    Ok(configuration.is_some_and(|configuration| configuration.status == "Enabled"))
}

/// Whether a store without versions lists the object. It sorts first of what begins with its name.
pub(super) fn is_listed(s3: &S3, name: &ObjectName, timeout: Duration) -> Result<bool, StoreError> {
    let query = format!(
        "{OBJECTS}&max-keys={PAGE}&prefix={}",
        uri_encode(name.as_str(), true)
    );
    let answer = send(s3, Method::GET, "", &query, HeaderMap::new(), b"", timeout)?;
    let page = Listing::of(&answer).map_err(listed)?;
    Ok(page.contents.iter().any(|entry| entry.key == name.as_str()))
}

/// Why a fetch does not find `name`, on a server that may not tell a delete marker from an absent object.
///
/// Where that cannot be looked at, nobody may say that the key is lost: a pause is not the end.
pub(super) fn why_absent(s3: &S3, name: &ObjectName, timeout: Duration) -> StoreError {
    match pages(s3, name, timeout) {
        Ok(None) | Err(StoreError::Absent) => StoreError::Absent,
        Ok(Some(listed)) => match listed.seen() {
            Seen::Hidden(_) => StoreError::Disabled,
            Seen::Nothing => StoreError::Absent,
            Seen::Object => StoreError::passing("its object came back while it was looked for"),
        },
        Err(StoreError::Denied(said)) => StoreError::Denied(format!(
            "its object is not found, and whether it is disabled is not known: {said}"
        )),
        Err(error) => error,
    }
}

impl Listing {
    /// What readers find of the one name that is listed.
    pub(super) fn seen(&self) -> Seen {
        let marker = self.delete_marker.iter().find(|entry| entry.is_latest);
        match (marker, self.version.is_empty()) {
            (_, true) => Seen::Nothing,
            (Some(marker), false) => Seen::Hidden(marker.version_id.clone()),
            (None, false) => Seen::Object,
        }
    }

    /// What a query for the next page has besides; empty at the end.
    fn next(&self) -> String {
        match (self.is_truncated, self.next_continuation_token.as_str()) {
            (false, _) => String::new(),
            (true, "") => format!(
                "&key-marker={}&version-id-marker={}",
                uri_encode(&self.next_key_marker, true),
                uri_encode(&self.next_version_id_marker, true)
            ),
            (true, token) => format!("&continuation-token={}", uri_encode(token, true)),
        }
    }

    fn of(answer: &Answer) -> Result<Self, StoreError> {
        if answer.status != StatusCode::OK {
            return Err(match refusal(answer) {
                // Without a look at all versions nobody could say that the object is gone.
                StoreError::Denied(said) => StoreError::Denied(format!(
                    "its versions may not be listed (s3:ListBucketVersions): {said}"
                )),
                error => error,
            });
        }
        std::str::from_utf8(&answer.body)
            .ok()
            .filter(|_| !answer.too_long)
            .and_then(|xml| quick_xml::de::from_str(xml).ok())
            .ok_or_else(|| StoreError::lasting("its listing cannot be read"))
    }
}

pub(super) fn version_query(version: &str) -> String {
    format!("versionId={}", uri_encode(version, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_hides_only_what_there_is_and_only_while_it_is_the_latest() {
        let seen = |entries: &str| {
            let listing: Listing = quick_xml::de::from_str(&format!(
                "<ListVersionsResult>{entries}</ListVersionsResult>"
            ))
            .unwrap();
            listing.seen()
        };
        let entry = |tag: &str, id: u8, latest: bool| {
            format!(
                "<{tag}><Key>k</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest></{tag}>"
            )
        };
        let version = |latest| entry("Version", 1, latest);
        let marker = |latest| entry("DeleteMarker", 2, latest);
        assert_eq!(seen(""), Seen::Nothing);
        assert_eq!(seen(&marker(true)), Seen::Nothing);
        assert_eq!(seen(&version(true)), Seen::Object);
        assert_eq!(seen(&(version(true) + &marker(false))), Seen::Object);
        assert_eq!(
            seen(&(marker(true) + &version(false))),
            Seen::Hidden("2".to_owned())
        );
    }

    #[test]
    fn a_listing_of_alternating_versions_and_markers_is_read() {
        let listing: Listing = quick_xml::de::from_str(
            "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><Prefix>k</Prefix><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
             <Version><Key>k</Key><VersionId>1</VersionId><Owner><ID>o</ID></Owner></Version>\
             <DeleteMarker><Key>k</Key><VersionId>2</VersionId></DeleteMarker>\
             <Version><Key>k&amp;</Key><VersionId>null</VersionId></Version></ListVersionsResult>",
        )
        .unwrap();
        let entries = |entries: &[Entry]| -> Vec<_> {
            entries
                .iter()
                .map(|e| format!("{} {}", e.key, e.version_id))
                .collect()
        };
        assert_eq!(entries(&listing.version), ["k 1", "k& null"]);
        assert_eq!(entries(&listing.delete_marker), ["k 2"]);
        assert!(listing.is_truncated);
        assert_eq!(listing.next_key_marker, "k");
    }
}
