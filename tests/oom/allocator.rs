//! SQLite's allocator, which fails when it is told to.

use std::ffi::{c_int, c_void};
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

/// Makes it SQLite's.
pub(crate) fn set_allocator() {
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

/// Bytes that SQLite has and has not given back.
pub(crate) fn used() -> i64 {
    // SAFETY: takes nothing.
    unsafe { ffi::sqlite3_memory_used() }
}

/// Runs `body` with the allocation `number` failing, `for_good` with all that follow. Whether one failed.
pub(crate) fn failing<T>(number: i64, for_good: bool, body: impl FnOnce() -> T) -> (T, bool) {
    FAILED.store(0, Ordering::Relaxed);
    FOR_GOOD.store(for_good, Ordering::Relaxed);
    LEFT.store(number, Ordering::Relaxed);
    let outcome = body();
    LEFT.store(-1, Ordering::Relaxed);
    (outcome, FAILED.load(Ordering::Relaxed) > 0)
}
