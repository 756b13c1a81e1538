//! The exact text of every word, for every function that can say it.

use crate::journal::{Journal, PREFIX, ask, error, path, text, write_object};
use crate::process::Process;
use crate::raw;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

/// Asserts what each function says of user 7's key `oseh_ujmk_1` and `token`: `sentence` follows the word.
pub(crate) fn assert_said(journal: &Journal, token: &str, word: &str, sentence: &str) {
    let is_final = ["no_key", "key_not_found", "key_lost", "token_invalid"].contains(&word);
    for function in [
        "journal_decrypt",
        "journal_decrypt_blob",
        "journal_try_decrypt",
        "journal_check",
    ] {
        let raised = error(format!("{function}: {word}: {sentence}"));
        let expected = match function {
            "journal_try_decrypt" if is_final => Ok(Value::Null),
            "journal_check" if word != "not_configured" && word != "replicated" => text(word),
            _ => raised,
        };
        let sql = format!("SELECT {function}(7, 'oseh_ujmk_1', ?)");
        assert_eq!(journal.ask(&sql, [token]), expected, "{function}");
    }
    if word == "token_invalid" {
        return;
    }
    for (call, function) in [
        ("journal_encrypt(7, 'x', 'oseh_ujmk_1')", "journal_encrypt"),
        ("journal_encrypt(7, 'x')", "journal_encrypt"),
        ("token FROM journal_seal(7, 'x')", "journal_seal"),
    ] {
        if word == "key_not_found" && !call.contains("oseh") {
            continue;
        }
        let expected = error(format!("{function}: {word}: {sentence}"));
        assert_eq!(
            journal.ask(&format!("SELECT {call}"), []),
            expected,
            "{call}"
        );
    }
}

/// A user 7 with one key, whose object is for the test to make.
pub(crate) fn journal_of(object: &str) -> Journal {
    let journal = Journal::in_memory();
    journal.rows(7, "oseh_ujmk_1", 1.0, object);
    journal
}

pub(crate) fn key_of_user_7() -> String {
    format!("{PREFIX}oseh_ujmk_1")
}

#[test]
fn no_key_and_key_not_found_name_the_user() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(8, "oseh_ujmk_8", 1.0).encrypt(b"x");
        let said = "user 7 has no key \"oseh_ujmk_1\"";
        assert_said(&journal, &token, "key_not_found", said);
        for (call, function) in [
            ("journal_encrypt(7, 'x')", "journal_encrypt"),
            ("journal_decrypt(7, NULL, 'x')", "journal_decrypt"),
            ("journal_decrypt_blob(7, NULL, 'x')", "journal_decrypt_blob"),
            ("token FROM journal_seal(-7, 'x')", "journal_seal"),
        ] {
            let user = if call.contains("-7") { -7 } else { 7 };
            assert_eq!(
                journal.error(&format!("SELECT {call}"), []),
                format!("{function}: no_key: user {user} has no key")
            );
        }
        assert_eq!(
            journal.ask("SELECT journal_try_decrypt(7, NULL, 'x')", []),
            Ok(Value::Null)
        );
        assert_eq!(
            journal.ask("SELECT journal_check(7, NULL, 'x')", []),
            text("no_key")
        );
        assert_eq!(
            journal.ask("SELECT journal_key_uid(7)", []),
            Ok(Value::Null)
        );
    });
}

#[test]
fn a_key_without_an_object_or_without_an_s3_files_row_is_lost() {
    Process::with_directory().run(|| {
        let journal = journal_of(&key_of_user_7());
        let absent = "key \"oseh_ujmk_1\": its object is not in the key store";
        assert_said(&journal, "x", "key_lost", absent);
        journal.run("DELETE FROM s3_files");
        let unnamed = "key \"oseh_ujmk_1\": it has no s3_files row";
        assert_said(&journal, "x", "key_lost", unnamed);
    });
}

#[test]
fn a_key_whose_object_is_disabled_is_not_lost_and_raises_everywhere() {
    Process::with_directory().run(|| {
        let journal = journal_of(&key_of_user_7());
        write_object(
            &format!("{}.disabled", key_of_user_7()),
            &fernet::Fernet::generate_key(),
        );
        let said = "key \"oseh_ujmk_1\": its object is disabled; journal_enable_key brings it back";
        assert_said(&journal, "x", "key_disabled", said);
    });
}

#[test]
fn an_object_that_is_no_key_is_invalid() {
    Process::with_directory().run(|| {
        let key = fernet::Fernet::generate_key();
        let not_fernet = "its object is not a Fernet key";
        for (content, sentence) in [
            (String::new(), not_fernet),
            ("junk".to_owned(), not_fernet),
            (format!("{key}\n\n"), not_fernet),
            (key[..43].to_owned(), not_fernet),
            ("x".repeat(4096), not_fernet),
            ("x".repeat(4097), "its object is too large for a Fernet key"),
        ] {
            let journal = journal_of(&key_of_user_7());
            write_object(&key_of_user_7(), &content);
            let sentence = format!("key \"oseh_ujmk_1\": {sentence}");
            assert_said(&journal, "x", "key_invalid", &sentence);
        }
    });
}

#[test]
fn an_object_whose_name_is_not_one_of_a_key_is_not_fetched() {
    Process::with_directory().run(|| {
        let key = fernet::Fernet::generate_key();
        let outside = "its object's name lies outside JOURNAL_KEY_PREFIX";
        let out = "its object's name leads out of the key store";
        for (object, sentence) in [
            ("uploads/key".to_owned(), outside),
            (PREFIX[1..].to_owned(), outside),
            (String::new(), outside),
            (format!("/{PREFIX}key"), outside),
            (format!("{PREFIX}../../../../uploads/key"), out),
            (format!("{PREFIX}./key"), out),
            (
                format!("{PREFIX}a\nb"),
                "its object's name holds a control character",
            ),
            (
                format!("{PREFIX}{}", "k".repeat(1024)),
                "its object's name is empty or longer than 1024 bytes",
            ),
        ] {
            let journal = journal_of(&object);
            write_object("uploads/key", &key);
            let sentence = format!("key \"oseh_ujmk_1\": {sentence}");
            assert_said(&journal, "x", "key_invalid", &sentence);
        }
        let journal = journal_of("x");
        journal.run("UPDATE s3_files SET key = x'fe'");
        let blob = "key \"oseh_ujmk_1\": its object's name is not TEXT";
        assert_said(&journal, "x", "key_invalid", blob);
        journal.run("UPDATE s3_files SET key = CAST(x'fe' AS TEXT)");
        let text = "key \"oseh_ujmk_1\": its object's name is not UTF-8";
        assert_said(&journal, "x", "key_invalid", text);
    });
}

#[test]
fn a_token_of_another_key_or_of_none_is_invalid() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"x");
        let other = journal.key(8, "oseh_ujmk_8", 1.0).encrypt(b"x");
        let mut cut = token.clone();
        cut.truncate(40);
        for token in [
            other,
            cut,
            token.replace('=', ""),
            "dear diary".into(),
            String::new(),
        ] {
            let said = "not a Fernet token under key \"oseh_ujmk_1\"";
            assert_said(&journal, &token, "token_invalid", said);
            assert_eq!(
                journal.error("SELECT journal_decrypt(7, NULL, ?)", [&token]),
                "journal_decrypt: token_invalid: not a Fernet token under any key of user 7"
            );
        }
    });
}

#[test]
fn a_plaintext_that_is_not_utf_8_is_given_as_a_blob_alone() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"\xff\xfe");
        for function in ["journal_decrypt", "journal_try_decrypt"] {
            assert_eq!(
                journal.error(&format!("SELECT {function}(7, 'oseh_ujmk_1', ?)"), [&token]),
                format!("{function}: not_utf8: the plaintext is not UTF-8; journal_decrypt_blob gives its bytes")
            );
        }
        assert_eq!(
            journal.ask("SELECT journal_decrypt_blob(7, NULL, ?)", [&token]),
            Ok(Value::Blob(b"\xff\xfe".to_vec()))
        );
        assert_eq!(journal.ask("SELECT journal_check(7, NULL, ?)", [&token]), text("ok"));
    });
}

#[test]
fn without_a_key_store_the_first_fetch_says_so_and_what_needs_no_key_works() {
    Process::new().run(|| {
        let journal = journal_of(&key_of_user_7());
        assert_said(
            &journal,
            "x",
            "not_configured",
            "JOURNAL_KEY_STORE is not set",
        );
        assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1");
        assert_eq!(
            journal.ask("SELECT journal_evict()", []),
            Ok(Value::Integer(0))
        );
        assert_eq!(
            journal.error("SELECT journal_decrypt(7, 'oseh_ujmk_2', 'x')", []),
            "journal_decrypt: key_not_found: user 7 has no key \"oseh_ujmk_2\""
        );
    });
}

#[test]
fn a_missing_root_directory_is_an_outage_and_not_a_lost_key() {
    Process::new()
        .variable("JOURNAL_KEY_STORE", "file:///nonexistent/unmounted")
        .run(|| {
            let journal = journal_of(&key_of_user_7());
            let said =
                "key \"oseh_ujmk_1\" could not be fetched: the key store's directory is not there";
            assert_said(&journal, "x", "store_unavailable", said);
        });
}

#[test]
fn a_replicated_host_uses_keys_on_read_only_connections_alone() {
    Process::with_directory()
        .variable("JOURNAL_REPLICATED", "on")
        .run(|| {
            let journal = Journal::in_file("journal.db");
            let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"x");
            let said = "every node would run this statement again; SELECT the value on a read-only \
                    connection (rqlite: a query at level none or weak), then write it as a literal";
            assert_said(&journal, &token, "replicated", said);
            assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1");

            let reader =
                Connection::open_with_flags(path("journal.db"), OpenFlags::SQLITE_OPEN_READ_ONLY);
            let reader = reader.unwrap();
            raw::load(&reader).unwrap();
            for call in [
                "journal_decrypt(7, 'oseh_ujmk_1', ?)",
                "journal_decrypt(7, NULL, ?)",
            ] {
                assert_eq!(ask(&reader, &format!("SELECT {call}"), [&token]), text("x"));
            }
            let sealed = ask(&reader, "SELECT token FROM journal_seal(7, 'y')", []);
            assert!(matches!(sealed, Ok(Value::Text(_))));
        });
}
