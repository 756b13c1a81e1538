//! What this process has counted: as a table, and as text for a monitoring system.

use std::rc::Rc;

use serde_json::json;

use super::{Session, VERSION, function};
use crate::error::Error;
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::table::{Rows, Table};
use crate::sqlite::value::Arguments;
use crate::stats::Counter;

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![function(session, "journal_metrics", 0, metrics)]
}

pub(super) fn tables(session: &Rc<Session>) -> Vec<Table> {
    let session = Rc::clone(session);
    vec![Table {
        name: "journal_stats",
        columns: &["name TEXT", "value"],
        arguments: &[],
        optional: &[],
        rows: Box::new(move |_| stats(&session)),
    }]
}

/// One value that a process tells of itself.
struct Metric {
    name: &'static str,
    help: &'static str,
    value: Value,
}

/// A value, and how it moves.
enum Value {
    /// Only grows, until the process ends.
    Count(u64),
    /// The same, of seconds.
    Seconds(f64),
    /// How many there are now.
    Now(u64),
    /// Seconds from or to something; `None` where that is not known.
    Until(Option<f64>),
    /// A version.
    Version(String),
}

/// `journal_stats`
fn stats(session: &Session) -> Result<Rows, Error> {
    let row = |metric: Metric| {
        let value = match metric.value {
            Value::Count(number) | Value::Now(number) => {
                Output::Integer(i64::try_from(number).unwrap_or(i64::MAX))
            }
            Value::Seconds(seconds) => Output::Real(seconds),
            Value::Until(seconds) => seconds.map_or(Output::Null, Output::Real),
            Value::Version(version) => Output::Text(version),
        };
        vec![Output::Text(metric.name.to_owned()), value]
    };
    Ok(read(session)?.into_iter().map(row).collect())
}

/// `journal_metrics()`: the same as [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text. What is not
/// known has no sample.
fn metrics(session: &Session, _: &Arguments<'_>) -> Result<Output, Error> {
    let mut text = String::new();
    for Metric { name, help, value } in read(session)? {
        let (kind, sample) = match value {
            Value::Count(number) => ("counter", Some(format!("_total {number}"))),
            Value::Seconds(seconds) => ("counter", Some(format!("_total {seconds}"))),
            Value::Now(number) => ("gauge", Some(format!(" {number}"))),
            Value::Until(seconds) => ("gauge", seconds.map(|seconds| format!(" {seconds}"))),
            // A label is escaped as JSON is.
            Value::Version(version) => (
                "info",
                Some(format!("_info{{{name}={}}} 1", json!(version))),
            ),
        };
        let name = format!("journal_crypt_{name}");
        text += &format!("# TYPE {name} {kind}\n# HELP {name} {help}\n");
        if let Some(sample) = sample {
            text += &format!("{name}{sample}\n");
        }
    }
    text += "# EOF\n";
    Ok(Output::Text(text))
}

/// All of them, in the order in which they are shown.
fn read(session: &Session) -> Result<Vec<Metric>, Error> {
    let cache = session.cache()?;
    let count = |counter| Value::Count(cache.stats.get(counter));
    let (cached, stale) = cache.sizes();
    let expires = cache.credentials().and_then(|status| status.expires_in);
    let metric = |name, value, help| Metric { name, help, value };
    Ok(vec![
        metric(
            "fetches",
            count(Counter::Fetches),
            "Fetches and checks that have ended.",
        ),
        metric(
            "fetch_seconds",
            Value::Seconds(cache.stats.get(Counter::FetchMicroseconds) as f64 / 1e6),
            "Seconds that those took together.",
        ),
        metric("retries", count(Counter::Retries), "Tries after the first."),
        metric(
            "failed_key_lost",
            count(Counter::Lost),
            "Fetches and checks that found no object.",
        ),
        metric(
            "failed_key_disabled",
            count(Counter::Disabled),
            "Fetches and checks that found a disabled object.",
        ),
        metric(
            "failed_key_invalid",
            count(Counter::Invalid),
            "Fetches that found something that is no key.",
        ),
        metric(
            "failed_store_denied",
            count(Counter::Denied),
            "Fetches and checks that the store refused.",
        ),
        metric(
            "failed_store_unavailable",
            count(Counter::Unavailable),
            "Fetches and checks without an answer, or answered with a fault.",
        ),
        metric(
            "stale_answers",
            count(Counter::StaleAnswers),
            "Calls served by a key past its TTL, which could not be checked.",
        ),
        metric(
            "queue_timeouts",
            count(Counter::QueueTimeouts),
            "Calls whose time passed in this process's queue of fetches.",
        ),
        metric(
            "fetches_pending",
            Value::Now(cache.pending() as u64),
            "Fetches and checks that stand in line or are under way.",
        ),
        metric(
            "keys_cached",
            Value::Now(cached as u64),
            "Keys in the cache.",
        ),
        metric(
            "keys_stale",
            Value::Now(stale as u64),
            "Keys in the cache that are past their TTL.",
        ),
        metric(
            "keys_unlocked",
            Value::Now(cache.keys_unlocked() as u64),
            "Keys in memory that may be swapped out.",
        ),
        metric(
            "seconds_since_good_fetch",
            Value::Until(cache.seconds_since_good()),
            "Seconds since the store last gave or confirmed a key.",
        ),
        metric(
            "seconds_until_credentials_expire",
            Value::Until(expires.map(|left| left.as_secs_f64())),
            "Seconds until the store's credentials expire.",
        ),
        metric(
            "store_down",
            Value::Now(cache.counts_as_down().into()),
            "1 while no call asks the store.",
        ),
        metric(
            "version",
            Value::Version(VERSION.to_owned()),
            "This extension's version.",
        ),
        metric(
            "sqlite_version",
            Value::Version(session.connection.sqlite_version()),
            "The version of the SQLite library.",
        ),
    ])
}
