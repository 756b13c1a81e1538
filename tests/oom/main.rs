//! SQLite's own allocator fails at every allocation of every function, one after the other: the statement ends in
//! SQLITE_NOMEM or in the right answer, never in a crash or a wrong one; afterwards no transaction is left open, the
//! connection works, closes, and has given all its memory back.
//!
//! A process of its own: the allocator is set before SQLite starts.
#![allow(unsafe_code, clippy::unwrap_used)]

mod allocator;

use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use allocator::{failing, set_allocator, used};
use rusqlite::ffi;

/// What a statement came to: the first column of its first row, or a result code and its text.
type Outcome = Result<Option<Vec<u8>>, (c_int, String)>;

struct Connection(*mut ffi::sqlite3);

impl Connection {
    fn open(path: &Path) -> Self {
        let mut db = ptr::null_mut();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a path, and a place for the connection.
        unsafe {
            assert_eq!(ffi::sqlite3_open(path.as_ptr(), &mut db), 0);
            ffi::sqlite3_db_config(
                db,
                ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                1,
                ptr::null_mut::<c_int>(),
            );
        }
        Self(db)
    }

    fn load(&self, library: &CStr) -> c_int {
        // SAFETY: the connection is live; no message is asked for.
        unsafe {
            ffi::sqlite3_load_extension(self.0, library.as_ptr(), ptr::null(), ptr::null_mut())
        }
    }

    fn run(&self, sql: &str) -> Outcome {
        let mut statement = ptr::null_mut();
        // SAFETY: the text is passed with its length, what is read is copied before the statement ends.
        unsafe {
            let prepared = ffi::sqlite3_prepare_v2(
                self.0,
                sql.as_ptr().cast(),
                sql.len() as c_int,
                &mut statement,
                ptr::null_mut(),
            );
            let error = |code: c_int| {
                let text = CStr::from_ptr(ffi::sqlite3_errmsg(self.0));
                Err((code & 0xff, text.to_string_lossy().into_owned()))
            };
            if prepared != 0 {
                return error(prepared);
            }
            let outcome = match ffi::sqlite3_step(statement) {
                ffi::SQLITE_ROW => {
                    let kind = ffi::sqlite3_column_type(statement, 0);
                    let bytes = match kind {
                        ffi::SQLITE_BLOB => ffi::sqlite3_column_blob(statement, 0).cast::<u8>(),
                        _ => ffi::sqlite3_column_text(statement, 0),
                    };
                    let length = ffi::sqlite3_column_bytes(statement, 0) as usize;
                    match (kind, bytes.is_null()) {
                        (ffi::SQLITE_NULL, _) => Ok(None),
                        (_, true) => Err((ffi::SQLITE_NOMEM, String::new())),
                        _ => Ok(Some(std::slice::from_raw_parts(bytes, length).to_vec())),
                    }
                }
                ffi::SQLITE_DONE => Ok(None),
                code => error(code),
            };
            ffi::sqlite3_finalize(statement);
            outcome
        }
    }

    /// Whether a transaction or a savepoint was left open.
    fn is_in_transaction(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { ffi::sqlite3_get_autocommit(self.0) == 0 }
    }

    fn close(self) {
        // SAFETY: closed once. sqlite3_close refuses while a statement is open, kept ones included.
        assert_eq!(unsafe { ffi::sqlite3_close(self.0) }, 0);
    }
}

/// The key and the token of the Fernet specification's example.
const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

/// Statements and what they give.
fn statements() -> Vec<(String, Option<&'static str>)> {
    [
        ("SELECT journal_decrypt(7, 'oseh_ujmk_1', TOKEN)", Some("hello")),
        ("SELECT journal_decrypt(7, NULL, TOKEN)", Some("hello")),
        ("SELECT journal_decrypt_blob(7, 'oseh_ujmk_1', TOKEN)", Some("hello")),
        ("SELECT journal_try_decrypt(7, 'oseh_ujmk_1', TOKEN)", Some("hello")),
        ("SELECT journal_try_decrypt(7, 'oseh_ujmk_none', TOKEN)", None),
        ("SELECT journal_check(7, NULL, TOKEN)", Some("ok")),
        ("SELECT journal_check(7, NULL, TOKEN || 'A')", Some("token_invalid")),
        ("SELECT journal_key_uid(7)", Some("oseh_ujmk_1")),
        ("SELECT journal_key_uid(6)", None),
        ("SELECT length(journal_encrypt(7, 'hello'))", Some("100")),
        ("SELECT length(journal_encrypt(7, zeroblob(20000), 'oseh_ujmk_1'))", Some("26764")),
        ("SELECT length(journal_encrypt(7, 1.5))", Some("100")),
        ("SELECT journal_decrypt(7, NULL, journal_encrypt(7, printf('%.*c', 20000, 'x'))) = printf('%.*c', 20000, 'x')", Some("1")),
        ("SELECT key_uid || length(token) FROM journal_seal(7, 'hello')", Some("oseh_ujmk_1100")),
        ("SELECT count(*) FROM journal_seal(7, 'a') AS a, journal_seal(7, NULL) AS b", Some("1")),
        ("SELECT journal_token_time(TOKEN)", Some("499162800")),
        ("SELECT journal_token_time(journal_rewrap(8, 'oseh_ujmk_old', TOKEN))", Some("499162800")),
        ("SELECT journal_rewrap(7, NULL, TOKEN) = TOKEN", Some("1")),
        ("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello', NULL, 'c'), 'c')", Some("hello")),
        ("SELECT journal_decrypt(7, NULL, journal_bind(7, NULL, TOKEN, 'c'), x'63')", Some("hello")),
        ("SELECT length(token) FROM journal_seal(7, 'hello', 'c')", Some("100")),
        ("SELECT length(token) FROM journal_seal(7, 'hello', NULL)", Some("bad_argument")),
        ("SELECT journal_scope(NULL, 'x')", Some("out_of_scope")),
        ("SELECT journal_decrypt_item(7, NULL, journal_encrypt_item(7, '{\"a\":[1,2]}'))", Some("{\"a\":[1,2]}")),
        ("SELECT journal_try_decrypt_item(7, NULL, journal_encrypt_item(7, jsonb('{\"a\":[1,2]}')))", Some("{\"a\":[1,2]}")),
        ("SELECT journal_decrypt_item(7, NULL, TOKEN)", Some("not_item")),
        ("SELECT journal_decrypt_item(7, NULL, token) ->> 'a' FROM journal_seal_item(7, '{\"a\":3}')", Some("3")),
        ("SELECT journal_prefetch(7)", Some("{\"ready\":1,\"failed\":{}}")),
        ("SELECT journal_prefetch('[7, 6]')", Some("{\"ready\":1,\"failed\":{\"no_key\":1}}")),
        ("SELECT key_uid FROM journal_cache WHERE key_uid = 'oseh_ujmk_1'", Some("oseh_ujmk_1")),
        ("SELECT value > 0 FROM journal_stats WHERE name = 'keys_cached'", Some("1")),
        // A check of the doctor's that fails for want of memory says so in its row.
        ("SELECT count(*) > 8 FROM journal_doctor", Some("1")),
        ("SELECT length(journal_config()) > 100", Some("1")),
        ("SELECT journal_version() > '0'", Some("1")),
        ("SELECT journal_evict('oseh_ujmk_none')", Some("0")),
        ("SELECT (journal_evict() >= 0) || journal_prefetch(7)", Some("1{\"ready\":1,\"failed\":{}}")),
        ("SELECT journal_create_key(7) -> 's3_files' ->> 'file_size'", Some("44")),
        ("SELECT journal_rotate_key(7, 9e99)", Some("oseh_ujmk_1")),
        ("SELECT journal_rotate_key(6)", Some("bad_argument")),
        ("SELECT journal_rotate_key(9) = journal_key_uid(9)", Some("1")),
        ("SELECT journal_shred_key(8, 'oseh_ujmk_shred') ->> 'gone'", Some("1")),
        ("SELECT journal_shred_key(8, 'oseh_ujmk_none')", Some("key_not_found")),
        ("SELECT journal_decrypt(7, 'oseh_ujmk_' || replace(hex(zeroblob(4000)), '0', 'x'), TOKEN)", Some("bad_argument")),
    ]
    .map(|(sql, expected)| (sql.replace("TOKEN", &format!("'{TOKEN}'")), expected))
    .into()
}

fn make_database(directory: &Path, encoding: &str) -> PathBuf {
    let path = directory.join(format!("{encoding}.db"));
    let database = rusqlite::Connection::open(&path).unwrap();
    let schema = include_str!("../../sql/schema.sql");
    database
        .execute_batch(&format!(
            "PRAGMA encoding = '{encoding}'; {schema}
             INSERT INTO users VALUES (7, 'oseh_u_7', 0), (8, 'oseh_u_8', 0), (9, 'oseh_u_9', 0);"
        ))
        .unwrap();
    let keys = [(7, "1"), (8, "shred"), (8, "old"), (8, "new")];
    for (time, (user, uid)) in keys.iter().enumerate() {
        database
            .execute_batch(&format!(
                "INSERT INTO s3_files VALUES (NULL, 'oseh_s3f_{uid}', 's3_files/journals/keys/master/oseh_ujmk_{uid}', 44, '', 0);
                 INSERT INTO user_journal_master_keys
                   VALUES (NULL, 'oseh_ujmk_{uid}', {user}, last_insert_rowid(), {time});"
            ))
            .unwrap();
    }
    path
}

/// Whether `outcome` is what is `expected` of the statement: its value, or the word in its error.
fn is_right(outcome: &Outcome, expected: Option<&str>) -> bool {
    match outcome {
        Ok(value) => value.as_deref() == expected.map(str::as_bytes),
        Err((_, text)) => expected.is_some_and(|word| text.contains(word)),
    }
}

/// SQLite itself says "SQL logic error" where it finds no memory for the text of an error that there was anyway.
fn is_out_of_memory(outcome: &Outcome, expected: Option<&str>) -> bool {
    match outcome {
        Err((ffi::SQLITE_NOMEM, _)) => true,
        Err((ffi::SQLITE_ERROR, text)) => expected.is_some() && text == "SQL logic error",
        _ => false,
    }
}

#[test]
fn every_allocation_of_every_function_may_fail() {
    set_allocator();
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys/s3_files/journals/keys/master");
    std::fs::create_dir_all(&keys).unwrap();
    for uid in ["oseh_ujmk_1", "oseh_ujmk_old"] {
        std::fs::write(keys.join(uid), KEY).unwrap();
    }
    std::fs::write(keys.join("oseh_ujmk_new"), fernet::Fernet::generate_key()).unwrap();
    let store = format!("file://{}", directory.path().join("keys").display());
    // SAFETY: nothing else of this process reads or writes the environment now.
    unsafe {
        std::env::set_var("JOURNAL_KEY_STORE", store);
        std::env::set_var("JOURNAL_ADMIN", "1");
    }
    let library = std::env::current_exe().unwrap();
    let library = library.with_file_name("libjournal_crypt.so");
    let library = CString::new(library.to_str().unwrap()).unwrap();

    const REGISTERED: &str =
        "SELECT (SELECT count(*) FROM pragma_function_list WHERE name LIKE 'journal%')
        + (SELECT count(*) FROM pragma_module_list WHERE name LIKE '%journal%')";
    let (mut injected, mut refused) = (0, 0);
    for encoding in ["UTF-8", "UTF-16le"] {
        let path = make_database(directory.path(), encoding);
        // The first load sets up what stays: configuration, cache.
        let first = Connection::open(&path);
        assert_eq!(first.load(&library), ffi::SQLITE_OK);
        first.close();
        let empty = used();

        for for_good in [false, true] {
            for number in 0.. {
                let connection = Connection::open(&path);
                let (code, failed) = failing(number, for_good, || connection.load(&library));
                assert!(
                    matches!(
                        code & 0xff,
                        ffi::SQLITE_OK | ffi::SQLITE_NOMEM | ffi::SQLITE_ERROR
                    ),
                    "load, allocation {number}: {code}"
                );
                if code != ffi::SQLITE_OK {
                    let left = connection.run(REGISTERED);
                    assert!(
                        is_right(&left, Some("0")),
                        "load, allocation {number}: {left:?}"
                    );
                }
                // Whatever was left out then is there now.
                assert_eq!(connection.load(&library), ffi::SQLITE_OK);
                let again = connection.run(&statements()[0].0);
                assert!(
                    is_right(&again, Some("hello")),
                    "load, allocation {number}: {again:?}"
                );
                connection.close();
                assert_eq!(used(), empty, "load, allocation {number}");
                if !failed {
                    break;
                }
                injected += 1;
                refused += u32::from(code != ffi::SQLITE_OK);
            }
            for (sql, expected) in statements() {
                // The doctor allocates as much as all others together, and what rotates writes files and syncs them.
                let asks_the_doctor = sql.contains("journal_doctor");
                let is_long = asks_the_doctor || sql.contains("journal_rotate_key(9)");
                if is_long && encoding != "UTF-8" || asks_the_doctor && for_good {
                    continue;
                }
                for number in 0.. {
                    let connection = Connection::open(&path);
                    assert_eq!(connection.load(&library), ffi::SQLITE_OK);
                    let run = || {
                        if sql.contains("_shred") {
                            std::fs::write(keys.join("oseh_ujmk_shred"), KEY).unwrap();
                        }
                        connection.run(&sql)
                    };
                    let (outcome, failed) = failing(number, for_good, run);
                    let context = || format!("{encoding}, {sql}, allocation {number}, {for_good}");
                    assert!(
                        is_right(&outcome, expected)
                            || (failed && is_out_of_memory(&outcome, expected)),
                        "{}: {outcome:?}",
                        context()
                    );
                    assert!(!connection.is_in_transaction(), "{}", context());
                    let again = run();
                    assert!(
                        is_right(&again, expected),
                        "again, {}: {again:?}",
                        context()
                    );
                    connection.close();
                    assert_eq!(used(), empty, "{}", context());
                    if !failed {
                        break;
                    }
                    injected += 1;
                    refused += u32::from(outcome.is_err());
                }
            }
        }
    }
    println!("{injected} allocations failed, {refused} statements were refused for it");
    assert!(injected > 1000, "{injected}");
}
