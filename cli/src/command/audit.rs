//! `audit`: whether every token can be read, and whether rows and objects belong together. Changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::journal::{json as as_json, shown};
use crate::keys;
use crate::progress::Progress;
use crate::report::{Report, grouped};
use crate::rows::{BAD_ARGUMENT, Batch, List, Part, Token, TokenRow};
use crate::sealer::{Calls, Sealer};
use crate::work::{Setting, Worker};

/// Findings that the text names one by one; the JSON has all.
const SHOWN: usize = 50;

/// A token that the recorded key does not open.
struct Finding {
    table: String,
    column: String,
    user: Value,
    rowid: i64,
    recorded: Value,
    word: String,
    /// The user's key that opens it: then the wrong one is recorded.
    found: Option<String>,
}

/// What a look at all tokens came to.
#[derive(Default)]
pub(crate) struct Looked {
    counts: BTreeMap<&'static str, u64>,
    findings: Vec<Finding>,
}

/// Objects and rows that do not belong together.
struct Strays {
    /// `None` where some users alone were asked for: what no row names is nobody's.
    objects: Option<Vec<String>>,
    keys: Vec<String>,
}

pub(crate) fn run(setting: &Setting, users: &[Value]) -> Result<Report> {
    let looked = look(setting, users)?;
    let strays = strays(setting, users)?;
    let mut report = looked.report();
    let Some(strays) = strays else {
        report
            .text
            .push_str("objects were not listed: that needs JOURNAL_ADMIN=1\n");
        report.json["objects_without_row"] = Json::Null;
        report.json["keys_without_object"] = Json::Null;
        return Ok(report);
    };
    let mut tell = |names: &[String], told: &str| {
        let _ = writeln!(report.text, "{:>12}  {told}", grouped(names.len() as u64));
        for name in names.iter().take(SHOWN) {
            let _ = writeln!(report.text, "  {name}");
        }
        report.findings |= !names.is_empty();
    };
    if let Some(objects) = &strays.objects {
        tell(objects, "objects that no row names");
    }
    tell(&strays.keys, "key rows that name no object");
    report.json["objects_without_row"] = strays.objects.into();
    report.json["keys_without_object"] = strays.keys.into();
    Ok(report)
}

/// Tries every token with the key that is recorded for it, and what fails with the user's others.
pub(crate) fn look(setting: &Setting, users: &[Value]) -> Result<Looked> {
    let journal = setting.place.open()?;
    let mut sum = Looked::default();
    for table in &setting.layout.tables {
        let list = List::of(&*journal, table, "TRUE", users)?;
        let batches: Vec<_> = list.batches(table).collect();
        let progress = Progress::new("audit", list.len() as u64);
        for looked in setting.in_parallel(&batches, |worker, batch| {
            let looked = look_at(worker, batch)?;
            progress.add(batch.len());
            Ok(looked)
        })? {
            looked
                .counts
                .into_iter()
                .for_each(|(name, n)| *sum.counts.entry(name).or_default() += n);
            sum.findings.extend(looked.findings);
        }
    }
    sum.findings
        .sort_by(|a, b| (&a.table, a.rowid, &a.column).cmp(&(&b.table, b.rowid, &b.column)));
    Ok(sum)
}

fn look_at(worker: &Worker, batch: &Batch<'_>) -> Result<Looked> {
    let table = batch.table;
    let mut looked = Looked::default();
    batch.each_part(worker, |part, calls| {
        for row in &part.rows {
            for (column, token) in table
                .columns()
                .zip(&row.tokens)
                .filter(|(_, token)| token.value != Value::Null)
            {
                let word = part.check(calls, table, row, token)?;
                let found = match word.as_str() {
                    "ok" | BAD_ARGUMENT | "store_unavailable" | "store_denied" => None,
                    _ => other(part, calls, row, token)?,
                };
                let kind = if found.is_some() {
                    "misrecorded"
                } else {
                    kind(&word)
                };
                *looked.counts.entry(kind).or_default() += 1;
                if kind != "readable" {
                    looked.findings.push(Finding {
                        table: table.name.clone(),
                        column: column.to_owned(),
                        user: part.user.clone(),
                        rowid: row.rowid,
                        recorded: row.named.clone(),
                        word,
                        found,
                    });
                }
            }
        }
        Ok(())
    })?;
    Ok(looked)
}

/// The uid of another key of the user that opens a token.
fn other(
    part: &Part<'_>,
    calls: &Calls<'_>,
    row: &TokenRow,
    token: &Token,
) -> Result<Option<String>> {
    for key in part.keys.iter().filter(|key| {
        Value::Text(key.uid.clone()) != row.named && Value::Integer(key.id) != row.named
    }) {
        if calls.check(part.number, Some(&key.uid), token)? == "ok" {
            return Ok(Some(key.uid.clone()));
        }
    }
    Ok(None)
}

fn kind(word: &str) -> &'static str {
    match word {
        "ok" => "readable",
        "key_lost" => "lost",
        "no_key" | "key_not_found" => "orphaned",
        "token_invalid" | "key_invalid" => "broken",
        "key_disabled" => "disabled",
        BAD_ARGUMENT => BAD_ARGUMENT,
        _ => "unknown",
    }
}

impl Looked {
    /// How many tokens are not readable as they are recorded.
    pub(crate) fn unreadable(&self) -> usize {
        self.findings.len()
    }

    pub(crate) fn report(&self) -> Report {
        let mut text = String::new();
        for (kind, told) in [
            ("readable", "tokens that can be read"),
            ("lost", "lost: the key's object is gone"),
            ("orphaned", "orphaned: the key's row is gone"),
            (
                "broken",
                "broken: the token or the key is none, or the token belongs elsewhere",
            ),
            (
                BAD_ARGUMENT,
                "bad_argument: the context, or the token, is NULL or of another type",
            ),
            (
                "misrecorded",
                "misrecorded: another key of the user opens it",
            ),
            ("disabled", "disabled: the key can be enabled again"),
            ("unknown", "unknown: the store did not answer, run again"),
        ] {
            let number = self.counts.get(kind).copied().unwrap_or(0);
            if number > 0 || kind == "readable" {
                let _ = writeln!(text, "{:>12}  {told}", grouped(number));
            }
        }
        for finding in self.findings.iter().take(SHOWN) {
            let found = finding
                .found
                .as_ref()
                .map(|uid| format!(", opens with {uid}"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "  {}.{} row {}, user {}, key {}: {}{found}",
                finding.table,
                finding.column,
                finding.rowid,
                shown(&finding.user),
                shown(&finding.recorded),
                finding.word,
            );
        }
        if let Some(more @ 1..) = self.findings.len().checked_sub(SHOWN) {
            let _ = writeln!(
                text,
                "  and {} more, which --json gives",
                grouped(more as u64)
            );
        }
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "table": finding.table, "column": finding.column, "rowid": finding.rowid,
                    "user": as_json(&finding.user).unwrap_or_default(),
                    "key": as_json(&finding.recorded).unwrap_or_default(),
                    "word": finding.word, "opens_with": finding.found,
                })
            })
            .collect();
        Report {
            json: json!({"tokens": self.counts, "findings": findings}),
            text,
            findings: !self.findings.is_empty(),
        }
    }
}

/// Compares the key rows with the objects that there are; `None` where these may not be listed. The rows are read before
/// and after, since keys come and go meanwhile: an object comes before its row, and goes before it.
fn strays(setting: &Setting, users: &[Value]) -> Result<Option<Strays>> {
    let journal = setting.place.open()?;
    let before: HashSet<_> = keys::all(&*journal)?
        .into_iter()
        .map(|key| key.uid)
        .collect();
    let Some(objects) = Sealer::open(&setting.extension)?.objects()? else {
        return Ok(None);
    };
    let objects: BTreeSet<_> = objects.into_iter().collect();
    let keys = keys::all(&*journal)?;
    let named: HashSet<_> = keys
        .iter()
        .filter_map(|key| key.object.as_deref())
        .collect();
    // Something else may lie in the store.
    let is_stray = |name: &&String| name.contains("oseh_ujmk_") && !named.contains(name.as_str());
    let is_there = |object: &String| objects.contains(object);
    Ok(Some(Strays {
        objects: users
            .is_empty()
            .then(|| objects.iter().filter(is_stray).cloned().collect()),
        keys: keys
            .iter()
            .filter(|key| users.is_empty() || users.contains(&key.user))
            .filter(|key| before.contains(&key.uid) && !key.object.as_ref().is_some_and(is_there))
            .map(|key| key.uid.clone())
            .collect(),
    }))
}
