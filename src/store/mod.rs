//! Where key objects are: the trait that both stores implement, and what a fetch finds there.

mod credentials;
pub mod directory;
mod error;
mod http;
mod resolver;
mod retry;
mod signature;
mod wiping;
pub(crate) use retry::random_percent;
pub mod s3;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

pub use self::error::{Fault, StoreError};
use crate::id::ObjectName;
use crate::secret::{SecretBytes, wipe_stack};

/// The most bytes an object may have to be read at all; a Fernet key has 44.
const MOST_BYTES: usize = 4096;

/// A place that holds key objects by name. Knows neither SQLite nor Fernet.
pub trait KeyStore: Send + Sync {
    /// Fetches the object `name` before `deadline`, unless the version tag `known` is still its own.
    ///
    /// # Errors
    /// See [`StoreError`]; the text in it names no credential and no host.
    fn fetch(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, StoreError>;

    /// A fetch for the doctor: once, without retries, and with the store's clock where it tells.
    fn probe(&self, name: &ObjectName, deadline: Instant) -> Probed {
        (self.fetch(name, None, deadline), None)
    }

    /// The credentials in use; `None` for a store without any, or before the first were needed.
    fn credentials(&self) -> Option<CredentialStatus> {
        None
    }

    /// Writes the object `name`, which must not exist, and reads it back. `timeout` is for each of the
    /// requests that this takes.
    ///
    /// # Errors
    /// As for `fetch`; an object that nobody knows of may stay behind where the store gives no answer.
    fn create(
        &self,
        _name: &ObjectName,
        _content: &[u8],
        _timeout: Duration,
    ) -> Result<(), StoreError> {
        Err(StoreError::lasting("this key store takes no new objects"))
    }

    /// Hides the object `name` in a way that can be undone; whether it was not hidden already. `timeout` is for each of
    /// the requests that this takes. To be called again where it was interrupted.
    ///
    /// # Errors
    /// As for `fetch`: in particular [`StoreError::Denied`] where it could not be undone, and [`StoreError::Absent`]
    /// where there is nothing to hide.
    fn disable(&self, _name: &ObjectName, _timeout: Duration) -> Result<bool, StoreError> {
        Err(StoreError::lasting("this key store hides no objects"))
    }

    /// Brings the object `name` back that [`KeyStore::disable`] hid; whether it was hidden. `timeout` is for each of the
    /// requests that this takes. To be called again where it was interrupted.
    ///
    /// # Errors
    /// As for `fetch`: in particular [`StoreError::Absent`] where its bytes are gone.
    fn enable(&self, _name: &ObjectName, _timeout: Duration) -> Result<bool, StoreError> {
        Err(StoreError::lasting("this key store hides no objects"))
    }

    /// Puts `content` in the place of what the object `name` holds, which must be there: readers find one or the other.
    /// It is written beside it first and read back, and then in its place. What else the store keeps of the object goes,
    /// where it `is_superseded` by its content. `timeout` is for each of the requests that this takes. To be called again
    /// where it was interrupted.
    ///
    /// # Errors
    /// As for `fetch`.
    fn replace(
        &self,
        _name: &ObjectName,
        _content: &[u8],
        _is_superseded: &dyn Fn(&[u8]) -> bool,
        _timeout: Duration,
    ) -> Result<Replaced, StoreError> {
        Err(StoreError::lasting("this key store replaces no objects"))
    }

    /// Deletes every version of the object `name`, and of no other, and looks whether it is gone.
    /// `timeout` is for each of the requests that this takes. To be called again where it was
    /// interrupted, and of an object that is gone already.
    ///
    /// # Errors
    /// As for `fetch`: in particular [`StoreError::Denied`] where the store keeps a version, with what it
    /// says of the reason.
    fn shred(&self, _name: &ObjectName, _timeout: Duration) -> Result<Shredded, StoreError> {
        Err(StoreError::lasting("this key store deletes no objects"))
    }

    /// Every object whose name begins with `prefix`, those that are disabled too, in the order of their names. `timeout`
    /// is for each of the requests that this takes.
    ///
    /// # Errors
    /// As for `fetch`.
    fn list(&self, _prefix: &str, _timeout: Duration) -> Result<Vec<Listed>, StoreError> {
        Err(StoreError::lasting("this key store lists no objects"))
    }
}

/// What a listing tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What rows name it by, of a disabled one too.
    pub name: String,
    /// How many bytes it holds.
    pub bytes: u64,
    /// When they were written, if the store tells.
    pub modified_at: Option<SystemTime>,
    /// It is hidden, and can be brought back.
    pub disabled: bool,
}

/// What may be told of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// Where they came from: environment, profile, web identity, container or instance.
    pub source: &'static str,
    /// How long they last; `None` for those that do not expire.
    pub expires_in: Option<Duration>,
}

/// What was deleted of an object that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shredded {
    /// Contents that were deleted now; none where it was gone already.
    pub versions: u64,
    /// Delete markers that were deleted now.
    pub delete_markers: u64,
    /// What the store said of copies that it had made elsewhere: S3's replication status.
    pub replication: Option<String>,
    /// Where copies of the object may be that this store could not be asked for.
    pub not_looked_at: Vec<&'static str>,
}

/// What became of the other contents of an object that was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Older versions that were deleted.
    pub deleted: u64,
    /// Older versions that hold something else, and were left alone.
    pub kept: u64,
    /// Where copies of the older content may be that this store could not be asked for.
    pub not_looked_at: Vec<&'static str>,
}

/// What the name of an object ends in that is written beside another one, to take its place.
pub(crate) const REPLACEMENT: &str = ".replacement";

/// The name of what is written beside the object `name` while it is replaced.
pub(crate) fn beside(name: &ObjectName) -> Result<ObjectName, StoreError> {
    let beside = format!("{}{REPLACEMENT}", name.as_str());
    ObjectName::parse(&beside, "").map_err(StoreError::NotAKey)
}

/// What a probe found, and the store's clock.
pub type Probed = (Result<Fetched, StoreError>, Option<SystemTime>);

/// What a fetch found.
#[derive(Debug)]
pub enum Fetched {
    /// The object's content, and the tag by which this version of it is known.
    Object {
        /// The bytes.
        content: SecretBytes,
        /// S3's ETag; a directory has none.
        tag: Option<String>,
    },
    /// The version known by its tag is still the object's.
    Unchanged,
}

/// How much of its stack a fetch may have used: the calls of TLS go deep.
const STACK: usize = 128 * 1024;

/// What `body` gives, with the stack wiped that it used: the thread may go on to sleep, or the process to fork, with a
/// key in it. A panic is a fault that lasts, so that nobody waits for what will not come.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    /// What is not inlined has its variables below its caller's.
    #[inline(never)]
    fn apart<T>(body: impl FnOnce() -> T) -> T {
        body()
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| apart(body)));
    wipe_stack::<STACK>();
    outcome.unwrap_or_else(|_| Err(StoreError::lasting("internal error, please report it")))
}
