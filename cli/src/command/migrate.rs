//! `migrate`: columns of plaintext into tokens, in place. At the end no byte of plaintext is left in the file or its log.

use std::collections::BTreeMap;
use std::fmt::Write;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::journal::Statement;
use crate::progress::Progress;
use crate::report::{Report, counted};
use crate::rows::{BAD_ARGUMENT, Batch, List, word};
use crate::sealer::{Calls, ENCRYPT, ENCRYPT_ITEM};
use crate::work::{Setting, Worker};

/// Rows that name no key are those whose columns are still plaintext.
const PLAIN: &str = "k IS NULL";
const UNSEALABLE: &str =
    "bad_argument: the context is NULL or of another type, or an item is no JSON";
const A_TOKEN: &str = "a token already, whose key is gone";

#[derive(Default)]
struct Done {
    sealed: u64,
    edited: u64,
    left: BTreeMap<&'static str, u64>,
}

pub(crate) fn run(setting: &Setting, column: &str) -> Result<Report> {
    let path = setting.place.file(
        "plaintext that was ever written to a cluster stands in every node's log: migrate a backup's copy, and load it into a new cluster",
    )?;
    let table = setting.layout.column(column)?;
    let mut sum = Done::default();
    loop {
        let list = List::of(&*setting.place.open()?, table, PLAIN, &[])?;
        let batches: Vec<_> = list.batches(table).collect();
        let progress = Progress::new("migrate", list.len() as u64);
        let mut round = Done::default();
        for done in setting.in_parallel(&batches, |worker, batch| {
            let done = seal(setting, worker, batch)?;
            progress.add(batch.len());
            Ok(done)
        })? {
            round.sealed += done.sealed;
            round.edited += done.edited;
            done.left
                .into_iter()
                .for_each(|(why, n)| *round.left.entry(why).or_default() += n);
        }
        sum.sealed += round.sealed;
        sum.left = round.left;
        if (round.sealed == 0 && round.edited == 0) || setting.dry_run {
            break;
        }
    }
    if !setting.dry_run {
        clean(path).map_err(|failure| {
            failure.of("the rows are sealed, but old pages are left until it is run again")
        })?;
    }
    let mut text = match setting.dry_run {
        true => format!("{} would be sealed\n", counted(sum.sealed, "row")),
        false => format!(
            "{} sealed; the file was written anew, without what was plain before\n",
            counted(sum.sealed, "row")
        ),
    };
    for (why, number) in &sum.left {
        let _ = writeln!(text, "{} left: {why}", counted(*number, "row"));
    }
    Ok(Report {
        json: json!({"sealed": sum.sealed, "left": sum.left, "dry_run": setting.dry_run}),
        text,
        findings: !sum.left.is_empty(),
    })
}

fn seal(setting: &Setting, worker: &Worker, batch: &Batch<'_>) -> Result<Done> {
    let (table, update) = (batch.table, batch.table.update());
    let mut done = Done::default();
    let mut statements = Vec::new();
    batch.each_part(worker, |part, calls| {
        for row in part.rows.iter().filter(|row| row.named == Value::Null) {
            let Some(key) = part.keys.first() else {
                *done
                    .left
                    .entry("the user has no key: rotate gives one")
                    .or_default() += 1;
                continue;
            };
            // One token among them is enough: a NULL then says that the key is gone.
            if row.tokens.iter().any(|token| is_token(calls, &token.value)) {
                *done.left.entry(A_TOKEN).or_default() += 1;
                continue;
            }
            let sealed = row.tokens.iter().zip(table.kinds()).map(|(text, is_item)| {
                match (&text.value, is_item) {
                    (Value::Null, _) => Ok(Value::Null),
                    (_, true) => calls.of_token(&ENCRYPT_ITEM, &[&part.number], text),
                    (_, false) => calls.of_token(&ENCRYPT, &[&part.number], text),
                }
            });
            let mut values = match sealed.collect::<Result<Vec<_>>>() {
                Err(failure) if word(&failure) == Some(BAD_ARGUMENT) => {
                    *done.left.entry(UNSEALABLE).or_default() += 1;
                    continue;
                }
                sealed => sealed?,
            };
            values.extend([Value::Integer(row.rowid), Value::Null]);
            values.extend(row.values());
            values.extend([Value::Text(key.uid.clone()), part.user.clone()]);
            statements.push(Statement {
                sql: update.as_str().into(),
                values,
            });
        }
        Ok(())
    })?;
    (done.sealed, done.edited) = setting.write(worker, &statements)?;
    Ok(done)
}

fn is_token(calls: &Calls<'_>, value: &Value) -> bool {
    *value != Value::Null
        && calls
            .value::<i64>("SELECT journal_token_time(?)", &[value])
            .is_ok()
}

/// Writes the file anew, so that no page with plaintext is left in it, and empties the log.
fn clean(path: &std::path::Path) -> Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.execute_batch("VACUUM")?;
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    match busy {
        0 => Ok(()),
        _ => Err(Failure::Unreachable(
            "another process reads an old state of the database".to_owned(),
        )),
    }
}
