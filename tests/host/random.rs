//! Random turns of transactions, schema resets, authorizers, another connection and deserialized databases: every call
//! of ours is compared with a query in the same row of the same statement.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OpenFlags};

use crate::journal::{Journal, PREFIX, path};
use crate::process::Process;
use crate::raw;

/// The oracle depends on the row, so that SQLite asks it for each.
const COMPARED: &str = "
    SELECT journal_key_uid(user), journal_check(user, uid, token) IS 'ok',
      (SELECT k.uid FROM user_journal_master_keys AS k WHERE k.user_id = e.user
       ORDER BY k.created_at DESC, k.uid LIMIT 1),
      EXISTS (SELECT 1 FROM user_journal_master_keys AS k WHERE k.uid = e.uid AND k.user_id = e.user)
    FROM entry AS e";

/// What either connection may do between two rows.
const TURNS: [&str; 14] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "DELETE FROM user_journal_master_keys WHERE uid = 'oseh_ujmk_2'",
    "INSERT INTO user_journal_master_keys(uid, user_id, s3_file_id, created_at) VALUES ('oseh_ujmk_2', 7, 2, 2.0)",
    "UPDATE user_journal_master_keys SET user_id = 15 - user_id WHERE uid = 'oseh_ujmk_1'",
    "UPDATE user_journal_master_keys SET created_at = 3.0 - created_at",
    "UPDATE user_journal_master_keys SET user_id = 8 WHERE uid = 'oseh_ujmk_3'",
    "UPDATE user_journal_master_keys SET user_id = 7 WHERE uid = 'oseh_ujmk_3'",
    "EXPLAIN PRAGMA writable_schema = RESET",
    "SELECT journal_key_uid(7), journal_check(8, 'oseh_ujmk_1', 'x')",
];

fn open(shared: bool) -> Connection {
    let cache = if shared { "shared" } else { "private" };
    let name = format!("file:{}?cache={cache}", path("journal.db").display());
    let flags = OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(name, flags).unwrap();
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    connection
}

/// A turn; whatever SQLite refuses at this point is refused.
fn turn(connection: &Connection, sql: &str) {
    if let Ok(mut statement) = connection.prepare(sql)
        && let Ok(mut rows) = statement.query([])
    {
        while let Ok(Some(_)) = rows.next() {}
    }
}

fn authorize(connection: &Connection, hides: bool) {
    connection
        .authorizer(Some(move |context: AuthContext<'_>| match context.action {
            AuthAction::Read {
                table_name: "user_journal_master_keys",
                ..
            } if hides => Authorization::Ignore,
            _ => Authorization::Allow,
        }))
        .unwrap();
}

fn rounds(seed: u64, shared: bool, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    std::fs::remove_file(path("journal.db")).ok();
    let journal = Journal::of(open(shared));
    journal.run("CREATE TABLE entry(user, uid TEXT, token TEXT)");
    for number in 1..=3 {
        let uid = format!("oseh_ujmk_{number}");
        let object = format!("{PREFIX}{uid}_{seed}_{shared}");
        journal.rows(7, &uid, f64::from(number), &object);
        let token = crate::journal::new_object(&object).encrypt(b"dear diary");
        for user in [7, 8] {
            let entry = (user, &uid, &token);
            journal
                .execute("INSERT INTO entry VALUES (?, ?, ?)", entry)
                .unwrap();
        }
    }
    let file = std::fs::read(path("journal.db")).unwrap();
    let other = open(shared);
    raw::load(&other).unwrap();
    let mut compared = 0;
    if !shared && seed.is_multiple_of(2) {
        journal.pragma_update(None, "journal_mode", "wal").unwrap();
    }
    for round in 0..rounds {
        // Or the one would soon wait for the other for good.
        for connection in [&journal, &other] {
            if random.u8(..3) > 0 {
                turn(connection, random.choice(["COMMIT", "ROLLBACK"]).unwrap());
            }
        }
        if shared {
            let uncommitted = random.bool();
            turn(
                &journal,
                &format!("PRAGMA read_uncommitted = {uncommitted}"),
            );
        }
        if random.u8(..10) == 0 {
            authorize(&journal, random.bool());
        }
        let mut statement = journal.prepare(COMPARED).unwrap();
        let Ok(mut rows) = statement.query([]) else {
            continue;
        };
        // What SQLite refuses, as in a locked table of a shared cache, is no answer to compare.
        while let Ok(Some(row)) = rows.next() {
            let ours: (Option<String>, bool) = (row.get(0).unwrap(), row.get(1).unwrap());
            let expected: (Option<String>, bool) = (row.get(2).unwrap(), row.get(3).unwrap());
            assert_eq!(
                ours, expected,
                "seed {seed}, shared {shared}, round {round}"
            );
            compared += 1;
            if random.bool() {
                let turns = random.choice(&TURNS).unwrap();
                turn(if random.bool() { &journal } else { &other }, turns);
            }
        }
    }
    assert!(
        compared > rounds,
        "{compared} rows compared in {rounds} rounds"
    );
    // From here on `main` is not the file's: the rows are those of the beginning, or none.
    authorize(&journal, false);
    for sql in ["ROLLBACK", "DELETE FROM user_journal_master_keys"] {
        turn(&other, "ROLLBACK");
        turn(&journal, sql);
    }
    for _ in 0..10 {
        if !journal.is_autocommit() {
            break;
        }
        raw::deserialize(&journal, &file);
        for sql in TURNS.iter().skip(6).take(3) {
            let mut statement = journal.prepare(COMPARED).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let ours: (Option<String>, bool) = (row.get(0).unwrap(), row.get(1).unwrap());
                assert_eq!(
                    ours,
                    (row.get(2).unwrap(), row.get(3).unwrap()),
                    "seed {seed}"
                );
            }
            drop(rows);
            turn(&journal, sql);
        }
    }
}

#[test]
fn whatever_happens_between_two_rows_a_call_says_what_the_rows_say() {
    Process::with_directory().run(|| {
        // `make test-sqlites` sets more.
        let seeds = std::env::var("RANDOM_SEEDS").map_or(6, |seeds| seeds.parse().unwrap());
        for seed in 0..seeds {
            for shared in [false, true] {
                rounds(seed, shared, 200);
            }
        }
    });
}
