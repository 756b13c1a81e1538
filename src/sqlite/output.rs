//! Results, handed over without a copy and wiped when SQLite frees them.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use sqlite_loadable::ext::sqlite3_context;

use super::{result_code, sqlite3};
use crate::error::Error;
use crate::secret::{HEADROOM, SecretBytes};

/// What a function or a table's column gives.
#[derive(Debug)]
pub enum Output {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT that needs no wiping, such as a uid or a report.
    Text(String),
    /// TEXT that is wiped when SQLite frees it; the caller vouches that it is UTF-8.
    SecretText(SecretBytes),
    /// BLOB that is wiped when SQLite frees it.
    SecretBlob(SecretBytes),
    /// TEXT with SQLite's JSON subtype, so that `json_object('x', …)` nests it. Only for a function
    /// that is registered as [`super::function::Function::gives_json`].
    Json(String),
    /// The same, wiped when SQLite frees it; the caller vouches that it is UTF-8.
    SecretJson(SecretBytes),
}

/// Gives the call's outcome to SQLite; `function` begins the text of an error.
///
/// # Safety
/// `context` must be the context of the call that is running.
pub(super) unsafe fn give(
    context: *mut sqlite3_context,
    function: &str,
    outcome: Result<Output, Error>,
) {
    // SAFETY: the context is live; every pointer handed over is either copied by SQLite
    // (SQLITE_TRANSIENT) or owned by it from here on, with the destructor that frees it.
    unsafe {
        match outcome {
            Ok(Output::Null) => sqlite3!(result_null(context)),
            Ok(Output::Integer(number)) => sqlite3!(result_int64(context, number)),
            Ok(Output::Real(number)) => sqlite3!(result_double(context, number)),
            Ok(Output::Text(text)) => give_text_copy(context, text.as_bytes()),
            Ok(Output::SecretText(bytes)) => give_text(context, bytes),
            Ok(Output::SecretBlob(bytes)) => {
                let (content, length) = leak(bytes);
                sqlite3!(result_blob64(
                    context,
                    content.cast(),
                    length as u64,
                    Some(wipe_and_free)
                ));
            }
            Ok(Output::Json(text)) => {
                give_text_copy(context, text.as_bytes());
                sqlite3!(result_subtype(context, JSON_SUBTYPE));
            }
            Ok(Output::SecretJson(bytes)) => {
                give_text(context, bytes);
                sqlite3!(result_subtype(context, JSON_SUBTYPE));
            }
            Err(error) => give_error(context, function, &error),
        }
    }
}

/// The subtype by which SQLite's JSON functions know a TEXT for JSON
/// (<https://sqlite.org/json1.html#interface_overview>).
const JSON_SUBTYPE: c_uint = b'J' as c_uint;

/// As [`give`], for a value that stays ours: a table's column may be asked for more than once.
///
/// # Safety
/// As for [`give`].
pub(super) unsafe fn give_copy(context: *mut sqlite3_context, output: &Output) {
    // SAFETY: as in `give`; bytes are copied.
    unsafe {
        match output {
            Output::Null => sqlite3!(result_null(context)),
            Output::Integer(number) => sqlite3!(result_int64(context, *number)),
            Output::Real(number) => sqlite3!(result_double(context, *number)),
            Output::Text(text) | Output::Json(text) => give_text_copy(context, text.as_bytes()),
            Output::SecretText(bytes) | Output::SecretJson(bytes) => {
                give_text_copy(context, bytes);
            }
            Output::SecretBlob(bytes) => sqlite3!(result_blob64(
                context,
                bytes.as_ptr().cast(),
                bytes.len() as u64,
                transient()
            )),
        }
    }
}

/// # Safety
/// As for [`give`].
unsafe fn give_text_copy(context: *mut sqlite3_context, bytes: &[u8]) {
    const UTF8: u8 = 1;
    // SAFETY: SQLite copies the bytes before it returns.
    unsafe {
        sqlite3!(result_text64(
            context,
            bytes.as_ptr().cast(),
            bytes.len() as u64,
            transient(),
            UTF8
        ));
    }
}

/// # Safety
/// As for [`give`].
unsafe fn give_text(context: *mut sqlite3_context, bytes: SecretBytes) {
    const UTF8: u8 = 1;
    /// Since SQLite 3.53: UTF-8 with a NUL behind it.
    const UTF8_ZT: u8 = 16;
    let (content, length) = leak(bytes);
    // SAFETY: `leak` leaves a NUL behind the content. SQLite is told so, or it would copy the text into a larger buffer,
    // one that nobody would wipe, when the host asks for a C string. One that knows no UTF8_ZT has to look for the NUL
    // itself (length -1), where that is the first one.
    unsafe {
        let (length, encoding) = if super::sqlite_version() >= 3_053_000 {
            (length as u64, UTF8_ZT)
        } else if CStr::from_ptr(content.cast()).count_bytes() == length
            && c_int::try_from(length).is_ok()
        {
            return sqlite3!(result_text(
                context,
                content.cast(),
                -1,
                Some(wipe_and_free)
            ));
        } else {
            (length as u64, UTF8)
        };
        sqlite3!(result_text64(
            context,
            content.cast(),
            length,
            Some(wipe_and_free),
            encoding
        ));
    }
}

/// # Safety
/// As for [`give`].
unsafe fn give_error(context: *mut sqlite3_context, function: &str, error: &Error) {
    let message = format!("{function}: {error}");
    let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
    // SAFETY: SQLite copies the message. The code is set after it, since setting the message resets
    // the code to SQLITE_ERROR.
    unsafe {
        sqlite3!(result_error(
            context,
            message.as_ptr().cast::<c_char>(),
            length
        ));
        sqlite3!(result_error_code(context, result_code(error)));
    }
}

/// SQLITE_TRANSIENT: SQLite copies the bytes before the call returns.
pub(super) fn transient() -> Option<unsafe extern "C" fn(*mut c_void)> {
    // SAFETY: SQLite compares this value and never calls it; https://sqlite.org/c3ref/c_static.html.
    unsafe { std::mem::transmute::<isize, Option<unsafe extern "C" fn(*mut c_void)>>(-1) }
}

/// Lets go of a buffer so that only a pointer to its content is needed to free it: the words before
/// the content hold the allocation's capacity and the content's offset. The content's length comes
/// with it, and a NUL follows the content.
fn leak(bytes: SecretBytes) -> (*mut u8, usize) {
    let (mut buffer, start) = bytes.into_parts();
    let length = buffer.len() - start;
    // There is one spare byte by construction, so this never moves the buffer.
    debug_assert!(buffer.len() < buffer.capacity());
    buffer.push(0);
    let mut buffer = std::mem::ManuallyDrop::new(buffer);
    let capacity = buffer.capacity();
    // SAFETY: `start` is at least HEADROOM, two words, by construction of SecretBytes, so the two
    // words before the content lie inside the allocation; they need not be aligned.
    unsafe {
        let content = buffer.as_mut_ptr().add(start);
        let header = content.sub(HEADROOM).cast::<usize>();
        ptr::write_unaligned(header, capacity);
        ptr::write_unaligned(header.add(1), start);
        (content, length)
    }
}

/// The destructor SQLite calls for a buffer that [`leak`] let go.
unsafe extern "C" fn wipe_and_free(content: *mut c_void) {
    // SAFETY: SQLite passes back the pointer that `leak` made, once; capacity and start are those it
    // wrote, and describe a Vec<u8> of this library's allocator, which wipes the whole capacity.
    unsafe {
        let content = content.cast::<u8>();
        let header = content.sub(HEADROOM).cast::<usize>();
        let capacity = ptr::read_unaligned(header);
        let start = ptr::read_unaligned(header.add(1));
        drop(Vec::from_raw_parts(content.sub(start), 0, capacity));
    }
}
