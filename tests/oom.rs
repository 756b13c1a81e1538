//! SQLite's own allocator fails at every allocation of every function, one after the other: the statement ends in
//! SQLITE_NOMEM or in the right answer, never in a crash or a wrong one; afterwards the connection works, closes, and
//! has given all its memory back.
//!
//! A process of its own: the allocator is set before SQLite starts.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use rusqlite::ffi;

/// Allocations until one fails; negative when none does.
static LEFT: AtomicI64 = AtomicI64::new(-1);
/// Whether all that follow fail too.
static FOR_GOOD: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicU64 = AtomicU64::new(0);

fn fails() -> bool {
    let left = LEFT.load(Ordering::Relaxed);
    if left < 0 {
        return false;
    }
    if left > 0 {
        LEFT.store(left - 1, Ordering::Relaxed);
        return false;
    }
    FAILED.fetch_add(1, Ordering::Relaxed);
    if !FOR_GOOD.load(Ordering::Relaxed) {
        LEFT.store(-1, Ordering::Relaxed);
    }
    true
}

const HEADER: usize = 16;

unsafe extern "C" fn allocate(size: c_int) -> *mut c_void {
    if fails() {
        return ptr::null_mut();
    }
    // SAFETY: room for the size, which `size` reads, before what SQLite gets.
    unsafe {
        let start = libc::malloc(size as usize + HEADER).cast::<u8>();
        assert!(!start.is_null());
        start.cast::<usize>().write(size as usize);
        start.add(HEADER).cast()
    }
}

unsafe extern "C" fn release(content: *mut c_void) {
    // SAFETY: made by `allocate`.
    unsafe { libc::free(content.cast::<u8>().sub(HEADER).cast()) }
}

unsafe extern "C" fn resize(content: *mut c_void, size: c_int) -> *mut c_void {
    if fails() {
        return ptr::null_mut();
    }
    // SAFETY: made by `allocate`.
    unsafe {
        let start = libc::realloc(
            content.cast::<u8>().sub(HEADER).cast(),
            size as usize + HEADER,
        )
        .cast::<u8>();
        assert!(!start.is_null());
        start.cast::<usize>().write(size as usize);
        start.add(HEADER).cast()
    }
}

unsafe extern "C" fn size(content: *mut c_void) -> c_int {
    // SAFETY: made by `allocate`.
    unsafe { *content.cast::<u8>().sub(HEADER).cast::<usize>() as c_int }
}

unsafe extern "C" fn round(size: c_int) -> c_int {
    (size + 7) & !7
}

unsafe extern "C" fn start(_: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn stop(_: *mut c_void) {}

const METHODS: ffi::sqlite3_mem_methods = ffi::sqlite3_mem_methods {
    xMalloc: Some(allocate),
    xFree: Some(release),
    xRealloc: Some(resize),
    xSize: Some(size),
    xRoundup: Some(round),
    xInit: Some(start),
    xShutdown: Some(stop),
    pAppData: ptr::null_mut(),
};

fn set_allocator() {
    let methods = METHODS;
    // SAFETY: before anything else of SQLite is called; SQLite copies the methods. Without lookaside every allocation
    // comes to the allocator.
    unsafe {
        assert_eq!(
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods),
            0
        );
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, 0, 0), 0);
        assert_eq!(ffi::sqlite3_initialize(), 0);
    }
}

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

    fn close(self) {
        // SAFETY: closed once. sqlite3_close refuses while a statement is open, kept ones included.
        assert_eq!(unsafe { ffi::sqlite3_close(self.0) }, 0);
    }
}

fn used() -> i64 {
    // SAFETY: takes nothing.
    unsafe { ffi::sqlite3_memory_used() }
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
        ("SELECT journal_key_uid(8)", None),
        ("SELECT length(journal_encrypt(7, 'hello'))", Some("100")),
        ("SELECT length(journal_encrypt(7, zeroblob(20000), 'oseh_ujmk_1'))", Some("26764")),
        ("SELECT length(journal_encrypt(7, 1.5))", Some("100")),
        ("SELECT journal_decrypt(7, NULL, journal_encrypt(7, printf('%.*c', 20000, 'x'))) = printf('%.*c', 20000, 'x')", Some("1")),
        ("SELECT key_uid || length(token) FROM journal_seal(7, 'hello')", Some("oseh_ujmk_1100")),
        ("SELECT count(*) FROM journal_seal(7, 'a') AS a, journal_seal(7, NULL) AS b", Some("1")),
        ("SELECT journal_prefetch(7)", Some("{\"ready\":1,\"failed\":{}}")),
        ("SELECT journal_prefetch('[7, 8]')", Some("{\"ready\":1,\"failed\":{\"no_key\":1}}")),
        ("SELECT key_uid FROM journal_cache", Some("oseh_ujmk_1")),
        ("SELECT value FROM journal_stats WHERE name = 'keys_cached'", Some("1")),
        // A check of the doctor's that fails for want of memory says so in its row.
        ("SELECT count(*) > 8 FROM journal_doctor", Some("1")),
        ("SELECT length(journal_config()) > 100", Some("1")),
        ("SELECT journal_version() > '0'", Some("1")),
        ("SELECT journal_evict('oseh_ujmk_none')", Some("0")),
        ("SELECT (journal_evict() >= 0) || journal_prefetch(7)", Some("1{\"ready\":1,\"failed\":{}}")),
        ("SELECT journal_decrypt(7, 'oseh_ujmk_' || replace(hex(zeroblob(4000)), '0', 'x'), TOKEN)", Some("bad_argument")),
    ]
    .map(|(sql, expected)| (sql.replace("TOKEN", &format!("'{TOKEN}'")), expected))
    .into()
}

fn make_database(directory: &Path, encoding: &str) -> PathBuf {
    let path = directory.join(format!("{encoding}.db"));
    let database = rusqlite::Connection::open(&path).unwrap();
    let schema = include_str!("../sql/schema.sql");
    database
        .execute_batch(&format!(
            "PRAGMA encoding = '{encoding}'; {schema}
             INSERT INTO users VALUES (7, 'oseh_u_7', 0);
             INSERT INTO s3_files VALUES (1, 'oseh_s3f_1', 's3_files/journals/keys/master/oseh_ujmk_1', 44, 'text/plain', 0);
             INSERT INTO user_journal_master_keys VALUES (1, 'oseh_ujmk_1', 7, 1, 0);"
        ))
        .unwrap();
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
        Err((ffi::SQLITE_ERROR, text)) => {
            expected == Some("bad_argument") && text == "SQL logic error"
        }
        _ => false,
    }
}

/// Runs `body` with the allocation `number` failing, `for_good` with all that follow. Whether one failed.
fn failing<T>(number: i64, for_good: bool, body: impl FnOnce() -> T) -> (T, bool) {
    FAILED.store(0, Ordering::Relaxed);
    FOR_GOOD.store(for_good, Ordering::Relaxed);
    LEFT.store(number, Ordering::Relaxed);
    let outcome = body();
    LEFT.store(-1, Ordering::Relaxed);
    (outcome, FAILED.load(Ordering::Relaxed) > 0)
}

#[test]
fn every_allocation_of_every_function_may_fail() {
    set_allocator();
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys/s3_files/journals/keys/master");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("oseh_ujmk_1"), KEY).unwrap();
    let store = format!("file://{}", directory.path().join("keys").display());
    // SAFETY: nothing else of this process reads or writes the environment now.
    unsafe { std::env::set_var("JOURNAL_KEY_STORE", store) };
    let library = std::env::current_exe().unwrap();
    let library = library.with_file_name("libjournal_crypt.so");
    let library = CString::new(library.to_str().unwrap()).unwrap();

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
                // The doctor allocates as much as all others together.
                if sql.contains("journal_doctor") && (for_good || encoding != "UTF-8") {
                    continue;
                }
                for number in 0.. {
                    let connection = Connection::open(&path);
                    assert_eq!(connection.load(&library), ffi::SQLITE_OK);
                    let (outcome, failed) = failing(number, for_good, || connection.run(&sql));
                    let context = || format!("{encoding}, {sql}, allocation {number}, {for_good}");
                    assert!(
                        is_right(&outcome, expected)
                            || (failed && is_out_of_memory(&outcome, expected)),
                        "{}: {outcome:?}",
                        context()
                    );
                    let again = connection.run(&sql);
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
