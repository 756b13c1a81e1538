//! `journal_doctor`: is this connection, this configuration and this key store usable, and if not, what
//! to do. Each check is a row; a check that fails leaves the others to say their part.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::Session;
use crate::cache::Probe;
use crate::config::{Config, StoreLocation};
use crate::error::Error;
use crate::id::ObjectName;
use crate::sqlite::code::{INTERRUPT, NOMEM};
use crate::sqlite::table::{Rows, Table};
use crate::sqlite::value::{Output, Value};
use crate::store::{CredentialStatus, StoreError};

/// A check's status and what it has to say.
struct Finding {
    name: &'static str,
    status: &'static str,
    detail: String,
}

fn ok(name: &'static str, detail: impl Into<String>) -> Finding {
    finding(name, "ok", detail)
}

fn warning(name: &'static str, detail: impl Into<String>) -> Finding {
    finding(name, "warning", detail)
}

fn failed(name: &'static str, detail: impl Into<String>) -> Finding {
    finding(name, "failed", detail)
}

fn finding(name: &'static str, status: &'static str, detail: impl Into<String>) -> Finding {
    Finding {
        name,
        status,
        detail: detail.into(),
    }
}

pub(super) fn table(session: &Rc<Session>) -> Table {
    let session = Rc::clone(session);
    Table {
        name: "journal_doctor",
        columns: &["name TEXT", "status TEXT", "detail TEXT"],
        arguments: &[],
        rows: Box::new(move |_| {
            let findings = examine(&session)?;
            Ok(findings.into_iter().map(row).collect::<Rows>())
        }),
    }
}

fn row(finding: Finding) -> Vec<Output> {
    vec![
        Output::Text(finding.name.to_owned()),
        Output::Text(finding.status.to_owned()),
        Output::Text(finding.detail),
    ]
}

fn examine(session: &Session) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![
        ok("sqlite", session.connection.sqlite_version()),
        or_failed("key_tables", tables(session))?,
        or_failed("indexes", indexes(session))?,
        or_failed("foreign_keys", foreign_keys(session))?,
        or_failed("temp_store", temp_store(session))?,
        replicated(session),
        configuration(session.config),
    ];
    findings.extend(store(session)?);
    findings.push(key(session)?);
    Ok(findings)
}

/// An error of SQLite's ends one check and not the others, unless it says that all is to end.
fn or_failed(name: &'static str, outcome: Result<Finding, Error>) -> Result<Finding, Error> {
    match outcome {
        Err(Error::Sqlite { code, message }) if !matches!(code & 0xff, NOMEM | INTERRUPT) => {
            Ok(failed(name, message))
        }
        outcome => outcome,
    }
}

/// The first column of the first row of `sql`, as text; numbers and NULL too.
fn ask(session: &Session, sql: &str) -> Result<Option<String>, Error> {
    let mut statement = session.connection.prepare(sql)?;
    Ok(match statement.step()? {
        true => match statement.column(0)? {
            Value::Integer(number) => Some(number.to_string()),
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        },
        false => None,
    })
}

/// `text` as an SQL string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn configuration(config: &Config) -> Finding {
    const NAME: &str = "configuration";
    match config.unknown.as_slice() {
        [] => ok(NAME, super::operate::report(config).to_string()),
        unknown => warning(
            NAME,
            format!("unknown, perhaps misspelt: {}", unknown.join(", ")),
        ),
    }
}

fn tables(session: &Session) -> Result<Finding, Error> {
    const NAME: &str = "key_tables";
    let schema = quoted(&session.config.schema);
    for (table, columns) in [
        (
            "user_journal_master_keys",
            "id, uid, user_id, s3_file_id, created_at",
        ),
        ("s3_files", "id, key"),
    ] {
        for column in columns.split(", ") {
            let found = format!(
                "SELECT count(*) FROM pragma_table_info({}, {schema}) WHERE name = {}",
                quoted(table),
                quoted(column)
            );
            if ask(session, &found)?.as_deref() != Some("1") {
                return Ok(failed(
                    NAME,
                    format!(
                        "schema {schema} has no {table}.{column}: create the tables of \
                         sql/schema.sql there, or set JOURNAL_SCHEMA"
                    ),
                ));
            }
        }
    }
    Ok(ok(NAME, format!("in schema {schema}")))
}

fn indexes(session: &Session) -> Result<Finding, Error> {
    let schema = quoted(&session.config.schema);
    let mut missing = Vec::new();
    for (table, column) in [
        ("user_journal_master_keys", "uid"),
        ("user_journal_master_keys", "user_id"),
        ("user_journal_master_keys", "s3_file_id"),
        ("s3_files", "key"),
    ] {
        let found = format!(
            "SELECT count(*) FROM pragma_index_list({}, {schema}) AS l, \
             pragma_index_info(l.name, {schema}) AS i WHERE i.seqno = 0 AND i.name = {}",
            quoted(table),
            quoted(column)
        );
        if ask(session, &found)?.as_deref() == Some("0") {
            missing.push(format!("{table}.{column}"));
        }
    }
    Ok(match missing.is_empty() {
        true => ok("indexes", "each look-up has one"),
        false => warning(
            "indexes",
            format!(
                "none begins with {}: every call reads the whole table; see sql/schema.sql",
                missing.join(", ")
            ),
        ),
    })
}

fn foreign_keys(session: &Session) -> Result<Finding, Error> {
    Ok(match ask(session, "PRAGMA foreign_keys")?.as_deref() {
        Some("1") => ok("foreign_keys", "on"),
        _ => warning(
            "foreign_keys",
            "off: deleting a user leaves the user's key rows; PRAGMA foreign_keys = ON on every \
             connection that writes",
        ),
    })
}

fn temp_store(session: &Session) -> Result<Finding, Error> {
    Ok(match ask(session, "PRAGMA temp_store")?.as_deref() {
        Some("2") => ok("temp_store", "MEMORY"),
        _ => warning(
            "temp_store",
            "a sort or an index over decrypted text may write plaintext to disk: \
             PRAGMA temp_store = MEMORY",
        ),
    })
}

fn replicated(session: &Session) -> Finding {
    let read_only = session.connection.is_read_only(c"main");
    match (session.config.replicated, read_only) {
        (false, _) => ok("replicated", "no"),
        (true, true) => ok(
            "replicated",
            "yes, and this connection only reads: keys can be used",
        ),
        (true, false) => warning(
            "replicated",
            "yes, and this connection can write: functions that use a key refuse here",
        ),
    }
}

/// Reach, round trip, clock, and what an absent name is answered with.
fn store(session: &Session) -> Result<Vec<Finding>, Error> {
    let Some(location) = &session.config.store else {
        return Ok(vec![failed("store", "JOURNAL_KEY_STORE is not set")]);
    };
    let name = format!("{}journal_doctor_absent", session.config.key_prefix);
    let Ok(name) = ObjectName::parse(&name, "") else {
        return Ok(vec![failed(
            "store",
            "JOURNAL_KEY_PREFIX begins no object's name",
        )]);
    };
    let Some(probe) = session.cache()?.probe(&name, &mut session.waiting())? else {
        return Ok(vec![failed(
            "store",
            "no answer in time: is it reachable from this machine?",
        )]);
    };
    let status = session.cache()?.credentials();
    let credentials = match (status, location, &probe.is_key) {
        (Some(status), ..) => ok("credentials", from(status)),
        (None, StoreLocation::Directory(_), _) => ok("credentials", "a directory needs none"),
        // Without credentials nothing was asked, and the reason is all there is to tell.
        (None, StoreLocation::S3 { .. }, Err(error)) => {
            return Ok(vec![
                failed("credentials", error.to_string()),
                failed("store", "not asked for want of credentials"),
            ]);
        }
        (None, StoreLocation::S3 { .. }, Ok(_)) => ok("credentials", "none were needed"),
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
        Err(error) => {
            let advice = "check JOURNAL_KEY_STORE, the endpoint and the network";
            return Ok(vec![
                credentials,
                failed("store", format!("{error}: {advice}")),
            ]);
        }
        Ok(_) => (
            ok("store", reached),
            warning(
                "absent_key",
                format!("there is an object {}", name.as_str()),
            ),
        ),
    };
    Ok(vec![credentials, reach, absent, clock(&probe)])
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
             s3:ListBucket"
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

/// One real key, end to end: the current one of the newest user that has any.
fn key(session: &Session) -> Result<Finding, Error> {
    const NAME: &str = "newest_key";
    let newest = session.keys.newest_user(&session.connection);
    let user = match newest {
        Ok(Some(user)) => user,
        Ok(None) => return Ok(warning(NAME, "there is no key row yet")),
        Err(error) => return Ok(failed(NAME, error.to_string())),
    };
    let label = format!("the current key of user {}", user.0);
    let outcome = session.current_key(user).and_then(|row| row.name());
    let name = match outcome {
        Ok(name) => name,
        Err(error) => return Ok(failed(NAME, format!("{label}: {error}"))),
    };
    if session.config.store.is_none() {
        return Ok(failed(NAME, Error::NotConfigured.to_string()));
    }
    let probe = session
        .cache()?
        .probe(&name.object, &mut session.waiting())?;
    Ok(match probe.map(|probe| probe.is_key) {
        Some(Ok(true)) => ok(NAME, format!("{label} is in the store")),
        Some(Ok(false)) => failed(NAME, format!("{label}: its object is not a Fernet key")),
        Some(Err(error)) => failed(NAME, format!("{label}: {error}")),
        None => failed(NAME, format!("{label}: no answer in time")),
    })
}
