//! Key management (`JOURNAL_ADMIN=1`): a few calls in a row, with arbitrary values, over a directory of keys and rows that
//! are changed in between.
//!
//! What must hold after each call: what it said it did is done, one that failed changed neither rows nor objects, and
//! nothing of a key is told.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::types::Value;
use rusqlite::{Connection, Error, params, params_from_iter};

use super::host::{Store, assert_tells_nothing, database, value, with_store};

const CREATE: usize = 0;
const SHRED: usize = 3;
const DISABLE: usize = 8;
const ENABLE: usize = 9;
const WRAP: usize = 10;
const LIST: usize = 11;
/// Calls with their number of arguments, then what changes rows.
const CALLS: &[(&str, usize)] = &[
    ("SELECT journal_create_key(?1)", 1),
    ("SELECT journal_rotate_key(?1)", 1),
    ("SELECT journal_rotate_key(?1, ?2)", 2),
    ("SELECT journal_shred_key(?1, ?2)", 2),
    (
        "UPDATE user_journal_master_keys SET created_at = ?1 WHERE id = 1 RETURNING NULL",
        1,
    ),
    (
        "UPDATE user_journal_master_keys SET uid = ?1 WHERE id = 2 RETURNING NULL",
        1,
    ),
    (
        "UPDATE user_journal_master_keys SET user_id = ?1 WHERE id = 3 RETURNING NULL",
        1,
    ),
    (
        "UPDATE s3_files SET key = ?1 WHERE id = 3 RETURNING NULL",
        1,
    ),
    ("SELECT journal_disable_key(?1, ?2)", 2),
    ("SELECT journal_enable_key(?1, ?2)", 2),
    ("SELECT journal_wrap_key(?1, ?2)", 2),
    ("SELECT group_concat(name) FROM journal_objects", 0),
];
const MOST_CALLS: usize = 6;
/// Bytes of an object, which is made under a wrapping key here.
const WRAPPED: usize = 140;

/// Users 7 and 8. Of 7, a key, an object that is none, and a row whose object is missing; of 8, none.
const ROWS: &str = "
    INSERT INTO users VALUES (7, 'oseh_u_7', 0), (8, 'oseh_u_8', 0);
    INSERT INTO s3_files SELECT value, 'oseh_s3f_' || value, 's3_files/journals/keys/master/oseh_ujmk_' || value, 44, '', 0
      FROM json_each('[1, 2, 3]');
    INSERT INTO user_journal_master_keys SELECT value, 'oseh_ujmk_' || value, 7, value, -value FROM json_each('[1, 2, 3]');";

/// Rows of keys, rows of files.
type Rows = (i64, i64);

thread_local! {
    static DATABASE: OnceCell<Connection> = const { OnceCell::new() };
}

pub(super) fn run(mut data: &[u8]) {
    with_store(|store| {
        DATABASE.with(|kept| {
            let connection = kept.get_or_init(|| {
                database(&format!(
                    "{}{ROWS}",
                    include_str!("../../../sql/schema.sql")
                ))
            });
            connection.execute_batch("BEGIN").unwrap();
            for _ in 0..MOST_CALLS {
                if data.is_empty() {
                    break;
                }
                call(store, connection, &mut data);
            }
            connection
                .execute_batch("ROLLBACK; SELECT journal_evict()")
                .unwrap();
        });
        store.reset();
    });
}

fn call(store: &Store, connection: &Connection, data: &mut &[u8]) {
    let Some((&which, rest)) = data.split_first() else {
        return;
    };
    *data = rest;
    let index = usize::from(which) % CALLS.len();
    let (sql, count) = CALLS[index];
    let arguments: Vec<Value> = (0..count).map(|_| value(data)).collect();
    let before = (rows(connection), store.objects());
    let said: Result<Option<String>, Error> =
        connection.query_row(sql, params_from_iter(&arguments), |row| row.get(0));
    let after = (rows(connection), store.objects());
    match said {
        Ok(Some(said)) => {
            for content in before.1.values().chain(after.1.values()) {
                assert!(!said.contains(content.as_str()), "a key was told");
            }
            match index {
                CREATE => created(store, &said, &before, &after),
                SHRED => shredded(store, connection, &arguments, &before, &after),
                DISABLE => turned(connection, &arguments, &before, &after, "key_disabled"),
                ENABLE => turned(connection, &arguments, &before, &after, "token_invalid"),
                WRAP => wrapped(connection, &arguments, &before, &after),
                LIST => assert_eq!(before, after),
                _ => rotated(store, connection, &said, &arguments, &before, &after),
            }
        }
        Ok(None) => assert_eq!(before, after),
        Err(error) => {
            assert_eq!(before, after, "{error}");
            // SQLite's own text quotes nothing, but is not ours.
            assert_tells_nothing(&error.to_string(), &arguments);
        }
    }
}

type State = (Rows, BTreeMap<PathBuf, String>);

/// An object more, and no row.
fn created(store: &Store, said: &str, before: &State, after: &State) {
    assert_eq!(before.0, after.0);
    assert_eq!(before.1.len() + 1, after.1.len());
    let uid = said
        .split('"')
        .find(|part| part.starts_with("oseh_ujmk_"))
        .unwrap();
    assert_eq!(after.1[&store.path(uid)].len(), WRAPPED);
}

/// The user's current key, which is usable: a new one with two rows and an object, or the one that was young enough.
fn rotated(
    store: &Store,
    connection: &Connection,
    uid: &str,
    arguments: &[Value],
    before: &State,
    after: &State,
) {
    let user = &arguments[0];
    let current: String = connection
        .query_row("SELECT journal_key_uid(?1)", [user], |row| row.get(0))
        .unwrap();
    assert_eq!(current, uid);
    if before.0 == after.0 {
        assert!(arguments.len() == 2 && before.1 == after.1);
        return;
    }
    assert_eq!((before.0.0 + 1, before.0.1 + 1), after.0);
    assert_eq!(before.1.len() + 1, after.1.len());
    assert_eq!(after.1[&store.path(uid)].len(), WRAPPED);
    let text: String = connection
        .query_row(
            "SELECT journal_decrypt(?1, ?2, journal_encrypt(?1, 'entry'))",
            params![user, uid],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(text, "entry");
}

/// The object alone has another name, if any, and the key is what `word` says, unless its object is no key.
fn turned(connection: &Connection, arguments: &[Value], before: &State, after: &State, word: &str) {
    assert_eq!(before.0, after.0);
    let contents = |state: &State| {
        let mut contents: Vec<_> = state.1.values().cloned().collect();
        contents.sort();
        contents
    };
    assert_eq!(contents(before), contents(after));
    let [user, Value::Text(uid)] = arguments else {
        panic!("{arguments:?} named a key");
    };
    let said: String = connection
        .query_row(
            "SELECT journal_check(?1, ?2, 'gAAAAA')",
            params![user, uid],
            |row| row.get(0),
        )
        .unwrap();
    assert!(
        said == word || (word != "key_disabled" && said == "key_invalid"),
        "{said}"
    );
}

/// One object alone is wrapped, anew if it was already, and the key is of use as before.
fn wrapped(connection: &Connection, arguments: &[Value], before: &State, after: &State) {
    assert_eq!(before.0, after.0);
    assert!(before.1.keys().eq(after.1.keys()));
    let changed: Vec<_> = after
        .1
        .iter()
        .filter(|(path, content)| before.1[*path] != **content)
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1.len(), WRAPPED);
    let said: String = connection
        .query_row(
            "SELECT journal_check(?1, ?2, 'gAAAAA')",
            params_from_iter(arguments),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(said, "token_invalid");
}

/// The object alone is gone, and the key of no more use.
fn shredded(
    store: &Store,
    connection: &Connection,
    arguments: &[Value],
    before: &State,
    after: &State,
) {
    assert_eq!(before.0, after.0);
    let [user, Value::Text(uid)] = arguments else {
        panic!("{arguments:?} named a key");
    };
    let gone: Vec<_> = before
        .1
        .keys()
        .filter(|path| !after.1.contains_key(*path))
        .collect();
    assert!(gone.len() <= 1 && after.1.len() + gone.len() == before.1.len());
    let object: String = connection
        .query_row(
            "SELECT key FROM s3_files WHERE id = (SELECT s3_file_id FROM user_journal_master_keys WHERE uid = ?)",
            [uid],
            |row| row.get(0),
        )
        .unwrap();
    assert!(!store.path(object.rsplit('/').next().unwrap()).exists());
    let lost = connection
        .query_row(
            "SELECT journal_encrypt(?1, 'x', ?2)",
            params![user, uid],
            |_| Ok(()),
        )
        .unwrap_err()
        .to_string();
    assert!(lost.contains(": key_lost: "), "{lost}");
}

fn rows(connection: &Connection) -> Rows {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM user_journal_master_keys), (SELECT count(*) FROM s3_files)",
        )
        .unwrap()
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}
