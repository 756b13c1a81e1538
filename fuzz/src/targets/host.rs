//! The host of the targets that run SQL: an SQLite with the extension, a directory of keys, and arguments made of bytes.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::path::PathBuf;

use rusqlite::types::Value;
use rusqlite::{Connection, ffi};
use tempfile::TempDir;

/// The key and the token of the Fernet specification's example.
pub(super) const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const WRAPPING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(super) const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

// Of the crate journal_crypt.
unsafe extern "C" {
    fn sqlite3_journalcrypt_init(
        db: *mut ffi::sqlite3,
        message: *mut *mut c_char,
        routines: *mut c_void,
    ) -> c_int;
}

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

/// Where the keys of this process lie. The extension reads its configuration once, so all its targets must run on one
/// thread.
pub(super) struct Store(TempDir);

impl Store {
    /// A directory with the keys `oseh_ujmk_1`, which is one, and `oseh_ujmk_2`, which is none.
    fn new() -> Self {
        let store = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(store.path("")).unwrap();
        store.reset();
        let wrapping = store.0.path().join("wrapping");
        std::fs::write(&wrapping, WRAPPING_KEY).unwrap();
        // SAFETY: no other thread of this process reads the environment but by the standard library.
        unsafe {
            std::env::set_var(
                "JOURNAL_KEY_STORE",
                format!("file://{}", store.0.path().display()),
            );
            std::env::set_var("JOURNAL_ADMIN", "1");
            std::env::set_var("JOURNAL_WRAPPING_KEY_FILE", wrapping);
        }
        // Two are in reach of the linker; only the newer knows JSONB.
        assert!(
            rusqlite::version_number() > 3_045_000,
            "SQLite {}",
            rusqlite::version()
        );
        // SAFETY: `load` is an entry point.
        unsafe { ffi::sqlite3_auto_extension(Some(load)) };
        store
    }

    /// The path of the object of the key `uid`.
    pub(super) fn path(&self, uid: &str) -> PathBuf {
        self.0
            .path()
            .join("s3_files/journals/keys/master")
            .join(uid)
    }

    /// Every object and its content.
    pub(super) fn objects(&self) -> BTreeMap<PathBuf, String> {
        std::fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
            .collect()
    }

    /// Puts everything back as it was at first.
    pub(super) fn reset(&self) {
        let wanted = [("oseh_ujmk_1", KEY), ("oseh_ujmk_2", "no key")]
            .map(|(uid, content)| (self.path(uid), content.to_owned()))
            .into();
        let objects = self.objects();
        if objects != wanted {
            for path in objects.keys() {
                std::fs::remove_file(path).unwrap();
            }
            for (path, content) in wanted {
                std::fs::write(path, content).unwrap();
            }
        }
    }
}

thread_local! {
    static STORE: OnceCell<Store> = const { OnceCell::new() };
}

/// Runs `body` with the key store of this process.
pub(super) fn with_store<T>(body: impl FnOnce(&Store) -> T) -> T {
    STORE.with(|store| body(store.get_or_init(Store::new)))
}

/// A new database in memory, with the extension.
pub(super) fn database(schema: &str) -> Connection {
    with_store(|_| ());
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(schema).unwrap();
    connection
}

/// One value off the front of `data`: its type, one byte of length, its bytes.
pub(super) fn value(data: &mut &[u8]) -> Value {
    let Some((&kind, rest)) = data.split_first() else {
        return Value::Null;
    };
    let (length, rest) = rest
        .split_first()
        .map_or((0, rest), |(&length, rest)| (usize::from(length), rest));
    let (bytes, rest) = rest.split_at(length.min(rest.len()));
    *data = rest;
    let mut number = [0; 8];
    let taken = bytes.len().min(8);
    number[..taken].copy_from_slice(&bytes[..taken]);
    let text = String::from_utf8_lossy(bytes);
    match kind % 10 {
        0 => Value::Null,
        1 => Value::Integer(i64::from_le_bytes(number)),
        2 => Value::Real(f64::from_le_bytes(number)),
        3 => Value::Text(text.into_owned()),
        4 => Value::Blob(bytes.to_vec()),
        5 => Value::Integer(7 + i64::from(length as u8 % 4)),
        6 => Value::Text(format!("oseh_ujmk_{}", length % 8)),
        7 => Value::Text(TOKEN.to_owned()),
        // A text may be far longer than an input should be.
        8 => Value::Text(text.repeat(1 + usize::from(kind) * 4)),
        _ => Value::Text(format!("[{text}]")),
    }
}

/// Panics where the text of an error tells what it must not: a key, a plaintext, a token, or what was passed to the
/// function, unless that looks like a uid.
pub(super) fn assert_tells_nothing(text: &str, arguments: &[Value]) {
    assert!(!text.contains("internal error"), "{text}");
    assert!(
        !text.contains(KEY)
            && !text.contains(WRAPPING_KEY)
            && !text.contains("hello")
            && !text.contains(TOKEN),
        "{text}"
    );
    assert!(text.len() < 400, "{text}");
    for argument in arguments {
        if let Value::Text(secret) = argument {
            let quoted = secret.len() >= 12 && text.contains(secret.as_str());
            assert!(!quoted || secret.starts_with("oseh_ujmk_"), "{text}");
        }
    }
}
