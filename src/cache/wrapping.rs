//! The keys under which key objects are kept, so that whoever copies the objects cannot use them.
//!
//! A wrapped object is a token of the raw one, under the wrapping key's subkey for the object's name: under another name it
//! does not open. The first wrapping key writes, all of them read. Nothing here is done for a key that is in the cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Cache;
use crate::cipher::{self, Cipher, Context, Iv, MasterKey};
use crate::config::{Config, ConfigError};
use crate::id::ObjectName;
use crate::secret::SecretBytes;
use crate::store::{Fetched, KeyStore, Replaced, StoreError};
use crate::system::locked::{Locked, Pages};

/// Bytes of a raw object, without a newline.
const RAW: usize = 44;
/// Bytes of a wrapped one.
const WRAPPED: usize = 140;

/// The wrapping keys of a process, the first of which writes.
#[derive(Default)]
pub(super) struct Wrapping {
    keys: Vec<Locked<MasterKey>>,
    required: bool,
}

impl Wrapping {
    /// As `config` has it; the file is read now. Not inlined, so that its caller can wipe the stack that it used.
    #[inline(never)]
    pub(super) fn read(
        config: &Config,
        pages: &Arc<Pages<MasterKey>>,
    ) -> Result<Self, ConfigError> {
        const VARIABLE: &str = "JOURNAL_WRAPPING_KEY_FILE";
        /// Some hundred keys.
        const MOST_BYTES: usize = 16 * 1024;
        let bad = |reason| ConfigError::new(VARIABLE, reason);
        let Some(path) = &config.wrapping_key_file else {
            return Ok(Self::default());
        };
        let content = SecretBytes::of_file(path, MOST_BYTES)
            .map_err(|_| bad("a file that is not there, cannot be read, or is too large"))?;
        let mut keys = Vec::new();
        for line in content.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let key = MasterKey::from_object(line)
                    .ok_or_else(|| bad("a file with a line that is not a Fernet key"))?;
                keys.push(Locked::new(pages, key).ok_or_else(|| bad("out of memory"))?);
            }
        }
        match keys.is_empty() {
            true => Err(bad("a file without a key")),
            false => Ok(Self {
                keys,
                required: config.require_wrapped,
            }),
        }
    }

    /// The raw object in `content`, which the object `name` holds; whether it was wrapped.
    fn opened(&self, name: &ObjectName, content: &[u8]) -> Result<(SecretBytes, bool), StoreError> {
        let content = content.trim_ascii_end();
        if content.len() != WRAPPED {
            let raw = SecretBytes::copy_of(content).map_err(|_| StoreError::out_of_memory())?;
            return Ok((raw, false));
        }
        if self.keys.is_empty() {
            return Err(StoreError::NotAKey(
                "its object is wrapped, and JOURNAL_WRAPPING_KEY_FILE is not set",
            ));
        }
        for key in &self.keys {
            let opened = bound(key, name)?.decrypt(content);
            if let Ok(raw) = opened.map_err(|_| StoreError::out_of_memory())? {
                return Ok((raw, true));
            }
        }
        Err(StoreError::NotAKey(
            "its object is wrapped under no key of JOURNAL_WRAPPING_KEY_FILE, or for another name",
        ))
    }

    /// The key that the object `name` holds, by its `content`.
    pub(super) fn key(&self, name: &ObjectName, content: &[u8]) -> Result<MasterKey, StoreError> {
        // What is raw is read where it lies.
        if self.keys.is_empty() && content.trim_ascii_end().len() != WRAPPED {
            return key(content);
        }
        Ok(self.accepted(name, content)?.1)
    }

    /// The raw object in `content`, and the key that it is.
    fn accepted(
        &self,
        name: &ObjectName,
        content: &[u8],
    ) -> Result<(SecretBytes, MasterKey), StoreError> {
        let (raw, was_wrapped) = self.opened(name, content)?;
        let key = key(&raw)?;
        match self.required && !was_wrapped {
            true => Err(StoreError::NotAKey(
                "its object is not wrapped, and JOURNAL_REQUIRE_WRAPPED is set",
            )),
            false => Ok((raw, key)),
        }
    }

    /// What is to be written to the object `name` for the key `raw`.
    fn wrapped(&self, name: &ObjectName, raw: &[u8], iv: &Iv) -> Result<SecretBytes, StoreError> {
        match self.keys.first() {
            Some(first) => bound(first, name)?.encrypt(raw, cipher::now(), iv).ok(),
            None => SecretBytes::copy_of(raw).ok(),
        }
        .ok_or_else(StoreError::out_of_memory)
    }
}

fn key(raw: &[u8]) -> Result<MasterKey, StoreError> {
    MasterKey::from_object(raw).ok_or(StoreError::NotAKey("its object is not a Fernet key"))
}

/// The key that objects named `name` are wrapped under.
fn bound(key: &MasterKey, name: &ObjectName) -> Result<Cipher, StoreError> {
    let name = Context::new(name.as_str().as_bytes());
    Ok(key.bound(name.ok_or(StoreError::NotAKey("its object's name is too long"))?))
}

impl Cache {
    /// How many keys there are to wrap with, and whether objects that are not wrapped are refused.
    pub fn wrapping(&self) -> (usize, bool) {
        (self.wrapping.keys.len(), self.wrapping.required)
    }

    /// How many bytes a new object has.
    pub fn object_length(&self) -> usize {
        match self.wrapping.keys.is_empty() {
            true => RAW,
            false => WRAPPED,
        }
    }

    /// Writes the new key `raw` to the object `name` of `store`, wrapped where there is a key for that.
    ///
    /// # Errors
    /// As for [`KeyStore::create`].
    pub fn create(
        &self,
        store: &dyn KeyStore,
        name: &ObjectName,
        raw: &[u8],
        iv: &Iv,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let content = self.wrapping.wrapped(name, raw, iv)?;
        store.create(name, &content, timeout)
    }

    /// Rewrites the object `name` of `store` under the first wrapping key, and has what else the store keeps of the same
    /// key deleted.
    ///
    /// # Errors
    /// As for [`KeyStore::replace`].
    pub fn wrap(
        &self,
        store: &dyn KeyStore,
        name: &ObjectName,
        iv: &Iv,
        timeout: Duration,
    ) -> Result<Replaced, StoreError> {
        let Fetched::Object { content, .. } = store.fetch(name, None, Instant::now() + timeout)?
        else {
            return Err(StoreError::lasting("its answer was for another request"));
        };
        let (raw, _) = self.wrapping.accepted(name, &content)?;
        let wrapped = self.wrapping.wrapped(name, &raw, iv)?;
        // Of one name there may be versions of different keys: only copies of this one are of no more use.
        let is_copy = |content: &[u8]| {
            let opened = self.wrapping.opened(name, content);
            opened.is_ok_and(|(found, _)| found[..] == raw[..])
        };
        if !is_copy(&wrapped) {
            return Err(StoreError::lasting("it does not open after it was wrapped"));
        }
        store.replace(name, &wrapped, &is_copy, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::new_key_object;

    /// The wrapping keys of a file of this content.
    fn of(content: &[u8], required: bool) -> Result<Wrapping, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let config = Config::of_variables(&[
            ("JOURNAL_WRAPPING_KEY_FILE", file.path().as_os_str()),
            (
                "JOURNAL_REQUIRE_WRAPPED",
                if required { "1" } else { "0" }.as_ref(),
            ),
        ]);
        let read = Wrapping::read(&config.unwrap(), &Pages::new());
        read.map_err(|error| error.to_string())
    }

    fn name(text: &str) -> ObjectName {
        ObjectName::parse(text, "").unwrap()
    }

    fn said<T>(outcome: Result<T, StoreError>) -> String {
        outcome.map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    #[test]
    fn a_wrapped_object_opens_under_its_own_name_and_a_key_of_the_file_alone() {
        let [first, second, raw] = [(); 3].map(|()| new_key_object());
        let both = format!("{}\n\n{}\r\n", second.expose(), first.expose());
        let old = of(first.expose().as_bytes(), false).unwrap();
        let new = of(both.as_bytes(), true).unwrap();
        let raw = raw.expose().as_bytes();
        let wrapped = old.wrapped(&name("a"), raw, &Iv::default()).unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        assert_eq!(said(old.key(&name("a"), &wrapped)), "read");
        assert_eq!(said(new.key(&name("a"), &wrapped)), "read");
        let by_new = new.wrapped(&name("a"), raw, &Iv::default()).unwrap();
        let not_opened =
            "its object is wrapped under no key of JOURNAL_WRAPPING_KEY_FILE, or for another name";
        assert_eq!(said(old.key(&name("a"), &by_new)), not_opened);
        assert_eq!(said(old.key(&name("b"), &wrapped)), not_opened);
        assert_eq!(
            said(Wrapping::default().key(&name("a"), &wrapped)),
            "its object is wrapped, and JOURNAL_WRAPPING_KEY_FILE is not set"
        );
        assert_eq!(said(old.key(&name("a"), raw)), "read");
        assert_eq!(
            said(new.key(&name("a"), raw)),
            "its object is not wrapped, and JOURNAL_REQUIRE_WRAPPED is set"
        );
        let of_no_key = old
            .wrapped(&name("a"), &[b'x'; 44], &Iv::default())
            .unwrap();
        for no_key in [&of_no_key[..], b"junk", b"", &[b'=', 44]] {
            assert_eq!(
                said(old.key(&name("a"), no_key)),
                "its object is not a Fernet key"
            );
        }
    }

    #[test]
    fn a_file_of_wrapping_keys_is_refused_whole_and_by_the_name_of_its_variable() {
        let variable = "JOURNAL_WRAPPING_KEY_FILE: a file ";
        let refused = |content: &[u8]| of(content, false).map(|_| ()).unwrap_err();
        assert_eq!(refused(b"\n"), format!("{variable}without a key"));
        let and_junk = format!("{}\njunk", new_key_object().expose());
        let junk = format!("{variable}with a line that is not a Fernet key");
        assert_eq!(refused(and_junk.as_bytes()), junk);
        let unread = format!("{variable}that is not there, cannot be read, or is too large");
        assert_eq!(refused(&[b'\n'; 20_000]), unread);
        let alone = Config::of_variables(&[("JOURNAL_REQUIRE_WRAPPED", "1")]);
        assert_eq!(
            alone.unwrap_err().to_string(),
            "JOURNAL_REQUIRE_WRAPPED: there is no JOURNAL_WRAPPING_KEY_FILE"
        );
    }
}
