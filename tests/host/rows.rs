//! The row is the authority: every call sees the key rows as its connection sees them at that moment,
//! however warm the key is.

use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::types::Value;

use crate::journal::{Failure, Journal, PREFIX, ask, error, new_object, path, text};
use crate::process::Process;
use crate::raw;

const DECRYPT: &str = "SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)";

fn gone() -> Result<Value, Failure> {
    error("journal_decrypt: key_not_found: user 7 has no key \"oseh_ujmk_1\"")
}

/// User 7's key, cached, and a token under it.
fn warm(journal: &Journal) -> String {
    let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"dear diary");
    assert_eq!(journal.ask(DECRYPT, [&token]), text("dear diary"));
    token
}

#[test]
fn a_deleted_row_stops_decryption_though_the_key_is_cached() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = warm(&journal);
        journal.run("DELETE FROM user_journal_master_keys");
        assert_eq!(journal.ask(DECRYPT, [&token]), gone());
        for (call, word) in [
            ("journal_decrypt(7, NULL, ?)", "no_key"),
            ("journal_encrypt(7, ?)", "no_key"),
            ("journal_encrypt(7, ?, 'oseh_ujmk_1')", "key_not_found"),
            ("token FROM journal_seal(7, ?)", "no_key"),
        ] {
            let said = journal.error(&format!("SELECT {call}"), [&token]);
            assert_eq!(said.split(": ").nth(1), Some(word), "{call}");
        }
        assert_eq!(
            journal.ask("SELECT journal_try_decrypt(7, 'oseh_ujmk_1', ?)", [&token]),
            Ok(Value::Null)
        );
        // The key was there all along.
        assert_eq!(
            journal.ask("SELECT journal_evict('oseh_ujmk_1')", []),
            Ok(Value::Integer(1))
        );
    });
}

#[test]
fn a_prefetch_reads_the_rows_of_one_moment() {
    /// Deletes all key rows, on a connection of its own, when the rows of a second user are looked up.
    fn delete_them(event: TraceEvent<'_>) {
        static LOOKED_UP: AtomicUsize = AtomicUsize::new(0);
        if let TraceEvent::Stmt(_, sql) = event
            && sql.contains("LEFT JOIN \"main\".s3_files")
            && LOOKED_UP.fetch_add(1, Ordering::SeqCst) == 1
        {
            let other = Connection::open(path("journal.db")).unwrap();
            let deleted = other.execute("DELETE FROM user_journal_master_keys", []);
            assert_eq!(deleted, Ok(3));
        }
    }
    Process::with_directory().run(|| {
        let journal = Journal::in_file("journal.db");
        journal.run("PRAGMA journal_mode = WAL");
        for user in 1..=3 {
            journal.key(user, &format!("oseh_ujmk_{user}"), 1.0);
        }
        journal.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(delete_them));
        let prefetch = "SELECT journal_prefetch('[1, 2, 3]')";
        assert_eq!(
            journal.ask(prefetch, []),
            text(r#"{"ready":3,"failed":{}}"#)
        );
        assert_eq!(
            journal.ask(prefetch, []),
            text(r#"{"ready":0,"failed":{"no_key":3}}"#)
        );
        // Nothing is left that reads.
        journal.run("PRAGMA journal_mode = DELETE");
    });
}

#[test]
fn a_row_without_its_s3_files_row_stops_decryption_though_the_key_is_cached() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = warm(&journal);
        journal.run("DELETE FROM s3_files");
        assert_eq!(
            journal.ask(DECRYPT, [&token]),
            error("journal_decrypt: key_lost: key \"oseh_ujmk_1\": it has no s3_files row")
        );
    });
}

#[test]
fn a_row_that_names_another_object_serves_that_one() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let before = warm(&journal);
        let after = new_object(&format!("{PREFIX}other")).encrypt(b"from the other");
        journal.run(&format!("UPDATE s3_files SET key = '{PREFIX}other'"));
        assert_eq!(journal.ask(DECRYPT, [&after]), text("from the other"));
        assert_eq!(
            journal.ask(DECRYPT, [&before]),
            error("journal_decrypt: token_invalid: not a Fernet token under key \"oseh_ujmk_1\"")
        );
    });
}

#[test]
fn a_deletion_in_an_open_transaction_holds_for_its_connection_at_once() {
    Process::with_directory().run(|| {
        let journal = Journal::in_file("journal.db");
        let token = warm(&journal);
        let other = Connection::open(path("journal.db")).unwrap();
        raw::load(&other).unwrap();
        journal.run("BEGIN; DELETE FROM user_journal_master_keys");
        assert_eq!(journal.ask(DECRYPT, [&token]), gone());
        assert_eq!(ask(&other, DECRYPT, [&token]), text("dear diary"));
        journal.run("COMMIT");
        assert_eq!(ask(&other, DECRYPT, [&token]), gone());
    });
}

#[test]
fn what_a_rollback_brings_back_can_be_used_again() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = warm(&journal);
        for (start, undo) in [
            ("BEGIN", "ROLLBACK"),
            ("SAVEPOINT s", "ROLLBACK TO s; RELEASE s"),
            ("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT"),
        ] {
            journal.run(start);
            journal.run("DELETE FROM user_journal_master_keys");
            assert_eq!(journal.ask(DECRYPT, [&token]), gone(), "{start}");
            journal.run(undo);
            assert_eq!(journal.ask(DECRYPT, [&token]), text("dear diary"), "{undo}");
        }
    });
}

#[test]
fn a_key_made_in_a_transaction_that_is_rolled_back_is_gone_though_it_was_used() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.run("BEGIN");
        let token = warm(&journal);
        journal.run("ROLLBACK");
        assert_eq!(journal.ask(DECRYPT, [&token]), gone());
    });
}

#[test]
fn an_open_read_transaction_keeps_its_snapshot_until_it_ends() {
    Process::with_directory().run(|| {
        let writer = Journal::in_file("journal.db");
        writer
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .unwrap();
        let token = writer.key(7, "oseh_ujmk_1", 1.0).encrypt(b"dear diary");
        let reader = Connection::open(path("journal.db")).unwrap();
        raw::load(&reader).unwrap();

        reader
            .execute_batch("BEGIN; SELECT count(*) FROM s3_files")
            .unwrap();
        let rows = "SELECT count(*) FROM user_journal_master_keys";
        assert_eq!(ask(&reader, rows, []), Ok(Value::Integer(1)));
        writer.run("DELETE FROM user_journal_master_keys");
        assert_eq!(writer.ask(DECRYPT, [&token]), gone());
        assert_eq!(ask(&reader, DECRYPT, [&token]), text("dear diary"));
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(ask(&reader, DECRYPT, [&token]), gone());
    });
}

#[test]
fn a_row_deleted_in_the_middle_of_a_select_stops_its_remaining_rows() {
    Process::with_directory().run(|| {
        for (begin, change) in [
            ("", "DELETE FROM user_journal_master_keys"),
            // Made in this transaction, so that its end takes it away.
            ("BEGIN", "ROLLBACK"),
        ] {
            let journal = Journal::in_memory();
            journal.run(begin);
            let token = warm(&journal);
            let mut select = journal
                .prepare("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?) FROM (VALUES (1), (2), (3))")
                .unwrap();
            let mut rows = select.query([&token]).unwrap();
            let first: String = rows.next().unwrap().unwrap().get(0).unwrap();
            assert_eq!(first, "dear diary");
            journal.run(change);
            let stopped = rows.next().map(drop).unwrap_err();
            assert_eq!(Err(crate::journal::failure(stopped)), gone(), "{change}");
            drop(rows);
            drop(select);
            // The next round gives the object another key.
            journal.run("SELECT journal_evict()");
        }
    });
}
