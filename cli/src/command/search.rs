//! `search`: finds words in one user's journal, with an index over the decrypted text in this process's memory, never on disk.

use std::fmt::Write;

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::journal::{array, seconds};
use crate::progress::Progress;
use crate::report::{Report, counted};
use crate::rows::{List, word};
use crate::sealer::{DECRYPT, DECRYPT_ITEM};
use crate::work::Setting;

pub(crate) fn run(setting: &Setting, user: &Value, words: &[String], most: u16) -> Result<Report> {
    let worker = setting.worker()?;
    let index = Connection::open_in_memory()?;
    index.execute_batch(
        "PRAGMA temp_store = MEMORY;
         CREATE VIRTUAL TABLE found USING fts5 (
           text, place UNINDEXED, id UNINDEXED, tokenize = \"unicode61 remove_diacritics 2\"
         );
         BEGIN",
    )?;
    let mut unreadable = 0;
    for (place, table) in (0u32..).zip(&setting.layout.tables) {
        let list = List::of(&*worker.journal, table, "TRUE", std::slice::from_ref(user))?;
        let progress = Progress::new("search", list.len() as u64);
        for batch in list.batches(table) {
            batch.each_part(&worker, |part, calls| {
                for row in &part.rows {
                    for (token, is_item) in row
                        .tokens
                        .iter()
                        .zip(table.kinds())
                        .filter(|(token, _)| token.value != Value::Null)
                    {
                        let call = match is_item {
                            true => DECRYPT_ITEM,
                            false => DECRYPT,
                        };
                        let Some(key) = part.key_of(table, row) else {
                            unreadable += 1;
                            continue;
                        };
                        let opened = calls.of_token(&call, &[&part.number, &key.uid], token);
                        let text: String = match opened {
                            Ok(text) => text,
                            // An outage is an error, never "nothing found".
                            Err(failure) if word(&failure).is_some() => {
                                unreadable += 1;
                                continue;
                            }
                            Err(failure) => return Err(failure),
                        };
                        let mut texts = Vec::new();
                        match is_item {
                            true => strings(&serde_json::from_str(&text)?, &mut texts),
                            false => texts.push(text),
                        }
                        let mut insert =
                            index.prepare_cached("INSERT INTO found VALUES (?, ?, ?)")?;
                        for text in texts {
                            insert.execute(params![
                                text.replace(['\r', '\n'], " "),
                                place,
                                row.rowid
                            ])?;
                        }
                    }
                }
                Ok(())
            })?;
            progress.add(batch.len());
        }
    }

    // Each word as a string, so that nothing in it is an operator of FTS5's, and as a beginning.
    let query: Vec<_> = words
        .iter()
        .flat_map(|words| words.split_whitespace())
        .map(|word| format!("\"{}\"*", word.replace('"', "\"\"")))
        .collect();
    let mut statement = index.prepare(
        "SELECT place, id, snippet(found, 0, '[', ']', '…', 16) FROM found WHERE found MATCH ? ORDER BY rank, id DESC LIMIT ?",
    )?;
    let hits = statement.query_map(params![query.join(" "), most], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let hits: Vec<(u32, i64, String)> = hits.collect::<rusqlite::Result<_>>()?;
    let (mut text, mut found) = (String::new(), Vec::new());
    for (place, rowid, snippet) in hits {
        let table = &setting.layout.tables[place as usize];
        let time = match &table.time {
            Some(time) => {
                let rows = worker
                    .journal
                    .rows(&table.chosen(time), &[array(&[Value::Integer(rowid)])?])?;
                rows.first().map(|row| seconds(&row[0]))
            }
            None => None,
        };
        let day: Option<String> = match time {
            Some(time) => {
                index.query_row("SELECT date(?, 'unixepoch')", [time], |row| row.get(0))?
            }
            None => None,
        };
        let _ = writeln!(
            text,
            "{:<10}  {} {rowid}  {snippet}",
            day.as_deref().unwrap_or(""),
            table.name
        );
        found.push(json!({"table": table.name, "rowid": rowid, "day": day, "snippet": snippet}));
    }
    if found.is_empty() {
        text.push_str("nothing found\n");
    }
    if unreadable > 0 {
        let _ = writeln!(
            text,
            "{} not searched: the key is lost, or the token does not open",
            counted(unreadable, "token")
        );
    }
    Ok(Report {
        json: json!({"found": found, "unreadable": unreadable}),
        text,
        findings: false,
    })
}

/// Every string in a JSON value.
fn strings(json: &Json, texts: &mut Vec<String>) {
    match json {
        Json::String(text) => texts.push(text.clone()),
        Json::Array(parts) => parts.iter().for_each(|part| strings(part, texts)),
        Json::Object(parts) => parts.values().for_each(|part| strings(part, texts)),
        _ => {}
    }
}
