//! Arguments, read by type.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::{fmt, slice};

use sqlite_loadable::ext::sqlite3_value;

use super::{code, sqlite3};
use crate::error::Error;

/// A value of one of SQLite's five storage classes. TEXT is whatever bytes the host bound.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT as UTF-8, not yet checked.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

/// Type and length alone, since an error must not quote an argument that was swapped by mistake.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Integer(_) => f.write_str("INTEGER"),
            Value::Real(_) => f.write_str("REAL"),
            Value::Text([_]) => f.write_str("TEXT of 1 byte"),
            Value::Text(bytes) => write!(f, "TEXT of {} bytes", bytes.len()),
            Value::Blob([_]) => f.write_str("BLOB of 1 byte"),
            Value::Blob(bytes) => write!(f, "BLOB of {} bytes", bytes.len()),
        }
    }
}

/// The arguments of one call.
pub struct Arguments<'a> {
    values: &'a [*mut sqlite3_value],
    _call: PhantomData<&'a sqlite3_value>,
}

impl<'a> Arguments<'a> {
    /// # Safety
    /// `values` must point to `count` protected values that stay valid for `'a`.
    pub(super) unsafe fn new(values: *mut *mut sqlite3_value, count: c_int) -> Self {
        let values = match usize::try_from(count) {
            // SAFETY: the caller vouches for the array.
            Ok(count) if count > 0 => unsafe { slice::from_raw_parts(values, count) },
            _ => &[],
        };
        Self {
            values,
            _call: PhantomData,
        }
    }

    /// How many arguments the call has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the call has no arguments.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The argument at `index`, by its own type. A missing one reads as NULL.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where SQLite could not convert the text to UTF-8.
    // Inlined, as are others on the way of a call: a result as large as an error goes through memory, written in other
    // pieces than it is read, for which a processor waits.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Result<Value<'a>, Error> {
        let Some(&value) = self.values.get(index) else {
            return Ok(Value::Null);
        };
        // SAFETY: `value` is a protected value of this call.
        unsafe {
            Ok(match sqlite3!(value_type(value)) {
                code::INTEGER => Value::Integer(sqlite3!(value_int64(value))),
                code::FLOAT => Value::Real(sqlite3!(value_double(value))),
                code::TEXT => Value::Text(text(value)?),
                code::BLOB => Value::Blob(blob(value)?),
                _ => Value::Null,
            })
        }
    }

    /// The argument at `index` as bytes: TEXT and BLOB as they are, numbers as SQLite converts them
    /// to TEXT, NULL as `None`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where SQLite could not convert the value.
    pub fn bytes(&self, index: usize) -> Result<Option<&'a [u8]>, Error> {
        Ok(match self.get(index)? {
            Value::Null => None,
            Value::Text(bytes) | Value::Blob(bytes) => Some(bytes),
            // SAFETY: as in `get`; the numbers read there were copied out, so the conversion in
            // place invalidates nothing.
            Value::Integer(_) | Value::Real(_) => Some(unsafe { text(self.values[index])? }),
        })
    }
}

/// # Safety
/// `value` must be a protected value that lives for `'a`.
#[inline(always)]
unsafe fn text<'a>(value: *mut sqlite3_value) -> Result<&'a [u8], Error> {
    // SAFETY: sqlite3_value_text before sqlite3_value_bytes, as its page asks, so that the length is
    // that of the UTF-8 form; the bytes stay until the value's next conversion, and we make none.
    unsafe {
        let start = sqlite3!(value_text(value));
        if start.is_null() {
            return Err(Error::OutOfMemory);
        }
        let length = usize::try_from(sqlite3!(value_bytes(value))).unwrap_or(0);
        Ok(slice::from_raw_parts(start, length))
    }
}

/// # Safety
/// `value` must be a protected value that lives for `'a`.
#[inline(always)]
unsafe fn blob<'a>(value: *mut sqlite3_value) -> Result<&'a [u8], Error> {
    // SAFETY: as above, for a BLOB; SQLite answers null for an empty one, and for want of memory when
    // it had to expand a zeroblob.
    unsafe {
        let start = sqlite3!(value_blob(value)).cast::<u8>();
        let length = usize::try_from(sqlite3!(value_bytes(value))).unwrap_or(0);
        match (start.is_null(), length) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(Error::OutOfMemory),
            (false, _) => Ok(slice::from_raw_parts(start, length)),
        }
    }
}
