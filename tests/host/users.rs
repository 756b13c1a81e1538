//! Users known by TEXT, such as UUIDs: which rows are theirs, whatever the column's type and collation, and who is told
//! apart from whom.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::journal::{Journal, KEY_TABLES, PREFIX, error, new_object, text};
use crate::process::Process;
use crate::raw;

const UUID: &str = "0190f2a4-7c1e-7d3a-9b5f-1c2d3e4f5a6b";

/// Key tables whose user_id is declared so.
fn journal(declared: &str) -> Journal {
    let journal = Journal::of(Connection::open_in_memory().unwrap());
    let tables = KEY_TABLES.replace("user_id INTEGER NOT NULL", &format!("user_id {declared}"));
    assert_ne!(tables, KEY_TABLES);
    journal.run("DROP TABLE s3_files; DROP TABLE user_journal_master_keys");
    journal.run(&tables);
    // The round before gave the same objects other keys.
    journal.run("SELECT journal_evict()");
    journal
}

/// A key of the user that an SQL expression gives, and a token of "dear diary" under it.
fn key(journal: &Journal, user: &str, uid: &str) -> String {
    let object = format!("{PREFIX}{uid}");
    journal.run(&format!(
        "INSERT INTO s3_files (uid, key) VALUES ('oseh_s3f_{uid}', '{object}');
         INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)
           VALUES ('{uid}', {user}, last_insert_rowid(), 1)"
    ));
    new_object(&object).encrypt(b"dear diary")
}

/// The keys of the user that an SQL expression gives, as the functions find them: by order, by uid, all.
fn found(journal: &Journal, user: &str, token: &str) -> [Result<Value, (i32, String)>; 3] {
    [
        format!("SELECT journal_key_uid({user}) || substr(?1, 1, 0)"),
        format!("SELECT journal_check({user}, 'oseh_ujmk_1', ?1)"),
        format!("SELECT journal_check({user}, NULL, ?1)"),
    ]
    .map(|sql| journal.ask(&sql, [token]))
}

#[test]
fn a_uuid_is_a_user_in_every_function_whatever_the_column_is_declared_as() {
    Process::with_directory().run(|| {
        for declared in ["TEXT", "TEXT COLLATE NOCASE", "", "BLOB", "VARCHAR(36)", "INTEGER", "UUID"] {
            let journal = journal(declared);
            let token = key(&journal, &format!("'{UUID}'"), "oseh_ujmk_1");
            for call in [
                "journal_decrypt(?1, 'oseh_ujmk_1', ?2)",
                "journal_decrypt(?1, NULL, ?2)",
                "journal_try_decrypt(?1, 'oseh_ujmk_1', ?2)",
                "CAST(journal_decrypt_blob(?1, NULL, ?2) AS TEXT)",
                "journal_decrypt(?1, NULL, journal_rewrap(?1, 'oseh_ujmk_1', ?2))",
                "journal_decrypt(?1, NULL, journal_encrypt(?1, 'dear diary'))",
                "journal_decrypt(?1, NULL, journal_encrypt(?1, 'dear diary', 'oseh_ujmk_1'))",
                "journal_decrypt(?1, key_uid, token) FROM journal_seal(?1, 'dear diary')",
                "journal_decrypt_item(?1, NULL, journal_encrypt_item(?1, '\"dear diary\"')) ->> '$'",
                "journal_try_decrypt_item(?1, key_uid, token) ->> '$' FROM journal_seal_item(?1, '\"dear diary\"')",
            ] {
                let given = journal.ask(&format!("SELECT {call} WHERE ?2 <> ''"), (UUID, &token));
                assert_eq!(given, text("dear diary"), "{declared}: {call}");
            }
            for ids in [UUID.to_owned(), format!("[\"{UUID}\", \"{UUID}\"]"), format!(" [\"{UUID}\"]")] {
                assert_eq!(
                    journal.ask("SELECT journal_prefetch(?)", [&ids]),
                    text(r#"{"ready":1,"failed":{}}"#),
                    "{declared}: {ids}"
                );
            }
            assert_eq!(
                journal.ask("SELECT journal_key_uid(?)", [UUID]),
                text("oseh_ujmk_1")
            );
        }
    });
}

#[test]
fn a_number_and_its_text_are_two_users_whatever_the_column_s_affinity() {
    Process::with_directory().run(|| {
        // A column without affinity keeps both apart; the others make one type of what is inserted.
        for (declared, stored, theirs, not_theirs) in [
            ("", "7", "7", "'7'"),
            ("", "'7'", "'7'", "7"),
            ("TEXT", "7", "'7'", "7"),
            ("TEXT", "'7'", "'7'", "7"),
            ("INTEGER", "7", "7", "'7'"),
            ("INTEGER", "'7'", "7", "'7'"),
            ("REAL", "7", "7", "'7'"),
            ("NUMERIC", "'7.0'", "7", "'7.0'"),
            ("TEXT COLLATE NOCASE", "'aB'", "'aB'", "'Ab'"),
            ("TEXT COLLATE RTRIM", "'a'", "'a'", "'a '"),
            ("TEXT", "'a'", "'a'", "'a' || char(0)"),
            ("TEXT", "'ü'", "'ü'", "'u' || char(776)"),
        ] {
            for index in [
                "",
                "DROP INDEX user_journal_master_keys_user_id_created_at_index",
            ] {
                let journal = journal(declared);
                journal.run(index);
                let token = key(&journal, stored, "oseh_ujmk_1");
                // Both types are among the users, so that neither is refused for its type.
                key(&journal, "'another'", "oseh_ujmk_2");
                key(&journal, "9", "oseh_ujmk_3");
                let case = format!("{declared} {stored} {index}");
                assert_eq!(
                    found(&journal, theirs, &token),
                    [text("oseh_ujmk_1"), text("ok"), text("ok")],
                    "{case}"
                );
                for given in found(&journal, not_theirs, &token) {
                    assert!(
                        given != text("ok") && given != text("oseh_ujmk_1"),
                        "{case}: {given:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn two_users_who_differ_in_type_alone_each_have_their_own_keys_in_one_scan() {
    Process::with_directory().run(|| {
        let journal = Journal::in_file("journal.db");
        journal.run("DROP TABLE user_journal_master_keys; DROP TABLE s3_files");
        journal.run(&KEY_TABLES.replace("user_id INTEGER NOT NULL", "user_id"));
        key(&journal, "7", "oseh_ujmk_number");
        key(&journal, "'7'", "oseh_ujmk_text");
        let uids = "SELECT group_concat(substr(journal_key_uid(column1), 11), ' ') \
                    FROM (VALUES (7), ('7'), (7), ('7'), (7.0)), user_journal_master_keys";
        assert_eq!(
            journal.text(uids, []),
            "number number text text number number text text number number"
        );
        let sealed = "SELECT group_concat(substr(key_uid, 11), ' ') FROM \
                      (VALUES (7), ('7'), (7), ('7')), journal_seal(column1, 'x')";
        assert_eq!(journal.text(sealed, []), "number text number text");
    });
}

#[test]
fn a_user_of_another_type_than_all_that_have_keys_is_a_mistake_and_not_a_user_who_is_gone() {
    Process::with_directory().run(|| {
        for (declared, stored, mistaken, expected) in [
            (
                "INTEGER",
                "7",
                "'7'",
                "an INTEGER, as in the key rows, this is TEXT of 1 byte",
            ),
            (
                "TEXT",
                "'7'",
                "7",
                "TEXT, as in the key rows, this is INTEGER",
            ),
        ] {
            let journal = journal(declared);
            let unknown = format!("SELECT journal_check({mistaken}, NULL, ?)");
            // Before there is any row, nobody can tell.
            assert_eq!(journal.ask(&unknown, ["x"]), text("no_key"), "{declared}");
            let token = key(&journal, stored, "oseh_ujmk_1");
            for call in [
                "journal_try_decrypt({}, 'oseh_ujmk_1', ?)",
                "journal_try_decrypt({}, NULL, ?)",
                "journal_check({}, 'oseh_ujmk_1', ?)",
                "journal_encrypt({}, ?)",
                "journal_key_uid({}) || ?",
                "journal_prefetch({}) || ?",
            ] {
                let function = call.split('(').next().unwrap();
                assert_eq!(
                    journal.ask(
                        &format!("SELECT {}", call.replace("{}", mistaken)),
                        [&token]
                    ),
                    error(format!(
                        "{function}: bad_argument: user_id must be {expected}"
                    )),
                    "{call}"
                );
            }
            // Once both types are there, either may be a user without a key.
            let others = if declared == "TEXT" { "x'00'" } else { "'a'" };
            key(&journal, others, "oseh_ujmk_2");
            let given = journal.ask(&unknown, [&token]);
            match declared {
                "INTEGER" => assert_eq!(given, text("no_key")),
                // A BLOB is no user, and so no other type.
                _ => assert!(given.is_err(), "{given:?}"),
            }
        }
    });
}

#[test]
fn a_scope_and_a_context_hold_for_a_user_known_by_text() {
    Process::with_directory().run(|| {
        let journal = journal("");
        key(&journal, &format!("'{UUID}'"), "oseh_ujmk_1");
        key(&journal, "7", "oseh_ujmk_2");
        key(&journal, "'7'", "oseh_ujmk_3");
        let bound = journal.text(
            "SELECT journal_encrypt(?, 'dear diary', NULL, 'entry 1')",
            [UUID],
        );
        let open = "SELECT journal_decrypt(?, NULL, ?, ?)";
        assert_eq!(
            journal.ask(open, (UUID, &bound, "entry 1")),
            text("dear diary")
        );
        assert!(journal.ask(open, (UUID, &bound, "entry 2")).is_err());

        let nonce = journal.text("SELECT journal_scope('7')", []);
        assert_eq!(
            journal.ask("SELECT journal_key_uid('7')", []),
            text("oseh_ujmk_3")
        );
        for other in ["7", &format!("'{UUID}'")] {
            let said = journal.error(&format!("SELECT journal_encrypt({other}, 'x')"), []);
            assert!(
                said.starts_with("journal_encrypt: out_of_scope: "),
                "{said}"
            );
            assert!(!said.contains(UUID), "{said}");
        }
        let given = journal.ask("SELECT journal_scope(NULL, ?)", [&nonce]);
        assert!(given.is_ok(), "{given:?}");
        assert_eq!(
            journal.ask("SELECT journal_key_uid(7)", []),
            text("oseh_ujmk_2")
        );
    });
}

#[test]
fn an_error_gives_the_length_of_a_text_and_never_the_text() {
    Process::with_directory().run(|| {
        let journal = journal("TEXT");
        let token = key(&journal, "'a user'", "oseh_ujmk_1");
        for (call, expected) in [
            (
                "journal_encrypt('dear diary', ?)",
                "journal_encrypt: no_key: user (TEXT of 10 bytes) has no key",
            ),
            (
                "journal_decrypt('dear diary', 'oseh_ujmk_1', ?)",
                "journal_decrypt: key_not_found: user (TEXT of 10 bytes) has no key \"oseh_ujmk_1\"",
            ),
            (
                "journal_decrypt('a user', NULL, ? || 'x')",
                "journal_decrypt: token_invalid: not a Fernet token under any key of user (TEXT of 6 bytes)",
            ),
        ] {
            assert_eq!(journal.error(&format!("SELECT {call}"), [&token]), expected);
        }
    });
}

#[test]
fn a_text_of_a_utf16_database_is_the_same_user() {
    Process::with_directory().run(|| {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("PRAGMA encoding = 'UTF-16'")
            .unwrap();
        let journal = Journal::of(connection);
        let token = key(&journal, "'Zoë 日本'", "oseh_ujmk_1");
        assert_eq!(
            journal.ask(
                "SELECT journal_decrypt('Zoë 日本', 'oseh_ujmk_1', ?)",
                [&token]
            ),
            text("dear diary")
        );
    });
}

#[test]
fn a_text_does_not_stay_bound_after_the_call() {
    Process::with_directory().run(|| {
        let journal = journal("TEXT");
        let token = key(&journal, &format!("'{UUID}'"), "oseh_ujmk_1");
        assert_eq!(
            journal.ask(
                "SELECT journal_decrypt(?, 'oseh_ujmk_1', ?)",
                (UUID, &token)
            ),
            text("dear diary")
        );
        let kept = raw::bound_statements(&journal);
        assert!(
            kept.iter()
                .any(|sql| sql.contains("user_journal_master_keys")),
            "{kept:?}"
        );
        for sql in kept {
            assert!(!sql.contains(UUID) && !sql.contains("oseh_ujmk_1"), "{sql}");
        }
    });
}
