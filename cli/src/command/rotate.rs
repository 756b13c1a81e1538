//! `rotate`: a new key for everybody whose newest is old.

use std::fmt::Write;

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::command::status::now;
use crate::failure::{Failure, Result};
use crate::journal::{Journal, Statement, array, seconds, shown};
use crate::keys::{self, Key};
use crate::progress::Progress;
use crate::report::{Report, counted};
use crate::work::{Setting, Worker};

/// What is true before the deed and after it.
const KEPT: &str = "what was written stays under the old ones until `rewrap`, and older backups need those for as long as \
                    they are kept";
const PERMISSION: &str = "set JOURNAL_ADMIN=create, and give it credentials that may write keys";

pub(crate) fn run(setting: &Setting, older_than: f64, users: &[Value]) -> Result<Report> {
    let worker = setting.worker()?;
    worker.sealer.require("journal_create_key", PERMISSION)?;
    let due = due(setting, &*worker.journal, now()? - older_than, users)?;
    let made = match setting.dry_run {
        true => Vec::new(),
        false => {
            let progress = Progress::new("rotate", due.len() as u64);
            setting.in_parallel(&due, |worker, user| {
                let made = rotate(worker, user, older_than)
                    .map_err(|failure| failure.of(format!("user {}", shown(user))));
                progress.add(1);
                made
            })?
        }
    };
    let rotated = made.iter().flatten().count();
    let mut text = String::new();
    let _ = match setting.dry_run {
        true => writeln!(
            text,
            "{} would get a new key; {KEPT}",
            counted(due.len() as u64, "user")
        ),
        false => writeln!(
            text,
            "a new key was made for {}; {KEPT}",
            counted(rotated as u64, "user")
        ),
    };
    Ok(Report {
        json: json!({"due": due.len(), "rotated": rotated, "dry_run": setting.dry_run}),
        text,
        findings: false,
    })
}

/// The users whose newest key was made before a time, and those without one.
fn due(
    setting: &Setting,
    journal: &dyn Journal,
    before: f64,
    users: &[Value],
) -> Result<Vec<Value>> {
    let all = setting
        .layout
        .users
        .as_deref()
        .unwrap_or("SELECT DISTINCT user_id FROM user_journal_master_keys");
    let sql = format!(
        "WITH named(u) AS ({all}) SELECT u, newest FROM named LEFT JOIN
         (SELECT user_id, max(created_at) AS newest FROM user_journal_master_keys GROUP BY user_id) ON user_id = u"
    );
    let mut due = Vec::new();
    let mut each = |row: &[Value]| {
        if row[1] == Value::Null || seconds(&row[1]) <= before {
            due.push(row[0].clone());
        }
        Ok(())
    };
    if users.is_empty() {
        journal.each_row(&sql, &[], &mut each)?;
        return Ok(due);
    }
    let mut known = 0;
    journal.each_row(
        &format!("{sql} WHERE u IN (SELECT value FROM json_each(?))"),
        &[array(users)?],
        &mut |row| {
            known += 1;
            each(row)
        },
    )?;
    match known == users.len() {
        true => Ok(due),
        false => Err(Failure::Refused("there is no such user".to_owned())),
    }
}

/// Makes the user's new key; its uid, or none where another process was faster.
fn rotate(worker: &Worker, user: &Value, older_than: f64) -> Result<Option<String>> {
    let keys = keys::of(&*worker.journal, user)?;
    let numbered = |keys: &[Key]| keys.iter().cloned().map(|key| (1, key)).collect::<Vec<_>>();
    let given = numbered(&keys);
    let made: String = worker
        .sealer
        .given(given.iter().map(|(user, key)| (*user, key)), |calls| {
            calls.value("SELECT journal_create_key(?)", &[&1])
        })?;
    let made: Json = serde_json::from_str(&made)?;
    let uid = made["user_journal_master_keys"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let newest = keys.first().map_or(0.0, |key| key.created_at);
    let changed = worker
        .journal
        .write(&inserts(&made, user, newest, older_than)?)?;
    if changed.last() == Some(&1) {
        return Ok(Some(uid));
    }
    let given = numbered(&keys::of(&*worker.journal, user)?);
    worker
        .sealer
        .given(given.iter().map(|(user, key)| (*user, key)), |calls| {
            calls.value::<i64>("SELECT journal_discard_key(?)", &[&uid])
        })?;
    Ok(None)
}

/// The two rows, unless the user has a younger key by then. They may be sent again: the second changes a row exactly
/// where this key's row is there afterwards.
fn inserts(
    made: &Json,
    user: &Value,
    newest: f64,
    older_than: f64,
) -> Result<Vec<Statement<'static>>> {
    const GUARD_FILE: &str = "INSERT INTO s3_files (uid, key, file_size, content_type, created_at)
        SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM user_journal_master_keys WHERE uid = ?6) OR NOT EXISTS (
          SELECT 1 FROM user_journal_master_keys WHERE user_id = ?7 AND created_at > ?8 AND created_at < ?9
        ) ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid";
    const GUARD_KEY: &str = "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)
        SELECT ?1, ?2, f.id, ?3 FROM s3_files AS f
        WHERE f.uid = ?4 AND (EXISTS (SELECT 1 FROM user_journal_master_keys WHERE uid = ?1) OR NOT EXISTS (
          SELECT 1 FROM user_journal_master_keys WHERE user_id = ?2 AND created_at > ?5 AND created_at < ?6
        )) ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid";
    let (file, key) = (&made["s3_files"], &made["user_journal_master_keys"]);
    let text = |json: &Json| Value::Text(json.as_str().unwrap_or_default().to_owned());
    let now = now()?;
    // A time far ahead is no youth: a clock that once ran ahead would pin the key.
    let (after, before) = (Value::Real(now - older_than), Value::Real(now + older_than));
    let made_at = key["created_at"]
        .as_f64()
        .unwrap_or(now)
        .max(newest + 0.001);
    Ok(vec![
        Statement {
            sql: GUARD_FILE.into(),
            values: vec![
                text(&file["uid"]),
                text(&file["key"]),
                Value::Integer(file["file_size"].as_i64().unwrap_or_default()),
                text(&file["content_type"]),
                Value::Real(file["created_at"].as_f64().unwrap_or(now)),
                text(&key["uid"]),
                user.clone(),
                after.clone(),
                before.clone(),
            ],
        },
        Statement {
            sql: GUARD_KEY.into(),
            values: vec![
                text(&key["uid"]),
                user.clone(),
                Value::Real(made_at),
                text(&file["uid"]),
                after,
                before,
            ],
        },
    ])
}
