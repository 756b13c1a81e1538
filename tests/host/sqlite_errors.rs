//! SQLite's own errors keep their code, under the name of the function that met them.

use rusqlite::Connection;
use rusqlite::ffi::{
    SQLITE_AUTH, SQLITE_BUSY, SQLITE_ERROR, SQLITE_INTERRUPT, SQLITE_NOMEM, SQLITE_TOOBIG,
};
use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::Value;
use std::time::Duration;

use crate::journal::{Failure, Journal, path, text};
use crate::process::Process;
use crate::raw;

/// A call of each way to a key row, and its function.
const CALLS: [(&str, &str); 5] = [
    ("SELECT journal_key_uid(7)", "journal_key_uid"),
    ("SELECT journal_encrypt(7, 'x')", "journal_encrypt"),
    ("SELECT journal_decrypt(7, NULL, 'x')", "journal_decrypt"),
    (
        "SELECT journal_check(7, 'oseh_ujmk_1', 'x')",
        "journal_check",
    ),
    ("SELECT token FROM journal_seal(7, 'x')", "journal_seal"),
];

fn failed(code: i32, function: &str, message: &str) -> Result<Value, Failure> {
    Err((code, format!("{function}: {message}")))
}

#[test]
fn a_missing_table_is_named() {
    Process::with_directory().run(|| {
        for table in ["user_journal_master_keys", "s3_files"] {
            let journal = Journal::in_memory();
            journal.key(7, "oseh_ujmk_1", 1.0);
            // Prepared before, so that the kept statements meet the change.
            for (sql, _) in CALLS {
                let _ = journal.ask(sql, []);
            }
            journal.run(&format!("ALTER TABLE {table} RENAME TO aside"));
            for (sql, function) in CALLS {
                let message = format!("no such table: main.{table}");
                assert_eq!(
                    journal.ask(sql, []),
                    failed(SQLITE_ERROR, function, &message)
                );
            }
            journal.run(&format!("ALTER TABLE aside RENAME TO {table}"));
            assert_eq!(journal.ask(CALLS[0].0, []), text("oseh_ujmk_1"));
            journal.run("SELECT journal_evict()");
        }
    });
}

#[test]
fn a_missing_column_is_named() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.run("ALTER TABLE s3_files RENAME COLUMN key TO object");
        assert_eq!(
            journal.ask("SELECT journal_key_uid(7)", []),
            failed(SQLITE_ERROR, "journal_key_uid", "no such column: f.key")
        );
    });
}

#[test]
fn a_lock_of_another_connection_is_busy() {
    Process::with_directory().run(|| {
        for warm in [false, true] {
            let name = format!("journal{warm}.db");
            let journal = Journal::in_file(&name);
            journal.key(7, "oseh_ujmk_1", 1.0);
            journal.busy_timeout(Duration::ZERO).unwrap();
            if warm {
                for (sql, _) in CALLS {
                    let _ = journal.ask(sql, []);
                }
            }
            let other = Connection::open(path(&name)).unwrap();
            other.execute_batch("BEGIN EXCLUSIVE").unwrap();
            for (sql, function) in CALLS {
                // A table of ours counts as one of main's: SQLite itself meets the lock first.
                let expected = match function {
                    "journal_seal" => Err((SQLITE_BUSY, "database is locked".to_owned())),
                    _ => failed(SQLITE_BUSY, function, "database is locked"),
                };
                assert_eq!(journal.ask(sql, []), expected, "{warm}");
            }
            other.execute_batch("COMMIT").unwrap();
            assert_eq!(journal.ask(CALLS[0].0, []), text("oseh_ujmk_1"));
        }
    });
}

#[test]
fn a_refusal_of_the_host_s_authorizer_keeps_its_code() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal
            .authorizer(Some(
                |context: rusqlite::hooks::AuthContext<'_>| match context.action {
                    AuthAction::Read {
                        table_name: "s3_files",
                        ..
                    } => Authorization::Deny,
                    _ => Authorization::Allow,
                },
            ))
            .unwrap();
        for (sql, function) in CALLS {
            let message = "access to s3_files.key is prohibited";
            assert_eq!(journal.ask(sql, []), failed(SQLITE_AUTH, function, message));
        }
    });
}

#[test]
fn a_result_over_the_connection_s_length_limit_is_too_big() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        let plaintext = "x".repeat(1000);
        let token = journal.text("SELECT journal_encrypt(7, ?)", [&plaintext]);
        journal.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1200).unwrap();
        for sql in [
            "SELECT journal_encrypt(7, ?)",
            "SELECT token FROM journal_seal(7, ?)",
        ] {
            let message = "string or blob too big".to_owned();
            assert_eq!(
                journal.ask(sql, [&plaintext]),
                Err((SQLITE_TOOBIG, message))
            );
        }
        assert!(journal.ask("SELECT journal_encrypt(7, 'x')", []).is_ok());
        journal.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1500).unwrap();
        let read = journal.ask("SELECT journal_decrypt(7, NULL, ?)", [&token]);
        assert_eq!(read, text(plaintext));
    });
}

#[test]
fn a_connection_that_is_out_of_memory_says_so_and_recovers() {
    Process::with_directory().run(|| {
        let path = path("journal.db");
        Journal::in_file("journal.db").key(7, "oseh_ujmk_1", 1.0);
        let (mut refused, mut answered) = (0, 0);
        for spare in (0..64 * 1024).step_by(256) {
            let connection = Connection::open(&path).unwrap();
            raw::load(&connection).unwrap();
            for (sql, function) in CALLS {
                let ask = || crate::journal::ask(&connection, sql, []);
                connection.cache_flush().unwrap();
                raw::limit_memory(raw::memory_used() + spare);
                let given = ask();
                raw::limit_memory(0);
                match given {
                    Err((SQLITE_NOMEM, message)) => {
                        refused += 1;
                        let ours = format!("{function}: out of memory");
                        assert!(
                            [ours.as_str(), "out of memory"].contains(&message.as_str()),
                            "{message}"
                        );
                    }
                    _ => answered += 1,
                }
                let after = ask();
                assert!(!matches!(after, Err((SQLITE_NOMEM, _))), "{after:?}");
                assert_eq!(
                    crate::journal::ask(&connection, CALLS[0].0, []),
                    text("oseh_ujmk_1")
                );
            }
            connection.close().unwrap();
        }
        assert!(
            refused > 20 && answered > 20,
            "{refused} refused, {answered} answered"
        );
    });
}

#[test]
fn an_interrupt_from_a_progress_handler_keeps_its_code() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        let mut interrupted = 0;
        for steps in 1..200 {
            let mut left = steps;
            let handler = move || {
                left -= 1;
                left == 0
            };
            journal.progress_handler(1, Some(handler)).unwrap();
            let given = journal.ask("SELECT journal_key_uid(7)", []);
            journal.progress_handler(0, None::<fn() -> bool>).unwrap();
            match given {
                Err((code, message)) => {
                    assert_eq!(code, SQLITE_INTERRUPT);
                    assert!(
                        ["interrupted", "journal_key_uid: interrupted"].contains(&message.as_str())
                    );
                    interrupted += 1;
                }
                given => assert_eq!(given, text("oseh_ujmk_1")),
            }
        }
        assert!((10..190).contains(&interrupted), "{interrupted}");
    });
}

#[test]
fn an_interrupt_between_the_two_rows_of_a_new_key_leaves_neither_nor_an_open_transaction() {
    Process::with_directory()
        .variable("JOURNAL_ADMIN", "1")
        .run(|| {
            let journal = Journal::in_memory();
            journal.run("CREATE TABLE users(id INTEGER PRIMARY KEY); INSERT INTO users VALUES (7)");
            let handle = journal.get_interrupt_handle();
            journal
                .update_hook(Some(move |_, _: &str, table: &str, _| {
                    assert_eq!(table, "s3_files");
                    handle.interrupt();
                }))
                .unwrap();
            let interrupted = journal.ask("SELECT journal_rotate_key(7)", ());
            assert_eq!(
                interrupted,
                Err((
                    SQLITE_INTERRUPT,
                    "journal_rotate_key: interrupted".to_owned()
                ))
            );
            assert!(journal.is_autocommit());
            let rows = "SELECT (SELECT count(*) FROM s3_files), (SELECT count(*) FROM user_journal_master_keys)";
            let counts: (i64, i64) = journal
                .query_row(rows, (), |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(counts, (0, 0));
            journal
                .update_hook(None::<fn(rusqlite::hooks::Action, &str, &str, i64)>)
                .unwrap();
            let uid = journal.text("SELECT journal_rotate_key(7)", ());
            assert_eq!(journal.text("SELECT journal_key_uid(7)", ()), uid);
        });
}

#[test]
fn a_commit_of_a_new_key_that_a_reader_refuses_leaves_no_open_transaction() {
    Process::with_directory()
        .variable("JOURNAL_ADMIN", "1")
        .run(|| {
            let journal = Journal::in_file("journal.db");
            journal.run("CREATE TABLE users(id INTEGER PRIMARY KEY); INSERT INTO users VALUES (7)");
            journal.busy_timeout(Duration::ZERO).unwrap();
            let reader = Connection::open(path("journal.db")).unwrap();
            let mut reading = reader.prepare("SELECT id FROM users").unwrap();
            let mut rows = reading.query([]).unwrap();
            assert!(rows.next().unwrap().is_some());

            let refused = journal.ask("SELECT journal_rotate_key(7)", ()).unwrap_err();
            assert_eq!(refused.0, SQLITE_BUSY);
            assert!(journal.is_autocommit());
            drop(rows);
            let others = reader.execute("INSERT INTO users VALUES (8)", ());
            assert_eq!(others, Ok(1));
            let uid = journal.text("SELECT journal_rotate_key(7)", ());
            assert_eq!(journal.text("SELECT journal_key_uid(7)", ()), uid);
        });
}
