//! `disable`, `enable`: hides every key of a user in a way that can be undone, and brings them back. The rows stay.

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::journal::{json as as_json, shown};
use crate::keys;
use crate::progress::go_on;
use crate::report::{Report, counted};
use crate::work::Setting;

const PERMISSION: &str =
    "set JOURNAL_ADMIN=1, and give it credentials that may write and delete keys";

/// Which of the two.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pause {
    Disable,
    Enable,
}

pub(crate) fn run(setting: &Setting, user: &Value, pause: Pause) -> Result<Report> {
    let worker = setting.worker()?;
    let (function, call, told) = match pause {
        Pause::Disable => (
            "journal_disable_key",
            "SELECT journal_disable_key(1, ?)",
            "disabled",
        ),
        Pause::Enable => (
            "journal_enable_key",
            "SELECT journal_enable_key(1, ?)",
            "enabled",
        ),
    };
    worker.sealer.require(function, PERMISSION)?;
    let keys = keys::of(&*worker.journal, user)?;
    if keys.is_empty() {
        return Err(Failure::Refused(format!("user {} has no key", shown(user))));
    }
    let mut changed = 0;
    for key in keys.iter().filter(|_| !setting.dry_run) {
        go_on()?;
        // The rows of others that name the object are given too, so that the extension refuses then.
        let others = keys::naming(&*worker.journal, key)?;
        let mut given = vec![(1, key)];
        given.extend(others.iter().map(|other| (2, other)));
        let said: String = worker
            .sealer
            .given(given, |calls| calls.value(call, &[&key.uid]))?;
        let said: Json = serde_json::from_str(&said)?;
        changed += u64::from(said["changed"] == true);
    }
    let counted = counted(keys.len() as u64, "key");
    let text = match (setting.dry_run, pause) {
        (true, _) => format!("{counted} would be {told}\n"),
        (false, Pause::Disable) => format!(
            "{counted} disabled, {changed} of them now; other processes may serve them until their next check\n"
        ),
        (false, Pause::Enable) => format!("{counted} enabled, {changed} of them now\n"),
    };
    Ok(Report {
        json: json!({"user": as_json(user)?, "keys": keys.len(), "changed": changed, "dry_run": setting.dry_run}),
        text,
        findings: false,
    })
}
