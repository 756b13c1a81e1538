//! Bytes that wipe themselves and print as nothing.

use std::collections::TryReserveError;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

/// Bytes kept free before the content, so that the `ffi` layer can note there how to free the
/// allocation when it hands the content to SQLite without a copy.
pub(crate) const HEADROOM: usize = 2 * size_of::<usize>();

/// A heap buffer that is overwritten with zeros when its memory is freed, as all is that this library's allocator gives.
pub struct SecretBytes {
    /// `HEADROOM` or more bytes, the content, and at least one spare byte of capacity.
    buffer: Vec<u8>,
    start: usize,
}

impl SecretBytes {
    /// A buffer of `len` zero bytes.
    ///
    /// # Errors
    /// The allocator's refusal; `len` may come from input.
    pub fn zeroed(len: usize) -> Result<Self, TryReserveError> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(len.saturating_add(HEADROOM + 1))?;
        buffer.resize(HEADROOM + len, 0);
        Ok(Self {
            buffer,
            start: HEADROOM,
        })
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// The allocator's refusal.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, TryReserveError> {
        let mut copy = Self::zeroed(bytes.len())?;
        copy.copy_from_slice(bytes);
        Ok(copy)
    }

    /// The content of a regular file of at most `most` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also for what is no regular file, which could block or never end;
    /// [`ErrorKind::FileTooLarge`]; the system's refusal.
    pub fn of_file(path: &Path, most: usize) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let mut file = File::open(path)?;
        let mut content = Self::zeroed(most.saturating_add(1))
            .map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        let mut length = 0;
        while length <= most {
            match file.read(&mut content[length..]) {
                Ok(0) => {
                    content.narrow(0..length);
                    return Ok(content);
                }
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::FileTooLarge.into())
    }

    /// Keeps only `range` of the content, without moving it.
    pub(crate) fn narrow(&mut self, range: Range<usize>) {
        let (start, end) = (self.start + range.start, self.start + range.end);
        assert!(range.start <= range.end && end <= self.buffer.len());
        // What lies behind is wiped with the whole capacity.
        self.buffer.truncate(end);
        self.start = start;
    }

    /// The allocation and where the content starts in it; the caller now frees it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, usize) {
        (self.buffer, self.start)
    }
}

impl Deref for SecretBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }
}

/// Overwrites `bytes` with zeros that the optimiser may not leave out; unlike `Zeroize`, at the speed of memory.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// Overwrites the stack that functions called before this one have used, as far as `SIZE` bytes below the caller. What a
/// cipher or a parser keeps in local variables stays there until something else is written over it.
#[inline(never)]
pub(crate) fn wipe_stack<const SIZE: usize>() {
    let below = [0_u8; SIZE];
    zeroize::optimization_barrier(&below);
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes")
    }
}

/// A text that is wiped when dropped, such as an AWS secret key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretString(String);

impl SecretString {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Drop for SecretString {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_keeps_the_middle_where_it_is() {
        let mut bytes = SecretBytes::copy_of(b"header|body|trailer").unwrap();
        let body = bytes[7..11].as_ptr();
        bytes.narrow(7..11);
        assert_eq!(&bytes[..], b"body");
        assert_eq!(bytes.as_ptr(), body);
        bytes.narrow(1..3);
        assert_eq!(&bytes[..], b"od");
    }

    #[test]
    fn debug_output_shows_no_content() {
        let bytes = SecretBytes::copy_of(b"dear diary").unwrap();
        assert_eq!(format!("{bytes:?}"), "SecretBytes");
        let text = SecretString::from("AKIDSECRET".to_owned());
        assert_eq!(format!("{text:?}"), "SecretString");
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(&SecretBytes::of_file(&path, 5).unwrap()[..], b"12345");
        let kind = |path: &Path| SecretBytes::of_file(path, 4).unwrap_err().kind();
        assert_eq!(kind(&path), ErrorKind::FileTooLarge);
        assert_eq!(kind(root.path()), ErrorKind::NotFound);
        assert_eq!(kind(Path::new("/dev/zero")), ErrorKind::NotFound);
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(SecretBytes::zeroed(usize::MAX - 8).is_err());
        assert!(SecretBytes::zeroed(isize::MAX as usize).is_err());
    }
}
