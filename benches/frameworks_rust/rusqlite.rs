//! As frameworks.py, in Rust: `LIBRARY DATABASE ROUNDS` prints microseconds a row in the clear and sealed, of rusqlite.

use rusqlite::{Connection, LoadExtensionGuard, Result};
use std::time::Instant;

const SEALED: &str = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)";

fn read(journal: &Connection, column: &str) -> Result<Vec<(i64, String)>> {
    let sql = format!("SELECT id, {column} FROM journal_entries WHERE user_id = ?");
    journal.prepare(&sql)?.query_map([1], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let journal = Connection::open(&given[1])?;
    {
        // SAFETY: no SQL runs while extension loading is on, and the file is the one that was just built.
        let _guard = unsafe { LoadExtensionGuard::new(&journal)? };
        unsafe { journal.load_extension(&given[0], None::<&str>)? };
    }
    let mut least = [f64::INFINITY; 2];
    for _ in 0..given[2].parse().unwrap() {
        for (least, column) in least.iter_mut().zip(["plain", SEALED]) {
            let begun = Instant::now();
            let rows = read(&journal, column)?;
            *least = least.min(begun.elapsed().as_secs_f64() * 1e6 / rows.len() as f64);
            assert!(rows.len() == 1000 && rows.iter().all(|(_, text)| text.len() == 101));
        }
    }
    println!("{} {}", least[0], least[1]);
    Ok(())
}
