//! Closing a connection: SQLITE_OK although statements are kept, a refusal that changes nothing, and
//! nothing that grows.

use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_BUSY, SQLITE_DONE, SQLITE_MISUSE, SQLITE_OK, SQLITE_ROW};
use rusqlite::types::Value;

use crate::journal::{Journal, ask, path, text};
use crate::process::Process;
use crate::raw::{self, Raw};

/// Uses every statement that a connection keeps.
fn use_everything(connection: &Connection) {
    for (sql, expected) in [
        ("SELECT journal_key_uid(7)", "oseh_ujmk_1"),
        (
            "SELECT journal_decrypt(7, 'oseh_ujmk_1', journal_encrypt(7, 'x'))",
            "x",
        ),
        (
            "SELECT journal_decrypt(7, NULL, token) FROM journal_seal(7, 'y')",
            "y",
        ),
        ("SELECT journal_check(7, NULL, 'z')", "token_invalid"),
    ] {
        assert_eq!(ask(connection, sql, []), text(expected));
    }
    assert!(
        ask(
            connection,
            "SELECT journal_decrypt(7, 'oseh_ujmk_9', 'x')",
            []
        )
        .is_err()
    );
}

/// A connection without an owner in Rust, with a key of user 7.
fn raw_journal() -> Raw {
    let raw = Raw::open(":memory:");
    Journal::of(raw.borrowed()).key(7, "oseh_ujmk_1", 1.0);
    raw
}

/// What SQLite holds when no connection is open, all that stays for good included.
fn memory_after_first_use() -> i64 {
    use_everything(&raw_journal().borrowed());
    raw::memory_used()
}

/// The process's resident set in bytes, and its open files.
#[cfg(target_os = "linux")]
fn footprint() -> (i64, usize) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: i64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (
        resident * 4096,
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_rounds_of_open_load_use_and_close_leave_nothing_behind() {
    const MIB: i64 = 1 << 20;
    Process::with_directory().run(|| {
        Journal::in_file("journal.db").key(7, "oseh_ujmk_1", 1.0);
        let round = || {
            let connection = Connection::open(path("journal.db")).unwrap();
            raw::load(&connection).unwrap();
            use_everything(&connection);
            connection.close().map_err(|(_, error)| error).unwrap();
        };
        // Allocator and caches take their size.
        (0..300).for_each(|_| round());
        let (resident, files) = footprint();
        let in_sqlite = raw::memory_used();
        (0..1000).for_each(|_| round());
        assert_eq!(raw::memory_used(), in_sqlite);
        let (resident_after, files_after) = footprint();
        assert_eq!(files_after, files);
        let grown = resident_after - resident;
        assert!(grown < MIB, "grown by {grown} bytes");
    });
}

#[test]
fn a_connection_closes_whatever_it_was_used_for() {
    Process::with_directory().run(|| {
        let uses: [fn(&Connection); 5] = [
            |_| (),
            use_everything,
            |connection| drop(ask(connection, "SELECT journal_version()", [])),
            |connection| drop(ask(connection, "SELECT journal_key_uid('x')", [])),
            |connection| {
                connection.execute_batch("DROP TABLE s3_files").unwrap();
                assert!(ask(connection, "SELECT journal_key_uid(7)", []).is_err());
            },
        ];
        for used in uses {
            let mut raw = raw_journal();
            used(&raw.borrowed());
            assert_eq!(raw.close(), SQLITE_OK);
        }
    });
}

#[test]
fn a_close_that_an_unfinished_statement_refuses_leaves_everything_working() {
    Process::with_directory().run(|| {
        let mut raw = raw_journal();
        let sql = "SELECT journal_key_uid(7) FROM (VALUES (1), (2), (3))";
        let unfinished = raw.prepare(sql);
        assert_eq!(unfinished.step(), SQLITE_ROW);
        for _ in 0..2 {
            assert_eq!(raw.close(), SQLITE_BUSY);
            assert_eq!(raw.open_statements(), [sql], "ours are gone");
            use_everything(&raw.borrowed());
            assert_eq!(unfinished.step(), SQLITE_ROW);
            assert_eq!(unfinished.text(0), "oseh_ujmk_1");
            assert!(raw.open_statements().len() > 1, "ours are back");
        }
        assert_eq!(unfinished.step(), SQLITE_DONE);
        unfinished.finalize();
        assert_eq!(raw.close(), SQLITE_OK);
    });
}

#[test]
fn an_unfinished_scan_of_our_own_table_does_not_keep_a_connection_open_for_good() {
    Process::with_directory().run(|| {
        let mut raw = raw_journal();
        let scan = raw.prepare("SELECT key_uid FROM journal_seal(7, 'x')");
        assert_eq!(scan.step(), SQLITE_ROW);
        assert_eq!(raw.close(), SQLITE_BUSY);
        assert_eq!(scan.text(0), "oseh_ujmk_1");
        use_everything(&raw.borrowed());
        assert_eq!(scan.step(), SQLITE_DONE);
        scan.finalize();
        use_everything(&raw.borrowed());
        assert_eq!(raw.close(), SQLITE_OK);
    });
}

#[test]
fn a_statement_that_outlives_its_connection_s_name_gets_an_error_and_no_crash() {
    Process::with_directory().run(|| {
        let before = memory_after_first_use();
        let raw = raw_journal();
        let calls = raw.prepare("SELECT journal_key_uid(7) FROM (VALUES (1), (2))");
        assert_eq!(calls.step(), SQLITE_ROW);
        assert_eq!(raw.close_later(), SQLITE_OK);
        assert_eq!(calls.step(), SQLITE_MISUSE);
        calls.finalize();
        assert_eq!(raw::memory_used(), before);
    });
}

#[test]
fn a_scan_of_our_own_table_that_outlives_its_connection_s_name_frees_all_in_any_order() {
    Process::with_directory().run(|| {
        let before = memory_after_first_use();
        for scan_goes_first in [false, true] {
            let raw = raw_journal();
            let calls = raw.prepare("SELECT journal_key_uid(7) FROM (VALUES (1), (2), (3))");
            let scan = raw.prepare("SELECT token FROM journal_seal(7, 'x')");
            assert_eq!(calls.step(), SQLITE_ROW);
            assert_eq!(scan.step(), SQLITE_ROW);
            assert_eq!(raw.close_later(), SQLITE_OK);
            // The scan holds our table, but no longer one that keeps statements.
            assert_eq!(calls.step(), SQLITE_MISUSE);
            if scan_goes_first {
                scan.finalize();
                calls.finalize();
            } else {
                calls.finalize();
                assert_eq!(scan.step(), SQLITE_DONE);
                scan.finalize();
            }
            assert_eq!(raw::memory_used(), before);
        }
    });
}

#[test]
fn a_connection_that_closes_takes_nothing_from_another() {
    Process::with_directory().run(|| {
        Journal::in_file("journal.db").key(7, "oseh_ujmk_1", 1.0);
        let open = || {
            let connection = Connection::open(path("journal.db")).unwrap();
            raw::load(&connection).unwrap();
            use_everything(&connection);
            connection
        };
        let stays = open();
        for _ in 0..3 {
            open().close().unwrap();
            use_everything(&stays);
        }
        let kept = ask(&stays, "SELECT journal_evict()", []);
        assert_eq!(kept, Ok(Value::Integer(1)));
    });
}

#[test]
fn a_host_that_finalizes_every_statement_goes_on_and_closes() {
    Process::with_directory().run(|| {
        let before = memory_after_first_use();
        let mut raw = raw_journal();
        for _ in 0..3 {
            use_everything(&raw.borrowed());
            assert!(!raw.open_statements().is_empty(), "none of ours is kept");
            raw.finalize_all();
            // What takes the memory of ours must not be taken for ours.
            let theirs = raw.prepare("SELECT 'theirs'");
            use_everything(&raw.borrowed());
            assert_eq!(theirs.step(), SQLITE_ROW);
            assert_eq!(theirs.text(0), "theirs");
            theirs.finalize();
        }
        raw.finalize_all();
        assert_eq!(raw.close(), SQLITE_OK);
        drop(raw);
        assert_eq!(raw::memory_used(), before);
    });
}

#[test]
fn a_host_that_drops_our_modules_goes_on_and_closes() {
    Process::with_directory().run(|| {
        let before = memory_after_first_use();
        let mut raw = raw_journal();
        use_everything(&raw.borrowed());
        let scan = raw.prepare("SELECT key_uid FROM journal_seal(7, 'x')");
        assert_eq!(scan.step(), SQLITE_ROW);
        raw.drop_modules();
        let current = ask(&raw.borrowed(), "SELECT journal_key_uid(7)", []);
        assert_eq!(current, text("oseh_ujmk_1"));
        assert_eq!(scan.step(), SQLITE_DONE);
        scan.finalize();
        let current = ask(&raw.borrowed(), "SELECT journal_key_uid(7)", []);
        assert_eq!(current, text("oseh_ujmk_1"));
        assert_eq!(raw.close(), SQLITE_OK);
        drop(raw);
        assert_eq!(raw::memory_used(), before);
    });
}

#[test]
fn a_table_of_the_user_s_named_as_ours_leaves_the_statements_kept() {
    Process::with_directory().run(|| {
        let mut raw = Raw::open(":memory:");
        raw.borrowed()
            .execute_batch("CREATE TABLE journal_seal(a)")
            .unwrap();
        Journal::of(raw.borrowed()).key(7, "oseh_ujmk_1", 1.0);
        let current = ask(&raw.borrowed(), "SELECT journal_key_uid(7)", []);
        assert_eq!(current, text("oseh_ujmk_1"));
        assert_eq!(raw.open_statements().len(), 1, "ours is not kept");
        let taken = "CREATE TABLE sqlite_journal_crypt(a)";
        assert!(raw.borrowed().execute_batch(taken).is_err());
        assert_eq!(raw.close(), SQLITE_OK);
    });
}
