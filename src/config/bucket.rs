//! What stands after `s3://`: a bucket's name, or an access point's ARN.

use std::fmt;

use super::partition::Partition;
use super::region::is_region;

/// Where in S3 the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// A bucket by its name, or an access point by its alias.
    Named(String),
    /// An access point
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html>).
    AccessPoint {
        /// As it was given.
        arn: String,
        /// Name and account, as they stand in the host's name.
        label: String,
        /// Its region, which requests are signed for.
        region: String,
    },
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::AccessPoint { arn, .. } => f.write_str(arn),
        }
    }
}

impl Bucket {
    /// Reads it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_suffix('/').unwrap_or(text);
        match text.strip_prefix("arn:") {
            Some(parts) => Self::access_point(text, parts),
            None => Self::named(text),
        }
    }

    fn named(name: &str) -> Result<Self, &'static str> {
        // These names are hosts of other services, with other rules of signing.
        for (end, reason) in [
            (
                "--x-s3",
                "a directory bucket (S3 Express), which is not supported",
            ),
            (
                "--xa-s3",
                "an access point of a directory bucket (S3 Express), which is not supported",
            ),
            (
                ".mrap",
                "a multi-region access point, which is not supported",
            ),
            (
                "--op-s3",
                "an access point of S3 on Outposts, which is not supported",
            ),
            (
                "--ol-s3",
                "an access point of S3 Object Lambda, which is not supported",
            ),
        ] {
            if name.ends_with(end) {
                return Err(reason);
            }
        }
        let valid = (3..=255).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !name.starts_with('.')
            && !name.contains("..");
        match valid {
            true => Ok(Self::Named(name.to_owned())),
            false => Err("not a bucket's name after s3://"),
        }
    }

    /// `arn:aws:s3:region:account:accesspoint/name`; a colon may stand for the slash.
    fn access_point(arn: &str, parts: &str) -> Result<Self, &'static str> {
        const NONE: &str = "not the ARN of an access point after s3://";
        let mut parts = parts.splitn(5, ':');
        let mut part = || parts.next().ok_or(NONE);
        let (partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?);
        match service {
            "s3" => {}
            "s3-outposts" => {
                return Err("an access point of S3 on Outposts, which is not supported");
            }
            "s3-object-lambda" => {
                return Err("an access point of S3 Object Lambda, which is not supported");
            }
            _ => return Err(NONE),
        }
        if region.is_empty() && resource.ends_with(".mrap") {
            return Err("a multi-region access point, which is not supported");
        }
        let name = resource
            .strip_prefix("accesspoint")
            .and_then(|rest| rest.strip_prefix(['/', ':']))
            .ok_or(NONE)?;
        let is_name = (3..=50).contains(&name.len()) && is_region(name);
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if !is_name || !is_account || !is_region(region) || Partition::of(region).id != partition {
            return Err(NONE);
        }
        Ok(Self::AccessPoint {
            arn: arn.to_owned(),
            label: format!("{name}-{account}"),
            region: region.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_point_is_named_by_its_arn() {
        for arn in [
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/journal",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint:journal",
        ] {
            let bucket = Bucket::parse(&format!("{arn}/")).unwrap();
            let expected = Bucket::AccessPoint {
                arn: arn.to_owned(),
                label: "journal-123456789012".to_owned(),
                region: "eu-west-1".to_owned(),
            };
            assert_eq!(bucket, expected);
            assert_eq!(bucket.to_string(), arn);
        }
        assert!(
            Bucket::parse("arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/ap-1").is_ok()
        );
        for arn in [
            "arn:aws:s3:cn-north-1:123456789012:accesspoint/journal",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/journal/object/key",
            "arn:aws:s3:eu-west-1:12345678901:accesspoint/journal",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint.evil.example",
            "arn:aws:s3:evil.example/:123456789012:accesspoint/journal",
            "arn:aws:s3:::journal",
            "arn:aws:iam::123456789012:role/journal",
            "arn:",
        ] {
            let none = Err("not the ARN of an access point after s3://");
            assert_eq!(Bucket::parse(arn), none, "{arn}");
        }
    }

    #[test]
    fn what_other_services_answer_for_is_refused_by_its_name() {
        for (text, what) in [
            ("journal--use1-az4--x-s3", "a directory bucket (S3 Express)"),
            (
                "ap--use1-az4--xa-s3",
                "an access point of a directory bucket (S3 Express)",
            ),
            ("mfzwi23gnjvgw.mrap", "a multi-region access point"),
            (
                "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap",
                "a multi-region access point",
            ),
            (
                "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
                "a multi-region access point",
            ),
            ("ap-abc--op-s3", "an access point of S3 on Outposts"),
            (
                "arn:aws:s3-outposts:us-west-2:123456789012:outpost:op-01234567890123456:accesspoint:ap",
                "an access point of S3 on Outposts",
            ),
            ("ap-abc--ol-s3", "an access point of S3 Object Lambda"),
            (
                "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint:ap",
                "an access point of S3 Object Lambda",
            ),
        ] {
            let said = Bucket::parse(text).unwrap_err();
            assert_eq!(said, format!("{what}, which is not supported"), "{text}");
        }
        assert!(Bucket::parse("ap-abcdefghijk-s3alias").is_ok());
    }
}
