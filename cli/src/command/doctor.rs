//! `doctor`: the extension's doctor, and on rqlite each node's reachability.

use std::fmt::Write;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::extension;
use crate::failure::{Failure, Result};
use crate::file::attach;
use crate::report::{Colour, Report, broken, coloured, columns};
use crate::sealer::Sealer;
use crate::work::Setting;

/// A check: its name, `ok`, `warning` or `failed`, and what to do.
type Check = (String, String, String);

pub(crate) fn run(setting: &Setting) -> Result<Report> {
    let mut checks = match setting.place.cluster() {
        None => {
            let path = setting.place.file("")?;
            let connect = || -> rusqlite::Result<_> {
                let connection =
                    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY")?;
                Ok(connection)
            };
            let connection = connect().map_err(|error| Failure::from(error).of(path.display()))?;
            extension::load(&connection, &setting.extension)?;
            if let Some(keys) = setting.place.keys() {
                let schema: String = connection.query_row(
                    "SELECT json_extract(journal_config(), '$.schema')",
                    [],
                    |row| row.get(0),
                )?;
                attach(&connection, keys, &schema)?;
            }
            told(&connection)?
        }
        // The key tables that it looks at are in memory here, and always right.
        Some(_) => Sealer::open(&setting.extension)?.doctor()?,
    };
    if let Some(cluster) = setting.place.cluster() {
        for (node, name) in cluster.names().into_iter().enumerate() {
            checks.push(match cluster.standing(node) {
                Ok(said) => (name, "ok".to_owned(), said),
                Err(failure) => (name, "failed".to_owned(), failure.to_string()),
            });
        }
    }
    let mut text = String::new();
    let width = checks
        .iter()
        .map(|(name, ..)| name.len())
        .max()
        .unwrap_or(0);
    for (name, status, detail) in &checks {
        let colour = match status.as_str() {
            "ok" => Colour::Green,
            "warning" => Colour::Yellow,
            _ => Colour::Red,
        };
        let status = coloured(&format!("{status:<7}"), colour);
        let margin = "ok       ".len() + width + 2;
        let detail = broken(detail, columns().saturating_sub(margin));
        let detail = detail.join(&format!("\n{:margin$}", ""));
        writeln!(text, "{status}  {name:<width$}  {detail}")
            .map_err(|_| Failure::Refused("a text could not be written".to_owned()))?;
    }
    let findings = checks.iter().any(|(_, status, _)| status == "failed");
    let checks: Vec<_> = checks
        .iter()
        .map(|(name, status, detail)| json!({"name": name, "status": status, "detail": detail}))
        .collect();
    Ok(Report {
        json: json!({"checks": checks}),
        text,
        findings,
    })
}

/// What the extension's doctor says on a connection.
pub(crate) fn told(connection: &Connection) -> Result<Vec<Check>> {
    let mut statement = connection.prepare("SELECT name, status, detail FROM journal_doctor")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
