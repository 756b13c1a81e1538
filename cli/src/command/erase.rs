//! `erase`: forgets a user everywhere: every key with all its versions, the key rows, and then the proof that nothing of the
//! user opens any more. It writes a receipt, anew after each step.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use serde_json::{Map, Value as Json, json};

use crate::failure::{Failure, Result};
use crate::journal::{Statement, integer, json as as_json, shown};
use crate::keys::{self, Key};
use crate::progress::{Progress, go_on};
use crate::report::{Report, counted};
use crate::rows::{List, Token, word};
use crate::work::{Setting, Worker};

const PERMISSION: &str =
    "set JOURNAL_ADMIN=1, and give it credentials that may list and delete versions";
/// A user who writes meanwhile may be given a new key: so often they are all destroyed again.
const ROUNDS: usize = 5;
/// How long a node may take to hear of the deletion.
const HEARS: Duration = Duration::from_secs(10);

/// What is written down: kept as JSON, so that a later run adds to what an earlier one destroyed.
struct Receipt {
    path: PathBuf,
    said: Map<String, Json>,
}

pub(crate) fn run(setting: &Setting, user: &Value, yes: bool, folder: &Path) -> Result<Report> {
    let worker = setting.worker()?;
    worker.sealer.require("journal_shred_key", PERMISSION)?;
    let keys = keys::of(&*worker.journal, user)?;
    let rows = rows_of(setting, &worker, user)?;
    let mut receipt = Receipt::open(folder, user)?;
    if keys.is_empty() && rows == 0 && !receipt.is_begun() {
        return Err(Failure::Refused(format!(
            "user {} has neither a key nor a row",
            shown(user)
        )));
    }
    if setting.dry_run {
        return Ok(Report {
            json: json!({"user": as_json(user)?, "keys": keys.len(), "tokens": rows, "dry_run": true}),
            text: format!(
                "{} would be destroyed, and {} with tokens could never be read again\n",
                counted(keys.len() as u64, "key"),
                counted(rows, "row")
            ),
            findings: false,
        });
    }
    if !yes && !keys.is_empty() {
        confirm(user, keys.len(), rows)?;
    }

    let mut destroyed = keys.clone();
    let mut left = keys;
    for _ in 0..ROUNDS {
        for key in &left {
            go_on()?;
            let shredded = shred(&worker, key)?;
            receipt.add(shredded);
            receipt.write()?;
            worker.journal.write(&deletions(setting, key))?;
        }
        left = keys::of(&*worker.journal, user)?;
        if left.is_empty() {
            break;
        }
        destroyed.extend(left.iter().cloned());
    }
    if !left.is_empty() {
        return Err(Failure::Refused(format!(
            "somebody gives user {} new keys all the time: stop the user's writes and run it again",
            shown(user)
        )));
    }

    let opened = prove(setting, &worker, user, &destroyed)?;
    let nodes = ask_nodes(setting, user);
    let whole =
        opened.0 == 0 && opened.1 == 0 && nodes.iter().all(|(_, said)| said == "no key row");
    let (now, caches) = times(&worker)?;
    receipt.set("user", as_json(user)?);
    receipt.set("erased_at", now.into());
    receipt.set("tokens_checked", rows_of(setting, &worker, user)?.into());
    receipt.set("tokens_that_open", opened.0.into());
    receipt.set("tokens_not_proved", opened.1.into());
    receipt.set(
        "nodes",
        nodes
            .iter()
            .map(|(node, said)| ((*node).clone(), Json::from(said.as_str())))
            .collect::<Map<_, _>>()
            .into(),
    );
    receipt.set("complete", whole.into());
    receipt.set("still_a_user", is_listed(setting, &worker, user)?.into());
    receipt.not_looked_at(&caches);
    receipt.write()?;
    Ok(Report {
        text: receipt.page(),
        json: Json::Object(receipt.said),
        findings: !whole,
    })
}

/// Destroys one key of a user who writes with another by now, and whose rows have all been rewrapped.
pub(crate) fn old_key(setting: &Setting, user: &Value, uid: &str, yes: bool) -> Result<Report> {
    let worker = setting.worker()?;
    worker.sealer.require("journal_shred_key", PERMISSION)?;
    let keys = keys::of(&*worker.journal, user)?;
    let refused = |what| Err(Failure::Refused(what));
    let Some(place) = keys.iter().position(|key| key.uid == uid) else {
        return refused(format!("user {} has no such key", shown(user)));
    };
    let key = &keys[place];
    if place == 0 {
        return refused(
            "it is the key that the user writes with: rotate and rewrap first".to_owned(),
        );
    }
    let mut under = 0;
    for table in &setting.layout.tables {
        let named = match table.is_by_id() {
            true => format!("k = {}", key.id),
            false => format!("k = '{}'", key.uid.replace('\'', "''")),
        };
        under += List::of(&*worker.journal, table, &named, std::slice::from_ref(user))?.len();
    }
    if under > 0 {
        return refused(format!(
            "{} under it: rewrap first",
            counted(under as u64, "row")
        ));
    }
    if setting.dry_run {
        return Ok(Report {
            json: json!({"user": as_json(user)?, "key_uid": uid, "tokens": 0, "dry_run": true}),
            text: "the key would be destroyed; no row is under it\n".to_owned(),
            findings: false,
        });
    }
    if !yes {
        confirm(user, 1, 0)?;
    }
    let told = shred(&worker, key)?;
    worker.journal.write(&deletions(setting, key))?;
    Ok(Report {
        json: told,
        text: "the key is destroyed, and so is what older backups hold under it\n".to_owned(),
        findings: false,
    })
}

fn confirm(user: &Value, keys: usize, rows: u64) -> Result<()> {
    eprint!(
        "This destroys {} of user {} for ever. {} will never be read again, here and in every backup.\n\
         Type the user's id to go on: ",
        counted(keys as u64, "key"),
        shown(user),
        counted(rows, "row")
    );
    let _ = std::io::stderr().flush();
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed);
    match read.is_ok() && typed.trim() == shown(user) {
        true => Ok(()),
        false => Err(Failure::Refused(
            "nothing was erased: what was typed is not the user's id".to_owned(),
        )),
    }
}

/// The rows with a token of the user.
fn rows_of(setting: &Setting, worker: &Worker, user: &Value) -> Result<u64> {
    let lists = setting.layout.tables.iter().map(|table| {
        Ok(List::of(&*worker.journal, table, "TRUE", std::slice::from_ref(user))?.len() as u64)
    });
    lists.sum()
}

/// Destroys the object of a key. The rows of others that name it are given too, so that the extension refuses then.
fn shred(worker: &Worker, key: &Key) -> Result<Json> {
    let others = keys::naming(&*worker.journal, key)?;
    let mut given = vec![(1, key)];
    given.extend(others.iter().map(|other| (2, other)));
    let told: Result<String> = worker.sealer.given(given, |calls| {
        calls.value("SELECT journal_shred_key(1, ?)", &[&key.uid])
    });
    let mut told: Json = match told {
        Ok(told) => serde_json::from_str(&told)?,
        // No row names an object: there is none to delete.
        Err(failure) if word(&failure) == Some("key_lost") => {
            json!({"key_uid": key.uid, "gone": true, "object": null})
        }
        Err(failure) => return Err(failure),
    };
    told["user_id"] = as_json(&key.user)?;
    Ok(told)
}

/// The rows of a key. They may be sent again.
fn deletions(setting: &Setting, key: &Key) -> Vec<Statement<'static>> {
    const KEY: &str = "DELETE FROM user_journal_master_keys WHERE uid = ?";
    const FILE: &str = "DELETE FROM s3_files WHERE key = ? AND NOT EXISTS (
        SELECT 1 FROM user_journal_master_keys WHERE s3_file_id = s3_files.id)";
    let uid = Value::Text(key.uid.clone());
    let mut statements = Vec::new();
    for table in setting
        .layout
        .tables
        .iter()
        .filter(|table| table.is_by_id())
    {
        // An id may be given out again, so that it must not stay. Foreign keys may be off.
        let (name, column) = (table.quoted_name(), table.key());
        let sql = format!(
            "UPDATE {name} SET {column} = NULL WHERE {column} = (SELECT id FROM user_journal_master_keys WHERE uid = ?)"
        );
        statements.push(Statement {
            sql: sql.into(),
            values: vec![uid.clone()],
        });
    }
    statements.push(Statement {
        sql: KEY.into(),
        values: vec![uid],
    });
    if let Some(object) = &key.object {
        statements.push(Statement {
            sql: FILE.into(),
            values: vec![Value::Text(object.clone())],
        });
    }
    statements
}

/// Tries every token of the user with the key that it was under, or with every key that there was where that is not recorded
/// any more: how many open, and of how many it cannot be said.
fn prove(
    setting: &Setting,
    worker: &Worker,
    user: &Value,
    destroyed: &[Key],
) -> Result<(u64, u64)> {
    let (mut open, mut unknown) = (0, 0);
    for table in &setting.layout.tables {
        let list = List::of(&*worker.journal, table, "TRUE", std::slice::from_ref(user))?;
        let progress = Progress::new("prove", list.len() as u64);
        for batch in list.batches(table) {
            go_on()?;
            let rows = batch.read(&*worker.journal)?;
            worker
                .sealer
                .given(destroyed.iter().map(|key| (1, key)), |calls| {
                    for row in rows.values() {
                        let uid = destroyed
                            .iter()
                            .find(|key| key.is_named(table, row))
                            .map(|key| key.uid.as_str());
                        let held = |token: &&Token| token.value != Value::Null;
                        for token in row.tokens.iter().filter(held) {
                            match calls.check(1, uid, token)?.as_str() {
                                "ok" => open += 1,
                                "no_key" | "key_lost" | "token_invalid" | "key_invalid" => {}
                                _ => unknown += 1,
                            }
                        }
                    }
                    Ok(())
                })?;
            progress.add(batch.len());
        }
    }
    Ok((open, unknown))
}

/// Whether `rotate` would give the user a new key.
fn is_listed(setting: &Setting, worker: &Worker, user: &Value) -> Result<bool> {
    let mut listed = false;
    if let Some(all) = &setting.layout.users {
        let sql = format!("SELECT ? IN ({all})");
        worker
            .journal
            .each_row(&sql, std::slice::from_ref(user), &mut |row| {
                listed = integer(&row[0])? == 1;
                Ok(())
            })?;
    }
    Ok(listed)
}

/// What each node itself says of the user's key rows.
fn ask_nodes(setting: &Setting, user: &Value) -> Vec<(String, String)> {
    const ROWS: &str = "SELECT count(*) FROM user_journal_master_keys WHERE user_id = ?";
    let Some(cluster) = setting.place.cluster() else {
        return Vec::new();
    };
    let ask = |node: usize| {
        let deadline = Instant::now() + HEARS;
        loop {
            let said = match cluster.rows_at(node, ROWS, std::slice::from_ref(user)) {
                Ok(rows) => match rows.first().and_then(|row| row.first()).map(integer) {
                    Some(Ok(0)) => return "no key row".to_owned(),
                    _ => "it still has a key row".to_owned(),
                },
                Err(failure) => return format!("not reached: {failure}"),
            };
            if Instant::now() > deadline {
                return said;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let mut nodes: Vec<_> = cluster
        .names()
        .into_iter()
        .enumerate()
        .map(|(node, name)| (name, ask(node)))
        .collect();
    let others = match cluster.unnamed() {
        Ok(0) => return nodes,
        Ok(number) => format!("{number} not asked: --rqlite must name every node"),
        Err(failure) => format!("not known whether there are any: {failure}"),
    };
    nodes.push(("others".to_owned(), others));
    nodes
}

/// The time now, and until when caches elsewhere may serve a key.
fn times(worker: &Worker) -> Result<(String, String)> {
    worker.sealer.given([], |calls| {
        let now = calls.value("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now')", &[])?;
        let until = calls.value(
            "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now', (c ->> 'cache_ttl') || ' seconds') || ', and until '
             || strftime('%Y-%m-%dT%H:%M:%SZ', 'now', (c ->> 'cache_ttl' + c ->> 'cache_stale') || ' seconds')
             FROM (SELECT journal_config() AS c)",
            &[],
        )?;
        Ok((now, until))
    })
}

impl Receipt {
    /// A new one, or that of an earlier run.
    fn open(folder: &Path, user: &Value) -> Result<Self> {
        let name: String = shown(user)
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let path = folder.join(format!("erasure-{name}.json"));
        let said = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|_| Failure::Refused(format!("{} is no receipt", path.display())))?,
            Err(_) => Map::new(),
        };
        Ok(Self { path, said })
    }

    fn is_begun(&self) -> bool {
        self.said.contains_key("destroyed")
    }

    fn set(&mut self, name: &str, value: Json) {
        self.said.insert(name.to_owned(), value);
    }

    /// A key that was destroyed; once, although it is destroyed again where a run was killed before its row was deleted.
    fn add(&mut self, shredded: Json) {
        let list = self.said.entry("destroyed").or_insert_with(|| json!([]));
        if let Json::Array(list) = list
            && !list.iter().any(|key| key["key_uid"] == shredded["key_uid"])
        {
            list.push(shredded);
        }
    }

    /// What no program at this place can see.
    fn not_looked_at(&mut self, caches: &str) {
        let mut all = BTreeSet::new();
        for destroyed in self
            .said
            .get("destroyed")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            let told = destroyed["not_looked_at"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str);
            all.extend(
                told.filter(|text| !text.starts_with("caches"))
                    .map(str::to_owned),
            );
        }
        all.insert("copies of the key store: a backup or a replica of it that holds a key opens what is under it".to_owned());
        all.insert(format!(
            "caches of other processes with these settings: they may serve a key until {caches} where they do not reach the store"
        ));
        self.set("not_looked_at", all.into_iter().collect::<Vec<_>>().into());
    }

    /// Replaces the files: the JSON and the page for a person.
    fn write(&self) -> Result<()> {
        let failed =
            |error: std::io::Error| Failure::Refused(format!("{}: {error}", self.path.display()));
        let text = serde_json::to_string_pretty(&self.said)?;
        let written = self.path.with_extension("new");
        fs::write(&written, text + "\n")
            .and_then(|()| fs::rename(&written, &self.path))
            .map_err(failed)?;
        fs::write(self.path.with_extension("txt"), self.page()).map_err(failed)
    }

    fn page(&self) -> String {
        let text = |name: &str| match self.said.get(name) {
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "not yet".to_owned(),
        };
        let mut page = format!("Erasure of user {}\n\n", text("user"));
        let _ = writeln!(page, "Destroyed, each with all its versions:");
        for key in self
            .said
            .get("destroyed")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            let field = |name: &str| key[name].as_str().unwrap_or("before").to_owned();
            let _ = writeln!(page, "  {}  key {}", field("shredded_at"), field("key_uid"));
        }
        let _ = writeln!(page, "\nChecked at {}:", text("erased_at"));
        let _ = writeln!(
            page,
            "  {} rows with tokens, each tried with the key that it was under",
            text("tokens_checked")
        );
        let _ = writeln!(
            page,
            "  {} tokens open, of {} it could not be said",
            text("tokens_that_open"),
            text("tokens_not_proved")
        );
        for (node, said) in self
            .said
            .get("nodes")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let _ = writeln!(page, "  node {node}: {}", said.as_str().unwrap_or_default());
        }
        let _ = writeln!(page, "\nNot looked at:");
        for what in self
            .said
            .get("not_looked_at")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            let _ = writeln!(page, "  {what}");
        }
        if self.said.get("still_a_user") == Some(&Json::Bool(true)) {
            let _ = writeln!(
                page,
                "\nThe user is still among those who get keys: delete them there, or `rotate` makes a new key."
            );
        }
        let verdict = match self.said.get("complete") {
            Some(Json::Bool(true)) => "Complete: nothing of the user opens any more.",
            _ => "NOT COMPLETE: run it again.",
        };
        let _ = writeln!(page, "\n{verdict}");
        page
    }
}
