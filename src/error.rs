//! Everything that can go wrong in a call: one enum, its words and its sentences.
//!
//! The text is `<function>: <word>: <sentence>`. The words are the contract that applications match
//! on. A sentence names the operation and the key, and never holds a key byte, a plaintext, a token
//! or a credential; labels of keys come from [`crate::id::KeyUid`], which quotes a uid only where
//! it looks like one.

use std::fmt;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The user has no key row at all.
    NoKey {
        /// The user's id.
        user: UserLabel,
    },
    /// There is no row with this uid for this user.
    KeyNotFound {
        /// The user's id.
        user: UserLabel,
        /// The key's label.
        key: String,
    },
    /// The row is there; the object, or the row that names it, is not.
    KeyLost {
        /// The key's label.
        key: String,
        /// What is missing.
        reason: &'static str,
    },
    /// The row is there; the object is hidden, by who may bring it back.
    KeyDisabled {
        /// The key's label.
        key: String,
    },
    /// The object is no Fernet key, or its name is one that is never fetched.
    KeyInvalid {
        /// The key's label.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token is malformed or is not under this key; which of the two is never said.
    TokenInvalid {
        /// Whose key, or which keys, were tried.
        under: String,
    },
    /// The plaintext is not UTF-8 though TEXT was asked for.
    NotUtf8,
    /// The plaintext is no item: not gzip-compressed JSON.
    NotItem {
        /// What it is instead, as the end of a sentence.
        reason: &'static str,
    },
    /// The store could not be reached or answered with a fault; trying again may help.
    StoreUnavailable {
        /// The key's label.
        key: String,
        /// What happened, without hosts or credentials.
        reason: String,
    },
    /// The store refused: credentials missing, wrong or not allowed.
    StoreDenied {
        /// The key's label.
        key: String,
        /// What the store said.
        reason: String,
    },
    /// The key store did not say which objects it has.
    Unlisted {
        /// Whether the store refused; else trying again may help.
        denied: bool,
        /// What the store said, or what kept it from being asked.
        reason: String,
    },
    /// A key's object could not be changed.
    Undone {
        /// The key's label.
        key: String,
        /// `written`, `deleted`, `disabled`, `enabled` or `wrapped`.
        what: &'static str,
        /// Whether the store refused; else trying again may help.
        denied: bool,
        /// What the store said.
        reason: String,
    },
    /// `JOURNAL_KEY_STORE` is not set.
    NotConfigured,
    /// An argument has the wrong type or value.
    BadArgument(String),
    /// The connection's scope is another user's, or there is none where one is required, or it stands and the nonce is wrong.
    OutOfScope(&'static str),
    /// A function that uses a key was called where SQL text is replicated.
    Replicated,
    /// A key management function was called on a replicated host, whose statements run on every node.
    ReplicatedKeys,
    /// A scope was asked for on a replicated host, whose connections serve everybody.
    ReplicatedScope,
    /// SQLite's own error: its extended result code and its message.
    Sqlite {
        /// The extended result code, such as `SQLITE_BUSY`.
        code: i32,
        /// SQLite's message for it.
        message: String,
    },
    /// Memory for a value could not be had.
    OutOfMemory,
    /// A panic was caught at SQLite's boundary; a bug of ours.
    Panicked,
}

impl Error {
    /// The word that applications match on; `None` for SQLite's own errors.
    pub fn word(&self) -> Option<&'static str> {
        Some(match self {
            Error::NoKey { .. } => "no_key",
            Error::KeyNotFound { .. } => "key_not_found",
            Error::KeyLost { .. } => "key_lost",
            Error::KeyDisabled { .. } => "key_disabled",
            Error::KeyInvalid { .. } => "key_invalid",
            Error::TokenInvalid { .. } => "token_invalid",
            Error::NotUtf8 => "not_utf8",
            Error::NotItem { .. } => "not_item",
            Error::StoreUnavailable { .. } => "store_unavailable",
            Error::StoreDenied { .. } => "store_denied",
            Error::Undone { denied: true, .. } | Error::Unlisted { denied: true, .. } => {
                "store_denied"
            }
            Error::Undone { denied: false, .. } | Error::Unlisted { denied: false, .. } => {
                "store_unavailable"
            }
            Error::NotConfigured => "not_configured",
            Error::BadArgument(_) => "bad_argument",
            Error::OutOfScope(_) => "out_of_scope",
            Error::Replicated | Error::ReplicatedKeys | Error::ReplicatedScope => "replicated",
            Error::Sqlite { .. } | Error::OutOfMemory | Error::Panicked => return None,
        })
    }

    /// Whether the same call would fail again however long it waits: the entry is lost, or its token does not open under this
    /// key and context. `journal_try_decrypt` gives NULL then.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Error::NoKey { .. }
                | Error::KeyNotFound { .. }
                | Error::KeyLost { .. }
                | Error::TokenInvalid { .. }
        )
    }

    /// How much an error of one key weighs when several keys of a user were tried: the gravest is
    /// reported, since a lighter one would say that an outage is a missing key.
    pub fn gravity(&self) -> u8 {
        match self {
            Error::StoreDenied { .. } => 6,
            Error::StoreUnavailable { .. } => 5,
            Error::KeyDisabled { .. } => 4,
            Error::KeyInvalid { .. } => 3,
            Error::KeyLost { .. } => 2,
            Error::TokenInvalid { .. } => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = self.word() {
            write!(f, "{word}: ")?;
        }
        match self {
            Error::NoKey { user } => write!(f, "user {user} has no key"),
            Error::KeyNotFound { user, key } => write!(f, "user {user} has no key {key}"),
            Error::KeyLost { key, reason } | Error::KeyInvalid { key, reason } => {
                write!(f, "key {key}: {reason}")
            }
            Error::KeyDisabled { key } => write!(
                f,
                "key {key}: its object is disabled; journal_enable_key brings it back"
            ),
            Error::TokenInvalid { under } => write!(f, "not a Fernet token under {under}"),
            Error::NotUtf8 => {
                f.write_str("the plaintext is not UTF-8; journal_decrypt_blob gives its bytes")
            }
            Error::NotItem { reason } => write!(f, "the plaintext {reason}"),
            Error::StoreUnavailable { key, reason } => {
                write!(f, "key {key} could not be fetched: {reason}")
            }
            Error::StoreDenied { key, reason } => {
                write!(f, "key {key} may not be fetched: {reason}")
            }
            Error::Undone {
                key, what, reason, ..
            } => write!(f, "key {key} could not be {what}: {reason}"),
            Error::Unlisted { reason, .. } => {
                write!(f, "the key store's objects could not be listed: {reason}")
            }
            Error::NotConfigured => f.write_str("JOURNAL_KEY_STORE is not set"),
            Error::BadArgument(sentence) => f.write_str(sentence),
            Error::OutOfScope(sentence) => f.write_str(sentence),
            Error::Replicated => f.write_str(
                "every node would run this statement again; SELECT the value on a read-only connection \
                 (rqlite: a query at level none or weak), then write it as a literal",
            ),
            Error::ReplicatedKeys => f.write_str(
                "every node would do this, and again at every replay of the log; do it from outside, \
                 with journal-crypt, as docs/rqlite.md says",
            ),
            Error::ReplicatedScope => f.write_str(
                "the host shares its connections among its callers, so that a scope would be everybody's",
            ),
            Error::Sqlite { message, .. } => f.write_str(message),
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Panicked => f.write_str("internal error, please report it"),
        }
    }
}

/// A user in an error: the number, or the length of the TEXT, since something else may have been passed in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserLabel {
    /// The id.
    Number(i64),
    /// How many bytes the id has.
    Text(usize),
}

impl fmt::Display for UserLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Text(1) => f.write_str("(TEXT of 1 byte)"),
            Self::Text(length) => write!(f, "(TEXT of {length} bytes)"),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::collections::TryReserveError> for Error {
    fn from(_: std::collections::TryReserveError) -> Self {
        Error::OutOfMemory
    }
}
