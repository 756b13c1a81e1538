//! The objects that a bucket has below a prefix.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::S3;
use super::versions::{Entry, Listing, OBJECTS, VERSIONS, each_page, listed};
use crate::store::{Listed, StoreError};

/// Entries asked for in one page: with names of usual length a quarter of what is read of one.
const PAGE: u16 = 500;

/// As [`crate::store::KeyStore::list`]. What is listed are versions, since no other list has what a delete marker hides; a
/// store that keeps none lists objects.
pub(super) fn list(s3: &S3, prefix: &str, timeout: Duration) -> Result<Vec<Listed>, StoreError> {
    let mut found = Found::default();
    let mut take = |page: Listing| {
        found.take(page);
        true
    };
    if !each_page(s3, VERSIONS, prefix, PAGE, timeout, &mut take).map_err(listed)? {
        each_page(s3, OBJECTS, prefix, PAGE, timeout, &mut take).map_err(listed)?;
    }
    Ok(found.objects())
}

/// What the pages so far have told.
#[derive(Default)]
struct Found {
    /// The newest version of each name.
    versions: BTreeMap<String, Listed>,
    hidden: Vec<String>,
}

impl Found {
    /// Of one name, newer versions come before older ones.
    fn take(&mut self, page: Listing) {
        for entry in page.version.into_iter().chain(page.contents) {
            self.versions
                .entry(entry.key)
                .or_insert_with_key(|name| Listed {
                    name: name.clone(),
                    bytes: entry.size,
                    modified_at: time_of(&entry.last_modified),
                    disabled: false,
                });
        }
        let latest = |marker: Entry| marker.is_latest.then_some(marker.key);
        self.hidden
            .extend(page.delete_marker.into_iter().filter_map(latest));
    }

    /// A marker may come a page before what it hides, and hides nothing where there is no version.
    fn objects(mut self) -> Vec<Listed> {
        for name in &self.hidden {
            if let Some(object) = self.versions.get_mut(name) {
                object.disabled = true;
            }
        }
        self.versions.into_values().collect()
    }
}

fn time_of(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn version(name: &str, size: u64, latest: bool) -> String {
        format!(
            "<Version><Key>{name}</Key><VersionId>v</VersionId><IsLatest>{latest}</IsLatest>\
             <LastModified>2023-11-14T22:13:20.500Z</LastModified><Size>{size}</Size></Version>"
        )
    }

    fn marker(name: &str, latest: bool) -> String {
        format!(
            "<DeleteMarker><Key>{name}</Key><VersionId>m</VersionId><IsLatest>{latest}</IsLatest></DeleteMarker>"
        )
    }

    #[test]
    fn of_each_name_the_newest_version_is_told_and_whether_a_marker_hides_it() {
        let mut found = Found::default();
        for page in [
            [marker("hidden", true), version("kept", 44, true)].concat(),
            [
                version("hidden", 140, false),
                version("hidden", 44, false),
                version("kept", 1, false),
                marker("kept", false),
                marker("gone", true),
            ]
            .concat(),
        ] {
            let page = format!("<ListVersionsResult>{page}</ListVersionsResult>");
            found.take(quick_xml::de::from_str(&page).unwrap());
        }
        let told: Vec<_> = (found.objects().into_iter())
            .map(|object| (object.name, object.bytes, object.disabled))
            .collect();
        assert_eq!(
            told,
            [
                ("hidden".to_owned(), 140, true),
                ("kept".to_owned(), 44, false)
            ]
        );
    }

    #[test]
    fn when_it_was_written_is_told_to_the_millisecond_if_it_can_be_read() {
        let then = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        assert_eq!(time_of("2023-11-14T22:13:20.500Z"), Some(then));
        assert_eq!(time_of("yesterday"), None);
    }
}
