//! Signing in the `Authorization` header: a presigned URL in a proxy's log would be a key to whoever
//! reads it (AWS Signature Version 4,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>).

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use s3::Region;
use s3::signing;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

use crate::store::StoreError;
use crate::store::credentials::Credentials;

/// A request to `url`, all of whose headers are signed for `service` in `region`.
pub(super) fn sign<'a>(
    service: &str,
    method: Method,
    url: &Url,
    mut headers: HeaderMap,
    body: &'a [u8],
    credentials: &Credentials,
    region: &str,
) -> Result<Request<&'a [u8]>, StoreError> {
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
    let payload = hex(&Sha256::digest(body));
    headers.insert(HOST, header(&host)?);
    headers.insert("x-amz-date", header(&date)?);
    headers.insert("x-amz-content-sha256", header(&payload)?);
    if let Some(token) = &credentials.token {
        headers.insert("x-amz-security-token", secret_header(token.expose())?);
    }
    let scope = Scope {
        service,
        // A region by name would bring rust-s3's own idea of the host.
        region: Region::Custom {
            region: region.to_owned(),
            endpoint: host,
        },
        now,
    };
    let authorization = scope
        .authorization(&method, url, &headers, &payload, credentials)
        .ok_or_else(|| StoreError::lasting("the request could not be signed"))?;
    headers.insert(AUTHORIZATION, secret_header(&authorization)?);
    let mut request = Request::builder()
        .method(method)
        .uri(url.as_str())
        .body(body)
        .map_err(|_| StoreError::lasting("the endpoint makes no URL"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What a signature is good for. rust-s3's own is S3's alone.
struct Scope<'a> {
    service: &'a str,
    region: Region,
    now: OffsetDateTime,
}

impl Scope<'_> {
    fn authorization(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &str,
        credentials: &Credentials,
    ) -> Option<String> {
        let Self {
            service,
            region,
            now,
        } = self;
        let day = now.format(format_description!("[year][month][day]")).ok()?;
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let date = headers.get("x-amz-date")?.to_str().ok()?;
        let canonical = signing::canonical_request(method.as_str(), url, headers, payload).ok()?;
        let hash = hex(&Sha256::digest(canonical));
        let key = signing::signing_key(now, credentials.secret.expose(), region, service).ok()?;
        let signature = Hmac::<Sha256>::new_from_slice(&key)
            .ok()?
            .chain_update(format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}"))
            .finalize()
            .into_bytes();
        let (id, signed) = (&credentials.id, signing::signed_header_string(headers));
        let signature = hex(&signature);
        Some(format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={signed},Signature={signature}"
        ))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header's value.
pub(super) fn header(text: &str) -> Result<HeaderValue, StoreError> {
    HeaderValue::from_str(text)
        .map_err(|_| StoreError::lasting("a setting holds characters that no header can"))
}

/// A header's value that is not to be printed.
fn secret_header(text: &str) -> Result<HeaderValue, StoreError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        StoreError::Denied("the credentials hold characters that no header can".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}
