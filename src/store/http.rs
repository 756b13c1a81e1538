//! The HTTP agent: roots of trust, proxy, timeouts, pooled connections, no redirects.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, DefaultConnector, NextTimeout};
use url::Url;

use super::StoreError;
use super::wiping::WipingConnector;
use crate::config::{Aws, ConfigError};
use crate::secret::SecretBytes;

/// An answer whose body was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: SecretBytes,
    /// Whether the body was longer than what was asked for; its rest was not read.
    pub(super) too_long: bool,
}

/// One pool of connections for all threads; it starts none of its own.
pub(super) struct Http {
    agent: Agent,
}

impl Http {
    /// An agent for requests to the host of `endpoint`, with as many idle connections as there may be
    /// fetches.
    pub(super) fn new(aws: &Aws, endpoint: &Url, idle: usize) -> Result<Self, ConfigError> {
        Self::with(aws, proxy(aws, endpoint)?, idle)
    }

    /// An agent for a service of this machine's or its container's, which no proxy may come between.
    pub(super) fn direct(aws: &Aws) -> Result<Self, ConfigError> {
        Self::with(aws, None, 1)
    }

    fn with(aws: &Aws, proxy: Option<ureq::Proxy>, idle: usize) -> Result<Self, ConfigError> {
        let tls = TlsConfig::builder().root_certs(roots(aws)?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .save_redirect_history(false)
            .proxy(proxy)
            .tls_config(tls)
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .max_idle_age(Duration::from_secs(15))
            .user_agent(concat!("sqlite-journal-crypt/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = CachingResolver::default();
        Ok(Self {
            agent: Agent::with_parts(
                config,
                DefaultConnector::default().chain(WipingConnector),
                resolver,
            ),
        })
    }

    /// Sends `request` and reads at most `most` bytes of the answer's body before `deadline`.
    pub(super) fn send<B: Deref<Target = [u8]>>(
        &self,
        request: Request<B>,
        most: usize,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(StoreError::unreachable("no answer in time"));
        }
        let (parts, body) = request.into_parts();
        // A GET with an empty body would announce a body, and a PUT with none a chunked one.
        let sent = match body.is_empty() && parts.method != Method::PUT {
            true => self.agent.run(
                self.agent
                    .configure_request(Request::from_parts(parts, ()))
                    .timeout_global(Some(left))
                    .build(),
            ),
            false => self.agent.run(
                self.agent
                    .configure_request(Request::from_parts(parts, &body[..]))
                    .timeout_global(Some(left))
                    .build(),
            ),
        };
        let (parts, body) = sent.map_err(not_sent)?.into_parts();
        let announced = parts
            .headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let chunked = parts.headers.contains_key(http::header::TRANSFER_ENCODING);
        let mut buffer =
            SecretBytes::zeroed(most + 1).map_err(|_| StoreError::passing("out of memory"))?;
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut length = 0;
        while length <= most {
            match reader.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) => return Err(not_read(&error)),
            }
        }
        let too_long = length > most;
        // A body that ends with its connection reads as complete however short it is.
        let whole = match announced {
            Some(announced) => too_long || length == announced,
            None => chunked || length == 0,
        };
        if !whole {
            return Err(StoreError::passing("its answer was cut short"));
        }
        buffer.narrow(0..length.min(most));
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: buffer,
            too_long,
        })
    }
}

fn not_sent(error: ureq::Error) -> StoreError {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(_) => StoreError::unreachable("no answer in time"),
        ureq::Error::HostNotFound => StoreError::unreachable("its host has no address"),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => StoreError::unreachable("connection refused"),
            ErrorKind::TimedOut => StoreError::unreachable("no answer in time"),
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => {
                StoreError::passing("the connection was closed before the answer")
            }
            // What rustls refuses comes as an I/O error of the handshake.
            ErrorKind::InvalidData => StoreError::unreachable("no trusted TLS connection"),
            kind => StoreError::unreachable(format_args!("no connection ({kind})")),
        },
        ureq::Error::ConnectionFailed => StoreError::unreachable("no connection"),
        ureq::Error::ConnectProxyFailed(_) => StoreError::unreachable("the proxy did not connect"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
            StoreError::unreachable("no trusted TLS connection")
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            StoreError::lasting("its answer was not HTTP")
        }
        ureq::Error::LargeResponseHeader(..) => {
            StoreError::lasting("its answer's header is too large")
        }
        _ => StoreError::unreachable("no connection"),
    }
}

fn not_read(error: &std::io::Error) -> StoreError {
    let timed_out = error.kind() == std::io::ErrorKind::TimedOut
        || matches!(
            error
                .get_ref()
                .and_then(|e| e.downcast_ref::<ureq::Error>()),
            Some(ureq::Error::Timeout(_))
        );
    match timed_out {
        true => StoreError::unreachable("no answer in time"),
        false => StoreError::passing("its answer was cut short"),
    }
}

/// `AWS_CA_BUNDLE`'s certificates and no others, else those the platform trusts.
fn roots(aws: &Aws) -> Result<RootCerts, ConfigError> {
    const VARIABLE: &str = "AWS_CA_BUNDLE";
    let Some(path) = &aws.ca_bundle else {
        return Ok(RootCerts::PlatformVerifier);
    };
    let pem = std::fs::read(path).map_err(|_| ConfigError::new(VARIABLE, "cannot be read"))?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(ConfigError::new(VARIABLE, "holds no certificate")),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

/// The proxy for `endpoint`: `HTTPS_PROXY` for https alone, and not for a host that `NO_PROXY` names.
fn proxy(aws: &Aws, endpoint: &Url) -> Result<Option<ureq::Proxy>, ConfigError> {
    let host = endpoint.host_str().unwrap_or_default();
    match &aws.proxy {
        Some(proxy) if endpoint.scheme() == "https" && !bypasses(host, &aws.no_proxy) => {
            ureq::Proxy::new(proxy.expose())
                .map(Some)
                .map_err(|_| ConfigError::new("HTTPS_PROXY", "not a proxy's URL"))
        }
        _ => Ok(None),
    }
}

/// Whether a `NO_PROXY` list names `host`: `*`, the host itself, or a domain that it lies in.
fn bypasses(host: &str, list: &str) -> bool {
    list.split(',').map(str::trim).any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*"
            || (!domain.is_empty()
                && host.len() >= domain.len()
                && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain)
                && (host.len() == domain.len() || host[..host.len() - domain.len()].ends_with('.')))
    })
}

/// Remembers addresses for a while: with a timeout set, ureq's own resolver starts a thread for every
/// request.
#[derive(Debug, Default)]
struct CachingResolver {
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
    system: DefaultResolver,
}

impl CachingResolver {
    const REMEMBERED: Duration = Duration::from_secs(30);

    fn lookup(&self, authority: &str) -> Option<Vec<SocketAddr>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, addresses) = known.get(authority)?;
        (since.elapsed() < Self::REMEMBERED).then(|| addresses.clone())
    }
}

impl Resolver for CachingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let authority = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |a| a.as_str())
        );
        let mut resolved = self.empty();
        if let Some(addresses) = self.lookup(&authority) {
            addresses
                .into_iter()
                .for_each(|address| resolved.push(address));
            return Ok(resolved);
        }
        // A name that the system cannot look up comes as an I/O error of no kind.
        let found = self.system.resolve(uri, config, timeout);
        let found = found.map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(authority, (Instant::now(), found.to_vec()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        for (list, host, expected) in [
            ("", "s3.amazonaws.com", false),
            ("*", "s3.amazonaws.com", true),
            ("amazonaws.com", "s3.amazonaws.com", true),
            (".amazonaws.com", "s3.Amazonaws.com", true),
            ("*.amazonaws.com", "s3.amazonaws.com", true),
            ("aws.com", "s3.amazonaws.com", false),
            ("example.org, s3.amazonaws.com", "s3.amazonaws.com", true),
            ("s3.amazonaws.com.evil", "s3.amazonaws.com", false),
        ] {
            assert_eq!(bypasses(host, list), expected, "{list} {host}");
        }
    }

    #[test]
    fn the_proxy_is_for_https_alone() {
        let aws = Aws {
            proxy: Some("http://proxy:3128".to_owned().into()),
            ..Aws::default()
        };
        let chosen = |url: &str| proxy(&aws, &Url::parse(url).unwrap()).unwrap().is_some();
        assert!(chosen("https://s3.amazonaws.com"));
        assert!(!chosen("http://127.0.0.1:9000"));
    }
}
