//! Every SQL function with arbitrary values of every type, in a real SQLite, over a directory of keys and some rows
//! that are not as they should be.
//!
//! An input is a function and, for each argument, a type and its bytes. What must hold: no crash, no secret in an
//! error, what was encrypted decrypts to itself, and what was not encrypted here does not decrypt.

use std::cell::OnceCell;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::host::{KEY, assert_tells_nothing, database, value};

/// Calls with their number of arguments; tables are read in full.
const CALLS: &[(&str, usize)] = &[
    ("SELECT journal_encrypt(?1, ?2)", 2),
    ("SELECT journal_encrypt(?1, ?2, ?3)", 3),
    ("SELECT journal_decrypt(?1, ?2, ?3)", 3),
    ("SELECT journal_decrypt_blob(?1, ?2, ?3)", 3),
    ("SELECT journal_try_decrypt(?1, ?2, ?3)", 3),
    ("SELECT journal_check(?1, ?2, ?3)", 3),
    ("SELECT journal_key_uid(?1)", 1),
    ("SELECT token FROM journal_seal(?1, ?2)", 2),
    ("SELECT journal_prefetch(?1)", 1),
    ("SELECT journal_evict(?1)", 1),
    ("SELECT journal_evict()", 0),
    ("SELECT count(*) || ?1 FROM journal_cache", 1),
    ("SELECT journal_metrics() || ?1", 1),
    ("SELECT count(value) || ?1 FROM journal_stats", 1),
    ("SELECT journal_token_time(?1)", 1),
    ("SELECT journal_rewrap(?1, ?2, ?3)", 3),
    ("SELECT journal_encrypt(?1, ?2, ?3, ?4)", 4),
    ("SELECT journal_decrypt_blob(?1, ?2, ?3, ?4)", 4),
    ("SELECT journal_check(?1, ?2, ?3, ?4)", 4),
    ("SELECT journal_rewrap(?1, ?2, ?3, ?4)", 4),
    ("SELECT journal_bind(?1, ?2, ?3, ?4)", 4),
    ("SELECT token FROM journal_seal(?1, ?2, ?3)", 3),
    ("SELECT journal_try_decrypt_item(?1, ?2, ?3, ?4)", 4),
    ("SELECT token FROM journal_seal_item(?1, ?2, ?3)", 3),
    // No scope outlives its input.
    ("SELECT journal_scope(?1, ?2)", 2),
    ("SELECT journal_scope(NULL, journal_scope(?1))", 1),
    // A context is bytes, or none at all.
    (
        "SELECT journal_check(7, NULL, journal_encrypt(7, 'x', NULL, ?1))",
        1,
    ),
    ("SELECT journal_encrypt_item(?1, ?2)", 2),
    ("SELECT journal_decrypt_item(?1, ?2, ?3)", 3),
    ("SELECT journal_try_decrypt_item(?1, ?2, ?3)", 3),
    // What is not an item, under a key of ours: past the tag, into decompression.
    (
        "SELECT journal_decrypt_item(7, NULL, journal_encrypt(7, ?1))",
        1,
    ),
    ("SELECT token FROM journal_seal_item(?1, ?2)", 2),
    (
        "SELECT journal_decrypt_blob(7, NULL, journal_encrypt(7, ?1))",
        1,
    ),
    (
        "SELECT journal_decrypt_blob(7, key_uid, token) FROM journal_seal(7, ?1)",
        1,
    ),
    (
        "SELECT journal_decrypt_blob(7, NULL, journal_encrypt(7, ?1, NULL, 'c'), x'63')",
        1,
    ),
    (
        "SELECT journal_decrypt_blob(7, NULL, journal_bind(7, NULL, journal_encrypt(7, ?1), 'c'), 'c')",
        1,
    ),
];
/// Those that give back their own argument.
const ROUND_TRIPS: usize = 32;

const SCHEMA: &str = "
    CREATE TABLE s3_files (id, key);
    CREATE TABLE user_journal_master_keys (id, uid, user_id, s3_file_id, created_at);
    INSERT INTO s3_files SELECT value, 's3_files/journals/keys/master/oseh_ujmk_' || value FROM json_each('[1,2,3]');
    INSERT INTO s3_files VALUES (4, '../etc/passwd'), (5, x'ff');
    INSERT INTO user_journal_master_keys VALUES (1, 'oseh_ujmk_1', 7, 1, 9e999),
      (2, 'oseh_ujmk_2', 7, 2, NULL), (3, 'oseh_ujmk_3', 7, 3, 'x'), (4, 'oseh_ujmk_4', 8, 4, 0),
      (5, 'oseh_ujmk_5', 9, 5, 0), (6, x'00', 9, 6, 0), (NULL, 'oseh_ujmk_6', 10, 1, 0),
      (7, 'oseh_ujmk_7', 'a user', 1, 0), (8, 'oseh_ujmk_8', '7', 2, 0);";

thread_local! {
    static DATABASE: OnceCell<Connection> = const { OnceCell::new() };
}

pub(super) fn run(data: &[u8]) {
    let Some((&call, mut rest)) = data.split_first() else {
        return;
    };
    let index = usize::from(call) % CALLS.len();
    let (sql, count) = CALLS[index];
    let arguments: Vec<Value> = (0..count).map(|_| value(&mut rest)).collect();
    let given = DATABASE.with(|connection| {
        let connection = connection.get_or_init(|| database(SCHEMA));
        let mut statement = connection.prepare_cached(sql).unwrap();
        statement.query_row(params_from_iter(&arguments), |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
                _ => None,
            })
        })
    });
    match given {
        Ok(Some(bytes)) => {
            assert!(
                !bytes
                    .windows(KEY.len())
                    .any(|window| window == KEY.as_bytes())
            );
            if index >= ROUND_TRIPS {
                match &arguments[0] {
                    Value::Text(text) => assert_eq!(bytes, text.as_bytes()),
                    Value::Blob(blob) => assert_eq!(&bytes, blob),
                    _ => {}
                }
            }
            if (2..5).contains(&index) {
                // Only the one token that is under a key here can be read; the fuzzer makes no other.
                assert_eq!(bytes, b"hello");
            }
        }
        Ok(None) => {}
        Err(error) => assert_tells_nothing(&error.to_string(), &arguments),
    }
}
