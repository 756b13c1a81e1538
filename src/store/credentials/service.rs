//! A service that hands out credentials, and what its answers mean.

use std::ops::Deref;
use std::time::{Duration, Instant};

use http::Request;

use super::document::MOST_BYTES;
use crate::secret::SecretBytes;
use crate::store::StoreError;
use crate::store::http::{Answer, Http};

pub(super) struct Service<'a> {
    /// As it is called in errors.
    name: &'static str,
    http: &'a Http,
    /// For one request.
    timeout: Duration,
}

impl<'a> Service<'a> {
    pub(super) fn new(name: &'static str, http: &'a Http, timeout: Duration) -> Self {
        Self {
            name,
            http,
            timeout,
        }
    }

    /// The answer to one request, whatever its status.
    pub(super) fn send<B: Deref<Target = [u8]>>(
        &self,
        request: Request<B>,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let answer = self.http.send(request, MOST_BYTES, deadline);
        let answer = answer.map_err(|error| self.named(error))?;
        match answer.too_long {
            true => Err(self.nonsense()),
            false => Ok(answer),
        }
    }

    /// A GET's or a PUT's request.
    pub(super) fn request(
        &self,
        method: http::Method,
        url: &url::Url,
        headers: &[(&'static str, &str)],
    ) -> Result<Request<SecretBytes>, StoreError> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        for (name, value) in headers {
            let mut value = http::HeaderValue::from_str(value)
                .map_err(|_| self.denied("was to be sent what no header can hold"))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        request
            .body(SecretBytes::copy_of(&[]).map_err(|_| StoreError::out_of_memory())?)
            .map_err(|_| self.nonsense())
    }

    /// What an answer without credentials means; `code` is the service's own word.
    pub(super) fn refusal(&self, answer: &Answer, code: &str) -> StoreError {
        let status = answer.status.as_u16();
        // What a service writes is repeated only where it is one word.
        let is_word = (1..=64).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        let said = match is_word {
            true => format!("{} answered {status} ({code})", self.name),
            false => format!("{} answered {status}", self.name),
        };
        match status {
            429 | 500..=599 => StoreError::passing(said),
            400..=499 => StoreError::Denied(said),
            _ => StoreError::lasting(said),
        }
    }

    pub(super) fn denied(&self, reason: &str) -> StoreError {
        StoreError::Denied(format!("{} {reason}", self.name))
    }

    /// An answer that is no credentials: half a deployment, most likely, and soon over.
    pub(super) fn nonsense(&self) -> StoreError {
        StoreError::passing(format_args!("{} gave no credentials", self.name))
    }

    fn named(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unavailable { reason, fault } => StoreError::Unavailable {
                reason: format!("{}: {reason}", self.name),
                fault,
            },
            other => other,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Aws;

    /// A service that nobody asks.
    pub(in super::super) fn service() -> Service<'static> {
        let http = Http::direct(&Aws::default()).unwrap();
        Service::new("the test", Box::leak(Box::new(http)), Duration::ZERO)
    }

    pub(in super::super) fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: SecretBytes::copy_of(body.as_bytes()).unwrap(),
            too_long: false,
        }
    }

    #[test]
    fn what_no_header_can_hold_is_refused_without_being_told() {
        let url = url::Url::parse("http://127.0.0.1/").unwrap();
        let request = service().request(http::Method::GET, &url, &[("authorization", "a\nb")]);
        assert_eq!(
            request.map(|_| ()).unwrap_err().to_string(),
            "the test was to be sent what no header can hold"
        );
        let request = service().request(http::Method::GET, &url, &[("authorization", "planted")]);
        assert!(!format!("{:?}", request.unwrap()).contains("planted"));
    }
}
