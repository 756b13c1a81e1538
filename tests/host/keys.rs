//! Which key a call uses: the order, the owner, and what a NULL uid passes over.

use fernet::Fernet;
use rusqlite::types::Value;

use crate::journal::{Journal, PREFIX, error, new_object, text, write_object};
use crate::process::Process;

#[test]
fn the_newest_key_encrypts_and_of_equally_new_ones_the_first_by_uid() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let of_user = |uid: &str, created_at| (journal.key(7, uid, created_at), uid.to_owned());
        // Each is current from when it is inserted, or not at all.
        for (uid, created_at, becomes_current) in [
            ("oseh_ujmk_m", 100.0, true),
            ("oseh_ujmk_a", 99.0, false),
            ("oseh_ujmk_z", 100.0, false),
            ("oseh_ujmk_k", 100.0, true),
            ("oseh_ujmk_K", 100.0, true), // by bytes, as SQLite's BINARY collation has it
            ("oseh_ujmk_-", 100.0, true),
            ("oseh_ujmk_b", 100.25, true),
            ("oseh_ujmk_0", 100.125, false),
            ("oseh_ujmk_c", 1e9, true),
            ("oseh_ujmk_9", -1.0, false),
        ] {
            let before = journal.ask("SELECT journal_key_uid(7)", []).unwrap();
            let (key, uid) = of_user(uid, created_at);
            let now = journal.ask("SELECT journal_key_uid(7)", []).unwrap();
            let expected = if becomes_current {
                Value::Text(uid.clone())
            } else {
                before
            };
            assert_eq!(now, expected, "{uid}");
            let token = journal.text("SELECT journal_encrypt(7, 'x')", []);
            assert_eq!(key.decrypt(&token).is_ok(), becomes_current, "{uid}");
            assert_eq!(
                journal.ask("SELECT key_uid FROM journal_seal(7, 'x')", []),
                Ok(expected)
            );
        }
    });
}

#[test]
fn the_order_does_not_depend_on_an_index() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.run("DROP INDEX user_journal_master_keys_user_id_created_at_index");
        for uid in ["oseh_ujmk_b", "oseh_ujmk_a", "oseh_ujmk_c"] {
            journal.key(7, uid, 5.0);
        }
        assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_a");
        journal.run("CREATE INDEX i ON user_journal_master_keys (user_id, created_at, uid DESC)");
        assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_a");
    });
}

#[test]
fn a_key_named_for_encryption_is_used_though_it_is_not_the_newest() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let old = journal.key(7, "oseh_ujmk_old", 1.0);
        journal.key(7, "oseh_ujmk_new", 2.0);
        let token = journal.text("SELECT journal_encrypt(7, 'x', 'oseh_ujmk_old')", []);
        assert_eq!(old.decrypt(&token).unwrap(), b"x");
    });
}

#[test]
fn a_key_serves_its_own_user_alone() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let key = journal.key(7, "oseh_ujmk_7", 1.0);
        journal.key(8, "oseh_ujmk_8", 1.0);
        let token = key.encrypt(b"dear diary");
        // The key is cached from here on; user 8 still has no part in it.
        assert_eq!(
            journal.text("SELECT journal_decrypt(7, 'oseh_ujmk_7', ?)", [&token]),
            "dear diary"
        );
        assert_eq!(
            journal.error("SELECT journal_decrypt(8, 'oseh_ujmk_7', ?)", [&token]),
            "journal_decrypt: key_not_found: user 8 has no key \"oseh_ujmk_7\""
        );
        assert_eq!(
            journal.error("SELECT journal_encrypt(8, 'x', 'oseh_ujmk_7')", []),
            "journal_encrypt: key_not_found: user 8 has no key \"oseh_ujmk_7\""
        );
        assert_eq!(
            journal.error("SELECT journal_decrypt(8, NULL, ?)", [&token]),
            "journal_decrypt: token_invalid: not a Fernet token under any key of user 8"
        );
        assert_eq!(
            journal.error("SELECT journal_decrypt(9, NULL, ?)", [&token]),
            "journal_decrypt: no_key: user 9 has no key"
        );
    });
}

#[test]
fn a_key_that_moves_to_another_user_serves_that_one_at_once() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"x");
        let ask = |user: i64| {
            journal.ask(
                "SELECT journal_decrypt(?, 'oseh_ujmk_1', ?)",
                (user, &token),
            )
        };
        assert_eq!(ask(7), text("x"));
        journal.run("UPDATE user_journal_master_keys SET user_id = 8");
        assert_eq!(
            ask(7),
            error("journal_decrypt: key_not_found: user 7 has no key \"oseh_ujmk_1\"")
        );
        assert_eq!(ask(8), text("x"));
    });
}

/// What may be wrong with one of a user's keys, worst last, and what is said of it.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
enum Flaw {
    /// Nothing: a key, but not the token's.
    Other,
    Lost,
    Broken,
    OutsideThePrefix,
}

const FLAWS: [Flaw; 4] = [
    Flaw::Other,
    Flaw::Lost,
    Flaw::Broken,
    Flaw::OutsideThePrefix,
];

/// Gives user 7 a key with the flaw.
fn flawed_key(journal: &Journal, flaw: Flaw, uid: &str, created_at: f64) {
    let mut object = format!("{PREFIX}{uid}");
    match flaw {
        Flaw::Other => drop(new_object(&object)),
        Flaw::Lost => {}
        Flaw::Broken => write_object(&object, "junk"),
        Flaw::OutsideThePrefix => object = format!("uploads/{uid}"),
    }
    journal.rows(7, uid, created_at, &object);
}

#[test]
fn a_null_uid_goes_on_past_keys_that_are_lost_broken_or_outside_the_prefix() {
    Process::with_directory().run(|| {
        for place in 0..3 {
            for first in FLAWS {
                for second in FLAWS {
                    let journal = Journal::in_memory();
                    let mut flaws = [first, second].into_iter();
                    let mut good: Option<Fernet> = None;
                    for position in 0..3 {
                        let uid = format!(
                            "oseh_ujmk_{place}{}{}_{position}",
                            first as u8, second as u8
                        );
                        let created_at = 10.0 - f64::from(position);
                        if position == place {
                            good = Some(journal.key(7, &uid, created_at));
                        } else {
                            flawed_key(&journal, flaws.next().unwrap(), &uid, created_at);
                        }
                    }
                    let token = good.unwrap().encrypt(b"dear diary");
                    for function in ["journal_decrypt", "journal_try_decrypt"] {
                        assert_eq!(
                            journal.ask(&format!("SELECT {function}(7, NULL, ?)"), [&token]),
                            text("dear diary"),
                            "{first:?}, {second:?} around place {place}"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn when_no_key_fits_the_gravest_word_is_said() {
    Process::with_directory().run(|| {
        let token = Fernet::new(&Fernet::generate_key()).unwrap().encrypt(b"x");
        for a in FLAWS {
            for b in FLAWS {
                for c in FLAWS {
                    let journal = Journal::in_memory();
                    let flaws = [a, b, c];
                    let uid = |position: usize| {
                        format!("oseh_ujmk_{}{}{}_{position}", a as u8, b as u8, c as u8)
                    };
                    for (position, flaw) in flaws.into_iter().enumerate() {
                        flawed_key(&journal, flaw, &uid(position), 10.0 - position as f64);
                    }
                    // Broken and outside the prefix are one word: the first of them is named.
                    let gravity = |flaw: &Flaw| (*flaw as u8).min(Flaw::Broken as u8);
                    let worst = flaws.iter().map(gravity).max().unwrap();
                    let position = flaws.iter().position(|f| gravity(f) == worst).unwrap();
                    let key = format!("key \"{}\"", uid(position));
                    let (word, sentence) = match flaws[position] {
                        Flaw::Other => (
                            "token_invalid",
                            "not a Fernet token under any key of user 7".to_owned(),
                        ),
                        Flaw::Lost => (
                            "key_lost",
                            format!("{key}: its object is not in the key store"),
                        ),
                        Flaw::Broken => (
                            "key_invalid",
                            format!("{key}: its object is not a Fernet key"),
                        ),
                        Flaw::OutsideThePrefix => (
                            "key_invalid",
                            format!("{key}: its object's name lies outside JOURNAL_KEY_PREFIX"),
                        ),
                    };
                    assert_eq!(
                        journal.error("SELECT journal_decrypt(7, NULL, ?)", [&token]),
                        format!("journal_decrypt: {word}: {sentence}"),
                        "{flaws:?}"
                    );
                    assert_eq!(
                        journal.ask("SELECT journal_check(7, NULL, ?)", [&token]),
                        text(word)
                    );
                    let tried = journal.ask("SELECT journal_try_decrypt(7, NULL, ?)", [&token]);
                    match word {
                        "key_invalid" => assert!(tried.is_err(), "{flaws:?}"),
                        _ => assert_eq!(tried, Ok(Value::Null), "{flaws:?}"),
                    }
                }
            }
        }
    });
}

#[test]
fn the_current_key_is_the_first_by_time_and_uid_whatever_stands_in_the_rows() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        // No affinity: every value stays what it is.
        journal.run(
            "DROP TABLE user_journal_master_keys;
             CREATE TABLE user_journal_master_keys(id INTEGER PRIMARY KEY, uid, user_id, s3_file_id, created_at);
             CREATE INDEX by_time ON user_journal_master_keys (user_id, created_at)",
        );
        let times = [
            "NULL", "1", "1.0", "1.5", "2", "9007199254740993", "9007199254740992.0", "'1'", "'2'", "x'31'", "-9e999",
        ];
        let mut user = 0;
        for first in times {
            for second in times {
                for third in ["NULL", "1.0", "'2'"] {
                    user += 1;
                    for (uid, time) in [("b", first), ("a", second), ("c", third)] {
                        journal.run(&format!(
                            "INSERT INTO user_journal_master_keys(uid, user_id, created_at)
                             VALUES ('{uid}_{user}', {user}, {time})"
                        ));
                    }
                }
            }
        }
        let sql = "SELECT journal_key_uid(user_id), first_value(uid) OVER (
                       PARTITION BY user_id ORDER BY created_at DESC, uid ASC)
                   FROM user_journal_master_keys";
        let mut statement = journal.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut seen = 0;
        while let Some(row) = rows.next().unwrap() {
            let (ours, first): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            assert_eq!(ours, first);
            seen += 1;
        }
        assert_eq!(seen, 3 * user);
    });
}
