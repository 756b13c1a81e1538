//! The region's name, and what can be one.

use super::environment::{ConfigError, Environment, bad};
use super::profile::Profile;

/// The region of the environment, else of the profile.
pub(super) fn region(
    environment: &Environment<'_>,
    profile: &Profile,
) -> Result<Option<String>, ConfigError> {
    let named = [
        ("AWS_REGION", environment.text("AWS_REGION")?),
        (
            "AWS_DEFAULT_REGION",
            environment.text("AWS_DEFAULT_REGION")?,
        ),
        ("region of the AWS profile", profile.text("region")),
    ];
    for (variable, region) in named {
        match region {
            Some(region) if is_pseudo_region(&region) => {
                return Err(bad(
                    variable,
                    "a name that stands for no region: name the bucket's, and AWS_USE_FIPS_ENDPOINT=true for FIPS",
                ));
            }
            Some(region) if is_region(&region) => return Ok(Some(region)),
            Some(_) => return Err(bad(variable, "not a region's name")),
            None => {}
        }
    }
    Ok(None)
}

/// Whether `region` can be a region's name, `[a-z0-9-]+`: it becomes a part of a host's.
pub(crate) fn is_region(region: &str) -> bool {
    !region.is_empty()
        && region
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `aws-global`, `fips-us-gov-west-1`: some tools make hosts of these by tables of their own.
fn is_pseudo_region(region: &str) -> bool {
    region.starts_with("aws-") || region.starts_with("fips-") || region.ends_with("-fips")
}
