//! Keys as objects of an S3 bucket: rust-s3 signs, ureq fetches.

mod admin;
mod answer;
mod listing;
mod origin;
mod versions;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, Method};
use s3::signing::uri_encode;
use url::Url;

pub(crate) use self::answer::fuzz_answer;
use self::answer::{blames_credentials, date, found, region};
use self::origin::{first_region, origin};
use self::versions::why_absent;
use super::credentials::Provider;
use super::http::{Answer, Http};
use super::retry::Retry;
use super::signature::{header, sign};
use super::{CredentialStatus, Fetched, KeyStore, Listed, Probed, Replaced, Shredded, StoreError};
use crate::config::{Aws, Bucket, Config, ConfigError};
use crate::id::ObjectName;
use crate::stats::Stats;

/// Enough for S3's error documents, which are some 300 bytes.
const MOST_ERROR_BYTES: usize = 64 * 1024;

/// Enough for a page of a listing, whose entries are some 500 bytes.
const MOST_LISTING_BYTES: usize = 1024 * 1024;

/// A bucket of key objects.
pub struct S3 {
    bucket: Bucket,
    aws: &'static Aws,
    http: Http,
    retry: Arc<Retry>,
    credentials: Provider,
    /// The region that requests are signed for; mended when Amazon names another one.
    region: RwLock<String>,
}

impl S3 {
    /// The store in `bucket`, as `config` reaches it.
    ///
    /// # Errors
    /// A CA bundle or a proxy that cannot be used.
    pub fn new(
        bucket: &Bucket,
        config: &'static Config,
        stats: Arc<Stats>,
    ) -> Result<Self, ConfigError> {
        let aws = &config.aws;
        let region = first_region(aws, bucket)?;
        origin(aws, bucket, &region)?;
        let retry = Arc::new(Retry::new(Arc::clone(&stats)));
        Ok(Self {
            bucket: bucket.clone(),
            aws,
            http: Http::new(aws, config.fetch_threads.get())?,
            credentials: Provider::new(aws, Arc::clone(&retry), stats),
            retry,
            region: RwLock::new(region),
        })
    }

    /// One GET.
    fn get(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let mut headers = HeaderMap::new();
        if let Some(tag) = known {
            headers.insert(IF_NONE_MATCH, header(tag)?);
        }
        self.exchange(Method::GET, name.as_str(), "", headers, b"", deadline)
    }

    /// What readers of the name get.
    fn find(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, StoreError> {
        self.retry.run(deadline, |until| {
            found(self.get(name, known, until)?, known.is_some())
        })
    }

    /// `outcome`, with a delete marker told from an absent object. Amazon's answer says which it is; of another server
    /// that is not sure.
    fn told_apart<T>(
        &self,
        outcome: Result<T, StoreError>,
        name: &ObjectName,
        deadline: Instant,
    ) -> Result<T, StoreError> {
        match outcome {
            Err(StoreError::Absent) if self.aws.endpoint.is_some() => {
                let left = deadline.saturating_duration_since(Instant::now());
                Err(why_absent(self, name, left))
            }
            outcome => outcome,
        }
    }

    /// Sends a signed request for the object `path`, or with an empty one for the bucket, and gives the
    /// answer, whatever its status. Sent once more where the bucket turns out to lie in another region,
    /// and once more with other credentials where the store does not take the first ones.
    fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &str,
        mut headers: HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        if let Some(owner) = &self.aws.bucket_owner {
            headers.insert("x-amz-expected-bucket-owner", header(owner)?);
        }
        let mut credentials = self.credentials.get(deadline)?;
        let mut region = self
            .region
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let most = match path {
            "" => MOST_LISTING_BYTES,
            _ => MOST_ERROR_BYTES,
        };
        let (mut mended, mut renewed) = (false, false);
        loop {
            let url = self.url(path, query, &region)?;
            let request = sign(
                "s3",
                method.clone(),
                &url,
                headers.clone(),
                body,
                &credentials,
                &region,
            )?;
            let answer = self.http.send(request, most, deadline)?;
            if !renewed
                && blames_credentials(&answer)
                && let Some(others) = self.credentials.renew(&credentials, deadline)?
            {
                (credentials, renewed) = (others, true);
                continue;
            }
            match self.other_region(&answer) {
                Some(other) if other != region && !mended => {
                    let mut current = self.region.write().unwrap_or_else(PoisonError::into_inner);
                    current.clone_from(&other);
                    (region, mended) = (other, true);
                }
                _ => return Ok(answer),
            }
        }
    }

    fn url(&self, path: &str, query: &str, region: &str) -> Result<Url, StoreError> {
        let mut url = origin(self.aws, &self.bucket, region).map_err(StoreError::lasting)?;
        let path = format!("{}{}", url.path(), uri_encode(path, false));
        url.set_path(&path);
        url.set_query((!query.is_empty()).then_some(query));
        Ok(url)
    }

    /// The region that Amazon says the bucket is in. Never for a custom endpoint or an access point,
    /// and never by following the address in `Location`.
    fn other_region(&self, answer: &Answer) -> Option<String> {
        match (&self.aws.endpoint, &self.bucket) {
            (None, Bucket::Named(_)) => region(answer),
            _ => None,
        }
    }
}

impl KeyStore for S3 {
    fn fetch(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, StoreError> {
        self.told_apart(self.find(name, known, deadline), name, deadline)
    }

    fn probe(&self, name: &ObjectName, deadline: Instant) -> Probed {
        match self.get(name, None, deadline) {
            Ok(answer) => {
                let date = date(&answer);
                let outcome = found(answer, false);
                (self.told_apart(outcome, name, deadline), date)
            }
            Err(error) => (Err(error), None),
        }
    }

    fn credentials(&self) -> Option<CredentialStatus> {
        self.credentials.status()
    }

    fn create(
        &self,
        name: &ObjectName,
        content: &[u8],
        timeout: Duration,
    ) -> Result<(), StoreError> {
        admin::create(self, name, content, timeout)
    }

    fn disable(&self, name: &ObjectName, timeout: Duration) -> Result<bool, StoreError> {
        admin::disable(self, name, timeout)
    }

    fn enable(&self, name: &ObjectName, timeout: Duration) -> Result<bool, StoreError> {
        admin::enable(self, name, timeout)
    }

    fn replace(
        &self,
        name: &ObjectName,
        content: &[u8],
        is_superseded: &dyn Fn(&[u8]) -> bool,
        timeout: Duration,
    ) -> Result<Replaced, StoreError> {
        admin::replace(self, name, content, is_superseded, timeout)
    }

    fn shred(&self, name: &ObjectName, timeout: Duration) -> Result<Shredded, StoreError> {
        admin::shred(self, name, timeout)
    }

    fn list(&self, prefix: &str, timeout: Duration) -> Result<Vec<Listed>, StoreError> {
        listing::list(self, prefix, timeout)
    }
}

#[cfg(test)]
mod tests;
