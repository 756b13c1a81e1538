//! Every SQL function with arbitrary values of every type, in a real SQLite, over a directory of keys and some rows
//! that are not as they should be.
//!
//! An input is a function and, for each argument, a type and its bytes. What must hold: no crash, no secret in an
//! error, what was encrypted decrypts to itself, and what was not encrypted here does not decrypt.
#![no_main]

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};

use journal_crypt as _; // Linked for its entry point.
use libfuzzer_sys::fuzz_target;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ffi, params_from_iter};

unsafe extern "C" {
    fn sqlite3_journalcrypt_init(db: *mut ffi::sqlite3, message: *mut *mut c_char, routines: *mut c_void) -> c_int;
}

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

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
    ("SELECT count(value) || ?1 FROM journal_stats", 1),
    ("SELECT journal_token_time(?1)", 1),
    ("SELECT journal_rewrap(?1, ?2, ?3)", 3),
    ("SELECT journal_encrypt_item(?1, ?2)", 2),
    ("SELECT journal_decrypt_item(?1, ?2, ?3)", 3),
    ("SELECT journal_try_decrypt_item(?1, ?2, ?3)", 3),
    // What is not an item, under a key of ours: past the tag, into decompression.
    ("SELECT journal_decrypt_item(7, NULL, journal_encrypt(7, ?1))", 1),
    ("SELECT token FROM journal_seal_item(?1, ?2)", 2),
    ("SELECT journal_decrypt_blob(7, NULL, journal_encrypt(7, ?1))", 1),
    ("SELECT journal_decrypt_blob(7, key_uid, token) FROM journal_seal(7, ?1)", 1),
];
/// Those that give back their own argument.
const ROUND_TRIPS: usize = 20;

/// SQLite takes OK_LOAD_PERMANENTLY from a loaded file alone.
unsafe extern "C" fn load(
    db: *mut ffi::sqlite3,
    message: *mut *mut c_char,
    routines: *const ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: SQLite's own arguments, passed on.
    match unsafe { sqlite3_journalcrypt_init(db, message, routines.cast_mut().cast()) } {
        ffi::SQLITE_OK_LOAD_PERMANENTLY => ffi::SQLITE_OK,
        code => code,
    }
}

struct Host {
    connection: Connection,
    _directory: tempfile::TempDir,
}

fn host() -> Host {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("s3_files/journals/keys/master");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("oseh_ujmk_1"), KEY).unwrap();
    std::fs::write(keys.join("oseh_ujmk_2"), "no key").unwrap();
    // SAFETY: no other thread of this process is running yet.
    unsafe { std::env::set_var("JOURNAL_KEY_STORE", format!("file://{}", directory.path().display())) };
    // SAFETY: `load` is an entry point.
    unsafe { ffi::sqlite3_auto_extension(Some(load)) };
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE s3_files (id, key);
             CREATE TABLE user_journal_master_keys (id, uid, user_id, s3_file_id, created_at);
             INSERT INTO s3_files SELECT value, 's3_files/journals/keys/master/oseh_ujmk_' || value FROM json_each('[1,2,3]');
             INSERT INTO s3_files VALUES (4, '../etc/passwd'), (5, x'ff');
             INSERT INTO user_journal_master_keys VALUES (1, 'oseh_ujmk_1', 7, 1, 9e999),
               (2, 'oseh_ujmk_2', 7, 2, NULL), (3, 'oseh_ujmk_3', 7, 3, 'x'), (4, 'oseh_ujmk_4', 8, 4, 0),
               (5, 'oseh_ujmk_5', 9, 5, 0), (6, x'00', 9, 6, 0), (NULL, 'oseh_ujmk_6', 10, 1, 0);",
        )
        .unwrap();
    Host { connection, _directory: directory }
}

/// One value off the front of `data`: its type, one byte of length, its bytes.
fn value(data: &mut &[u8]) -> Value {
    let Some((&kind, rest)) = data.split_first() else {
        return Value::Null;
    };
    let (length, rest) = rest.split_first().map_or((0, rest), |(&length, rest)| (usize::from(length), rest));
    // A text may be far longer than an input should be.
    let (bytes, rest) = rest.split_at(length.min(rest.len()));
    *data = rest;
    let mut number = [0; 8];
    let taken = bytes.len().min(8);
    number[..taken].copy_from_slice(&bytes[..taken]);
    match kind % 10 {
        0 => Value::Null,
        1 => Value::Integer(i64::from_le_bytes(number)),
        2 => Value::Real(f64::from_le_bytes(number)),
        3 => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        4 => Value::Blob(bytes.to_vec()),
        5 => Value::Integer(7 + i64::from(length as u8 % 4)),
        6 => Value::Text(format!("oseh_ujmk_{}", length % 8)),
        7 => Value::Text(TOKEN.to_owned()),
        8 => Value::Text(String::from_utf8_lossy(bytes).repeat(1 + usize::from(kind) * 4)),
        _ => Value::Text(format!("[{}]", String::from_utf8_lossy(bytes))),
    }
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    HOST.with_borrow_mut(|kept| {
        let host = kept.get_or_insert_with(host);
        let Some((&call, mut rest)) = data.split_first() else {
            return;
        };
        let index = usize::from(call) % CALLS.len();
        let (sql, count) = CALLS[index];
        let arguments: Vec<Value> = (0..count).map(|_| value(&mut rest)).collect();
        let mut statement = host.connection.prepare_cached(sql).unwrap();
        let given = statement.query_row(params_from_iter(&arguments), |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
                _ => None,
            })
        });
        match given {
            Ok(Some(bytes)) => {
                assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
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
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains("internal error"), "{text}");
                assert!(!text.contains(KEY) && !text.contains("hello") && !text.contains(TOKEN), "{text}");
                assert!(text.len() < 400, "{text}");
                for argument in &arguments {
                    if let Value::Text(secret) = argument {
                        // Arguments get swapped: nothing of one is quoted, unless it looks like a uid.
                        let looks_like_one = secret.starts_with("oseh_ujmk_");
                        assert!(secret.len() < 12 || looks_like_one || !text.contains(secret.as_str()), "{text}");
                    }
                }
            }
        }
    });
});
