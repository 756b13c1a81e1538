//! `journal_doctor`: is this connection, this configuration and this key store usable, and if not, what
//! to do. Each check is a row; a check that fails leaves the others to say their part.

mod database;
mod store;

use std::rc::Rc;

use super::Session;
use crate::cipher::{Path, crates_use_instructions};
use crate::config::{Admin, Config};
use crate::error::Error;
use crate::sqlite::code::{INTERRUPT, NOMEM};
use crate::sqlite::output::Output;
use crate::sqlite::table::{Rows, Table};

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
        optional: &[],
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
        or_failed("key_tables", database::tables(session))?,
        or_failed("indexes", database::indexes(session))?,
        or_failed("foreign_keys", database::foreign_keys(session))?,
        or_failed("temp_store", database::temp_store(session))?,
        database::replicated(session),
        scope(session),
        configuration(session.config),
        key_management(session.config.admin),
        cipher(Path::of_this_process()),
    ];
    findings.push(wrapping(session)?);
    findings.extend(store::examine(session)?);
    Ok(findings)
}

/// Whether who copies the key objects can use them.
fn wrapping(session: &Session) -> Result<Finding, Error> {
    let detail = match session.cache()?.wrapping() {
        (0, _) => "none: key objects are kept as they are".to_owned(),
        (keys, required) => format!(
            "{keys} keys read, the first writes; objects that are not wrapped are {}",
            if required { "refused" } else { "read too" }
        ),
    };
    Ok(ok("wrapping", detail))
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

/// Whoever misses `journal_rotate_key` asks here.
fn key_management(admin: Admin) -> Finding {
    ok(
        "key_management",
        match admin {
            Admin::None => {
                "off, as it should be in an application: journal_rotate_key and its like are not there. \
                 JOURNAL_ADMIN=create, set before the process loads the extension, adds those that make keys, \
                 JOURNAL_ADMIN=1 all of them"
            }
            Admin::Create => "on: keys can be made, and not destroyed",
            Admin::All => {
                "on: keys can be made and destroyed; an application needs no more than JOURNAL_ADMIN=create"
            }
        },
    )
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

/// Whether this connection has a scope, and whether it needs one.
fn scope(session: &Session) -> Finding {
    const NAME: &str = "scope";
    match (session.config.require_scope, session.scoped()) {
        (true, _) if session.config.replicated => failed(
            NAME,
            "JOURNAL_REQUIRE_SCOPE is set on a replicated host, where no connection can have one: no key is used",
        ),
        (_, Ok(Some(_))) => ok(NAME, "this connection uses the keys of one user"),
        (true, _) => warning(
            NAME,
            "JOURNAL_REQUIRE_SCOPE is set, and this connection has none: it uses no key until journal_scope",
        ),
        (false, _) => ok(NAME, "none, and none is required"),
    }
}

/// Which code makes and reads tokens here.
fn cipher(path: Path) -> Finding {
    const NAME: &str = "cipher";
    let [aes, sha] = crates_use_instructions().map(|found| match found {
        true => "by the processor's instructions",
        false => "in software",
    });
    let crates = format!("RustCrypto's crates (AES {aes}, SHA-256 {sha})");
    match path {
        Path::Instructions => ok(
            NAME,
            "x86_64: AES and SHA-256 by the processor's instructions, which passed their self-test",
        ),
        Path::Crates => ok(NAME, crates),
        Path::CratesForFaulty => warning(
            NAME,
            format!(
                "x86_64 failed its self-test, so {crates} serve in its place: this processor, its memory or this \
                 library's file is not sound. Compare the file's checksum, and replace the machine if it is right"
            ),
        ),
    }
}
