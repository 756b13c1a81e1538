//! Nodes of rqlite, over HTTP. They get and give rows and literal tokens, never a text or a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::journal::{Journal, Row, Statement};

/// How long to look for a node that answers, as while a leader is elected.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one node may take for one answer.
const ANSWER: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
const LARGEST: u64 = 1 << 30;

/// In what rqlite says while there is no leader, or while it takes one for the leader that has just died.
const LEADERLESS: [&str; 7] = [
    "leader",
    "not open",
    "timeout",
    "raft",
    "shutdown",
    "dial tcp",
    "connection reset",
];

/// The nodes of one cluster.
pub(crate) struct Cluster {
    nodes: Vec<String>,
    agent: ureq::Agent,
    /// The node that answered last.
    turn: AtomicUsize,
}

/// Why a node gave no rows.
enum Unanswered {
    /// It, or the cluster behind it, could not be reached: another may.
    Away(String),
    /// It ran the statement, and that failed.
    Said(String),
}

impl Cluster {
    pub(crate) fn new(nodes: &[String]) -> Result<Self> {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| match node.contains("://") {
                true => node.trim_end_matches('/').to_owned(),
                false => format!("http://{}", node.trim_end_matches('/')),
            })
            .collect();
        if let Some(wrong) = nodes
            .iter()
            .position(|node| node.parse::<ureq::http::Uri>().is_err())
        {
            return Err(Failure::Usage(format!(
                "--rqlite: item {} of the list is not a URL",
                wrong + 1
            )));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self {
            nodes,
            agent,
            turn: AtomicUsize::new(0),
        })
    }

    /// The nodes as they may be shown: without a password.
    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| name(node)).collect()
    }

    /// The rows that one node gives by itself, whatever the others know.
    pub(crate) fn rows_at(&self, node: usize, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let statement = [encoded(sql, values)?];
        match self.ask(
            node,
            "/db/query?level=none&blob_array",
            &Json::from(statement.to_vec()),
        ) {
            Ok(results) => Ok(rows_of(&results)),
            Err(Unanswered::Away(text)) => Err(Failure::Unreachable(text)),
            Err(Unanswered::Said(text)) => Err(Failure::Refused(text)),
        }
    }

    /// How many nodes the cluster has that are not among these, read-only ones included, by the first that tells.
    pub(crate) fn unnamed(&self) -> Result<usize> {
        let mut told = Err(Failure::Unreachable("no node was asked".to_owned()));
        for node in 0..self.nodes.len() {
            told = self.get(node, "/nodes?ver=2&nonvoters");
            if told.is_ok() {
                break;
            }
        }
        let all = told?["nodes"].as_array().map_or(0, Vec::len);
        Ok(all.saturating_sub(self.nodes.len()))
    }

    /// What a node says of itself: its version and its part in the cluster.
    pub(crate) fn standing(&self, node: usize) -> Result<String> {
        let said = self.get(node, "/status")?;
        let version = said["build"]["version"].as_str().unwrap_or("unknown");
        let state = said["store"]["raft"]["state"].as_str().unwrap_or("unknown");
        let leader = said["store"]["leader"]["node_id"]
            .as_str()
            .unwrap_or_default();
        match leader.is_empty() {
            true => Err(Failure::Unreachable(format!(
                "rqlite {version}, {state}: it knows no leader"
            ))),
            false => Ok(format!("rqlite {version}, {state}")),
        }
    }

    fn get(&self, node: usize, path: &str) -> Result<Json> {
        let away = |error: ureq::Error| Failure::Unreachable(reason(&error));
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.nodes[node]))
            .call()
            .map_err(away)?;
        if answer.status() != 200 {
            return Err(Failure::Unreachable(format!(
                "it answers {}",
                answer.status().as_u16()
            )));
        }
        let text = answer.body_mut().read_to_string().map_err(away)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The results of the first node that gives some.
    fn asked(&self, path: &str, statements: &Json) -> Result<Vec<Json>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let first = self.turn.load(Ordering::Relaxed);
            let mut last = String::new();
            for next in 0..self.nodes.len() {
                let node = (first + next) % self.nodes.len();
                match self.ask(node, path, statements) {
                    Ok(results) => {
                        self.turn.store(node, Ordering::Relaxed);
                        return Ok(results);
                    }
                    Err(Unanswered::Said(text)) => return Err(Failure::Refused(text)),
                    Err(Unanswered::Away(text)) => {
                        last = format!("{}: {text}", name(&self.nodes[node]))
                    }
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::Unreachable(format!(
                    "no node of the cluster answers; {last}"
                )));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ask(&self, node: usize, path: &str, statements: &Json) -> Result<Vec<Json>, Unanswered> {
        let away = |error: ureq::Error| Unanswered::Away(reason(&error));
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.nodes[node]))
            .content_type("application/json")
            .send(statements.to_string())
            .map_err(away)?;
        let status = answer.status().as_u16();
        if matches!(status, 401 | 403) {
            return Err(Unanswered::Said(format!(
                "the node answers {status}: user and password go into the URL"
            )));
        }
        let text = answer
            .body_mut()
            .with_config()
            .limit(LARGEST)
            .read_to_string()
            .map_err(away)?;
        if status != 200 {
            return Err(Unanswered::Away(format!("it answers {status}")));
        }
        let said: Json = serde_json::from_str(&text)
            .map_err(|_| Unanswered::Away("its answer is not rqlite's".to_owned()))?;
        let results = said["results"].as_array().cloned().unwrap_or_default();
        let errors = std::iter::once(&said)
            .chain(&results)
            .find_map(|part| part["error"].as_str());
        match errors {
            None => Ok(results),
            // While there is no leader the statement may or may not be in the log.
            Some(text) if LEADERLESS.iter().any(|w| text.contains(w)) => {
                Err(Unanswered::Away(text.to_owned()))
            }
            Some(text) => Err(Unanswered::Said(text.to_owned())),
        }
    }
}

impl Journal for Arc<Cluster> {
    fn each_row(
        &self,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(&[Value]) -> Result<()>,
    ) -> Result<()> {
        let statement = Json::from(vec![encoded(sql, values)?]);
        rows_of(&self.asked("/db/query?level=weak&blob_array", &statement)?)
            .iter()
            .try_for_each(|found| row(found))
    }

    fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<usize>> {
        let each: Result<Vec<_>> = statements
            .iter()
            .map(|s| encoded(&s.sql, &s.values))
            .collect();
        let results = self.asked("/db/execute?transaction", &Json::from(each?))?;
        Ok(results
            .iter()
            .map(|result| result["rows_affected"].as_u64().unwrap_or(0) as usize)
            .collect())
    }
}

/// A statement as rqlite takes it: an array of its text and its parameters.
fn encoded(sql: &str, values: &[Value]) -> Result<Json> {
    let mut parts = vec![json!(sql)];
    for value in values {
        parts.push(match value {
            Value::Blob(bytes) => json!(bytes),
            other => crate::journal::json(other)?,
        });
    }
    Ok(Json::from(parts))
}

fn rows_of(results: &[Json]) -> Vec<Row> {
    let rows = results
        .first()
        .and_then(|result| result["values"].as_array());
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .map(|row| {
            row.as_array()
                .map(|row| row.iter().map(value).collect())
                .unwrap_or_default()
        })
        .collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Integer((*truth).into()),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Real(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text.clone()),
        // With blob_array, a BLOB is an array of its bytes.
        Json::Array(bytes) => Value::Blob(
            bytes
                .iter()
                .map(|byte| byte.as_u64().unwrap_or_default() as u8)
                .collect(),
        ),
        Json::Object(_) => Value::Null,
    }
}

/// A node without user and password.
fn name(node: &str) -> String {
    match node.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => node.to_owned(),
    }
}

/// ureq's own text, but for those that quote the URL.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "its URL is none".to_owned(),
        other => other.to_string(),
    }
}
