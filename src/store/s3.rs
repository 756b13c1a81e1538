//! Keys as objects of an S3 bucket: rust-s3 signs, ureq fetches.
//!
//! Requests are signed in the `Authorization` header (AWS Signature Version 4,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>). A custom
//! endpoint is addressed path-style, Amazon's own by host unless the bucket's name does not fit into one.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use http::header::{AUTHORIZATION, ETAG, HOST, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use s3::Region;
use s3::signing;
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

use super::http::{Answer, Http};
use super::retry::Retry;
use super::{Fetched, KeyStore, MOST_BYTES, StoreError};
use crate::config::{Aws, Config, ConfigError, is_region};
use crate::id::ObjectName;
use crate::stats::Stats;

/// SHA-256 of nothing, the payload of every GET.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Enough for S3's error documents, which are some 300 bytes.
const MOST_ERROR_BYTES: usize = 64 * 1024;

/// A bucket of key objects.
pub struct S3 {
    bucket: String,
    aws: &'static Aws,
    http: Http,
    retry: Retry,
    /// The region that requests are signed for; mended when Amazon names another one.
    region: RwLock<String>,
}

/// The part of S3's error document that decides what an answer means.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorDocument {
    code: String,
    region: String,
}

impl S3 {
    /// The store in `bucket`, as `config` reaches it.
    ///
    /// # Errors
    /// A CA bundle or a proxy that cannot be used.
    pub fn new(
        bucket: &str,
        config: &'static Config,
        stats: Arc<Stats>,
    ) -> Result<Self, ConfigError> {
        let aws = &config.aws;
        let region = aws.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let origin = origin(aws, bucket, &region)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            aws,
            http: Http::new(aws, &origin, config.fetch_threads.get())?,
            retry: Retry::new(stats),
            region: RwLock::new(region),
        })
    }

    fn region(&self) -> String {
        self.region
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// One GET, sent once more where the bucket turns out to lie in another region.
    fn get(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, StoreError> {
        let mut region = self.region();
        let mut mended = false;
        loop {
            let request = self.signed_get(name, known, &region)?;
            let answer = self.http.send(request, MOST_ERROR_BYTES, deadline)?;
            match answer.status {
                StatusCode::OK => return found(answer),
                StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Fetched::Unchanged),
                _ => {}
            }
            let document = document(&answer);
            match self.other_region(&answer, &document) {
                Some(other) if other != region && !mended => {
                    let mut current = self.region.write().unwrap_or_else(PoisonError::into_inner);
                    current.clone_from(&other);
                    (region, mended) = (other, true);
                }
                _ => return Err(refusal(answer.status, &document.code)),
            }
        }
    }

    /// The region that Amazon says the bucket is in. Never for a custom endpoint, and never by
    /// following the address in `Location`.
    fn other_region(&self, answer: &Answer, document: &ErrorDocument) -> Option<String> {
        if self.aws.endpoint.is_some() || !matches!(answer.status.as_u16(), 301 | 307 | 400) {
            return None;
        }
        let header = answer.headers.get("x-amz-bucket-region");
        let region = header
            .map_or(Ok(document.region.as_str()), HeaderValue::to_str)
            .ok()?;
        is_region(region).then(|| region.to_owned())
    }

    fn signed_get(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        region: &str,
    ) -> Result<Request<Vec<u8>>, StoreError> {
        let mut headers = HeaderMap::new();
        if let Some(tag) = known {
            headers.insert(IF_NONE_MATCH, header(tag)?);
        }
        let origin = origin(self.aws, &self.bucket, region).map_err(StoreError::lasting)?;
        let path = format!(
            "{}{}",
            origin.path(),
            signing::uri_encode(name.as_str(), false)
        );
        let url = origin
            .join(&path)
            .map_err(|_| StoreError::NotAKey("its object's name is no path"))?;
        self.sign(Method::GET, &url, headers, EMPTY_SHA256, region)
    }

    /// Adds what AWS Signature Version 4 asks for to `headers`.
    fn sign(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        payload_sha256: &str,
        region: &str,
    ) -> Result<Request<Vec<u8>>, StoreError> {
        let Some((id, secret, token)) = &self.aws.keys else {
            return Err(StoreError::Denied("there are no AWS credentials".into()));
        };
        let failed = |_| StoreError::lasting("the request could not be signed");
        let now = OffsetDateTime::now_utc();
        let date = now
            .format(format_description!(
                "[year][month][day]T[hour][minute][second]Z"
            ))
            .map_err(|_| StoreError::lasting("the clock has no date"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(StoreError::lasting("the endpoint has no host")),
        };
        headers.insert(HOST, header(&host)?);
        headers.insert("x-amz-date", header(&date)?);
        headers.insert("x-amz-content-sha256", header(payload_sha256)?);
        if let Some(token) = token {
            let mut token = header(token.expose())?;
            token.set_sensitive(true);
            headers.insert("x-amz-security-token", token);
        }
        if let Some(owner) = &self.aws.bucket_owner {
            headers.insert("x-amz-expected-bucket-owner", header(owner)?);
        }
        let region = Region::Custom {
            region: region.to_owned(),
            endpoint: host,
        };
        let canonical = signing::canonical_request(method.as_str(), url, &headers, payload_sha256)
            .map_err(failed)?;
        let to_sign = signing::string_to_sign(&now, &region, &canonical).map_err(failed)?;
        let key = signing::signing_key(&now, secret.expose(), &region, "s3").map_err(failed)?;
        let signature = hmac_hex(&key, to_sign.as_bytes())?;
        let signed = signing::signed_header_string(&headers);
        let authorization = signing::authorization_header(id, &now, &region, &signed, &signature)
            .map_err(failed)?;
        let mut authorization = header(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(Vec::new())
            .map_err(|_| StoreError::lasting("the endpoint makes no URL"))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl KeyStore for S3 {
    fn fetch(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, StoreError> {
        self.retry
            .run(deadline, |until| self.get(name, known, until))
    }
}

/// Scheme, host and, path-style, the bucket; the path ends with a slash.
fn origin(aws: &Aws, bucket: &str, region: &str) -> Result<Url, ConfigError> {
    let domain = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    let fits_a_host = bucket
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let url = match &aws.endpoint {
        Some(endpoint) => format!("{endpoint}{bucket}/"),
        None if fits_a_host => format!("https://{bucket}.s3.{region}.{domain}/"),
        None => format!("https://s3.{region}.{domain}/{bucket}/"),
    };
    Url::parse(&url).map_err(|_| ConfigError::new("JOURNAL_KEY_STORE", "makes no URL"))
}

fn header(text: &str) -> Result<HeaderValue, StoreError> {
    HeaderValue::from_str(text)
        .map_err(|_| StoreError::Denied("a credential holds characters that no header can".into()))
}

fn hmac_hex(key: &[u8], message: &[u8]) -> Result<String, StoreError> {
    use hmac::Mac;
    let mac = signing::HmacSha256::new_from_slice(key)
        .map_err(|_| StoreError::lasting("the request could not be signed"))?;
    let tag = mac.chain_update(message).finalize().into_bytes();
    Ok(tag.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn found(answer: Answer) -> Result<Fetched, StoreError> {
    if answer.too_long || answer.body.len() > MOST_BYTES {
        return Err(StoreError::NotAKey(
            "its object is too large for a Fernet key",
        ));
    }
    let tag = answer.headers.get(ETAG);
    Ok(Fetched::Object {
        tag: tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned())),
        content: answer.body,
    })
}

fn document(answer: &Answer) -> ErrorDocument {
    std::str::from_utf8(&answer.body)
        .ok()
        .and_then(|xml| quick_xml::de::from_str(xml).ok())
        .unwrap_or_default()
}

/// What an answer other than the object means
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn refusal(status: StatusCode, code: &str) -> StoreError {
    // A code is one of S3's words; anything else a server may write there is not repeated.
    let word = match code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true if !code.is_empty() => code,
        _ => "no code",
    };
    let said = format!("the store answered {} ({word})", status.as_u16());
    match (status.as_u16(), word) {
        (404, "NoSuchKey") => StoreError::Absent,
        (_, "RequestTimeTooSkewed") => StoreError::Denied(format!(
            "{said}: this machine's clock differs too much from the store's"
        )),
        (400, "ExpiredToken" | "InvalidToken") | (401 | 403, _) => StoreError::Denied(said),
        (429 | 500 | 502 | 503 | 504, _) => StoreError::passing(said),
        _ => StoreError::lasting(said),
    }
}
