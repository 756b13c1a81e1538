//! The services near by that hand out credentials: a container's and an EC2 instance's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::endpoint::{address, endpoint, has_no_user, is_loopback};
use super::environment::{ConfigError, Environment, bad, seconds};
use super::profile::Profile;
use crate::secret::SecretString;

/// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
#[derive(Debug)]
pub struct Container {
    /// The URL of the credentials: https, or a host that only this machine reaches.
    pub url: Url,
    /// What is sent in the `Authorization` header.
    pub authorization: Authorization,
}

/// How a container says who it is.
#[derive(Debug)]
pub enum Authorization {
    /// Not at all.
    None,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Token(SecretString),
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, which is read for every request.
    File(PathBuf),
}

/// EC2's instance metadata service.
#[derive(Debug)]
pub struct Instance {
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`, or by `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE`.
    pub endpoint: Url,
    /// Whether the endpoint was given, which says that there is one; else the machine has to say so.
    pub is_given: bool,
    /// `AWS_METADATA_SERVICE_TIMEOUT`: for one request.
    pub timeout: Duration,
    /// Where the system tells what machine this is.
    pub system: PathBuf,
}

impl Container {
    /// Where a task of ECS finds its agent.
    const AGENT: &str = "http://169.254.170.2";
    /// The hosts besides loopback that plain HTTP may ask, all link-local
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).
    const HOSTS: [IpAddr; 3] = [
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    ];

    pub(super) fn of(environment: &Environment<'_>) -> Result<Option<Self>, ConfigError> {
        const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let url = if let Some(path) = environment.text(RELATIVE)? {
            if !path.starts_with('/') {
                return Err(bad(RELATIVE, "does not begin with a slash"));
            }
            Url::parse(&format!("{}{path}", Self::AGENT))
                .map_err(|_| bad(RELATIVE, "not a path"))?
        } else if let Some(url) = environment.text(FULL)? {
            let url = Url::parse(&url).map_err(|_| bad(FULL, "not a URL"))?;
            let is_near = is_loopback(&url) || Self::HOSTS.map(Some).contains(&address(&url));
            match url.scheme() {
                "https" => {}
                "http" if is_near => {}
                "http" => {
                    return Err(bad(
                        FULL,
                        "http:// to a host that is neither loopback nor a container agent's",
                    ));
                }
                _ => return Err(bad(FULL, "neither https:// nor http://")),
            }
            has_no_user(FULL, &url)?;
            url
        } else {
            return Ok(None);
        };
        let authorization = match environment.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")? {
            Some(path) => Authorization::File(path.into()),
            None => match environment.text("AWS_CONTAINER_AUTHORIZATION_TOKEN")? {
                Some(token) => Authorization::Token(token.into()),
                None => Authorization::None,
            },
        };
        Ok(Some(Self { url, authorization }))
    }
}

impl Instance {
    const IPV4: &str = "http://169.254.169.254";
    const IPV6: &str = "http://[fd00:ec2::254]";

    pub(super) fn of(
        environment: &Environment<'_>,
        profile: &Profile,
        allow_http: bool,
    ) -> Result<Option<Self>, ConfigError> {
        const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
        let disabled = environment.text("AWS_EC2_METADATA_DISABLED")?;
        if disabled.is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let setting = |variable, name| -> Result<Option<String>, ConfigError> {
            Ok(environment.text(variable)?.or_else(|| profile.text(name)))
        };
        let mut mode = setting(MODE, "ec2_metadata_service_endpoint_mode")?;
        // What the mode was called before.
        if mode.is_none()
            && setting("AWS_IMDS_USE_IPV6", "imds_use_ipv6")?
                .is_some_and(|word| word.eq_ignore_ascii_case("true"))
        {
            mode = Some("ipv6".to_owned());
        }
        let own = match mode {
            Some(mode) if mode.eq_ignore_ascii_case("ipv6") => Self::IPV6,
            Some(mode) if !mode.eq_ignore_ascii_case("ipv4") => {
                return Err(bad(MODE, "neither IPv4 nor IPv6"));
            }
            _ => Self::IPV4,
        };
        let given = setting(ENDPOINT, "ec2_metadata_service_endpoint")?;
        let address = given.as_deref().unwrap_or(own);
        // These two never leave the machine.
        let is_own = [Self::IPV4, Self::IPV6].contains(&address.trim_end_matches('/'));
        const TIMEOUT: &str = "AWS_METADATA_SERVICE_TIMEOUT";
        let timeout = setting(TIMEOUT, "metadata_service_timeout")?;
        let timeout = seconds(TIMEOUT, timeout.as_deref().unwrap_or("1"))?;
        if timeout.is_zero() {
            return Err(bad(TIMEOUT, "no time at all"));
        }
        Ok(Some(Self {
            endpoint: endpoint(ENDPOINT, address, allow_http || is_own)?,
            is_given: given.is_some(),
            timeout,
            system: "/sys".into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_s3 as read;

    #[test]
    fn a_container_s_credentials_come_over_https_or_from_near() {
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        let url = |variable, value| {
            read(&[(variable, value)])
                .map(|config| config.aws.container.unwrap().url.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            url(RELATIVE, "/v2/a?b"),
            Ok("http://169.254.170.2/v2/a?b".into())
        );
        assert!(url(RELATIVE, "@evil.example/").is_err());
        for near in [
            "https://credentials.example/a",
            "http://localhost:1234/a",
            "http://127.0.0.2/a",
            "http://[::1]/a",
            "http://169.254.170.2/v3/a",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert_eq!(url(FULL, near), Ok(near.to_owned()));
        }
        for (far, reason) in [
            (
                "http://169.254.169.254/a",
                "http:// to a host that is neither loopback nor a container agent's",
            ),
            (
                "http://localhost.example/a",
                "http:// to a host that is neither loopback nor a container agent's",
            ),
            (
                "http://169.254.170.2@evil.example/a",
                "http:// to a host that is neither loopback nor a container agent's",
            ),
            (
                "https://user@credentials.example/a",
                "holds a user or a password",
            ),
            ("file:///a", "neither https:// nor http://"),
            ("/a", "not a URL"),
        ] {
            assert_eq!(url(FULL, far), Err(format!("{FULL}: {reason}")), "{far}");
        }
        let both = read(&[(RELATIVE, "/a"), (FULL, "https://b/")]).unwrap();
        assert_eq!(
            both.aws.container.unwrap().url.as_str(),
            "http://169.254.170.2/a"
        );
    }

    #[test]
    fn the_instance_is_asked_where_it_always_is_or_where_it_is_said_to_be() {
        const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
        let instance = |variables: &[(&str, &str)]| {
            let instance = read(variables).unwrap().aws.instance?;
            Some((instance.endpoint.to_string(), instance.is_given))
        };
        let at = |url: &str, is_given| Some((url.to_owned(), is_given));
        assert_eq!(instance(&[]), at("http://169.254.169.254/", false));
        assert_eq!(
            instance(&[(MODE, "IPv6")]),
            at("http://[fd00:ec2::254]/", false)
        );
        assert_eq!(
            instance(&[("AWS_IMDS_USE_IPV6", "true")]),
            at("http://[fd00:ec2::254]/", false)
        );
        assert_eq!(
            instance(&[(ENDPOINT, "http://169.254.169.254"), (MODE, "IPv6")]),
            at("http://169.254.169.254/", true)
        );
        assert_eq!(
            instance(&[(ENDPOINT, "http://[::1]:1")]),
            at("http://[::1]:1/", true)
        );
        assert_eq!(
            instance(&[
                ("AWS_EC2_METADATA_DISABLED", "True"),
                (ENDPOINT, "http://[::1]")
            ]),
            None
        );
        assert!(read(&[(ENDPOINT, "http://10.0.0.1")]).is_err());
        assert!(read(&[(MODE, "both")]).is_err());
        assert!(read(&[("AWS_METADATA_SERVICE_TIMEOUT", "0")]).is_err());
    }
}
