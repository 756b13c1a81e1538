//! `audit`: whether every token can be read, and whether rows and objects belong together. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::journal::{json as as_json, shown};
use crate::keys;
use crate::progress::Progress;
use crate::report::{Report, grouped};
use crate::rows::{Batch, List, Part, TokenRow};
use crate::sealer::Calls;
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
#[derive(Default)]
struct Strays {
    objects: Vec<String>,
    keys: Vec<String>,
    looked: bool,
}

pub(crate) fn run(setting: &Setting, users: &[Value], listing: Option<&Path>) -> Result<Report> {
    let looked = look(setting, users)?;
    let strays = strays(setting, users, listing)?;
    let mut report = looked.report();
    if strays.looked {
        let _ = writeln!(
            report.text,
            "{:>12}  objects that no row names",
            grouped(strays.objects.len() as u64)
        );
        let _ = writeln!(
            report.text,
            "{:>12}  key rows that name no object",
            grouped(strays.keys.len() as u64)
        );
        for stray in strays.objects.iter().chain(&strays.keys).take(SHOWN) {
            let _ = writeln!(report.text, "  {stray}");
        }
    } else {
        report
            .text
            .push_str("objects were not listed: for a bucket, give --listing\n");
    }
    report.findings |= !strays.objects.is_empty() || !strays.keys.is_empty();
    report.json["objects_without_row"] = if strays.looked {
        strays.objects.into()
    } else {
        Json::Null
    };
    report.json["keys_without_object"] = if strays.looked {
        strays.keys.into()
    } else {
        Json::Null
    };
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
                .filter(|(_, token)| **token != Value::Null)
            {
                let word = part.check(calls, table, row, token)?;
                let found = match word.as_str() {
                    "ok" | "store_unavailable" | "store_denied" => None,
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
    token: &Value,
) -> Result<Option<String>> {
    for key in part.keys.iter().filter(|key| {
        Value::Text(key.uid.clone()) != row.named && Value::Integer(key.id) != row.named
    }) {
        if calls.check(part.number, &key.uid, token)? == "ok" {
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
            ("broken", "broken: the token or the key is none"),
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

/// Compares the key rows with the names of the objects: of a directory store as it is, of a bucket as a listing has it.
fn strays(setting: &Setting, users: &[Value], listing: Option<&Path>) -> Result<Strays> {
    let objects: BTreeSet<String> = match (listing, directory()) {
        (Some(file), _) => {
            let text = fs::read_to_string(file);
            let text =
                text.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect()
        }
        (None, Some(root)) => {
            let mut names = BTreeSet::new();
            walk(&root, &root, &mut names)
                .map_err(|error| Failure::Unreachable(format!("{}: {error}", root.display())))?;
            names
        }
        (None, None) => return Ok(Strays::default()),
    };
    let keys = keys::all(&*setting.place.open()?)?;
    let named: BTreeSet<_> = keys
        .iter()
        .filter_map(|key| key.object.as_deref())
        .collect();
    // Something else may lie in the bucket.
    let is_key = |name: &str| name.contains("oseh_ujmk_");
    let asked = |user: &Value| users.is_empty() || users.contains(user);
    Ok(Strays {
        objects: objects
            .iter()
            .filter(|name| is_key(name) && !named.contains(name.as_str()))
            .cloned()
            .collect(),
        keys: keys
            .iter()
            .filter(|key| {
                asked(&key.user)
                    && key
                        .object
                        .as_ref()
                        .is_none_or(|object| !objects.contains(object))
            })
            .map(|key| key.uid.clone())
            .collect(),
        looked: true,
    })
}

/// The directory of a directory store.
fn directory() -> Option<PathBuf> {
    let store = std::env::var("JOURNAL_KEY_STORE").ok()?;
    store
        .strip_prefix("file://")
        .map(|path| PathBuf::from(percent_decoded(path)))
}

/// As the extension reads a file URL.
fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        match (
            first,
            code.and_then(|code| u8::from_str_radix(code, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn walk(root: &Path, folder: &Path, names: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(root, &path, names)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            let name = name.to_string_lossy().replace('\\', "/");
            // A disabled key's object is there, under another name.
            names.insert(name.strip_suffix(".disabled").unwrap_or(&name).to_owned());
        }
    }
    Ok(())
}
