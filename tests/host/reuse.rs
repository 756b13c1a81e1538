//! A look-up is used again only while its answer cannot have changed.
//!
//! Every test warms a scan first: look-ups are used again in a database file alone, and from a statement's
//! second look-up on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::journal::{Journal, PREFIX, ask, failure, new_object, path, text};
use crate::process::Process;
use crate::raw;

const KEY_1: &str = "oseh_ujmk_1";
const DECRYPT: &str = "SELECT journal_decrypt(7, 'oseh_ujmk_1', token) FROM entry";
const DELETE: &str = "DELETE FROM user_journal_master_keys WHERE uid = 'oseh_ujmk_1'";

/// User 7's key and twenty entries under it, in a file.
fn journal() -> Journal {
    let journal = Journal::in_file("journal.db");
    let token = journal.key(7, KEY_1, 1.0).encrypt(b"dear diary");
    journal.run("CREATE TABLE entry(token TEXT)");
    for _ in 0..20 {
        journal
            .execute("INSERT INTO entry VALUES (?)", [&token])
            .unwrap();
    }
    journal
}

/// Runs `sql` row by row: before the row of each number in `turns`, its statements run on the same connection.
fn values(connection: &Connection, sql: &str, turns: &[(usize, &dyn Fn())]) -> Vec<Value> {
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut values = Vec::new();
    loop {
        if let Some((_, turn)) = turns.iter().find(|turn| turn.0 == values.len()) {
            turn();
        }
        match rows.next() {
            Ok(Some(row)) => values.push(row.get(0).unwrap()),
            Ok(None) => return values,
            Err(error) => {
                values.push(Value::Text(failure(error).1));
                return values;
            }
        }
    }
}

#[test]
fn a_rollback_in_the_middle_of_a_select_leaves_no_key_of_its_transaction_behind() {
    Process::with_directory().run(|| {
        let journal = journal();
        let begin_with_key_2 = || {
            journal.run("BEGIN");
            journal.rows(7, "oseh_ujmk_2", 2.0, &format!("{PREFIX}oseh_ujmk_2"));
        };
        let key_2 = new_object(&format!("{PREFIX}oseh_ujmk_2"));
        let tokens = values(
            &journal,
            "SELECT journal_encrypt(7, 'x') FROM entry",
            &[
                (4, &begin_with_key_2),
                (6, &|| journal.run("ROLLBACK")),
                (8, &|| {
                    journal.run("SAVEPOINT s");
                    journal.rows(7, "oseh_ujmk_2", 2.0, &format!("{PREFIX}oseh_ujmk_2"));
                }),
                (10, &|| journal.run("ROLLBACK TO s; RELEASE s")),
                (12, &begin_with_key_2),
                (14, &|| journal.run("COMMIT")),
            ],
        );
        let under_key_2: Vec<usize> = (0..20)
            .filter(|&row| match &tokens[row] {
                Value::Text(token) => key_2.decrypt(token).is_ok(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(under_key_2, [4, 5, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19]);
    });
}

#[test]
fn a_row_deleted_in_the_middle_of_a_select_is_gone_at_once_and_back_after_a_rollback() {
    Process::with_directory().run(|| {
        for call in [
            "journal_try_decrypt(7, 'oseh_ujmk_1', token)",
            "journal_try_decrypt(7, NULL, token)",
            "journal_key_uid(7)",
        ] {
            let journal = journal();
            let read = values(
                &journal,
                &format!("SELECT {call} IS NOT NULL FROM entry"),
                &[
                    (4, &|| journal.run(&format!("BEGIN; {DELETE}"))),
                    (6, &|| journal.run("ROLLBACK")),
                    (8, &|| journal.run(DELETE)),
                ],
            );
            let expected = (0..20).map(|row| Value::Integer(i64::from(matches!(row, 0..4 | 6..8))));
            assert_eq!(read, expected.collect::<Vec<_>>(), "{call}");
            // The next round's key is another one under the same names.
            journal.ask("SELECT journal_evict()", []).unwrap();
            drop(journal);
            std::fs::remove_file(path("journal.db")).unwrap();
        }
    });
}

#[test]
fn what_another_connection_commits_holds_from_the_next_execution_on() {
    Process::with_directory().run(|| {
        for mode in ["delete", "wal"] {
            let journal = journal();
            journal.pragma_update(None, "journal_mode", mode).unwrap();
            let other = Connection::open(path("journal.db")).unwrap();
            let mut entry = journal
                .prepare(&format!("{DECRYPT} WHERE rowid = ?"))
                .unwrap();
            for row in 1..10 {
                assert_eq!(
                    entry.query_row([row], |row| row.get(0)),
                    Ok("dear diary".to_owned())
                );
            }
            other.execute_batch(DELETE).unwrap();
            let gone = entry
                .query_row([1], |row| row.get::<_, String>(0))
                .unwrap_err();
            assert_eq!(
                failure(gone).1,
                "journal_decrypt: key_not_found: user 7 has no key \"oseh_ujmk_1\""
            );
            drop(entry);
            // The next round's key is another one under the same names.
            journal.ask("SELECT journal_evict()", []).unwrap();
            drop((journal, other));
            std::fs::remove_file(path("journal.db")).unwrap();
        }
    });
}

#[test]
fn an_evicted_key_serves_no_scan_under_way() {
    Process::with_directory().run(|| {
        let journal = journal();
        let other = Journal::of(Connection::open_in_memory().unwrap());
        let evict = || {
            new_object(&format!("{PREFIX}{KEY_1}"));
            assert_eq!(
                other.ask("SELECT journal_evict(?)", [KEY_1]),
                Ok(Value::Integer(1))
            );
        };
        let read = values(&journal, DECRYPT, &[(4, &evict)]);
        assert_eq!(read.len(), 5);
        assert_eq!(
            read[4],
            Value::Text(
                "journal_decrypt: token_invalid: not a Fernet token under key \"oseh_ujmk_1\""
                    .into()
            )
        );
    });
}

#[test]
fn a_main_that_is_replaced_has_its_own_keys() {
    Process::with_directory().run(|| {
        let journal = journal();
        assert_eq!(values(&journal, DECRYPT, &[]).len(), 20);
        let with_key = std::fs::read(path("journal.db")).unwrap();
        journal.run(DELETE);
        let without = std::fs::read(path("journal.db")).unwrap();
        for _ in 0..3 {
            raw::deserialize(&journal, &with_key);
            assert_eq!(values(&journal, DECRYPT, &[]).len(), 20);
            raw::deserialize(&journal, &without);
            assert!(ask(&journal, DECRYPT, []).is_err());
        }
    });
}

#[test]
fn a_view_in_a_key_table_s_place_is_asked_every_time() {
    Process::with_directory().run(|| {
        let journal = journal();
        let open = Arc::new(AtomicBool::new(true));
        let gate = Arc::clone(&open);
        journal
            .create_scalar_function("is_open", 0, FunctionFlags::SQLITE_UTF8, move |_| {
                Ok(gate.load(Ordering::SeqCst))
            })
            .unwrap();
        journal.run(
            "ALTER TABLE user_journal_master_keys RENAME TO master_keys;
             CREATE VIEW user_journal_master_keys AS SELECT * FROM master_keys WHERE is_open()",
        );
        let read = values(
            &journal,
            DECRYPT,
            &[(4, &|| open.store(false, Ordering::SeqCst))],
        );
        assert_eq!(read.len(), 5);
        assert_eq!(
            read[4],
            Value::Text("journal_decrypt: key_not_found: user 7 has no key \"oseh_ujmk_1\"".into())
        );
    });
}

#[test]
fn an_authorizer_that_forbids_the_key_tables_is_heeded_at_once() {
    Process::with_directory().run(|| {
        let journal = journal();
        let forbid = || {
            let authorizer = |context: AuthContext<'_>| match context.action {
                AuthAction::Read {
                    table_name: "user_journal_master_keys",
                    ..
                } => Authorization::Deny,
                _ => Authorization::Allow,
            };
            journal.authorizer(Some(authorizer)).unwrap();
        };
        let read = values(&journal, DECRYPT, &[(4, &forbid)]);
        assert_eq!(read[3], text("dear diary").unwrap());
        assert_eq!(read.len(), 5);
        assert!(
            matches!(&read[4], Value::Text(said) if said.contains("prohibited")),
            "{:?}",
            read[4]
        );
    });
}

#[test]
fn an_authorizer_that_hides_the_key_tables_hides_them_at_every_later_row() {
    Process::with_directory().run(|| {
        let journal = journal();
        let hide = || {
            let authorizer = |context: AuthContext<'_>| match context.action {
                AuthAction::Read {
                    table_name: "user_journal_master_keys",
                    ..
                } => Authorization::Ignore,
                _ => Authorization::Allow,
            };
            journal.authorizer(Some(authorizer)).unwrap();
        };
        // The look-up that meets the authorizer is prepared anew, and no longer looks expired to the next.
        let check = DECRYPT.replace("journal_decrypt", "journal_try_decrypt");
        let read = values(&journal, &check, &[(3, &hide)]);
        assert_eq!(read[2], text("dear diary").unwrap());
        assert!(read.len() > 4, "{read:?}");
        for value in &read[3..] {
            assert_ne!(*value, text("dear diary").unwrap(), "{read:?}");
        }
    });
}

/// Hides the rows of key tables from what is prepared from now on.
fn hide_the_keys(connection: &Connection) {
    let authorizer = |context: AuthContext<'_>| match context.action {
        AuthAction::Read {
            table_name: "user_journal_master_keys",
            ..
        } => Authorization::Ignore,
        _ => Authorization::Allow,
    };
    connection.authorizer(Some(authorizer)).unwrap();
}

#[test]
fn an_authorizer_is_heeded_though_another_function_met_it_first() {
    Process::with_directory().run(|| {
        let journal = journal();
        let hide = || {
            hide_the_keys(&journal);
            // Steps the look-up of `journal_encrypt`, in the same state of the rows.
            assert_eq!(
                ask(&journal, "SELECT journal_key_uid(7)", []),
                Ok(Value::Null)
            );
        };
        let tokens = values(
            &journal,
            "SELECT journal_encrypt(7, 'x') FROM entry",
            &[(4, &hide)],
        );
        assert_eq!(
            tokens[4..],
            [Value::Text(
                "journal_encrypt: no_key: user 7 has no key".into()
            )]
        );
    });
}

#[test]
fn a_schema_that_is_read_again_is_heeded_though_another_function_met_it_first() {
    // Before, no pragma has the schema read again.
    const RESET: i32 = 3_037_000;
    if rusqlite::version_number() < RESET {
        return;
    }
    Process::with_directory().run(|| {
        for reset in ["PRAGMA writable_schema = RESET", "EXPLAIN PRAGMA writable_schema = RESET"] {
            let journal = journal();
            journal.run("CREATE TABLE no_keys AS SELECT * FROM user_journal_master_keys WHERE 0");
            // The schema on disk names other pages than the one that this connection has read.
            journal.run(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'no_keys')
                 WHERE name = 'user_journal_master_keys';
                 DELETE FROM sqlite_master WHERE name LIKE 'user_journal_master_keys%_index'",
            );
            let read_again = || {
                journal.query_row(reset, [], |_| Ok(())).ok();
                assert_eq!(ask(&journal, "SELECT journal_key_uid(7)", []), Ok(Value::Null));
            };
            let tokens = values(
                &journal,
                "SELECT journal_encrypt(7, 'x') FROM entry",
                &[(4, &read_again)],
            );
            assert_eq!(
                tokens[4..],
                [Value::Text("journal_encrypt: no_key: user 7 has no key".into())],
                "{reset}"
            );
            drop(journal);
            std::fs::remove_file(path("journal.db")).unwrap();
        }
    });
}

#[test]
fn what_another_connection_has_not_committed_is_not_remembered() {
    Process::with_directory().run(|| {
        let open = || {
            let name = format!("file:{}?cache=shared", path("journal.db").display());
            let flags = OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_READ_WRITE;
            let connection = Connection::open_with_flags(name, flags).unwrap();
            raw::load(&connection).unwrap();
            connection
                .pragma_update(None, "read_uncommitted", true)
                .unwrap();
            connection
        };
        drop(journal());
        let (reader, writer) = (open(), open());
        let of_user_8 = DECRYPT.replace("(7", "(8");
        // A read transaction that lasts, as a state may.
        let mut scan = reader.prepare("SELECT token FROM entry").unwrap();
        let mut scan = scan.query([]).unwrap();
        assert!(scan.next().unwrap().is_some());
        writer
            .execute_batch("BEGIN; UPDATE user_journal_master_keys SET user_id = 8")
            .unwrap();
        assert_eq!(
            values(&reader, &of_user_8, &[]),
            vec![Value::Text("dear diary".into()); 20]
        );
        writer.execute_batch("ROLLBACK").unwrap();
        assert_eq!(
            values(&reader, &of_user_8, &[]),
            [Value::Text(
                "journal_decrypt: key_not_found: user 8 has no key \"oseh_ujmk_1\"".into()
            )]
        );
    });
}

/// Counts what `run` looks up anew: every statement of ours that is stepped is traced.
fn look_ups(journal: &Journal, run: impl FnOnce()) -> usize {
    static LOOKED_UP: AtomicUsize = AtomicUsize::new(0);
    journal.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            if let TraceEvent::Stmt(_, sql) = event
                && sql.contains("LEFT JOIN \"main\".s3_files")
            {
                LOOKED_UP.fetch_add(1, Ordering::SeqCst);
            }
        }),
    );
    LOOKED_UP.store(0, Ordering::SeqCst);
    run();
    LOOKED_UP.load(Ordering::SeqCst)
}

#[test]
fn every_call_of_a_scan_uses_the_look_up_of_the_first() {
    Process::with_directory().run(|| {
        for (call, expected) in [
            ("journal_key_uid(7)", 1),
            ("journal_encrypt(7, 'x')", 1),
            ("journal_decrypt(7, 'oseh_ujmk_1', token)", 1),
            ("journal_decrypt(7, NULL, token)", 1),
            // The second needs the key too, of which the first asked for the uid alone.
            ("journal_key_uid(7) || journal_encrypt(7, 'x')", 2),
        ] {
            let journal = journal();
            let looked_up = look_ups(&journal, || {
                let sql = format!("SELECT {call} FROM entry");
                assert_eq!(values(&journal, &sql, &[]).len(), 20, "{call}");
            });
            assert_eq!(looked_up, expected, "{call}");
            journal.ask("SELECT journal_evict()", []).unwrap();
            drop(journal);
            std::fs::remove_file(path("journal.db")).unwrap();
        }
    });
}

#[test]
fn a_look_up_past_the_bound_takes_the_place_of_the_oldest_alone() {
    Process::with_directory()
        .variable("JOURNAL_CACHE_KEYS", "3")
        .run(|| {
            let journal = journal();
            for user in 8..12 {
                journal.key(user, &format!("oseh_ujmk_{user}"), 1.0);
            }
            let looked_up = |users: &str| {
                look_ups(&journal, || {
                    let sql = format!(
                        "SELECT journal_encrypt(value, 'x') FROM entry, json_each('{users}') WHERE entry.rowid = 1"
                    );
                    assert!(values(&journal, &sql, &[]).len() >= 9);
                })
            };
            assert_eq!(looked_up("[7, 8, 9, 7, 8, 9, 7, 8, 9]"), 3);
            // The fourth takes the place of the oldest, not of all.
            assert_eq!(looked_up("[7, 8, 9, 10, 8, 9, 10, 8, 9, 10]"), 1);
        });
}
