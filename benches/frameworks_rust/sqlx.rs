//! As frameworks.py, in Rust: `LIBRARY DATABASE ROUNDS` prints microseconds a row in the clear and sealed, of sqlx.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::time::Instant;

const SEALED: &str = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> sqlx::Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let options = SqliteConnectOptions::new().filename(&given[1]).extension(given[0].clone());
    let pool = SqlitePool::connect_with(options).await?;
    let mut least = [f64::INFINITY; 2];
    for _ in 0..given[2].parse().unwrap() {
        for (least, column) in least.iter_mut().zip(["plain", SEALED]) {
            let sql = format!("SELECT id, {column} FROM journal_entries WHERE user_id = ?");
            let begun = Instant::now();
            let rows: Vec<(i64, String)> = sqlx::query_as(&sql).bind(1).fetch_all(&pool).await?;
            *least = least.min(begun.elapsed().as_secs_f64() * 1e6 / rows.len() as f64);
            assert!(rows.len() == 1000 && rows.iter().all(|(_, text)| text.len() == 101));
        }
    }
    println!("{} {}", least[0], least[1]);
    Ok(())
}
