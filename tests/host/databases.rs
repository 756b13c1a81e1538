//! Databases beside each other, and databases of another encoding.

use rusqlite::Connection;

use crate::journal::{Journal, PREFIX, new_object, text};
use crate::process::Process;

#[test]
fn two_databases_with_equal_uids_do_not_mix_their_keys() {
    Process::with_directory().run(|| {
        let journals = ["a", "b"].map(|name| {
            let journal = Journal::in_memory();
            let object = format!("{PREFIX}{name}/oseh_ujmk_1");
            journal.rows(7, "oseh_ujmk_1", 1.0, &object);
            (journal, new_object(&object))
        });
        for round in 0..3 {
            for (journal, key) in &journals {
                let token = journal.text("SELECT journal_encrypt(7, ?)", [round]);
                assert_eq!(key.decrypt(&token).unwrap(), round.to_string().as_bytes());
                for (other, _) in &journals {
                    let read = other.ask("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [&token]);
                    assert_eq!(read.is_ok(), std::ptr::eq(other, journal));
                }
            }
        }
        // One uid, two cached keys.
        let evicted = journals[0]
            .0
            .text("SELECT journal_evict('oseh_ujmk_1') || ''", []);
        assert_eq!(evicted, "2");
    });
}

#[test]
fn an_encoding_of_16_bits_changes_nothing() {
    Process::with_directory().run(|| {
        for encoding in ["UTF-16le", "UTF-16be"] {
            let connection = Connection::open_in_memory().unwrap();
            connection.pragma_update(None, "encoding", encoding).unwrap();
            let journal = Journal::of(connection);
            assert_eq!(journal.text("PRAGMA encoding", []), encoding);
            let key = journal.key(7, "oseh_ujmk_1", 1.0);
            journal.run("CREATE TABLE entry(entry TEXT, token TEXT)");
            for entry in ["", "x", "a\0b", "🌧️ Grüße", &"ü".repeat(70_000)] {
                journal.execute("INSERT INTO entry VALUES (?1, journal_encrypt(7, ?1))", [entry]).unwrap();
            }
            let mut stored = journal
                .prepare("SELECT entry, token, journal_decrypt(7, 'oseh_ujmk_1', token), journal_decrypt(7, NULL, token) FROM entry")
                .unwrap();
            let mut rows = stored.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let [entry, token, named, any]: [String; 4] = [0, 1, 2, 3].map(|i| row.get(i).unwrap());
                assert_eq!(key.decrypt(&token).unwrap(), entry.as_bytes());
                assert!(named == entry && any == entry);
            }
            assert_eq!(
                journal.error("SELECT journal_decrypt(7, 'oseh_ujmk_ü', 'x')", []),
                "journal_decrypt: key_not_found: user 7 has no key (TEXT of 12 bytes)"
            );
            assert_eq!(journal.ask("SELECT journal_key_uid(7)", []), text("oseh_ujmk_1"));
            journal.run("SELECT journal_evict()");
        }
    });
}
