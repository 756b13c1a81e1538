//! A Rust host: rusqlite, with the SQLite that it brings. Arguments: database, library. What it answers:
//! tests/hosts/drivers.py.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::io::{Write, stdin, stdout};
use std::thread;

use rusqlite::types::Value as Column;
use rusqlite::{Connection, Error, LoadExtensionGuard, Result, params_from_iter};
use serde_json::{Value, json};

/// How many texts come back as they went, on a connection for each thread.
fn trips(open: &(impl Fn() -> Result<Connection> + Sync), asked: &Value) -> Result<i64> {
    let count = |name: &str| asked[name].as_i64().unwrap();
    let sql = asked["sql"].as_str().unwrap();
    let work = |thread| {
        let connection = open()?;
        let mut right = 0;
        for turn in 0..count("times") {
            let text = format!("thread {thread} turn {turn}");
            let back: String = connection.query_row(sql, [&text], |row| row.get(0))?;
            right += i64::from(back == text);
        }
        Ok(right)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count("threads"))
            .map(|n| scope.spawn(move || work(n)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

fn open(database: &str, library: &str) -> Result<Connection> {
    let connection = Connection::open(database)?;
    // SAFETY: the library is ours, and nobody else loads one meanwhile.
    unsafe {
        let _loading = LoadExtensionGuard::new(&connection)?;
        connection.load_extension(library, None::<&str>)?;
    }
    Ok(connection)
}

fn bound(value: &Value) -> Column {
    match value {
        Value::Null => Column::Null,
        Value::String(text) => Column::Text(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Column::Integer(whole),
            None => Column::Real(number.as_f64().unwrap()),
        },
        _ => {
            let hex = value["blob"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            Column::Blob((0..hex.len()).step_by(2).map(byte).collect())
        }
    }
}

fn plain(column: Column) -> Value {
    match column {
        Column::Null => Value::Null,
        Column::Integer(whole) => whole.into(),
        Column::Real(real) => real.into(),
        Column::Text(text) => text.into(),
        Column::Blob(bytes) => {
            json!({ "blob": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}

fn rows(connection: &Connection, asked: &Value) -> Result<Value> {
    let mut statement = connection.prepare(asked["sql"].as_str().unwrap())?;
    let columns = statement.column_count();
    let parameters = asked["parameters"].as_array().unwrap().iter().map(bound);
    let mut found = statement.query(params_from_iter(parameters))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values: Result<Vec<Value>> = (0..columns).map(|n| row.get(n).map(plain)).collect();
        rows.push(Value::from(values?));
    }
    Ok(rows.into())
}

fn next_line() -> Option<String> {
    let mut line = String::new();
    (stdin().read_line(&mut line).unwrap() > 0).then_some(line)
}

fn main() {
    let [_, database, library] = &std::env::args().collect::<Vec<_>>()[..] else {
        panic!("two arguments");
    };
    let open = || open(database, library);
    let mut connections = HashMap::new();
    let mut answer = |asked: &Value| -> Result<Value> {
        if !asked["threads"].is_null() {
            return Ok(json!([[trips(&open, asked)?]]));
        }
        let on = asked["on"].as_str().unwrap_or_default().to_owned();
        if asked["close"] == true {
            let connection: Connection = connections.remove(&on).unwrap();
            connection.close().map_err(|(_, error)| error)?;
            return Ok(json!([]));
        }
        if !connections.contains_key(&on) {
            connections.insert(on.clone(), open()?);
        }
        let connection = &connections[&on];
        let handle = connection.get_interrupt_handle();
        let reader = (asked["interruptible"] == true).then(|| {
            thread::spawn(move || {
                next_line();
                handle.interrupt();
            })
        });
        let rows = rows(connection, asked);
        reader.into_iter().for_each(|reader| reader.join().unwrap());
        rows
    };
    while let Some(line) = next_line() {
        let answer = match answer(&serde_json::from_str(&line).unwrap()) {
            Ok(rows) => json!({ "rows": rows }),
            Err(Error::SqliteFailure(error, text)) => {
                json!({ "error": text, "code": error.extended_code })
            }
            Err(Error::SqlInputError { error, msg, .. }) => {
                json!({ "error": msg, "code": error.extended_code })
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
        println!("{answer}");
        stdout().flush().unwrap();
    }
}
