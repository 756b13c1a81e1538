//! What the environment and the profile's `s3` block say of S3 alone
//! (<https://docs.aws.amazon.com/cli/latest/topic/s3-config.html>).

use super::environment::{ConfigError, bad};
use super::partition::Variant;
use super::settings::{Settings, truth};

/// How S3 is asked.
#[derive(Debug)]
pub struct S3Settings {
    /// `addressing_style`: where a bucket's name stands.
    pub addressing: Addressing,
    /// Which of S3's hosts are asked: `use_dualstack_endpoint` goes before the variable.
    pub variant: Variant,
    /// `AWS_S3_USE_ARN_REGION`: whether an access point may lie in another region than the one that is set.
    pub use_arn_region: bool,
}

/// Where a bucket's name stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the host of Amazon's, in the path of others'.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host.
    Virtual,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            addressing: Addressing::Auto,
            variant: Variant::default(),
            use_arn_region: true,
        }
    }
}

impl S3Settings {
    pub(super) fn read(settings: &Settings<'_>, variant: Variant) -> Result<Self, ConfigError> {
        const STYLE: &str = "s3.addressing_style of the AWS profile";
        const DUALSTACK: &str = "s3.use_dualstack_endpoint of the AWS profile";
        const ARN_REGION: &str = "AWS_S3_USE_ARN_REGION";
        refuse(settings)?;
        let of_block = |name: &str| settings.profile.text(&format!("s3.{name}"));
        let dualstack = truth(DUALSTACK, of_block("use_dualstack_endpoint"))?;
        let arn_region = settings.text(ARN_REGION, "s3_use_arn_region")?;
        let arn_region = arn_region.or_else(|| of_block("use_arn_region"));
        Ok(Self {
            addressing: match of_block("addressing_style").as_deref() {
                None | Some("auto") => Addressing::Auto,
                Some("path") => Addressing::Path,
                Some("virtual") => Addressing::Virtual,
                Some(_) => return Err(bad(STYLE, "neither auto, path nor virtual")),
            },
            variant: Variant {
                dualstack: dualstack.unwrap_or(variant.dualstack),
                ..variant
            },
            use_arn_region: truth(ARN_REGION, arn_region)?.unwrap_or(true),
        })
    }
}

/// What would change whom a GET asks, or how, and is not supported.
fn refuse(settings: &Settings<'_>) -> Result<(), ConfigError> {
    const NOT_SUPPORTED: &str = "not supported";
    const LEGACY: &str = "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT";
    let of_profile = |name: &str| settings.profile.text(name);
    let legacy = settings
        .text(LEGACY, "s3_us_east_1_regional_endpoint")?
        .or_else(|| of_profile("s3.us_east_1_regional_endpoint"));
    if legacy.is_some_and(|word| word.eq_ignore_ascii_case("legacy")) {
        return Err(bad(
            LEGACY,
            "legacy is not supported: S3 is asked in its region",
        ));
    }
    let accelerate = "s3.use_accelerate_endpoint of the AWS profile";
    if truth(accelerate, of_profile("s3.use_accelerate_endpoint"))? == Some(true) {
        return Err(bad(accelerate, NOT_SUPPORTED));
    }
    if of_profile("s3.signature_version").is_some_and(|version| version != "s3v4") {
        let version = "s3.signature_version of the AWS profile";
        return Err(bad(version, "only s3v4 is supported"));
    }
    for name in [
        "proxy_ca_bundle",
        "proxy_client_cert",
        "proxy_use_forwarding_for_https",
    ] {
        if of_profile(name).is_some() {
            return Err(bad(name, "of the AWS profile is not supported"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_s3 as read;
    use super::*;

    /// The settings that these variables and this profile make.
    fn with(variables: &[(&str, &str)], profile: &str) -> Result<S3Settings, String> {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("config");
        std::fs::write(&file, format!("[default]\n{profile}\n")).unwrap();
        let file = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
        read(&[variables, &file].concat())
            .map(|config| config.aws.s3)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_hosts_are_chosen_by_the_environment_then_the_profile_and_s3_s_block() {
        let variant = |variables: &[(&str, &str)], profile: &str| {
            let settings = with(variables, profile).unwrap();
            (settings.variant.fips, settings.variant.dualstack)
        };
        let both = [
            ("AWS_USE_FIPS_ENDPOINT", "True"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ];
        let in_profile = "use_fips_endpoint = true\nuse_dualstack_endpoint = true";
        assert_eq!(variant(&[], ""), (false, false));
        assert_eq!(variant(&both, ""), (true, true));
        assert_eq!(variant(&[], in_profile), (true, true));
        let neither = [
            ("AWS_USE_FIPS_ENDPOINT", "false"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "false"),
        ];
        assert_eq!(variant(&neither, in_profile), (false, false));
        let of_s3 = "s3 =\n  use_dualstack_endpoint = false";
        assert_eq!(variant(&both, of_s3), (true, false));
    }

    #[test]
    fn an_endpoint_of_one_s_own_has_no_variants_and_not_every_partition_has_all() {
        let refused = |variables: &[(&str, &str)]| with(variables, "").unwrap_err();
        let own = ("AWS_ENDPOINT_URL_S3", "https://minio.internal");
        assert_eq!(
            refused(&[own, ("AWS_USE_FIPS_ENDPOINT", "true")]),
            "AWS_USE_FIPS_ENDPOINT: not with an endpoint of your own"
        );
        assert_eq!(
            refused(&[own, ("AWS_USE_DUALSTACK_ENDPOINT", "true")]),
            "AWS_USE_DUALSTACK_ENDPOINT: not with an endpoint of your own"
        );
        assert_eq!(
            refused(&[
                ("AWS_REGION", "cn-north-1"),
                ("AWS_USE_FIPS_ENDPOINT", "true")
            ]),
            "AWS_USE_FIPS_ENDPOINT: S3 has no such endpoint in the region's partition"
        );
        assert_eq!(
            refused(&[("AWS_USE_FIPS_ENDPOINT", "yes")]),
            "AWS_USE_FIPS_ENDPOINT: neither true nor false"
        );
        for region in ["aws-global", "fips-us-gov-west-1", "us-gov-west-1-fips"] {
            assert!(refused(&[("AWS_REGION", region)]).contains("stands for no region"));
        }
    }

    #[test]
    fn where_the_bucket_s_name_stands_is_the_block_s_to_say() {
        let style = |style: &str| {
            let block = format!("s3 =\n  addressing_style = {style}");
            with(&[], &block).map(|settings| settings.addressing)
        };
        assert_eq!(style("auto"), Ok(Addressing::Auto));
        assert_eq!(style("path"), Ok(Addressing::Path));
        assert_eq!(style("virtual"), Ok(Addressing::Virtual));
        let neither = "s3.addressing_style of the AWS profile: neither auto, path nor virtual";
        assert_eq!(style("dns"), Err(neither.to_owned()));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        for (profile, reason) in [
            (
                "s3 =\n use_accelerate_endpoint = true",
                "s3.use_accelerate_endpoint of the AWS profile: not supported",
            ),
            (
                "s3 =\n us_east_1_regional_endpoint = legacy",
                "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT: legacy is not supported: S3 is asked in its region",
            ),
            (
                "s3 =\n signature_version = s3",
                "s3.signature_version of the AWS profile: only s3v4 is supported",
            ),
            (
                "proxy_ca_bundle = /ca.pem",
                "proxy_ca_bundle: of the AWS profile is not supported",
            ),
        ] {
            assert_eq!(with(&[], profile).unwrap_err(), reason);
        }
        let legacy = [("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "legacy")];
        assert!(with(&legacy, "").is_err());
        let harmless = "s3 =\n use_accelerate_endpoint = false\n signature_version = s3v4\n \
                        us_east_1_regional_endpoint = regional";
        assert!(with(&[], harmless).is_ok());
    }
}
