//! Where AWS's services are, other than at Amazon's own addresses.

use std::net::IpAddr;

use url::{Host, Url};

use super::environment::{ConfigError, Environment, bad};
use super::profile::Profile;

/// Where services are, other than at Amazon's own addresses
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
pub(super) struct Endpoints<'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) profile: &'a Profile,
    pub(super) allow_http: bool,
}

impl Endpoints<'_> {
    pub(super) fn of(
        &self,
        variable: &'static str,
        service: &str,
    ) -> Result<Option<Url>, ConfigError> {
        const IGNORE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
        let ignore = match self.environment.text(IGNORE)? {
            None => self.profile.text("ignore_configured_endpoint_urls"),
            ignore => ignore,
        };
        if ignore.is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        for variable in [variable, "AWS_ENDPOINT_URL"] {
            if let Some(url) = self.environment.text(variable)? {
                return endpoint(variable, &url, self.allow_http).map(Some);
            }
        }
        self.profile
            .endpoint(service)
            .map(|url| {
                endpoint(
                    "endpoint_url of the AWS profile",
                    url.expose(),
                    self.allow_http,
                )
            })
            .transpose()
    }
}

pub(super) fn endpoint(
    variable: &'static str,
    text: &str,
    allow_http: bool,
) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|_| bad(variable, "not a URL"))?;
    if url.host().is_none() {
        return Err(bad(variable, "a URL without a host"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) || allow_http => {}
        "http" => {
            return Err(bad(
                variable,
                "http:// to another machine needs JOURNAL_ALLOW_HTTP=1",
            ));
        }
        _ => return Err(bad(variable, "neither https:// nor http://")),
    }
    has_no_user(variable, &url)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(bad(variable, "has a path or a query"));
    }
    Ok(url)
}

pub(super) fn has_no_user(variable: &'static str, url: &Url) -> Result<(), ConfigError> {
    match url.username().is_empty() && url.password().is_none() {
        true => Ok(()),
        false => Err(bad(variable, "holds a user or a password")),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|address| address.is_loopback())
}

pub(super) fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_s3 as read;

    #[test]
    fn plain_http_is_for_loopback_unless_allowed() {
        let endpoint = |url, allowed| {
            read(&[
                ("AWS_ENDPOINT_URL_S3", url),
                ("JOURNAL_ALLOW_HTTP", allowed),
            ])
            .map(|config| config.aws.endpoint.unwrap().to_string())
        };
        for url in [
            "http://127.0.0.1:9000/",
            "http://localhost/",
            "http://[::1]:80/",
        ] {
            assert!(endpoint(url, "0").is_ok(), "{url}");
        }
        assert_eq!(
            endpoint("http://minio.internal:9000", "0")
                .unwrap_err()
                .to_string(),
            "AWS_ENDPOINT_URL_S3: http:// to another machine needs JOURNAL_ALLOW_HTTP=1"
        );
        assert!(endpoint("http://minio.internal:9000", "1").is_ok());
        assert!(endpoint("https://minio.internal:9000", "0").is_ok());
        for url in [
            "ftp://127.0.0.1",
            "https://u:p@host",
            "https://host/path",
            "nonsense",
        ] {
            assert!(endpoint(url, "1").is_err(), "{url}");
        }
    }
}
