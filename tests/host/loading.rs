//! Loading: again and again, while statements run, and the reasons of a refusal.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;

use crate::entry::{Entry, Table};
use crate::journal::{Journal, ask, failure, path, text};
use crate::process::Process;
use crate::raw;

/// How many functions and tables of ours the connection has.
fn registered(connection: &Connection) -> Value {
    let sql = "SELECT (SELECT count(*) FROM pragma_function_list WHERE name LIKE 'journal%')
                    + (SELECT count(*) FROM pragma_module_list WHERE name LIKE 'journal%')";
    ask(connection, sql, []).unwrap()
}

#[test]
fn the_sqlite_under_test_is_the_one_that_was_asked_for() {
    // The linker has several to choose from: `make test-sqlites` says which is meant.
    let bundled = rusqlite::ffi::SQLITE_VERSION.to_str().unwrap();
    let asked = std::env::var("SQLITE_VERSION").unwrap_or_else(|_| bundled.into());
    assert_eq!(rusqlite::version(), asked);
}

#[test]
fn loading_again_on_one_connection_or_another_is_harmless() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"x");
        let once = registered(&journal);
        let other = Connection::open_in_memory().unwrap();
        for _ in 0..3 {
            raw::load(&journal).unwrap();
            raw::load(&other).unwrap();
            assert_eq!(registered(&journal), once);
            assert_eq!(registered(&other), once);
            let read = journal.ask("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&token]);
            assert_eq!(read, text("x"));
        }
        other.close().unwrap();
        journal.into_connection().close().unwrap();
    });
}

#[test]
fn loading_twice_within_a_running_statement_is_harmless() {
    Process::with_directory().run(|| {
        let library = raw::library().display().to_string();
        let connection = Connection::open_in_memory().unwrap();
        raw::allow_loading_from_sql(&connection);
        let twice = "SELECT load_extension(?1) IS NULL AND load_extension(?1) IS NULL";
        assert_eq!(ask(&connection, twice, [&library]), Ok(Value::Integer(1)));

        let journal = Journal::of(connection);
        raw::allow_loading_from_sql(&journal);
        journal.key(7, "oseh_ujmk_1", 1.0);
        let mut statement = journal
            .prepare("SELECT journal_key_uid(7), load_extension(?) FROM (VALUES (1), (2), (3))")
            .unwrap();
        let mut rows = statement.query([&library]).unwrap();
        let mut seen = 0;
        while let Some(row) = rows.next().unwrap() {
            assert_eq!(row.get::<_, String>(0).unwrap(), "oseh_ujmk_1");
            seen += 1;
        }
        assert_eq!(seen, 3);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_stays_when_the_last_connection_has_closed() {
    Process::with_directory().run(|| {
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        journal.text("SELECT journal_encrypt(7, 'x')", []);
        journal.into_connection().close().unwrap();
        assert!(maps().contains("libjournal_crypt"));
        let again = Journal::in_memory();
        assert_eq!(
            again.ask("SELECT journal_evict()", []),
            Ok(Value::Integer(1))
        );
    });
}

#[test]
fn a_value_that_cannot_be_read_refuses_the_load_and_names_its_variable() {
    for (variable, value, reason) in [
        (
            "JOURNAL_KEY_STORE",
            "planted",
            "neither s3://bucket nor file:///directory",
        ),
        (
            "JOURNAL_KEY_STORE",
            "file://planted/x",
            "not an absolute directory after file://, as a URL: %23 for #, %3F for ?",
        ),
        (
            "JOURNAL_KEY_STORE",
            "s3://pl/anted",
            "not a bucket's name after s3://",
        ),
        ("JOURNAL_CACHE_KEYS", "0", "must be at least 1"),
        ("JOURNAL_CACHE_KEYS", "planted", "not a number"),
        ("JOURNAL_CACHE_TTL", "-1", "not a number of seconds"),
        ("JOURNAL_FETCH_TIMEOUT", "0", "no time at all"),
        ("JOURNAL_FETCH_THREADS", "1025", "too large"),
        (
            "JOURNAL_SCHEMA",
            "temp",
            "not a schema that may hold the key tables",
        ),
        ("JOURNAL_REPLICATED", "planted", "neither auto, on nor off"),
        ("JOURNAL_ALLOW_HTTP", "planted", "neither 0 nor 1"),
        ("AWS_ENDPOINT_URL", "planted", "not a URL"),
        (
            "AWS_ENDPOINT_URL_S3",
            "http://planted.example",
            "http:// to another machine needs JOURNAL_ALLOW_HTTP=1",
        ),
        (
            "HTTPS_PROXY",
            "socks5://u:planted@h",
            "not an http:// or https:// proxy",
        ),
    ] {
        let process = match variable {
            "JOURNAL_KEY_STORE" => Process::new(),
            // Where nothing else has AWS's settings read.
            _ => Process::new().variable("JOURNAL_KEY_STORE", "s3://journal"),
        };
        process.variable(variable, value).run(|| {
            let connection = Connection::open_in_memory().unwrap();
            // A refusal is not kept, but neither is it got around by trying again.
            for _ in 0..2 {
                let (_, said) = failure(raw::load(&connection).unwrap_err());
                assert_eq!(
                    said,
                    format!("error during initialization: journal_crypt: {variable}: {reason}")
                );
                assert_eq!(registered(&connection), Value::Integer(0));
            }
            connection.close().unwrap();
        });
    }
}

#[test]
fn a_variable_that_has_changed_since_the_first_load_is_refused_and_one_that_is_gone_is_not() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        let first = std::env::var_os("JOURNAL_KEY_STORE").unwrap();
        let load = || {
            let connection = Connection::open_in_memory().unwrap();
            raw::load(&connection).map_err(|error| failure(error).1)
        };
        for (name, value) in [
            ("JOURNAL_KEY_STORE", "file:///elsewhere"),
            ("JOURNAL_SCHEMA", "elsewhere"),
        ] {
            raw::set_variable(name, Some(value.as_ref()));
            assert_eq!(
                load().unwrap_err(),
                format!(
                    "error during initialization: journal_crypt: {name}: changed since this process first loaded the \
                     extension, which reads it once; another configuration needs another process"
                )
            );
            // Who has it goes on with the first.
            assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1");
            raw::set_variable(name, None);
            assert_eq!(load(), Ok(()), "a host may clear its environment");
        }
        raw::set_variable("JOURNAL_KEY_STORE", Some(&first));
        assert_eq!(load(), Ok(()));
    });
}

#[test]
fn a_bundle_of_certificates_that_cannot_be_used_refuses_the_load() {
    Process::new()
        .variable("JOURNAL_KEY_STORE", "s3://journal")
        .variable("AWS_CA_BUNDLE", "/nonexistent/bundle.pem")
        .run(|| {
            let connection = Connection::open_in_memory().unwrap();
            let (_, said) = failure(raw::load(&connection).unwrap_err());
            assert_eq!(
                said,
                "error during initialization: journal_crypt: AWS_CA_BUNDLE: cannot be read"
            );
        });
}

#[test]
fn an_sqlite_that_is_too_old_is_refused_by_its_version() {
    Process::new().run(|| {
        let entry = Entry::of(&raw::library());
        let raw = raw::Raw::open(":memory:");
        for (version, shown) in [(3_033_000, "3.33"), (3_008_011, "3.8"), (2_008_017, "2.8")] {
            assert_eq!(
                entry.call(&raw, &Table::of_version(version)),
                Err(format!(
                    "journal_crypt: SQLite 3.34 or later is needed, this is {shown}"
                ))
            );
            assert_eq!(registered(&raw.borrowed()), Value::Integer(0));
        }
    });
}

#[test]
fn a_second_sqlite_library_in_the_process_is_refused_and_the_first_goes_on() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        let entry = Entry::of(&raw::library());
        let raw = raw::Raw::open(":memory:");
        assert_eq!(
            entry.call(&raw, &Table::of_version(3_050_000)),
            Err(
                "journal_crypt: another SQLite library in this process has loaded this file already; \
                 load a copy of the file, or use one SQLite library"
                    .to_owned()
            )
        );
        assert_eq!(registered(&raw.borrowed()), Value::Integer(0));
        assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1");
        raw::load(&raw.borrowed()).unwrap();
    });
}

#[test]
fn a_copy_of_the_file_loads_beside_it() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"x");
        let copy = path("journal_crypt.so");
        std::fs::copy(raw::library(), &copy).unwrap();
        let once = registered(&journal);
        raw::load_file(&journal, &copy).unwrap();
        assert_eq!(registered(&journal), once);
        let read = "SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)";
        assert_eq!(journal.ask(read, [&token]), text("x"));
        let other = Connection::open_in_memory().unwrap();
        raw::load_file(&other, &copy).unwrap();
        assert_eq!(registered(&other), once);
    });
}

#[test]
fn a_load_that_fails_leaves_nothing_registered() {
    Process::with_directory().run(|| {
        let library = raw::library().display().to_string();
        let connection = Connection::open_in_memory().unwrap();
        let ours = registered(&connection);
        assert_eq!(ours, Value::Integer(0));
        // SQLite replaces no function while a statement runs.
        connection
            .create_scalar_function("journal_rewrap", 3, FunctionFlags::SQLITE_UTF8, |_| Ok(1))
            .unwrap();
        raw::allow_loading_from_sql(&connection);
        let refused = ask(&connection, "SELECT load_extension(?)", [&library]).unwrap_err();
        assert_eq!(
            refused.1,
            "error during initialization: journal_crypt: functions not registered: unable to delete/modify user-function due to active statements"
        );
        assert_eq!(registered(&connection), Value::Integer(1));
        assert_eq!(modules(&connection), Value::Integer(0));
        // Where no statement runs it replaces the host's.
        raw::load(&connection).unwrap();
        let journal = Journal::of(connection);
        assert!(journal.error("SELECT journal_rewrap(1, 'a', 'b')", []).starts_with("journal_rewrap: "));
    });
}

/// How many modules of ours the connection has, the one of the kept statements included.
fn modules(connection: &Connection) -> Value {
    let sql = "SELECT count(*) FROM pragma_module_list WHERE name LIKE '%journal%'";
    ask(connection, sql, []).unwrap()
}
