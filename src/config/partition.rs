//! AWS's partitions: which regions lie in which, and how the names of its hosts end there.
//!
//! The table is `partitions.json` of botocore 1.44.8 (<https://pypi.org/project/botocore/>), the AWS command line's own;
//! which hosts its rules make of it is written down in `endpoints.json` beside this file, for the tests.

/// Regions whose hosts' names end alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// As it stands in ARNs.
    pub id: &'static str,
    /// How the names of its regions begin.
    regions: &'static str,
    /// How its hosts' names end.
    suffix: &'static str,
    /// How those end that have IPv6 addresses too; S3's end as the others.
    dualstack: &'static str,
}

#[rustfmt::skip]
const PARTITIONS: [Partition; 8] = [
    Partition { id: "aws-cn",     regions: "cn-",      suffix: "amazonaws.com.cn", dualstack: "api.amazonwebservices.com.cn" },
    Partition { id: "aws-eusc",   regions: "eusc-",    suffix: "amazonaws.eu",     dualstack: "api.amazonwebservices.eu" },
    Partition { id: "aws-iso",    regions: "us-iso-",  suffix: "c2s.ic.gov",       dualstack: "api.aws.ic.gov" },
    Partition { id: "aws-iso-b",  regions: "us-isob-", suffix: "sc2s.sgov.gov",    dualstack: "api.aws.scloud" },
    Partition { id: "aws-iso-e",  regions: "eu-isoe-", suffix: "cloud.adc-e.uk",   dualstack: "api.cloud-aws.adc-e.uk" },
    Partition { id: "aws-iso-f",  regions: "us-isof-", suffix: "csp.hci.ic.gov",   dualstack: "api.aws.hci.ic.gov" },
    Partition { id: "aws-us-gov", regions: "us-gov-",  suffix: "amazonaws.com",    dualstack: "api.aws" },
    // All others, and regions that are not known yet.
    Partition { id: "aws",        regions: "",         suffix: "amazonaws.com",    dualstack: "api.aws" },
];

/// Which of a service's hosts are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// `AWS_USE_FIPS_ENDPOINT`, the profile's `use_fips_endpoint`.
    pub fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`, the profile's `use_dualstack_endpoint`.
    pub dualstack: bool,
}

impl Partition {
    /// The one that `region` lies in.
    pub fn of(region: &str) -> &'static Self {
        let mut partitions = PARTITIONS.iter();
        let found = partitions.find(|partition| region.starts_with(partition.regions));
        found.unwrap_or(&PARTITIONS[PARTITIONS.len() - 1])
    }

    /// Whether S3 has hosts there whose cryptography is validated.
    pub fn has_s3_fips(&self) -> bool {
        self.id != "aws-cn"
    }
}

/// The host of `s3` or `s3-accesspoint` in `region`.
pub fn s3_host(service: &str, region: &str, variant: Variant) -> String {
    let fips = if variant.fips { "-fips" } else { "" };
    let dualstack = if variant.dualstack { ".dualstack" } else { "" };
    let suffix = Partition::of(region).suffix;
    format!("{service}{fips}{dualstack}.{region}.{suffix}")
}

/// The host of `sts` or `portal.sso` in `region`.
pub fn host(service: &str, region: &str, variant: Variant) -> String {
    let partition = Partition::of(region);
    let suffix = match variant.dualstack {
        true => partition.dualstack,
        false => partition.suffix,
    };
    // All hosts of GovCloud are validated.
    let is_plain = partition.id == "aws-us-gov" && !variant.dualstack;
    let fips = match variant.fips && !is_plain {
        true => "-fips",
        false => "",
    };
    format!("{service}{fips}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Rules {
        partitions: std::collections::BTreeMap<String, [String; 2]>,
        hosts: Vec<(String, String, bool, bool, String)>,
    }

    #[test]
    fn hosts_are_those_of_the_aws_command_line_in_every_partition() {
        let rules: Rules = serde_json::from_str(include_str!("endpoints.json")).unwrap();
        for (id, [suffix, dualstack]) in &rules.partitions {
            let known = PARTITIONS.iter().find(|p| p.id == *id).unwrap();
            assert_eq!([known.suffix, known.dualstack], [suffix, dualstack], "{id}");
        }
        assert_eq!(rules.partitions.len(), PARTITIONS.len());
        for (service, region, fips, dualstack, expected) in &rules.hosts {
            let variant = Variant {
                fips: *fips,
                dualstack: *dualstack,
            };
            let found = match service.starts_with("s3") {
                true if *fips && !Partition::of(region).has_s3_fips() => "none".to_owned(),
                true => s3_host(service, region, variant),
                false => host(service, region, variant),
            };
            assert_eq!(found, *expected, "{service} in {region}, {variant:?}");
        }
    }

    #[test]
    fn a_region_that_is_not_known_yet_is_one_of_the_first_partition_s() {
        assert_eq!(Partition::of("eu-west-99").id, "aws");
        assert_eq!(Partition::of("us-isob-east-1").id, "aws-iso-b");
        assert_eq!(Partition::of("us-iso-east-1").id, "aws-iso");
    }
}
