//! Where requests for a bucket go: Amazon's host or another's, with the bucket's name in it or in the path.

use url::{Host, Url};

use crate::config::partition::s3_host;
use crate::config::s3::Addressing;
use crate::config::{Aws, Bucket, ConfigError};

const VARIABLE: &str = "JOURNAL_KEY_STORE";

/// Scheme, host and, where the bucket is no part of it, the bucket; the path ends with a slash.
pub(super) fn origin(aws: &Aws, bucket: &Bucket, region: &str) -> Result<Url, ConfigError> {
    let (service, label) = match bucket {
        Bucket::Named(name) => ("s3", name),
        Bucket::AccessPoint { label, .. } => ("s3-accesspoint", label),
    };
    let no_url = |_| ConfigError::new(VARIABLE, "makes no URL");
    let host = match &aws.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let host = s3_host(service, region, aws.s3.variant);
            Url::parse(&format!("https://{host}/")).map_err(no_url)?
        }
    };
    let has_name = matches!(host.host(), Some(Host::Domain(_)));
    let is_label = match (bucket, aws.s3.addressing) {
        (Bucket::AccessPoint { .. }, _) if has_name => true,
        (Bucket::AccessPoint { .. }, _) => {
            let reason =
                "an access point is a part of the host's name, and the endpoint is an address";
            return Err(ConfigError::new(VARIABLE, reason));
        }
        (_, Addressing::Path) => false,
        (_, Addressing::Auto) => aws.endpoint.is_none() && fits_a_host(label),
        (_, Addressing::Virtual) => has_name && fits_a_host(label),
    };
    let scheme = host.scheme();
    let authority = &host[url::Position::BeforeHost..url::Position::AfterPort];
    let url = match is_label {
        true => format!("{scheme}://{label}.{authority}/"),
        false => format!("{scheme}://{authority}/{label}/"),
    };
    Url::parse(&url).map_err(no_url)
}

/// The region that requests for `bucket` are first signed for.
pub(super) fn first_region(aws: &Aws, bucket: &Bucket) -> Result<String, ConfigError> {
    match bucket {
        Bucket::AccessPoint { region, .. } if !aws.s3.use_arn_region && *region != aws.region() => {
            let reason = "false, and the access point lies in another region";
            Err(ConfigError::new("AWS_S3_USE_ARN_REGION", reason))
        }
        Bucket::AccessPoint { region, .. } => Ok(region.clone()),
        Bucket::Named(_) => Ok(aws.region().to_owned()),
    }
}

/// Whether a bucket's name can be one label of a host's that a certificate covers.
fn fits_a_host(bucket: &str) -> bool {
    bucket.len() <= 63
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::partition::Variant;
    use crate::config::s3::S3Settings;

    fn named(name: &str) -> Bucket {
        Bucket::Named(name.to_owned())
    }

    fn access_point() -> Bucket {
        Bucket::AccessPoint {
            arn: "arn".to_owned(),
            label: "ap-123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
        }
    }

    fn asked(bucket: &Bucket, endpoint: Option<&str>, s3: S3Settings) -> String {
        let aws = Aws {
            endpoint: endpoint.map(|url| Url::parse(url).unwrap()),
            s3,
            ..Aws::default()
        };
        origin(&aws, bucket, "eu-west-1").map_or_else(|e| e.to_string(), |url| url.to_string())
    }

    fn styled(addressing: Addressing) -> S3Settings {
        S3Settings {
            addressing,
            ..S3Settings::default()
        }
    }

    #[test]
    fn amazon_is_addressed_by_host_and_others_by_path_unless_told_otherwise() {
        use Addressing::{Auto, Path, Virtual};
        let own = Some("https://minio.internal:9000");
        let address = Some("http://127.0.0.1:9000");
        for (bucket, endpoint, style, expected) in [
            (
                "journal",
                None,
                Auto,
                "https://journal.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "journal",
                None,
                Path,
                "https://s3.eu-west-1.amazonaws.com/journal/",
            ),
            (
                "journal",
                None,
                Virtual,
                "https://journal.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "my.journal",
                None,
                Auto,
                "https://s3.eu-west-1.amazonaws.com/my.journal/",
            ),
            (
                "my.journal",
                None,
                Virtual,
                "https://s3.eu-west-1.amazonaws.com/my.journal/",
            ),
            (
                "journal-",
                None,
                Auto,
                "https://s3.eu-west-1.amazonaws.com/journal-/",
            ),
            ("journal", own, Auto, "https://minio.internal:9000/journal/"),
            ("journal", own, Path, "https://minio.internal:9000/journal/"),
            (
                "journal",
                own,
                Virtual,
                "https://journal.minio.internal:9000/",
            ),
            (
                "journal",
                address,
                Virtual,
                "http://127.0.0.1:9000/journal/",
            ),
        ] {
            let found = asked(&named(bucket), endpoint, styled(style));
            assert_eq!(found, expected, "{bucket} {endpoint:?} {style:?}");
        }
        let s3 = S3Settings {
            variant: Variant {
                fips: true,
                dualstack: true,
            },
            ..S3Settings::default()
        };
        assert_eq!(
            asked(&named("journal"), None, s3),
            "https://journal.s3-fips.dualstack.eu-west-1.amazonaws.com/"
        );
    }

    #[test]
    fn an_access_point_is_a_part_of_the_host_s_name() {
        let at = |endpoint| asked(&access_point(), endpoint, styled(Addressing::Path));
        assert_eq!(
            at(None),
            "https://ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/"
        );
        assert_eq!(
            at(Some(
                "https://accesspoint.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"
            )),
            "https://ap-123456789012.accesspoint.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com/"
        );
        assert_eq!(
            at(Some("http://127.0.0.1:9000")),
            "JOURNAL_KEY_STORE: an access point is a part of the host's name, and the endpoint is an address"
        );
    }

    #[test]
    fn an_access_point_s_region_is_its_own_unless_that_is_not_allowed() {
        let mut aws = Aws::default();
        let first = |aws: &Aws| first_region(aws, &access_point()).map_err(|e| e.to_string());
        assert_eq!(first(&aws).as_deref(), Ok("eu-west-1"));
        assert_eq!(first_region(&aws, &named("b")).as_deref(), Ok("us-east-1"));
        aws.s3.use_arn_region = false;
        assert_eq!(
            first(&aws).unwrap_err(),
            "AWS_S3_USE_ARN_REGION: false, and the access point lies in another region"
        );
        aws.region = Some("eu-west-1".to_owned());
        assert_eq!(first(&aws).as_deref(), Ok("eu-west-1"));
    }
}
