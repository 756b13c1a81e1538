//! The credentials of an EC2 instance's role, by version 2 of its metadata service
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>).
//!
//! Off EC2 its address belongs to nobody or to somebody else: it is asked only where it was named, or where
//! the machine says that it is an instance.

use std::path::Path;
use std::time::Instant;

use http::{Method, StatusCode};

use super::chain::Sources;
use super::service::Service;
use super::{Found, document};
use crate::config::metadata::Instance;
use crate::store::StoreError;

const TOKEN: &str = "latest/api/token";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
/// Seconds for which a session with the service is good; a search takes less.
const TOKEN_SECONDS: &str = "60";

/// A session token, the role's name, its credentials.
pub(super) fn fetch(
    sources: &Sources,
    instance: &Instance,
    deadline: Instant,
) -> Result<Found, StoreError> {
    let service = Service::new(
        "the instance metadata service",
        sources.near()?,
        instance.timeout,
    );
    let url = |path: &str| instance.endpoint.join(path).map_err(|_| service.nonsense());
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
    let request = service.request(Method::PUT, &url(TOKEN)?, &[ttl])?;
    let answer = service.send(request, deadline)?;
    if answer.status != StatusCode::OK {
        return Err(service.refusal(&answer, ""));
    }
    let token = std::str::from_utf8(&answer.body).map_err(|_| service.nonsense())?;
    let get = |path: &str| {
        let headers = [("x-aws-ec2-metadata-token", token.trim())];
        service.send(
            service.request(Method::GET, &url(path)?, &headers)?,
            deadline,
        )
    };

    let answer = get(ROLES)?;
    let role = match answer.status {
        StatusCode::OK => std::str::from_utf8(&answer.body).unwrap_or_default(),
        StatusCode::NOT_FOUND => return Err(service.denied("has no role for this instance")),
        _ => return Err(lapsed(service.refusal(&answer, ""), &answer)),
    };
    let role = role.lines().next().unwrap_or_default().trim();
    if !is_role(role) {
        return Err(service.nonsense());
    }
    let answer = get(&format!("{ROLES}{role}"))?;
    document::parse(&service, "instance", &answer).map_err(|error| lapsed(error, &answer))
}

/// A service that was started anew does not know our session: that is no refusal, and the next try has a
/// session of its own.
fn lapsed(error: StoreError, answer: &crate::store::http::Answer) -> StoreError {
    match error {
        StoreError::Denied(reason) if answer.status == StatusCode::UNAUTHORIZED => {
            StoreError::passing(reason)
        }
        other => other,
    }
}

/// Whether a name can be a role's: it becomes a part of a path.
fn is_role(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}

/// Whether there is such a service: it was named, or this is an instance.
pub(super) fn is_here(instance: &Instance) -> bool {
    instance.is_given || is_ec2(&instance.system)
}

/// What the hardware or the hypervisor says
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>).
fn is_ec2(system: &Path) -> bool {
    let says = |file: &str, what: fn(&str) -> bool| {
        std::fs::read_to_string(system.join(file))
            .is_ok_and(|text| what(&text.trim().to_lowercase()))
    };
    let vendor = |text: &str| text == "amazon ec2";
    let uuid = |text: &str| text.starts_with("ec2");
    let version = |text: &str| text.ends_with(".amazon");
    says("class/dmi/id/sys_vendor", vendor)
        || says("class/dmi/id/board_vendor", vendor)
        || says("class/dmi/id/bios_vendor", vendor)
        || says("class/dmi/id/bios_version", version)
        || says("class/dmi/id/product_uuid", uuid)
        || says("hypervisor/uuid", uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_that_says_so_is_an_instance() {
        for (file, content, expected) in [
            ("class/dmi/id/sys_vendor", "Amazon EC2\n", true),
            ("class/dmi/id/board_vendor", "Amazon EC2\n", true),
            ("class/dmi/id/bios_version", "4.11.amazon\n", true),
            (
                "class/dmi/id/product_uuid",
                "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n",
                true,
            ),
            (
                "hypervisor/uuid",
                "ec2e1916-9099-7caf-fd21-012345abcdef\n",
                true,
            ),
            ("class/dmi/id/sys_vendor", "QEMU\n", false),
            ("class/dmi/id/sys_vendor", "Amazon EC2 look-alike\n", false),
            (
                "class/dmi/id/product_uuid",
                "0EC2E191-9099-7CAF-FD21-012345ABCDEF\n",
                false,
            ),
            ("class/dmi/id/other", "Amazon EC2\n", false),
        ] {
            let system = tempfile::tempdir().unwrap();
            let path = system.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
            assert_eq!(is_ec2(system.path()), expected, "{file}: {content}");
        }
    }

    #[test]
    fn a_role_s_name_stays_in_its_place() {
        for name in ["journal-role", "a+b=c,d.e@f_g"] {
            assert!(is_role(name), "{name}");
        }
        for name in ["", "..", "a/b", "a?b", "a b", "<html>", &"r".repeat(129)] {
            assert!(!is_role(name), "{name}");
        }
    }
}
