//! Every function with every type of argument: what each value means in each place.

use fernet::Fernet;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::journal::{Failure, Journal, error, text};
use crate::places::{PLACES, PLAINTEXTS};
use crate::process::Process;
use crate::values::{FUNCTIONS, Gives, KEY, TOKEN, TOKEN_TIME, USER, question};

/// Calls `function` with `arguments`, each an SQL expression; `:token` is a token of "dear diary".
fn call(
    journal: &Journal,
    token: &str,
    function: &str,
    arguments: &[&str],
) -> Result<Value, Failure> {
    let sql = question(function, arguments);
    match sql.contains(TOKEN) {
        true => journal.ask(&sql, [(TOKEN, token)].as_slice()),
        false => journal.ask(&sql, []),
    }
}

/// A plaintext where a token came out, since no two tokens are the same.
fn opened(key: &Fernet, function: &str, given: Result<Value, Failure>) -> Result<Value, Failure> {
    match given {
        Ok(Value::Text(token))
            if ["journal_encrypt", "journal_rewrap", "journal_seal"].contains(&function) =>
        {
            // What a question with a context opens itself is none.
            Ok(key.decrypt(&token).map_or(Value::Text(token), Value::Blob))
        }
        other => other,
    }
}

fn journal() -> (Journal, Fernet, String) {
    let journal = Journal::in_memory();
    let key = journal.key(7, "oseh_ujmk_1", 1.0);
    let token = key.encrypt_at_time(b"dear diary", TOKEN_TIME);
    (journal, key, token)
}

#[test]
fn every_function_says_of_every_argument_what_it_takes_it_for() {
    Process::with_directory().run(|| {
        let (journal, key, token) = journal();
        for (function, places, usual) in FUNCTIONS {
            let usual_arguments: Vec<&str> = places.iter().map(|place| place.usual).collect();
            let ask = |arguments: &[&str]| {
                // So that there is a key to list and to evict.
                journal.text("SELECT journal_encrypt(7, 'x')", []);
                opened(&key, function, call(&journal, &token, function, arguments))
            };
            let usual = match *usual {
                Gives::Blob(bytes) => Ok(Value::Blob(bytes.to_vec())),
                Gives::Text(value) => text(value),
                Gives::Integer(number) => Ok(Value::Integer(number)),
            };
            assert_eq!(ask(&usual_arguments), usual, "{function}");
            for (position, place) in places.iter().enumerate() {
                let (_, must, values) = PLACES
                    .iter()
                    .find(|(name, ..)| *name == place.name)
                    .unwrap();
                for (argument, expected) in *values {
                    let mut arguments = usual_arguments.clone();
                    arguments[position] = argument;
                    assert_eq!(
                        ask(&arguments),
                        expected.of(function, usual.as_ref().unwrap(), must),
                        "{function}({arguments:?})"
                    );
                }
            }
        }
    });
}

#[test]
fn numbers_are_encrypted_as_sqlite_writes_them_and_texts_and_blobs_byte_for_byte() {
    Process::with_directory().run(|| {
        let (journal, key, token) = journal();
        for (plaintext, bytes) in PLAINTEXTS {
            for (function, arguments) in [
                ("journal_encrypt", &[USER, plaintext][..]),
                ("journal_encrypt", &[USER, plaintext, KEY]),
                ("journal_seal", &[USER, plaintext]),
            ] {
                let given = call(&journal, &token, function, arguments);
                assert_eq!(
                    opened(&key, function, given),
                    Ok(Value::Blob(bytes.to_vec())),
                    "{function}({plaintext})"
                );
            }
        }
    });
}

#[test]
fn a_null_plaintext_or_token_gives_null_whatever_the_other_arguments() {
    Process::with_directory().run(|| {
        let (journal, ..) = journal();
        for call in [
            "journal_encrypt(NULL, NULL)",
            "journal_encrypt('7', NULL)",
            "journal_encrypt(8, NULL)",
            "journal_encrypt(7, NULL, NULL)",
            "journal_encrypt(x'07', NULL, 7)",
            "journal_decrypt(NULL, NULL, NULL)",
            "journal_decrypt('7', 7, NULL)",
            "journal_decrypt_blob(8, 'oseh_ujmk_9', NULL)",
            "journal_try_decrypt(7.5, x'', NULL)",
            "journal_check('dear', 'diary', NULL)",
            "journal_encrypt(7, NULL, NULL, NULL)",
            "journal_decrypt(7, NULL, NULL, NULL)",
            "journal_rewrap(7, NULL, NULL, 7)",
            "journal_bind(NULL, 7, NULL, NULL)",
        ] {
            assert_eq!(
                journal.ask(&format!("SELECT {call}"), []),
                Ok(Value::Null),
                "{call}"
            );
        }
        for seal in [
            "journal_seal(7, NULL)",
            "journal_seal('7', NULL)",
            "journal_seal(7, NULL, NULL)",
        ] {
            let rows: Vec<[Value; 3]> = journal
                .prepare(&format!("SELECT * FROM {seal}"))
                .unwrap()
                .query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(rows, [[Value::Null, Value::Null, Value::Null]], "{seal}");
        }
    });
}

#[test]
fn a_wrong_number_of_arguments_is_refused() {
    const TABLES: [&str; 5] = [
        "journal_seal",
        "journal_seal_item",
        "journal_cache",
        "journal_stats",
        "journal_doctor",
    ];
    Process::with_directory().run(|| {
        let (journal, ..) = journal();
        for (function, _, _) in FUNCTIONS.iter().filter(|f| !TABLES.contains(&f.0)) {
            for count in 0..6 {
                if FUNCTIONS
                    .iter()
                    .any(|(name, places, _)| name == function && places.len() == count)
                {
                    continue;
                }
                let sql = format!("SELECT {function}({})", vec!["7"; count].join(", "));
                assert_eq!(
                    journal.error(&sql, []),
                    format!("wrong number of arguments to function {function}()")
                );
            }
        }
        let each =
            "journal_seal: bad_argument: its arguments are (user_id, plaintext[, context]), and each must be given";
        for (table, expected) in [
            ("journal_seal", each),
            ("journal_seal()", each),
            ("journal_seal(7)", each),
            ("journal_seal WHERE journal_seal_plaintext = 'x'", each),
            ("journal_seal(7) WHERE journal_seal_plaintext > 'x'", each),
            (
                "journal_seal WHERE journal_seal_user_id = 7 AND journal_seal_context = 'c'",
                each,
            ),
            (
                "journal_seal(7, 'x', 'a.b:1', 'oseh_ujmk_1')",
                "too many arguments on journal_seal() - max 3",
            ),
            (
                "journal_cache(7)",
                "too many arguments on journal_cache() - max 0",
            ),
            (
                "journal_stats(7)",
                "too many arguments on journal_stats() - max 0",
            ),
            (
                "journal_doctor(7)",
                "too many arguments on journal_doctor() - max 0",
            ),
        ] {
            assert_eq!(
                journal.error(&format!("SELECT * FROM {table}"), []),
                expected
            );
        }
    });
}

#[test]
fn the_table_function_takes_its_arguments_from_another_table_too() {
    Process::with_directory().run(|| {
        let (journal, key, _) = journal();
        journal
            .run("CREATE TABLE draft(user_id, entry); INSERT INTO draft VALUES (7, 'a'), (7, 'b')");
        for from in [
            "draft, journal_seal(draft.user_id, draft.entry)",
            "journal_seal(draft.user_id, draft.entry), draft",
            "draft JOIN journal_seal ON journal_seal_user_id = user_id AND journal_seal_plaintext = entry",
        ] {
            let sealed: Vec<Vec<u8>> = journal
                .prepare(&format!("SELECT token FROM {from} ORDER BY entry"))
                .unwrap()
                .query_map([], |row| row.get::<_, String>(0))
                .unwrap()
                .map(|token| key.decrypt(&token.unwrap()).unwrap())
                .collect();
            assert_eq!(sealed, [b"a", b"b"], "{from}");
        }
    });
}

/// TEXT as a driver may bind it, whatever the bytes.
struct TextOf(&'static [u8]);

impl ToSql for TextOf {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

#[test]
fn bound_values_are_taken_as_their_types_say() {
    Process::with_directory().run(|| {
        let (journal, key, token) = journal();
        let refused = |given| error(format!("journal_key_uid: bad_argument: user_id must be an INTEGER{given}"));
        let either = |given| refused(format!(" or TEXT of 1 to 255 bytes, this is {given}"));
        let cases: [(&dyn ToSql, Result<Value, Failure>); 8] = [
            (&7, text("oseh_ujmk_1")),
            (&7.0, text("oseh_ujmk_1")),
            (&7.5, either("REAL")),
            (&f64::INFINITY, either("REAL")),
            (&f64::NAN, either("NULL")), // SQLite binds it so
            (&"7", refused(", as in the key rows, this is TEXT of 1 byte".to_owned())),
            (&TextOf(b"\xff\xfe"), either("TEXT of 2 bytes, not UTF-8")),
            (&b"7".as_slice(), either("BLOB of 1 byte")),
        ];
        for (user, expected) in cases {
            assert_eq!(journal.ask("SELECT journal_key_uid(?)", [user]), expected);
        }
        assert_eq!(
            journal.error("SELECT journal_decrypt(7, ?, ?)", (TextOf(b"oseh_ujmk_\xff"), &token)),
            "journal_decrypt: bad_argument: key_uid must be TEXT, this is TEXT of 11 bytes, not UTF-8"
        );
        assert_eq!(
            journal.error("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", [TextOf(b"gAAAAA\xff")]),
            "journal_decrypt: token_invalid: not a Fernet token under key \"oseh_ujmk_1\""
        );
        for bytes in [&b"\xff\xfe"[..], b"a\0b", b"\0", b"\xed\xa0\x80"] {
            let token = journal.text("SELECT journal_encrypt(7, ?)", [TextOf(bytes)]);
            assert_eq!(key.decrypt(&token).unwrap(), bytes);
        }
    });
}
