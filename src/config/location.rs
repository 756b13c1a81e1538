//! `JOURNAL_KEY_STORE`: where key objects are.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::bucket::Bucket;
use super::environment::{ConfigError, bad};

/// Where key objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A bucket.
    S3 {
        /// Which one.
        bucket: Bucket,
    },
    /// An absolute directory; object names are paths below it.
    Directory(PathBuf),
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket } => write!(f, "s3://{bucket}"),
            Self::Directory(root) => match Url::from_file_path(root) {
                Ok(url) => url.fmt(f),
                Err(()) => Err(fmt::Error),
            },
        }
    }
}

impl StoreLocation {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        const VARIABLE: &str = "JOURNAL_KEY_STORE";
        if let Some(bucket) = text.strip_prefix("s3://") {
            return Bucket::parse(bucket)
                .map(|bucket| Self::S3 { bucket })
                .map_err(|reason| bad(VARIABLE, reason));
        }
        if text.starts_with("file://") {
            return Url::parse(text)
                .ok()
                // A bare # or ? would cut the path short.
                .filter(|url| url.query().is_none() && url.fragment().is_none())
                .and_then(|url| url.to_file_path().ok())
                .filter(|path| path.is_absolute())
                .map(Self::Directory)
                .ok_or(bad(
                    VARIABLE,
                    "not an absolute directory after file://, as a URL: %23 for #, %3F for ?",
                ));
        }
        Err(bad(VARIABLE, "neither s3://bucket nor file:///directory"))
    }
}
