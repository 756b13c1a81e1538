//! `rewrap`: all tokens under their users' current keys. Nothing that was edited meanwhile is overwritten.

use std::collections::BTreeMap;
use std::fmt::Write;

use rusqlite::types::Value;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::journal::Statement;
use crate::layout::Table;
use crate::progress::Progress;
use crate::report::{Report, counted};
use crate::rows::{BAD_ARGUMENT, Batch, List, Token, word};
use crate::sealer::{Calls, REWRAP};
use crate::work::{Setting, Worker};

/// Rows whose key is not the one that their user writes with.
const OLD: &str = "k IS NOT current";

const DISABLED: &str = "key_disabled";

#[derive(Default)]
struct Done {
    rewrapped: u64,
    /// Changed by somebody else between our reading and our writing: the next round takes them again.
    edited: u64,
    /// By error word: these stay as they are.
    left: BTreeMap<String, u64>,
}

pub(crate) fn run(setting: &Setting, users: &[Value]) -> Result<Report> {
    let mut rewrapped = 0;
    loop {
        let round = round(setting, users)?;
        rewrapped += round.rewrapped;
        // What was edited, written or rotated meanwhile may be under an old key again. Once nothing could be done any
        // more, what is left is what cannot be.
        if (round.rewrapped == 0 && round.edited == 0) || setting.dry_run {
            return Ok(report(setting, rewrapped, round.left));
        }
    }
}

fn round(setting: &Setting, users: &[Value]) -> Result<Done> {
    let journal = setting.place.open()?;
    let tables = &setting.layout.tables;
    let lists: Result<Vec<_>> = tables
        .iter()
        .map(|table| List::of(&*journal, table, OLD, users))
        .collect();
    let lists = lists?;
    let total = lists.iter().map(List::len).sum::<usize>() as u64;
    let batches: Vec<_> = tables
        .iter()
        .zip(&lists)
        .flat_map(|(table, list)| list.batches(table))
        .collect();
    let progress = Progress::new("rewrap", total);
    let outcomes = setting.in_parallel(&batches, |worker, batch| {
        let done = rewrap(setting, worker, batch)?;
        progress.add(batch.len());
        Ok(done)
    })?;
    let mut sum = Done::default();
    for done in outcomes {
        sum.rewrapped += done.rewrapped;
        sum.edited += done.edited;
        done.left
            .into_iter()
            .for_each(|(word, n)| *sum.left.entry(word).or_default() += n);
    }
    Ok(sum)
}

fn rewrap(setting: &Setting, worker: &Worker, batch: &Batch<'_>) -> Result<Done> {
    let (table, update) = (batch.table, batch.table.update());
    let mut done = Done::default();
    let mut statements = Vec::new();
    batch.each_part(worker, |part, calls| {
        for row in &part.rows {
            let Some(current) = part.keys.first() else {
                *done.left.entry("no_key".to_owned()).or_default() += 1;
                continue;
            };
            let Some(key) = part.key_of(table, row) else {
                *done.left.entry("key_not_found".to_owned()).or_default() += 1;
                continue;
            };
            if key.uid == current.uid {
                continue;
            }
            let each: Result<Vec<_>> = row
                .tokens
                .iter()
                .map(|token| rewrapped(calls, part.number, &key.uid, token))
                .collect();
            match each {
                Ok(tokens) => {
                    let mut values = tokens;
                    values.extend([Value::Integer(row.rowid), row.named.clone()]);
                    values.extend(row.values());
                    values.extend([Value::Text(current.uid.clone()), part.user.clone()]);
                    statements.push(Statement {
                        sql: update.as_str().into(),
                        values,
                    });
                }
                Err(failure) => match word(&failure) {
                    Some(word) => *done.left.entry(word.to_owned()).or_default() += 1,
                    None => return Err(failure),
                },
            }
        }
        Ok(())
    })?;
    (done.rewrapped, done.edited) = setting.write(worker, &statements)?;
    Ok(done)
}

fn rewrapped(calls: &Calls<'_>, user: i64, uid: &str, token: &Token) -> Result<Value> {
    match token.value {
        Value::Null => Ok(Value::Null),
        _ => calls.of_token(&REWRAP, &[&user, &uid], token),
    }
}

fn report(setting: &Setting, rewrapped: u64, left: BTreeMap<String, u64>) -> Report {
    let mut text = match setting.dry_run {
        true => format!("{} would be rewrapped\n", counted(rewrapped, "row")),
        false => format!("{} rewrapped\n", counted(rewrapped, "row")),
    };
    for (word, number) in &left {
        let _ = writeln!(
            text,
            "{} left under an old key: {word}{}",
            counted(*number, "row"),
            told(word)
        );
    }
    if left.is_empty() && !setting.dry_run {
        text.push_str("nothing is left under an old key\n");
    } else if left.keys().any(|word| word != DISABLED) {
        text.push_str("`journal-crypt audit` says more of what trying again does not help\n");
    }
    Report {
        findings: !left.is_empty(),
        json: json!({"rewrapped": rewrapped, "left": left, "dry_run": setting.dry_run}),
        text,
    }
}

/// What can be said of an error word to whoever rewraps.
fn told(word: &str) -> &'static str {
    match word {
        DISABLED => ", until `journal-crypt enable` brings the key back",
        "token_invalid" => ": broken, or bound to another context than journal-crypt.toml says",
        BAD_ARGUMENT => ": the context, or the token, is NULL or of another type",
        _ => "",
    }
}

impl Table {
    /// Gives a row new tokens and their key: only where it still holds the old ones, and the key is still the user's. Its
    /// parameters are the new tokens, the rowid, what named the old key, the old tokens, the new key's uid, the user. (An
    /// UPDATE with FROM would collect what it finds in a table of its own first, each time.)
    pub(crate) fn update(&self) -> String {
        let (name, key) = (self.quoted_name(), self.key());
        let named = self.named();
        let columns: Vec<_> = self.columns().map(crate::layout::quoted).collect();
        let each = |first: usize, operator: &str, between: &str| {
            let terms = columns.iter().enumerate();
            let terms =
                terms.map(|(place, column)| format!("{column} {operator} ?{}", first + place));
            terms.collect::<Vec<_>>().join(between)
        };
        let many = columns.len();
        let (rowid, old, uid) = (many + 1, many + 2, 2 * many + 3);
        let current = format!(
            "FROM user_journal_master_keys WHERE uid = ?{uid} AND user_id = ?{}",
            uid + 1
        );
        format!(
            "UPDATE {name} SET {}, {key} = (SELECT {named} {current})
             WHERE {name}.rowid = ?{rowid} AND {key} IS ?{old} AND {} AND EXISTS (SELECT 1 {current})",
            each(1, "=", ", "),
            each(many + 3, "IS", " AND "),
        )
    }
}

/// Refuses a user of whom there is neither a key nor a row, which is most often a misspelt one.
pub(crate) fn known(setting: &Setting, users: &[Value]) -> Result<()> {
    let journal = setting.place.open()?;
    for user in users {
        let mut known = !crate::keys::of(&*journal, user)?.is_empty();
        for table in &setting.layout.tables {
            known =
                known || List::of(&*journal, table, "TRUE", std::slice::from_ref(user))?.len() > 0;
        }
        if !known {
            return Err(Failure::Refused(format!(
                "user {} has neither a key nor a row",
                crate::journal::shown(user)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use crate::layout::Layout;

    #[test]
    fn a_row_is_changed_only_while_it_holds_what_was_read_and_the_key_is_the_users() {
        let database = Connection::open_in_memory().unwrap();
        let schema = include_str!("../../../sql/schema.sql");
        database.execute_batch(schema).unwrap();
        database
            .execute_batch(
                "INSERT INTO users VALUES (7, 'oseh_u_7', 0), (8, 'oseh_u_8', 0);
                 INSERT INTO s3_files VALUES (1, 'oseh_s3f_1', 'k', 44, '', 0);
                 INSERT INTO user_journal_master_keys VALUES
                   (1, 'oseh_ujmk_old', 7, 1, 1), (2, 'oseh_ujmk_new', 7, 1, 2), (3, 'oseh_ujmk_other', 8, 1, 1);
                 INSERT INTO journal_entries VALUES (1, 'oseh_je_1', 7, 'oseh_ujmk_old', 'token', 0)",
            )
            .unwrap();
        let layout = Layout::read(None).unwrap();
        let update = layout.tables[0].update();
        let write = |recorded: &str, token: &str, key: &str| {
            let values = params!["rewrapped", 1, recorded, token, key, 7];
            database.execute(&update, values).unwrap()
        };
        let (old, new) = ("oseh_ujmk_old", "oseh_ujmk_new");
        assert_eq!(write(old, "as it was before an edit", new), 0);
        assert_eq!(write("oseh_ujmk_older", "token", new), 0);
        assert_eq!(write(old, "token", "oseh_ujmk_gone"), 0);
        assert_eq!(write(old, "token", "oseh_ujmk_other"), 0);
        assert_eq!(write(old, "token", new), 1);
        let row: (String, String) = database
            .query_row("SELECT token, key_uid FROM journal_entries", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(row, ("rewrapped".to_owned(), new.to_owned()));
        assert_eq!(write(old, "token", new), 0);
    }
}
