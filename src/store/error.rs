//! Why a fetch found nothing, and whose fault that is.

use std::fmt;

/// Why a fetch found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store answered that there is no such object.
    Absent,
    /// The object is hidden, and can be brought back: by a delete marker over its versions, or a file's other name.
    Disabled,
    /// The object cannot be a key: too large, or not a file.
    NotAKey(&'static str),
    /// The store answered that it may not be read.
    Denied(String),
    /// There was nothing good to sign with, which says nothing of what the store allows: no credentials, expired ones, a
    /// clock that is off, or a proxy that wants others.
    NoCredentials {
        /// What happened.
        reason: String,
        /// Somebody has to mend it; else who hands them out is in trouble, and trying again may help.
        refused: bool,
    },
    /// The request never left this process, which says nothing of the store.
    NotSent(&'static str),
    /// No answer, or the answer was a fault.
    Unavailable {
        /// What happened.
        reason: String,
        /// Of which kind it is.
        fault: Fault,
    },
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No address or no connection. Tried again.
    Unreachable,
    /// No answer in time. Tried again.
    Silent,
    /// An answer that says "not now" (429, 5xx) or was cut short. Tried again.
    Passing,
    /// An answer that trying again will not change, such as a missing bucket.
    Lasting,
}

impl StoreError {
    pub(crate) fn unreachable(reason: impl fmt::Display) -> Self {
        Self::unavailable(Fault::Unreachable, reason)
    }

    pub(crate) fn silent(reason: impl fmt::Display) -> Self {
        Self::unavailable(Fault::Silent, reason)
    }

    pub(crate) fn passing(reason: impl fmt::Display) -> Self {
        Self::unavailable(Fault::Passing, reason)
    }

    pub(crate) fn lasting(reason: impl fmt::Display) -> Self {
        Self::unavailable(Fault::Lasting, reason)
    }

    /// Memory for it could not be had.
    pub(crate) fn out_of_memory() -> Self {
        Self::NotSent("out of memory")
    }

    /// There is nothing to sign with until somebody mends it.
    pub(crate) fn unsigned(reason: impl fmt::Display) -> Self {
        Self::NoCredentials {
            reason: reason.to_string(),
            refused: true,
        }
    }

    fn unavailable(fault: Fault, reason: impl fmt::Display) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
            fault,
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { fault, .. } => *fault != Fault::Lasting,
            Self::NoCredentials { refused, .. } => !refused,
            Self::NotSent(_) => true,
            Self::Absent | Self::Disabled | Self::NotAKey(_) | Self::Denied(_) => false,
        }
    }

    /// Whether somebody refused, and not only failed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Denied(_) | Self::NoCredentials { refused: true, .. }
        )
    }

    /// The same, of one who was asked for credentials.
    pub(crate) fn of_credentials(self) -> Self {
        match self {
            Self::Denied(reason) => Self::unsigned(reason),
            Self::Unavailable { reason, .. } => Self::NoCredentials {
                reason,
                refused: false,
            },
            other => other,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("its object is not in the key store"),
            Self::Disabled => f.write_str("its object is disabled"),
            Self::NotAKey(reason) | Self::NotSent(reason) => f.write_str(reason),
            Self::Denied(reason)
            | Self::NoCredentials { reason, .. }
            | Self::Unavailable { reason, .. } => f.write_str(reason),
        }
    }
}
