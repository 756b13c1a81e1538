//! How to reach AWS: what its command line reads from the environment and the profile, plus our own
//! `JOURNAL_BUCKET_OWNER`.

use std::path::PathBuf;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::endpoint::Endpoints;
use super::environment::{ConfigError, Environment, bad};
use super::metadata::{Container, Instance};
use super::no_proxy::NoProxy;
use super::partition::{Partition, Variant};
use super::profile::ProfileFiles;
use super::region::region;
use super::s3::S3Settings;
use super::settings::Settings;
use crate::secret::SecretString;

const DEFAULT_REGION: &str = "us-east-1";
const FIPS: &str = "AWS_USE_FIPS_ENDPOINT";
const DUALSTACK: &str = "AWS_USE_DUALSTACK_ENDPOINT";

/// What decides where requests go and whose they are.
#[derive(Debug, Default)]
pub struct Aws {
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's `region`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or the profile's for S3.
    pub endpoint: Option<Url>,
    /// `AWS_ENDPOINT_URL_STS`, `AWS_ENDPOINT_URL`, or the profile's for STS.
    pub sts_endpoint: Option<Url>,
    /// `AWS_ENDPOINT_URL_SSO`, `AWS_ENDPOINT_URL`, or the profile's for IAM Identity Center.
    pub sso_endpoint: Option<Url>,
    /// Which of Amazon's hosts are asked.
    pub variant: Variant,
    /// What is S3's alone.
    pub s3: S3Settings,
    /// `AWS_STS_REGIONAL_ENDPOINTS=legacy`: STS of the oldest regions is the one for all of them.
    pub global_sts: bool,
    /// `AWS_CA_BUNDLE`, the profile's `ca_bundle`, `REQUESTS_CA_BUNDLE`: a PEM file of the only roots to trust.
    pub ca_bundle: Option<PathBuf>,
    /// `HTTPS_PROXY`, an `http://` or `https://` proxy; it may hold a password.
    pub proxy: Option<SecretString>,
    /// `NO_PROXY`: who is reached without it.
    pub no_proxy: NoProxy,
    /// `JOURNAL_BUCKET_OWNER`: the account that must own the bucket.
    pub bucket_owner: Option<String>,
    /// Credentials of the environment.
    pub keys: Option<Keys>,
    /// The shared files, which are read again whenever credentials are looked for.
    pub profile: ProfileFiles,
    /// A role to assume with a token of someone else's.
    pub web_identity: WebIdentity,
    /// The service that hands out a container's credentials.
    pub container: Option<Container>,
    /// The service that hands out an EC2 instance's; `None` where it must not be asked.
    pub instance: Option<Instance>,
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary ones, `AWS_SESSION_TOKEN`.
#[derive(Debug)]
pub struct Keys {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: SecretString,
    /// The session token.
    pub token: Option<SecretString>,
    /// `AWS_CREDENTIAL_EXPIRATION`: when they end.
    pub expiration: Option<OffsetDateTime>,
}

/// `AWS_WEB_IDENTITY_TOKEN_FILE` and what goes with it; what is not set may be the profile's.
#[derive(Debug, Default)]
pub struct WebIdentity {
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`: where the token is, now and after it was renewed.
    pub token_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN`.
    pub role: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub session: Option<String>,
}

impl Aws {
    /// The region to begin with; Amazon names another where the bucket lies elsewhere.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(DEFAULT_REGION)
    }

    /// Reads the environment and the profile. Only where S3 is asked for keys: elsewhere these are settings of other
    /// programs, which may hold what is not for us.
    pub(super) fn read(
        environment: &Environment<'_>,
        allow_http: bool,
    ) -> Result<Self, ConfigError> {
        let files = ProfileFiles::of(environment)?;
        let profile = files.read()?;
        let profile = profile.profile(profile.name());
        let endpoints = Endpoints {
            environment,
            profile: &profile,
            allow_http,
        };
        let either = |upper, lower| match environment.text(lower) {
            Ok(None) => environment.text(upper),
            found => found,
        };
        let proxy = either("HTTPS_PROXY", "https_proxy")?;
        if proxy.as_deref().is_some_and(|proxy| !is_http_proxy(proxy)) {
            return Err(bad("HTTPS_PROXY", "not an http:// or https:// proxy"));
        }
        let mut ca_bundle = environment.text("AWS_CA_BUNDLE")?;
        if ca_bundle.is_none() {
            ca_bundle = profile.text("ca_bundle");
        }
        if ca_bundle.is_none() {
            ca_bundle = environment.text("REQUESTS_CA_BUNDLE")?;
        }
        let settings = Settings {
            environment,
            profile: &profile,
        };
        let variant = Variant {
            fips: settings.is_true(FIPS, "use_fips_endpoint")?,
            dualstack: settings.is_true(DUALSTACK, "use_dualstack_endpoint")?,
        };
        let s3 = S3Settings::read(&settings, variant)?;
        let region = region(environment, &profile)?;
        let endpoint = endpoints.of("AWS_ENDPOINT_URL_S3", "s3")?;
        let sso_endpoint = endpoints.of("AWS_ENDPOINT_URL_SSO", "sso")?;
        let sts_endpoint = endpoints.of("AWS_ENDPOINT_URL_STS", "sts")?;
        let partition = Partition::of(region.as_deref().unwrap_or(DEFAULT_REGION));
        // As the AWS command line has it: nobody can tell whether an endpoint of one's own is one of these.
        for (endpoint, variant) in [
            (&endpoint, s3.variant),
            (&sts_endpoint, variant),
            (&sso_endpoint, variant),
        ] {
            match endpoint {
                Some(_) if variant.fips => {
                    return Err(bad(FIPS, "not with an endpoint of your own"));
                }
                Some(_) if variant.dualstack => {
                    return Err(bad(DUALSTACK, "not with an endpoint of your own"));
                }
                _ => {}
            }
        }
        if endpoint.is_none() && s3.variant.fips && !partition.has_s3_fips() {
            return Err(bad(
                FIPS,
                "S3 has no such endpoint in the region's partition",
            ));
        }
        Ok(Self {
            region,
            endpoint,
            sts_endpoint,
            sso_endpoint,
            variant,
            s3,
            global_sts: match settings
                .text("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints")?
                .as_deref()
            {
                None | Some("regional") => false,
                Some("legacy") => true,
                Some(_) => {
                    return Err(bad(
                        "AWS_STS_REGIONAL_ENDPOINTS",
                        "neither regional nor legacy",
                    ));
                }
            },
            ca_bundle: ca_bundle.map(PathBuf::from),
            proxy: proxy.map(Into::into),
            no_proxy: NoProxy::of(&either("NO_PROXY", "no_proxy")?.unwrap_or_default()),
            bucket_owner: match environment.text("JOURNAL_BUCKET_OWNER")? {
                Some(owner) if owner.bytes().all(|b| b.is_ascii_alphanumeric()) => Some(owner),
                Some(_) => return Err(bad("JOURNAL_BUCKET_OWNER", "not an account's id")),
                None => None,
            },
            keys: Keys::of(environment)?,
            web_identity: WebIdentity {
                token_file: environment
                    .text("AWS_WEB_IDENTITY_TOKEN_FILE")?
                    .map(PathBuf::from),
                role: environment.text("AWS_ROLE_ARN")?,
                session: environment.text("AWS_ROLE_SESSION_NAME")?,
            },
            container: Container::of(environment)?,
            instance: Instance::of(environment, &profile, allow_http)?,
            profile: files,
        })
    }
}

impl Keys {
    fn of(environment: &Environment<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(id) = environment.text("AWS_ACCESS_KEY_ID")? else {
            return Ok(None);
        };
        let Some(secret) = environment.text("AWS_SECRET_ACCESS_KEY")? else {
            return Err(bad(
                "AWS_SECRET_ACCESS_KEY",
                "missing beside AWS_ACCESS_KEY_ID",
            ));
        };
        let mut token = environment.text("AWS_SESSION_TOKEN")?;
        if token.is_none() {
            token = environment.text("AWS_SECURITY_TOKEN")?;
        }
        let expiration = environment
            .text("AWS_CREDENTIAL_EXPIRATION")?
            .map(|text| {
                OffsetDateTime::parse(&text, &Rfc3339)
                    .map_err(|_| bad("AWS_CREDENTIAL_EXPIRATION", "not a date and time"))
            })
            .transpose()?;
        Ok(Some(Self {
            id,
            secret: secret.into(),
            token: token.map(Into::into),
            expiration,
        }))
    }
}

fn is_http_proxy(proxy: &str) -> bool {
    match proxy.split_once("://") {
        None => !proxy.is_empty(),
        Some((scheme, rest)) => {
            (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
                && !rest.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_s3 as read;
    use super::*;

    #[test]
    fn debug_output_shows_no_credential() {
        let config = read(&[
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "planted-secret"),
            ("AWS_SESSION_TOKEN", "planted-token"),
            ("HTTPS_PROXY", "http://user:planted-password@proxy:3128"),
        ])
        .unwrap();
        assert!(!format!("{config:?}").contains("planted"));
    }

    #[test]
    fn the_profile_stands_behind_the_environment() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config");
        std::fs::write(
            &file,
            "[default]\nregion = eu-west-1\nendpoint_url = https://all.internal\nservices = s\n\
             ca_bundle = /ca.pem\n[services s]\nsts =\n  endpoint_url = https://sts.internal\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let aws = |more: &[(&str, &str)]| {
            let store = [
                ("JOURNAL_KEY_STORE", "s3://bucket"),
                ("AWS_CONFIG_FILE", file),
            ];
            let aws = read(&[&store, more].concat()).unwrap().aws;
            let url = |url: Option<Url>| url.map_or_else(String::new, |url| url.to_string());
            (
                aws.region.unwrap_or_default(),
                url(aws.endpoint),
                url(aws.sts_endpoint),
                aws.ca_bundle.unwrap_or_default().display().to_string(),
            )
        };
        let expected = |region: &str, s3: &str, sts: &str, ca: &str| {
            (region.into(), s3.into(), sts.into(), ca.into())
        };
        assert_eq!(
            aws(&[]),
            expected(
                "eu-west-1",
                "https://all.internal/",
                "https://sts.internal/",
                "/ca.pem"
            )
        );
        assert_eq!(
            aws(&[
                ("AWS_DEFAULT_REGION", "eu-north-1"),
                ("AWS_ENDPOINT_URL", "https://env.internal"),
                ("AWS_CA_BUNDLE", "/env.pem"),
            ]),
            expected(
                "eu-north-1",
                "https://env.internal/",
                "https://env.internal/",
                "/env.pem"
            )
        );
        assert_eq!(
            aws(&[
                ("AWS_REGION", "us-west-2"),
                ("AWS_DEFAULT_REGION", "eu-north-1"),
                ("AWS_ENDPOINT_URL_S3", "https://s3.env"),
            ]),
            expected(
                "us-west-2",
                "https://s3.env/",
                "https://sts.internal/",
                "/ca.pem"
            )
        );
        assert_eq!(
            aws(&[
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
                ("AWS_ENDPOINT_URL_S3", "https://s3.env"),
            ]),
            expected("eu-west-1", "", "", "/ca.pem")
        );
        assert_eq!(aws(&[("REQUESTS_CA_BUNDLE", "/requests.pem")]).3, "/ca.pem");
        // A directory of keys has nothing to do with it.
        let elsewhere = read(&[
            ("JOURNAL_KEY_STORE", "file:///srv/keys"),
            ("AWS_CONFIG_FILE", file),
        ]);
        assert_eq!(elsewhere.unwrap().aws.region, None);
    }

    #[test]
    fn credentials_of_the_environment_may_say_when_they_end() {
        let keys = |expiration: &str| {
            read(&[
                ("AWS_ACCESS_KEY_ID", "AK"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_SECURITY_TOKEN", "old name"),
                ("AWS_CREDENTIAL_EXPIRATION", expiration),
            ])
            .map(|config| config.aws.keys.unwrap())
        };
        let keys_until = keys("2026-01-02T03:04:05Z").unwrap();
        assert_eq!(
            keys_until.expiration.unwrap().unix_timestamp(),
            1_767_323_045
        );
        assert_eq!(keys_until.token.unwrap().expose(), "old name");
        assert_eq!(keys("").unwrap().expiration, None);
        assert!(keys("tomorrow").is_err());
    }
}
