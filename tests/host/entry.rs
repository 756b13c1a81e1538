//! The entry point called by hand, with a routines table that is not SQLite's own.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use rusqlite::ffi;

use crate::raw::Raw;

type Init = unsafe extern "C" fn(*mut ffi::sqlite3, *mut *mut c_char, *const c_void) -> c_int;

/// The library's entry point, found as SQLite finds it.
pub(crate) struct Entry(Init);

impl Entry {
    pub(crate) fn of(library: &Path) -> Self {
        let library = CString::new(library.as_os_str().as_bytes()).unwrap();
        // SAFETY: the library is ours, and its entry point has this type.
        unsafe {
            let handle = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
            assert!(!handle.is_null());
            let symbol = libc::dlsym(handle, c"sqlite3_journalcrypt_init".as_ptr());
            assert!(!symbol.is_null());
            Self(std::mem::transmute::<*mut c_void, Init>(symbol))
        }
    }

    /// Loads on `raw`; the text of a refusal.
    pub(crate) fn call(&self, raw: &Raw, table: &Table) -> Result<(), String> {
        let mut message = ptr::null_mut();
        // SAFETY: the connection is open, and the table has every routine that is called before a
        // refusal.
        let result = unsafe { (self.0)(raw.handle(), &mut message, table.0.as_ptr().cast()) };
        if message.is_null() {
            assert_eq!(result, ffi::SQLITE_OK_LOAD_PERMANENTLY);
            return Ok(());
        }
        assert_eq!(result, ffi::SQLITE_ERROR);
        // SAFETY: the entry point gave a text in SQLite's memory.
        unsafe {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            ffi::sqlite3_free(message.cast());
            Err(text)
        }
    }
}

/// A copy of the routines table, at an address of its own, with another answer to
/// `sqlite3_libversion_number`.
pub(crate) struct Table(Box<[usize; ROUTINES]>);

/// Routines up to SQLite 3.20; the table only ever grew.
const ROUTINES: usize = 200;

static VERSION: AtomicI32 = AtomicI32::new(0);
static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" fn version() -> c_int {
    VERSION.load(Ordering::SeqCst)
}

impl Table {
    /// One at a time: the version is the process's.
    pub(crate) fn of_version(number: c_int) -> Self {
        VERSION.store(number, Ordering::SeqCst);
        let mut table = real_table();
        let its_own = ffi::sqlite3_libversion_number as *const () as usize;
        let place = table.iter().position(|routine| *routine == its_own);
        table[place.expect("the routine")] = version as *const () as usize;
        Self(Box::new(table))
    }
}

/// SQLite hands its table to every extension, those that are linked in included.
fn real_table() -> [usize; ROUTINES] {
    unsafe extern "C" fn keep(
        _: *mut ffi::sqlite3,
        _: *mut *mut c_char,
        routines: *const ffi::sqlite3_api_routines,
    ) -> c_int {
        REAL.store(routines.cast_mut().cast(), Ordering::SeqCst);
        ffi::SQLITE_OK
    }
    // SAFETY: the extension keeps a pointer alone, and is cancelled at once.
    unsafe {
        ffi::sqlite3_auto_extension(Some(keep));
        drop(Raw::open(":memory:"));
        ffi::sqlite3_cancel_auto_extension(Some(keep));
        // SAFETY: the table is static and has at least as many routines.
        REAL.load(Ordering::SeqCst)
            .cast::<[usize; ROUTINES]>()
            .read()
    }
}
