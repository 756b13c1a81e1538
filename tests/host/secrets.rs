//! Swapped arguments: an error shows nothing of the entry, the token or what only resembles a uid.

use rusqlite::types::Value;

use crate::journal::Journal;
use crate::process::Process;

/// What people write, some of it shaped almost like a key's uid.
const ENTRIES: [&str; 4] = [
    "Planted secret: I met K. at the harbour",
    "oseh_ujmk_Planted secret with blanks",
    "oseh_ujmk_Planted-secret-of-more-than-thirty-two-letters",
    "xoseh_ujmk_PlantedSecret",
];

/// Eight characters in a row are a quotation; fewer may be chance.
fn quotes(message: &str, secret: &str) -> bool {
    let secret: Vec<char> = secret.chars().collect();
    secret.windows(8).any(|part| {
        let part: String = part.iter().collect();
        part != "oseh_ujm" && part != "seh_ujmk" && part != "eh_ujmk_" && message.contains(&part)
    })
}

#[test]
fn an_error_quotes_neither_entry_nor_token_wherever_they_were_passed() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let key = journal.key(7, "oseh_ujmk_1", 1.0);
        journal.key(8, "oseh_ujmk_2", 1.0);
        let mut errors = 0;
        for entry in ENTRIES {
            let token = key.encrypt(entry.as_bytes());
            let values = [
                Value::Integer(7),
                Value::Integer(8),
                Value::Text("oseh_ujmk_1".into()),
                Value::Null,
                Value::Text(entry.into()),
                Value::Blob(entry.into()),
                Value::Text(token.clone()),
                Value::Blob(token.clone().into()),
            ];
            for a in &values {
                for b in &values {
                    for c in &values {
                        for sql in [
                            "SELECT journal_encrypt(?1, ?2, ?3)",
                            "SELECT journal_decrypt(?1, ?2, ?3)",
                            "SELECT journal_decrypt_blob(?1, ?2, ?3)",
                            "SELECT journal_try_decrypt(?1, ?2, ?3)",
                            "SELECT journal_check(?1, ?2, ?3)",
                            "SELECT journal_rewrap(?1, ?2, ?3)",
                            "SELECT journal_decrypt_item(?1, ?2, ?3)",
                            "SELECT journal_try_decrypt_item(?1, ?2, ?3)",
                            "SELECT journal_encrypt_item(?1, ?2) WHERE ?3 IS NULL",
                            "SELECT token FROM journal_seal_item(?1, ?2) WHERE ?3 IS NULL",
                            "SELECT journal_token_time(?1) WHERE ?2 IS NULL AND ?3 IS NULL",
                            "SELECT journal_prefetch(?1) WHERE ?2 IS NULL AND ?3 IS NULL",
                            "SELECT journal_encrypt(?1, ?2) WHERE ?3 IS NULL",
                            "SELECT token FROM journal_seal(?1, ?2) WHERE ?3 IS NULL",
                            "SELECT journal_key_uid(?1) WHERE ?2 IS NULL AND ?3 IS NULL",
                            "SELECT journal_evict(?1) WHERE ?2 IS NULL AND ?3 IS NULL",
                        ] {
                            let asked = journal.query_row(sql, [a, b, c], |_| Ok(()));
                            let Err(rusqlite::Error::SqliteFailure(_, Some(message))) = asked
                            else {
                                continue;
                            };
                            errors += 1;
                            assert!(
                                !quotes(&message, entry) && !quotes(&message, &token),
                                "{sql} {:?}: {message}",
                                [a, b, c]
                            );
                        }
                    }
                }
            }
        }
        assert!(errors > 5_000, "only {errors} errors were looked at");
    });
}

#[test]
fn a_uid_that_looks_like_one_is_quoted() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        for (uid, label) in [
            ("oseh_ujmk_a", "\"oseh_ujmk_a\""),
            ("oseh_ujmk_aB3-_9", "\"oseh_ujmk_aB3-_9\""),
            (
                "oseh_ujmk_0123456789abcdef0123456789abcdef",
                "\"oseh_ujmk_0123456789abcdef0123456789abcdef\"",
            ),
            (
                "oseh_ujmk_0123456789abcdef0123456789abcdef0",
                "(TEXT of 43 bytes)",
            ),
            ("oseh_ujmk_", "(TEXT of 10 bytes)"),
            ("oseh_ujmk_ü", "(TEXT of 12 bytes)"),
            ("oseh_ujmk_a b", "(TEXT of 13 bytes)"),
            ("oseh_ujmk_a'", "(TEXT of 12 bytes)"),
            ("OSEH_UJMK_A", "(TEXT of 11 bytes)"),
        ] {
            assert_eq!(
                journal.error("SELECT journal_decrypt(7, ?, 'x')", [uid]),
                format!("journal_decrypt: key_not_found: user 7 has no key {label}")
            );
        }
    });
}
