//! The scope of a connection: what it keeps from a statement that forgets its WHERE, or that somebody injected.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Value;

use crate::functions::ADMINISTERED;
use crate::journal::{Journal, error, text};
use crate::process::Process;
use crate::raw;
use crate::values::{FUNCTIONS, KEY, TOKEN, question};

const ANOTHER: &str = "out_of_scope: the scope of this connection is another user's";
const NONE: &str = "out_of_scope: JOURNAL_REQUIRE_SCOPE is set, and this connection has no scope: begin one with \
                    journal_scope";

/// Users 7 and 8 with a key and an entry each, and a token of user 7's.
fn journal() -> (Journal, String) {
    let journal = Journal::in_memory();
    let token = journal.key(7, "oseh_ujmk_1", 1.0).encrypt(b"dear diary");
    let other = journal.key(8, "oseh_ujmk_8", 1.0).encrypt(b"another's");
    journal.run(&format!(
        "CREATE TABLE entries (user_id INTEGER, key_uid TEXT, token TEXT);
         INSERT INTO entries VALUES (7, 'oseh_ujmk_1', '{token}'), (8, 'oseh_ujmk_8', '{other}');"
    ));
    (journal, token)
}

fn begin(journal: &Journal, user: i64) -> String {
    journal.text("SELECT journal_scope(?)", [user])
}

/// Every call that names a user, with `user` in the place.
fn calls(user: &str) -> impl Iterator<Item = (&'static str, String)> {
    FUNCTIONS.iter().filter_map(move |(function, places, _)| {
        let position = places
            .iter()
            .position(|place| matches!(place.name, "user_id" | "user_ids"))?;
        let mut arguments: Vec<&str> = places.iter().map(|place| place.usual).collect();
        arguments[position] = user;
        Some((*function, question(function, &arguments)))
    })
}

fn ask(journal: &Journal, sql: &str, token: &str) -> Result<Value, (i32, String)> {
    match sql.contains(TOKEN) {
        true => journal.ask(sql, [(TOKEN, token)].as_slice()),
        false => journal.ask(sql, []),
    }
}

#[test]
fn under_a_scope_every_function_refuses_another_user_however_warm_the_keys_are() {
    Process::with_directory().run(|| {
        let (journal, token) = journal();
        journal.text("SELECT journal_prefetch('[7, 8]')", []);
        begin(&journal, 7);
        // In a transaction a look-up of before the scope could be used again.
        for before in ["SELECT 1", "BEGIN; SELECT count(*) FROM entries"] {
            journal.run(before);
            let mut number = 0;
            for (function, sql) in calls("8") {
                assert_eq!(
                    ask(&journal, &sql, &token),
                    error(format!("{function}: {ANOTHER}")),
                    "{sql}"
                );
                number += 1;
            }
            assert!(number > 20, "{number}");
            for (_, sql) in calls("7") {
                assert!(ask(&journal, &sql, &token).is_ok(), "{sql}");
            }
        }
    });
}

#[test]
fn a_lookup_of_before_the_scope_is_not_used_again_under_it() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        let decrypt =
            "SELECT journal_decrypt(user_id, key_uid, token) FROM entries WHERE user_id = 8";
        journal.run("BEGIN");
        for _ in 0..2 {
            assert_eq!(journal.ask(decrypt, []), text("another's"));
        }
        begin(&journal, 7);
        assert_eq!(
            journal.ask(decrypt, []),
            error(format!("journal_decrypt: {ANOTHER}"))
        );
        assert_eq!(
            journal.ask("SELECT journal_key_uid(8)", []),
            error(format!("journal_key_uid: {ANOTHER}"))
        );
    });
}

#[test]
fn a_forgotten_where_raises_in_functions_table_functions_and_views_of_the_connection() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        journal.run(
            "CREATE TEMP VIEW journal AS SELECT user_id, journal_try_decrypt(user_id, key_uid, token) AS entry FROM entries",
        );
        begin(&journal, 7);
        for (function, sql) in [
            ("journal_decrypt", "SELECT group_concat(journal_decrypt(user_id, key_uid, token)) FROM entries"),
            ("journal_try_decrypt", "SELECT group_concat(journal_try_decrypt(user_id, NULL, token)) FROM entries"),
            ("journal_check", "SELECT group_concat(journal_check(user_id, key_uid, token)) FROM entries"),
            ("journal_try_decrypt", "SELECT group_concat(entry) FROM journal"),
            ("journal_seal", "SELECT group_concat(s.token) FROM entries, journal_seal(user_id, 'x') AS s"),
            ("journal_prefetch", "SELECT journal_prefetch('[7, 8]')"),
            ("journal_prefetch", "SELECT journal_prefetch(json_group_array(user_id)) FROM entries"),
        ] {
            assert_eq!(journal.error(sql, []), format!("{function}: {ANOTHER}"), "{sql}");
        }
        assert_eq!(
            journal.ask("SELECT group_concat(entry) FROM journal WHERE user_id = 7", []),
            text("dear diary")
        );
        // A number and its text are two users.
        assert_eq!(journal.error("SELECT journal_key_uid('7')", []), format!("journal_key_uid: {ANOTHER}"));
    });
}

#[test]
fn a_scope_is_moved_and_ended_with_its_nonce_alone() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        let nothing = "journal_scope: out_of_scope: this connection has no scope to move or to end";
        assert_eq!(journal.error("SELECT journal_scope(NULL, 'x')", []), nothing);
        assert_eq!(journal.error("SELECT journal_scope(7, 'x')", []), nothing);
        assert_eq!(
            journal.error("SELECT journal_scope(NULL)", []),
            "journal_scope: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL"
        );
        let nonce = begin(&journal, 7);
        assert_eq!(nonce.len(), 22);
        let wrong = "journal_scope: out_of_scope: this is not the nonce of this connection's scope";
        let missing = "journal_scope: out_of_scope: this connection has a scope; only a call with its nonce moves or ends it";
        let no_text = |given| format!("journal_scope: bad_argument: nonce must be TEXT, this is {given}");
        let cut = nonce[..21].to_owned();
        for (sql, expected) in [
            ("SELECT journal_scope(8)".to_owned(), missing.to_owned()),
            ("SELECT journal_scope(7)".to_owned(), missing.to_owned()),
            ("SELECT journal_scope(8, NULL)".to_owned(), no_text("NULL")),
            ("SELECT journal_scope(NULL, NULL)".to_owned(), no_text("NULL")),
            ("SELECT journal_scope(NULL, 7)".to_owned(), no_text("INTEGER")),
            ("SELECT journal_scope(NULL, '')".to_owned(), wrong.to_owned()),
            (format!("SELECT journal_scope(NULL, '{cut}')"), wrong.to_owned()),
            (format!("SELECT journal_scope(8, '{nonce}x')"), wrong.to_owned()),
            (format!("SELECT journal_scope(8, CAST('{nonce}' AS BLOB))"), no_text("BLOB of 22 bytes")),
            (
                format!("SELECT journal_scope(x'07', '{nonce}')"),
                "journal_scope: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is BLOB of 1 byte"
                    .to_owned(),
            ),
        ] {
            assert_eq!(journal.error(&sql, []), expected, "{sql}");
            assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1", "{sql}");
            assert_eq!(journal.error("SELECT journal_key_uid(8)", []), format!("journal_key_uid: {ANOTHER}"));
        }
        assert_eq!(journal.text("SELECT journal_scope(8, ?)", [&nonce]), nonce);
        assert_eq!(journal.text("SELECT journal_key_uid(8)", []), "oseh_ujmk_8");
        assert_eq!(journal.error("SELECT journal_key_uid(7)", []), format!("journal_key_uid: {ANOTHER}"));
        assert_eq!(journal.ask("SELECT journal_scope(NULL, ?)", [&nonce]), Ok(Value::Null));
        assert_eq!(journal.text("SELECT journal_key_uid(7)", []), "oseh_ujmk_1");
        // The nonce of a scope that ended is none of the next one's.
        assert_ne!(begin(&journal, 7), nonce);
        assert_eq!(journal.error("SELECT journal_scope(NULL, ?)", [&nonce]), wrong);
    });
}

#[test]
fn a_load_whose_question_an_authorizer_hides_ends_no_scope() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        let nonce = begin(&journal, 7);
        type IsHidden = fn(AuthAction<'_>) -> bool;
        let questions: [(&str, IsHidden); 5] = [
            ("all", |_| true),
            ("SELECT", |action| matches!(action, AuthAction::Select)),
            ("PRAGMA", |action| {
                matches!(action, AuthAction::Pragma { .. })
            }),
            ("READ", |action| matches!(action, AuthAction::Read { .. })),
            ("FUNCTION", |action| {
                matches!(action, AuthAction::Function { .. })
            }),
        ];
        for (name, is_hidden) in questions {
            for answer in [Authorization::Deny, Authorization::Ignore] {
                let hiding = move |context: AuthContext<'_>| match is_hidden(context.action) {
                    true => answer,
                    false => Authorization::Allow,
                };
                journal.authorizer(Some(hiding)).unwrap();
                let loaded = raw::load(&journal);
                // What is answered though something is hidden is right; where nothing is known the load is refused.
                let told = format!("{name} {answer:?}: {loaded:?}");
                let is_known = matches!(name, "READ" | "PRAGMA") && answer == Authorization::Ignore;
                assert_eq!(loaded.is_ok(), is_known, "{told}");
                let allowing = |_: AuthContext<'_>| Authorization::Allow;
                journal.authorizer(Some(allowing)).unwrap();
                let another = error(format!("journal_key_uid: {ANOTHER}"));
                assert_eq!(
                    journal.ask("SELECT journal_key_uid(8)", []),
                    another,
                    "{told}"
                );
            }
        }
        journal
            .ask("SELECT journal_scope(NULL, ?)", [&nonce])
            .unwrap();
    });
}

#[test]
fn the_nonce_is_in_no_table_and_a_scope_is_one_connections() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        let nonce = begin(&journal, 7);
        for table in ["journal_cache", "journal_stats", "journal_doctor"] {
            let mut statement = journal.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let told = statement
                .query_map([], |row| {
                    Ok((0..columns).any(|column| {
                        row.get_ref(column)
                            .unwrap()
                            .as_str()
                            .is_ok_and(|text| text.contains(&nonce))
                    }))
                })
                .unwrap()
                .any(Result::unwrap);
            assert!(!told, "{table}");
        }
        for function in ["journal_config()", "journal_metrics()"] {
            assert!(
                !journal
                    .text(&format!("SELECT {function}"), [])
                    .contains(&nonce)
            );
        }
        // Loaded again, the extension is the one that is there.
        crate::raw::load(&journal).unwrap();
        assert_eq!(
            journal.error("SELECT journal_key_uid(8)", []),
            format!("journal_key_uid: {ANOTHER}")
        );
        let (other, _) = self::journal();
        assert_eq!(other.text("SELECT journal_key_uid(8)", []), "oseh_ujmk_8");
    });
}

#[test]
fn where_a_scope_is_required_nothing_uses_or_names_a_key_without_one() {
    Process::with_directory()
        .variable("JOURNAL_REQUIRE_SCOPE", "1")
        .run(|| {
            let (journal, token) = journal();
            for (function, sql) in calls("7") {
                // An argument of another function's may be what is refused.
                let Err((_, said)) = ask(&journal, &sql, &token) else {
                    panic!("{function} uses a key");
                };
                assert!(said.ends_with(NONE), "{said}");
            }
            for (function, call) in [
                ("journal_evict", "journal_evict()".to_owned()),
                ("journal_evict", format!("journal_evict({KEY})")),
                ("journal_cache", "(SELECT count(*) FROM journal_cache)".to_owned()),
            ] {
                assert_eq!(journal.error(&format!("SELECT {call}"), []), format!("{function}: {NONE}"));
            }
            let doctor = |journal: &Journal, name: &str| {
                journal.text("SELECT status || ': ' || detail FROM journal_doctor WHERE name = ?", [name])
            };
            assert_eq!(
                doctor(&journal, "scope"),
                "warning: JOURNAL_REQUIRE_SCOPE is set, and this connection has none: it uses no key until journal_scope"
            );
            assert_eq!(doctor(&journal, "newest_key"), "warning: not looked at without a scope");
            let nonce = begin(&journal, 7);
            for (_, sql) in calls("7") {
                assert!(ask(&journal, &sql, &token).is_ok(), "{sql}");
            }
            assert_eq!(doctor(&journal, "scope"), "ok: this connection uses the keys of one user");
            assert_eq!(doctor(&journal, "newest_key"), "ok: the current key of user 7 is in the store");
            journal.ask("SELECT journal_scope(NULL, ?)", [&nonce]).unwrap();
            assert_eq!(journal.error("SELECT journal_key_uid(7)", []), format!("journal_key_uid: {NONE}"));
        });
}

#[test]
fn under_a_scope_the_cache_shows_and_drops_its_users_keys_alone() {
    Process::with_directory().run(|| {
        let (journal, _) = journal();
        journal.text("SELECT journal_prefetch('[7, 8]')", []);
        begin(&journal, 7);
        assert_eq!(
            journal.ask("SELECT group_concat(key_uid) FROM journal_cache", []),
            text("oseh_ujmk_1")
        );
        let refused =
            "journal_evict: out_of_scope: a connection with a scope drops only a key of the scope's user, named by its uid";
        for call in ["journal_evict()", "journal_evict('oseh_ujmk_8')", "journal_evict('oseh_ujmk_9')"] {
            assert_eq!(journal.error(&format!("SELECT {call}"), []), refused, "{call}");
        }
        assert_eq!(
            journal.ask(&format!("SELECT journal_evict({KEY})"), []),
            Ok(Value::Integer(1))
        );
    });
}

#[test]
fn under_a_scope_no_function_of_key_management_takes_another_user() {
    Process::with_directory()
        .variable("JOURNAL_ADMIN", "1")
        .run(|| {
            let (journal, _) = journal();
            let made = |user: i64| {
                journal.text(
                    "SELECT json_extract(journal_create_key(?), '$.user_journal_master_keys.uid')",
                    [user],
                )
            };
            let other = made(8);
            begin(&journal, 7);
            let own = made(7);
            assert_eq!(
                journal.error("SELECT * FROM journal_objects", []),
                "journal_objects: out_of_scope: a connection with a scope lists no objects, since they belong to all users"
            );
            for (function, count) in ADMINISTERED {
                if function == "journal_objects" {
                    continue;
                }
                let arguments = match (function, count) {
                    ("journal_discard_key", _) => format!("'{other}'"),
                    ("journal_rotate_key", 2) => "8, 60".to_owned(),
                    (_, 1) => "8".to_owned(),
                    _ => "8, 'oseh_ujmk_8'".to_owned(),
                };
                assert_eq!(
                    journal.error(&format!("SELECT {function}({arguments})"), []),
                    format!("{function}: {ANOTHER}")
                );
            }
            assert_eq!(
                journal.ask("SELECT journal_discard_key(?)", [own]),
                Ok(Value::Integer(1))
            );
        });
}
