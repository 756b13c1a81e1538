//! The HTTP agent: roots of trust, proxy, timeouts, pooled connections, no redirects.

use std::io::Read;
use std::ops::Deref;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, DefaultConnector};

use super::resolver::{Addresses, NoThread};
use super::wiping::WipingConnector;
use super::{Fault, StoreError};
use crate::config::{Aws, ConfigError, NoProxy};
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
    addresses: Addresses,
    /// The proxy for https, and who is reached without it.
    proxy: Option<(ureq::Proxy, &'static NoProxy)>,
}

impl Http {
    /// An agent with as many idle connections as there may be fetches.
    pub(super) fn new(aws: &'static Aws, idle: usize) -> Result<Self, ConfigError> {
        let proxy = proxy(aws)?.map(|proxy| (proxy, &aws.no_proxy));
        Self::with(aws, proxy, idle, Addresses::new())
    }

    /// An agent for a service of this machine's or its container's, which no proxy may come between.
    pub(super) fn direct(aws: &Aws) -> Result<Self, ConfigError> {
        Self::with(aws, None, 1, Addresses::new())
    }

    fn with(
        aws: &Aws,
        proxy: Option<(ureq::Proxy, &'static NoProxy)>,
        idle: usize,
        addresses: Addresses,
    ) -> Result<Self, ConfigError> {
        let tls = TlsConfig::builder().root_certs(roots(aws)?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .save_redirect_history(false)
            .proxy(None)
            .tls_config(tls)
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .max_idle_age(Duration::from_secs(15))
            .user_agent(concat!("sqlite-journal-crypt/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: Agent::with_parts(
                config,
                DefaultConnector::default().chain(WipingConnector),
                addresses.clone(),
            ),
            addresses,
            proxy,
        })
    }

    /// `HTTPS_PROXY` for https alone, and not for a host that `NO_PROXY` names. A region that is mended has another host.
    fn proxy_for(&self, uri: &Uri) -> Option<ureq::Proxy> {
        let (proxy, no_proxy) = self.proxy.as_ref()?;
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().or(Some(443));
        (is_https && !no_proxy.names(uri.host()?, port)).then(|| proxy.clone())
    }

    /// Sends `request` and reads at most `most` bytes of the answer's body before `deadline`.
    pub(super) fn send<B: Deref<Target = [u8]>>(
        &self,
        request: Request<B>,
        most: usize,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let answer = self.exchange(request, most, deadline);
        if let Err(StoreError::Unavailable {
            fault: Fault::Unreachable | Fault::Silent,
            ..
        }) = &answer
        {
            self.addresses.forget();
        }
        answer
    }

    fn exchange<B: Deref<Target = [u8]>>(
        &self,
        request: Request<B>,
        most: usize,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(StoreError::silent("no answer in time"));
        }
        let proxy = self.proxy_for(request.uri());
        let (parts, body) = request.into_parts();
        // A GET with an empty body would announce a body, and a PUT with none a chunked one.
        let sent = match body.is_empty() && parts.method != Method::PUT {
            true => self.agent.run(
                self.agent
                    .configure_request(Request::from_parts(parts, ()))
                    .timeout_global(Some(left))
                    .proxy(proxy)
                    .build(),
            ),
            false => self.agent.run(
                self.agent
                    .configure_request(Request::from_parts(parts, &body[..]))
                    .timeout_global(Some(left))
                    .proxy(proxy)
                    .build(),
            ),
        };
        let (parts, body) = sent.map_err(not_sent)?.into_parts();
        let announced = parts
            .headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        // What has no body may still say how long it would be (RFC 9110, 8.6); of a denial the status is enough.
        let compared = !matches!(parts.status.as_u16(), 204 | 304 | 401 | 403);
        let chunked = parts.headers.contains_key(http::header::TRANSFER_ENCODING);
        let mut buffer = SecretBytes::zeroed(most + 1).map_err(|_| StoreError::out_of_memory())?;
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut length = 0;
        while length <= most {
            match reader.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) => match not_read(&error) {
                    StoreError::Unavailable {
                        fault: Fault::Passing,
                        ..
                    } if !compared => break,
                    error => return Err(error),
                },
            }
        }
        let too_long = length > most;
        // A body that ends with its connection reads as complete however short it is.
        let whole = match announced {
            Some(announced) => too_long || length == announced,
            None => chunked || length == 0,
        };
        if compared && !whole {
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
        ureq::Error::Timeout(_) => StoreError::silent("no answer in time"),
        ureq::Error::HostNotFound => StoreError::unreachable("its host has no address"),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => StoreError::unreachable("connection refused"),
            ErrorKind::TimedOut => StoreError::silent("no answer in time"),
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
        ureq::Error::ConnectProxyFailed(said) if said.contains(" 407/") => {
            StoreError::unsigned("the proxy wants other credentials (407)")
        }
        ureq::Error::ConnectProxyFailed(_) => StoreError::unreachable("the proxy did not connect"),
        ureq::Error::Other(error) if error.is::<NoThread>() => {
            StoreError::NotSent("the system starts no thread")
        }
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
        true => StoreError::silent("no answer in time"),
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

/// `HTTPS_PROXY`.
fn proxy(aws: &Aws) -> Result<Option<ureq::Proxy>, ConfigError> {
    let proxy = aws.proxy.as_ref().map(|url| ureq::Proxy::new(url.expose()));
    proxy
        .transpose()
        .map_err(|_| ConfigError::new("HTTPS_PROXY", "not a proxy's URL"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_proxy_is_for_https_alone_and_decided_for_each_host() {
        let config = Config::of_variables(&[
            ("JOURNAL_KEY_STORE", "s3://journal"),
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("NO_PROXY", "journal.s3.eu-west-1.amazonaws.com"),
        ]);
        let aws: &'static Aws = &Box::leak(Box::new(config.unwrap())).aws;
        let (http, direct) = (Http::new(aws, 1).unwrap(), Http::direct(aws).unwrap());
        let chosen = |http: &Http, url: &str| http.proxy_for(&url.parse().unwrap()).is_some();
        // Before Amazon named the bucket's region, and after.
        assert!(chosen(&http, "https://journal.s3.us-east-1.amazonaws.com"));
        assert!(!chosen(&http, "https://journal.s3.eu-west-1.amazonaws.com"));
        assert!(!chosen(&http, "http://127.0.0.1:9000"));
        assert!(!chosen(
            &direct,
            "https://journal.s3.us-east-1.amazonaws.com"
        ));
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_looked_for_anew() {
        // A port that nobody listens on any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let addresses = Addresses::over(Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            vec![address]
        }));
        let http = Http::with(&Aws::default(), None, 1, addresses).unwrap();
        for look_ups in 1..=2 {
            let request = Request::get("http://s3.journal.test/")
                .body(&b""[..])
                .unwrap();
            let answer = http.send(request, 1, Instant::now() + Duration::from_secs(60));
            let error = answer.map(|_| ()).unwrap_err();
            assert_eq!(error, StoreError::unreachable("connection refused"));
            assert_eq!(asked.load(Ordering::SeqCst), look_ups);
        }
    }

    #[test]
    fn a_proxy_that_wants_other_credentials_is_told_from_one_that_cannot_connect() {
        let failed = |said: &str| not_sent(ureq::Error::ConnectProxyFailed(said.to_owned()));
        assert_eq!(
            failed("proxy server responded 407/407"),
            StoreError::unsigned("the proxy wants other credentials (407)")
        );
        for other in [
            "proxy server responded 503/503",
            "proxy server did not respond",
        ] {
            assert_eq!(
                failed(other),
                StoreError::unreachable("the proxy did not connect")
            );
        }
    }
}
