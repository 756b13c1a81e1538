//! Whether the store counts as down, so that calls do not ask it for a moment.
//!
//! One key without an answer is not an outage: its object, or what lies on the way to it, may be slow, and the keys of
//! all others are not to suffer for it. No connection at all is one, and so are several keys in a row.

use std::sync::atomic::Ordering;

use super::verdict::Says;
use crate::id::KeyName;
use crate::threads::sync::{AtomicU64, Mutex, lock};

/// How long after a failed check, or while the store is down, nobody asks again, in milliseconds.
pub(super) const PAUSE: u64 = 1_000;
/// How many keys have to stay without an answer, with none answered between.
pub(super) const SILENT_KEYS: usize = 3;

pub(super) struct Breaker {
    open_until: AtomicU64,
    /// The keys that stayed without an answer since the store last gave one, at most so many.
    silent: Mutex<Vec<KeyName>>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            open_until: AtomicU64::new(0),
            silent: Mutex::new(Vec::with_capacity(SILENT_KEYS)),
        }
    }

    pub(super) fn is_open(&self, now: u64) -> bool {
        now < self.open_until.load(Ordering::Relaxed)
    }

    /// Takes in what a fetch of `name` said of the store.
    pub(super) fn hear(&self, says: Says, name: &KeyName, now: u64) {
        let opens = match says {
            Says::Nothing => return,
            Says::Unreachable => true,
            Says::Silent => {
                let mut silent = lock(&self.silent);
                if silent.len() < SILENT_KEYS && !silent.contains(name) {
                    silent.push(name.clone());
                }
                silent.len() == SILENT_KEYS
            }
            Says::Answers => {
                lock(&self.silent).clear();
                self.open_until.store(0, Ordering::Relaxed);
                false
            }
        };
        if opens {
            self.open_until.store(now + PAUSE, Ordering::Relaxed);
        }
    }
}
