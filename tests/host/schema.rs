//! What a database file holds cannot decrypt, and cannot stand in for the key tables.

use crate::journal::{Journal, KEY_TABLES, PREFIX, new_object, text};
use crate::process::Process;

/// A call of every scalar function.
const CALLS: [&str; 17] = [
    "journal_encrypt(7, 'x')",
    "journal_encrypt(7, 'x', 'oseh_ujmk_1')",
    "journal_decrypt(7, 'oseh_ujmk_1', 'x')",
    "journal_decrypt_blob(7, 'oseh_ujmk_1', 'x')",
    "journal_try_decrypt(7, 'oseh_ujmk_1', 'x')",
    "journal_check(7, 'oseh_ujmk_1', 'x')",
    "journal_key_uid(7)",
    "journal_rewrap(7, 'oseh_ujmk_1', 'x')",
    "journal_token_time('x')",
    "journal_encrypt_item(7, '[]')",
    "journal_decrypt_item(7, 'oseh_ujmk_1', 'x')",
    "journal_try_decrypt_item(7, 'oseh_ujmk_1', 'x')",
    "journal_prefetch(7)",
    "journal_evict()",
    "journal_metrics()",
    "journal_config()",
    "journal_version()",
];

/// Every table.
const TABLES: [&str; 5] = [
    "journal_seal(7, 'x')",
    "journal_seal_item(7, '[]')",
    "journal_cache",
    "journal_stats",
    "journal_doctor",
];

fn journal() -> Journal {
    let journal = Journal::in_memory();
    journal.key(7, "oseh_ujmk_1", 1.0);
    journal
}

#[test]
fn a_view_in_the_schema_is_refused() {
    Process::with_directory().run(|| {
        let journal = journal();
        for trusted in ["ON", "OFF"] {
            journal.run(&format!("PRAGMA trusted_schema = {trusted}"));
            for call in CALLS {
                journal.run(&format!("CREATE VIEW v AS SELECT {call} AS x"));
                let function = call.split('(').next().unwrap();
                assert_eq!(
                    journal.error("SELECT x FROM v", []),
                    format!("unsafe use of {function}()")
                );
                journal.run("DROP VIEW v");
            }
            for table in TABLES {
                journal.run(&format!("CREATE VIEW v AS SELECT count(*) FROM {table}"));
                let name = table.split('(').next().unwrap();
                assert_eq!(
                    journal.error("SELECT * FROM v", []),
                    format!("unsafe use of virtual table \"{name}\"")
                );
                journal.run("DROP VIEW v");
            }
        }
    });
}

#[test]
fn a_trigger_in_the_schema_is_refused() {
    Process::with_directory().run(|| {
        let journal = journal();
        journal.run("CREATE TABLE t(x); CREATE TABLE seen(x)");
        for call in CALLS {
            journal.run(&format!(
                "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO seen SELECT {call}; END"
            ));
            let function = call.split('(').next().unwrap();
            assert_eq!(
                journal.error("INSERT INTO t VALUES (1) RETURNING x", []),
                format!("unsafe use of {function}()")
            );
            journal.run("DROP TRIGGER g");
        }
        journal.run(
            "CREATE TRIGGER g AFTER INSERT ON t
             BEGIN INSERT INTO seen SELECT token FROM journal_seal(7, 'x'); END",
        );
        assert_eq!(
            journal.error("INSERT INTO t VALUES (1) RETURNING x", []),
            "unsafe use of virtual table \"journal_seal\""
        );
        assert_eq!(journal.text("SELECT count(*) || '' FROM seen", []), "0");
    });
}

#[test]
fn no_other_place_in_a_schema_takes_the_functions() {
    Process::with_directory().run(|| {
        let journal = journal();
        for schema in [
            "CREATE TABLE t(x, CHECK (journal_version() <> x))",
            "CREATE TABLE t(x, y AS (journal_version()))",
            "CREATE TABLE t(x, y DEFAULT (journal_version()))",
        ] {
            // Some are refused when they are made, the others when they are used.
            let made = journal.execute_batch(schema);
            let used = made.and_then(|()| {
                journal.execute_batch("INSERT INTO t(x) VALUES (1); SELECT * FROM t")
            });
            let said = crate::journal::failure(used.unwrap_err()).1;
            let expected = [
                "unsafe use of journal_version()",
                "non-deterministic functions prohibited",
            ];
            assert!(
                expected.iter().any(|text| said.starts_with(text)),
                "{schema}: {said}"
            );
            journal.run("DROP TABLE IF EXISTS t");
        }
        journal.run("CREATE TABLE t(x)");
        for index in [
            "CREATE INDEX i ON t(journal_version())",
            "CREATE INDEX i ON t(x) WHERE journal_version() = x",
        ] {
            assert!(journal.execute_batch(index).is_err(), "{index}");
        }
    });
}

#[test]
fn a_temp_view_and_a_temp_trigger_are_the_user_s_own_work() {
    Process::with_directory().run(|| {
        let journal = journal();
        journal.run(
            "CREATE TABLE entry(user_id, key_uid, token);
             CREATE TEMP VIEW readable AS
               SELECT journal_decrypt(user_id, key_uid, token) AS entry FROM main.entry;
             CREATE TEMP TABLE draft(user_id, entry);
             CREATE TEMP TRIGGER keep AFTER INSERT ON draft BEGIN
               INSERT INTO entry SELECT new.user_id, key_uid, token
               FROM journal_seal(new.user_id, new.entry); END;
             INSERT INTO draft VALUES (7, 'dear diary');",
        );
        assert_eq!(
            journal.ask("SELECT entry FROM readable", []),
            text("dear diary")
        );
    });
}

#[test]
fn a_temp_table_or_an_attached_one_does_not_stand_in_for_the_key_tables() {
    Process::with_directory().run(|| {
        let journal = journal();
        let token = journal.text("SELECT journal_encrypt(7, 'dear diary')", []);
        let other = new_object(&format!("{PREFIX}planted"));
        journal.run("ATTACH ':memory:' AS aside");
        for schema in ["temp", "aside"] {
            for table in ["s3_files", "user_journal_master_keys"] {
                journal.run(&format!("CREATE TABLE {schema}.{table} AS SELECT * FROM main.{table}"));
            }
            journal.run(&format!(
                "UPDATE {schema}.s3_files SET key = '{PREFIX}planted';
                 INSERT INTO {schema}.user_journal_master_keys VALUES (9, 'oseh_ujmk_planted', 7, 1, 9e9)"
            ));
            // The name alone means the planted table.
            assert_eq!(
                journal.ask("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&token]),
                text("dear diary")
            );
            assert_eq!(journal.ask("SELECT journal_key_uid(7)", []), text("oseh_ujmk_1"));
            assert_eq!(
                journal.error("SELECT journal_encrypt(7, 'x', 'oseh_ujmk_planted')", []),
                "journal_encrypt: key_not_found: user 7 has no key \"oseh_ujmk_planted\""
            );
            let sealed = journal.text("SELECT token FROM journal_seal(7, 'x')", []);
            assert!(other.decrypt(&sealed).is_err());
        }
        journal.run("DROP TABLE main.user_journal_master_keys");
        assert_eq!(
            journal.error("SELECT journal_key_uid(7)", []),
            "journal_key_uid: no such table: main.user_journal_master_keys"
        );
    });
}

#[test]
fn the_key_tables_of_an_attached_database_serve_where_the_configuration_names_it() {
    Process::with_directory()
        .variable("JOURNAL_SCHEMA", "back\"up")
        .run(|| {
            let journal = journal();
            assert_eq!(
                journal.error("SELECT journal_key_uid(7)", []),
                "journal_key_uid: no such table: back\"up.user_journal_master_keys"
            );
            journal.run("ATTACH ':memory:' AS \"back\"\"up\"");
            let tables = KEY_TABLES
                .replace("CREATE TABLE ", "CREATE TABLE \"back\"\"up\".")
                .replace("CREATE INDEX ", "CREATE INDEX \"back\"\"up\".");
            journal.run(&tables);
            assert_eq!(
                journal.error("SELECT journal_encrypt(7, 'x')", []),
                "journal_encrypt: no_key: user 7 has no key"
            );
            journal.run(
                "INSERT INTO \"back\"\"up\".s3_files SELECT * FROM main.s3_files;
                 INSERT INTO \"back\"\"up\".user_journal_master_keys SELECT * FROM main.user_journal_master_keys;
                 DELETE FROM main.user_journal_master_keys",
            );
            assert_eq!(journal.ask("SELECT journal_key_uid(7)", []), text("oseh_ujmk_1"));
        });
}
