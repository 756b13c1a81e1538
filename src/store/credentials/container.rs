//! The credentials of an ECS task or an EKS pod
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).

use std::time::{Duration, Instant};

use http::Method;

use super::chain::Sources;
use super::service::Service;
use super::{Found, document};
use crate::config::metadata::{Authorization, Container};
use crate::secret::{SecretBytes, SecretString};
use crate::store::StoreError;

/// As the AWS command line has it.
const TIMEOUT: Duration = Duration::from_secs(2);
const MOST_TOKEN_BYTES: usize = 64 * 1024;

/// One GET, with the authorization as it is now.
pub(super) fn fetch(
    sources: &Sources,
    container: &Container,
    deadline: Instant,
) -> Result<Found, StoreError> {
    let service = Service::new(
        "the container's credentials service",
        sources.near()?,
        TIMEOUT,
    );
    let token = match &container.authorization {
        Authorization::None => None,
        Authorization::Token(token) => Some(token.clone()),
        Authorization::File(path) => Some(read_token(path).ok_or_else(|| {
            StoreError::Denied(
                "the file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names cannot be read".into(),
            )
        })?),
    };
    let mut headers = vec![("accept", "application/json")];
    if let Some(token) = &token {
        headers.push(("authorization", token.expose()));
    }
    let request = service.request(Method::GET, &container.url, &headers)?;
    let answer = service.send(request, deadline)?;
    document::parse(&service, "container", &answer)
}

/// The token in a file that others renew.
pub(super) fn read_token(path: &std::path::Path) -> Option<SecretString> {
    let bytes = SecretBytes::of_file(path, MOST_TOKEN_BYTES).ok()?;
    let token = std::str::from_utf8(&bytes).ok()?.trim();
    (!token.is_empty()).then(|| token.into())
}
