//! What the doctor sees of the key store.

use std::time::{Duration, SystemTime};

use super::{Finding, failed, ok, warning};
use crate::cache::Probe;
use crate::config::StoreLocation;
use crate::error::Error;
use crate::functions::Session;
use crate::id::ObjectName;
use crate::store::{CredentialStatus, StoreError};

/// The store and one real key: at most two questions, each within one fetch's time, and the second only where the first
/// was answered.
pub(super) fn examine(session: &Session) -> Result<Vec<Finding>, Error> {
    let reach = reach(session)?;
    let key = newest_key(session, reach.is_answered)?;
    let mut findings = reach.findings;
    if reach.is_denied && key.status != "ok" && session.scoped().is_ok() {
        // Nothing can be read, as far as we see. Without the scope that is required, no key was looked at.
        for finding in &mut findings {
            match finding.name {
                "store" => finding.status = "failed",
                "credentials" if reach.is_bucket => {
                    finding.status = "failed";
                    finding.detail += ": they are wrong, or may not read; see the row store";
                }
                _ => {}
            }
        }
    }
    findings.push(key);
    Ok(findings)
}

/// What the question for an absent object showed.
struct Reach {
    findings: Vec<Finding>,
    is_bucket: bool,
    /// The store said something.
    is_answered: bool,
    /// It denied the question.
    is_denied: bool,
}

impl Reach {
    fn unanswered(findings: Vec<Finding>) -> Self {
        Self {
            findings,
            is_bucket: false,
            is_answered: false,
            is_denied: false,
        }
    }
}

/// Reach, round trip, clock, and what an absent name is answered with.
fn reach(session: &Session) -> Result<Reach, Error> {
    let Some(location) = &session.config.store else {
        return Ok(Reach::unanswered(vec![failed(
            "store",
            "JOURNAL_KEY_STORE is not set",
        )]));
    };
    let name = format!("{}journal_doctor_absent", session.config.key_prefix);
    let Ok(name) = ObjectName::parse(&name, "") else {
        return Ok(Reach::unanswered(vec![failed(
            "store",
            "JOURNAL_KEY_PREFIX begins no object's name",
        )]));
    };
    let Some(probe) = session.cache()?.probe(&name, &mut session.waiting())? else {
        return Ok(Reach::unanswered(vec![failed(
            "store",
            "no answer in time: is it reachable from this machine?",
        )]));
    };
    let status = session.cache()?.credentials();
    if let Err(StoreError::NoCredentials { reason, .. }) = &probe.is_key {
        let kept =
            "cached keys serve on until their stale time is over, and no other key can be fetched";
        let credentials = failed("credentials", format!("{reason}: {kept}"));
        return Ok(Reach::unanswered(match probe.date {
            // It was asked, and did not take them.
            Some(_) => vec![credentials, clock(&probe)],
            None => vec![
                credentials,
                failed("store", "not asked for want of credentials"),
            ],
        }));
    }
    let credentials = match (status, location, &probe.is_key) {
        (Some(status), ..) if status.expires_in.is_some_and(|left| left.is_zero()) => warning(
            "credentials",
            format!(
                "those from {} have ended, and no others could be had: see SQLite's log",
                status.source
            ),
        ),
        (Some(status), ..) => ok("credentials", from(status)),
        (None, StoreLocation::Directory(_), _) => ok("credentials", "a directory needs none"),
        (None, StoreLocation::S3 { .. }, _) => ok("credentials", "none were needed"),
    };
    let reached = format!("answered in {} ms", probe.took.as_millis());
    let (reach, absent) = match &probe.is_key {
        Err(StoreError::Absent) => (
            ok("store", reached),
            ok("absent_key", "an absent object is reported as key_lost"),
        ),
        Err(StoreError::Denied(reason)) => (
            warning("store", format!("{reached}: {reason}")),
            warning("absent_key", denied(location)),
        ),
        Ok(_) | Err(StoreError::Disabled) => (
            ok("store", reached),
            warning(
                "absent_key",
                format!("there is an object {}", name.as_str()),
            ),
        ),
        Err(error) => {
            let advice = "check JOURNAL_KEY_STORE, the endpoint and the network";
            return Ok(Reach::unanswered(vec![
                credentials,
                failed("store", format!("{error}: {advice}")),
            ]));
        }
    };
    Ok(Reach {
        findings: vec![credentials, reach, absent, clock(&probe)],
        is_bucket: matches!(location, StoreLocation::S3 { .. }),
        is_answered: true,
        is_denied: matches!(probe.is_key, Err(StoreError::Denied(_))),
    })
}

/// Where the credentials that the probe was signed with came from.
fn from(status: CredentialStatus) -> String {
    match status.expires_in {
        Some(left) => format!("from {}, for {} s more", status.source, left.as_secs()),
        None => format!("from {}", status.source),
    }
}

fn denied(location: &StoreLocation) -> &'static str {
    match location {
        StoreLocation::S3 { .. } => {
            "an absent object is reported as store_denied: the credentials are wrong, or they lack \
             s3:ListBucket or, on a server other than Amazon's, s3:ListBucketVersions"
        }
        StoreLocation::Directory(_) => "the directory may not be read by this process",
    }
}

fn clock(probe: &Probe) -> Finding {
    /// S3 refuses requests signed more than 15 minutes off.
    const MOST: Duration = Duration::from_secs(5 * 60);
    let Some(date) = probe.date else {
        return ok("clock", "the store tells no time");
    };
    let now = SystemTime::now();
    let (apart, direction) = match now.duration_since(date) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let detail = format!("{} s {direction} the store's", apart.as_secs());
    match apart <= MOST {
        true => ok("clock", detail),
        false => warning(
            "clock",
            format!("{detail}: S3 refuses at 15 minutes; set it by NTP"),
        ),
    }
}

/// One real key, end to end: the current one of the scope's user, or of the newest user that has any.
fn newest_key(session: &Session, is_answered: bool) -> Result<Finding, Error> {
    const NAME: &str = "newest_key";
    let newest = match session.scoped() {
        Ok(None) => session.keys.newest_user(&session.connection),
        scoped => scoped,
    };
    let user = match newest {
        Ok(Some(user)) => user,
        Ok(None) => return Ok(warning(NAME, "there is no key row yet")),
        Err(Error::OutOfScope(_)) => return Ok(warning(NAME, "not looked at without a scope")),
        Err(error) => return Ok(failed(NAME, error.to_string())),
    };
    let user = user.get();
    let label = format!("the current key of user {user}");
    let outcome = session.current_key(user).and_then(|row| row.name());
    let name = match outcome {
        Ok(name) => name,
        Err(error) => return Ok(failed(NAME, format!("{label}: {error}"))),
    };
    if session.config.store.is_none() {
        return Ok(failed(NAME, Error::NotConfigured.to_string()));
    }
    if !is_answered {
        return Ok(failed(
            NAME,
            format!(
                "{label}: not asked for, since the store could not be asked; see the rows above"
            ),
        ));
    }
    let probe = session
        .cache()?
        .probe(&name.object, &mut session.waiting())?;
    Ok(match probe.map(|probe| probe.is_key) {
        Some(Ok(())) => ok(NAME, format!("{label} is in the store")),
        Some(Err(StoreError::Disabled)) => warning(
            NAME,
            format!("{label} is disabled; journal_enable_key brings it back"),
        ),
        Some(Err(error)) => failed(NAME, format!("{label}: {error}")),
        None => failed(NAME, format!("{label}: no answer in time")),
    })
}
