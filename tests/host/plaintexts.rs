//! Plaintexts of every kind come back byte for byte, and each side reads what the other writes.

use rusqlite::types::Value;

use crate::journal::{Journal, text};
use crate::process::Process;

const MIB: usize = 1 << 20;

/// Letters without a period that block sizes share.
fn of_length(length: usize) -> String {
    (0..length)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect()
}

#[test]
fn texts_of_every_length_come_back() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let key = journal.key(7, "oseh_ujmk_1", 1.0);
        for length in (0..=100).chain([MIB - 1, MIB, MIB + 1, 50 * MIB]) {
            let plaintext = of_length(length);
            let token = journal.text("SELECT journal_encrypt(7, ?)", [&plaintext]);
            // A fifth of a gigabyte more for the reference is not worth it.
            if length <= MIB + 1 {
                assert_eq!(key.decrypt(&token).unwrap(), plaintext.as_bytes());
                let theirs = key.encrypt(plaintext.as_bytes());
                let read = journal.text("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&theirs]);
                assert!(read == plaintext, "length {length}");
            }
            let read = journal.text("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&token]);
            assert!(read == plaintext, "length {length}");
        }
    });
}

#[test]
fn blobs_of_any_bytes_come_back_as_blobs() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let key = journal.key(7, "oseh_ujmk_1", 1.0);
        for bytes in [
            vec![],
            vec![0],
            vec![0xff; 15],
            vec![0x10; 16], // a block that reads as padding
            (0..=255).collect(),
            vec![0x80; MIB],
        ] {
            let token = journal.text("SELECT journal_encrypt(7, ?)", [&bytes]);
            assert_eq!(key.decrypt(&token).unwrap(), bytes);
            let read = journal.ask("SELECT journal_decrypt_blob(7, NULL, ?)", [&token]);
            assert!(read == Ok(Value::Blob(bytes)));
        }
    });
}

#[test]
fn texts_keep_their_nul_bytes_their_emoji_and_their_form() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        for plaintext in [
            "\0",
            "a\0b",
            "\0\0\0",
            "ends with one\0",
            "🌧️👩‍👩‍👧 Regen",
            "e\u{301} is not é",
            "\u{feff}with a byte order mark",
            "\u{10ffff}\u{1}",
            "  spaces and\r\n\tlines ",
        ] {
            let token = journal.text("SELECT journal_encrypt(7, ?)", [plaintext]);
            let read = journal.ask("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&token]);
            assert_eq!(read, text(plaintext));
            let described = journal.text(
                "SELECT typeof(d) || ' ' || length(CAST(d AS BLOB)) || ' ' || typeof(b)
                 FROM (SELECT journal_decrypt(7, NULL, ?1) AS d, journal_decrypt_blob(7, NULL, ?1) AS b)",
                [&token],
            );
            assert_eq!(described, format!("text {} blob", plaintext.len()));
        }
    });
}

#[test]
fn no_two_tokens_of_one_entry_are_the_same() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_1", 1.0);
        let distinct =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                        SELECT count(DISTINCT journal_encrypt(7, 'x')) FROM n";
        assert_eq!(journal.ask(distinct, []), Ok(Value::Integer(1000)));
    });
}

#[test]
fn a_token_written_by_a_clock_ahead_or_behind_is_read() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let key = journal.key(7, "oseh_ujmk_1", 1.0);
        for time in [0, 1, 499_162_800, 32_503_680_000, i64::MAX as u64] {
            let token = key.encrypt_at_time(b"x", time);
            assert_eq!(
                journal.ask("SELECT journal_decrypt(7, NULL, ?)", [&token]),
                text("x")
            );
        }
    });
}
