//! `status`: users, keys by age, entries by key, and what is due. Nothing is decrypted, no key is fetched.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::failure::{Failure, Result};
use crate::journal::{integer, shown};
use crate::keys;
use crate::report::{Report, grouped};
use crate::work::Setting;

const DAY: f64 = 86_400.0;
/// The least ages of the histogram's bars, in days.
const BARS: [(&str, f64); 6] = [
    ("under 1 day", 0.0),
    ("1 to 7 days", 1.0),
    ("7 to 30 days", 7.0),
    ("30 to 90 days", 30.0),
    ("90 days to 1 year", 90.0),
    ("over 1 year", 365.0),
];
const WIDTH: u64 = 30;

/// Rows by what they are under.
#[derive(Default)]
struct Rows {
    current: u64,
    older: u64,
    gone: u64,
}

pub(crate) fn run(setting: &Setting, older_than: f64) -> Result<Report> {
    let journal = setting.place.open()?;
    let now = now()?;
    let keys = keys::all(&*journal)?;
    let users = match &setting.layout.users {
        Some(sql) => Some(integer(
            &journal.rows(&format!("SELECT count(*) FROM ({sql})"), &[])?[0][0],
        )? as u64),
        None => None,
    };

    // The first of each user is the newest.
    let mut holders = HashSet::new();
    let mut bars = [0; BARS.len()];
    let mut due = 0;
    let mut current = HashSet::new();
    for key in &keys {
        let age = now - key.created_at;
        if holders.insert(shown(&key.user)) {
            current.insert(key.id);
            due += u64::from(age >= older_than);
        }
        let bar = BARS
            .iter()
            .rposition(|(_, least)| age >= least * DAY)
            .unwrap_or(0);
        bars[bar] += 1;
    }

    let by_uid: HashMap<_, _> = keys.iter().map(|key| (key.uid.as_str(), key.id)).collect();
    let ids: HashSet<_> = keys.iter().map(|key| key.id).collect();
    let mut used = HashSet::new();
    let mut tables = Vec::new();
    for table in &setting.layout.tables {
        let mut rows = Rows::default();
        journal.each_row(&table.counted_by_key(), &[], &mut |row| {
            let id = match &row[0] {
                rusqlite::types::Value::Integer(id) => {
                    Some(*id).filter(|id| table.is_by_id() && ids.contains(id))
                }
                rusqlite::types::Value::Text(uid) => by_uid
                    .get(uid.as_str())
                    .copied()
                    .filter(|_| !table.is_by_id()),
                _ => None,
            };
            let count = integer(&row[1])? as u64;
            match id {
                Some(id) if current.contains(&id) => rows.current += count,
                Some(_) => rows.older += count,
                None => rows.gone += count,
            }
            used.extend(id);
            Ok(())
        })?;
        tables.push((table.name.as_str(), rows));
    }
    let idle = keys
        .iter()
        .filter(|key| !current.contains(&key.id) && !used.contains(&key.id))
        .count();

    let mut text = String::new();
    let count = |text: &mut String, number: u64, what: &str| {
        writeln!(text, "{:>12}  {what}", grouped(number)).map_err(no_text)
    };
    if let Some(users) = users {
        count(&mut text, users, "users")?;
    }
    count(&mut text, holders.len() as u64, "users with a key")?;
    count(&mut text, keys.len() as u64, "keys, by age:")?;
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    for ((name, _), number) in BARS.iter().zip(bars) {
        let bar = "#".repeat((number * WIDTH).div_ceil(most) as usize);
        writeln!(text, "{:>12}  {name:<18} {bar}", grouped(number)).map_err(no_text)?;
    }
    for (name, rows) in &tables {
        writeln!(text, "{name}").map_err(no_text)?;
        count(&mut text, rows.current, "under their user's current key")?;
        count(&mut text, rows.older, "under an older key")?;
        count(&mut text, rows.gone, "whose key row is gone")?;
    }
    let to_rewrap = tables.iter().map(|(_, rows)| rows.older).sum();
    writeln!(text, "due").map_err(no_text)?;
    count(
        &mut text,
        due,
        &format!(
            "users whose newest key is {} old or older: rotate",
            days(older_than)
        ),
    )?;
    count(&mut text, to_rewrap, "rows under an older key: rewrap")?;
    count(&mut text, idle as u64, "older keys with nothing under them")?;

    let tables: serde_json::Map<_, _> = tables
        .iter()
        .map(|(name, rows)| {
            (
                (*name).to_owned(),
                json!({"current": rows.current, "older": rows.older, "gone": rows.gone}),
            )
        })
        .collect();
    let ages: serde_json::Map<_, _> = BARS
        .iter()
        .zip(bars)
        .map(|((name, _), n)| ((*name).to_owned(), n.into()))
        .collect();
    Ok(Report {
        json: json!({
            "users": users, "users_with_a_key": holders.len(), "keys": keys.len(), "keys_by_age": ages, "tables": tables,
            "due": {"rotate": due, "rewrap": to_rewrap}, "idle_keys": idle,
        }),
        text,
        findings: false,
    })
}

/// Unix seconds.
pub(crate) fn now() -> Result<f64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|since| since.as_secs_f64())
        .map_err(|_| Failure::Refused("this machine's clock is before 1970".to_owned()))
}

fn days(seconds: f64) -> String {
    match seconds {
        1e5.. => format!("{:.0} days", seconds / DAY),
        _ => format!("{:.0} hours", seconds / 3600.0),
    }
}

fn no_text(_: std::fmt::Error) -> Failure {
    Failure::Refused("a text could not be written".to_owned())
}
