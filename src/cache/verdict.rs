//! What each outcome of a fetch means: one table, which docs/behaviour.md follows.

use crate::error::Error;
use crate::id::KeyName;
use crate::stats::Counter;
use crate::store::{Fault, StoreError};

/// What a fetch that found nothing means.
pub(super) struct Verdict {
    /// What a first call raises.
    pub(super) raises: Word,
    /// What becomes of a key at hand, whose check ended so.
    pub(super) cached: Cached,
    /// What it says of the store as a whole.
    pub(super) store: Says,
}

/// The word of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Lost,
    Disabled,
    Invalid,
    Denied,
    Unavailable,
}

/// What becomes of a key at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// It serves until its stale time is over.
    ServesOn,
    /// It serves until its TTL is over.
    ServesItsTtl,
    /// It is dropped at once.
    Dropped,
}

/// What an outcome says of the store as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It answers.
    Answers,
    /// It cannot be reached.
    Unreachable,
    /// It did not answer for this key.
    Silent,
    /// Nothing: it was not asked, or not in a way that it could answer.
    Nothing,
}

impl Verdict {
    #[rustfmt::skip]
    pub(super) fn of(error: &StoreError) -> Self {
        use Cached::{Dropped, ServesItsTtl, ServesOn};
        use Word::{Denied, Disabled, Invalid, Lost, Unavailable};
        let row = |raises, cached, store| Self { raises, cached, store };
        match error {
            //                                                a first call raises   a key at hand   of the store
            StoreError::Absent                                    => row(Lost,        Dropped,      Says::Answers),
            StoreError::Disabled                                  => row(Disabled,    Dropped,      Says::Answers),
            StoreError::NotAKey(_)                                => row(Invalid,     Dropped,      Says::Answers),
            StoreError::Denied(_)                                 => row(Denied,      Dropped,      Says::Answers),
            StoreError::NoCredentials { refused: true, .. }       => row(Denied,      ServesOn,     Says::Nothing),
            StoreError::NoCredentials { refused: false, .. }      => row(Unavailable, ServesOn,     Says::Nothing),
            StoreError::NotSent(_)                                => row(Unavailable, ServesOn,     Says::Nothing),
            StoreError::Unavailable { fault: Fault::Unreachable, .. } => row(Unavailable, ServesOn, Says::Unreachable),
            StoreError::Unavailable { fault: Fault::Silent, .. }  => row(Unavailable, ServesOn,     Says::Silent),
            StoreError::Unavailable { fault: Fault::Passing, .. } => row(Unavailable, ServesOn,     Says::Answers),
            StoreError::Unavailable { fault: Fault::Lasting, .. } => row(Unavailable, ServesItsTtl, Says::Answers),
        }
    }

    /// Under which word it is counted.
    pub(super) fn counter(&self) -> Counter {
        match self.raises {
            Word::Lost => Counter::Lost,
            Word::Disabled => Counter::Disabled,
            Word::Invalid => Counter::Invalid,
            Word::Denied => Counter::Denied,
            Word::Unavailable => Counter::Unavailable,
        }
    }
}

/// What a call raises that wanted the key `name`.
pub(super) fn key_error(name: &KeyName, error: &StoreError) -> Error {
    let key = name.uid.to_string();
    match Verdict::of(error).raises {
        Word::Lost => Error::KeyLost {
            key,
            reason: "its object is not in the key store",
        },
        Word::Disabled => Error::KeyDisabled { key },
        Word::Invalid => Error::KeyInvalid {
            key,
            reason: match error {
                StoreError::NotAKey(reason) => reason,
                _ => "its object is not a Fernet key",
            },
        },
        Word::Denied => Error::StoreDenied {
            key,
            reason: error.to_string(),
        },
        Word::Unavailable => Error::StoreUnavailable {
            key,
            reason: error.to_string(),
        },
    }
}
