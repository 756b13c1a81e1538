//! What this process has counted, and what it has to say to SQLite's log. Never touched by a call that
//! finds its key in the cache.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Counter {
    /// Fetches that ended, checks included.
    Fetches,
    /// Microseconds that those took.
    FetchMicroseconds,
    /// Tries after the first.
    Retries,
    /// Calls answered with a key past its TTL, since it could not be checked.
    StaleAnswers,
    /// Calls whose time passed before their fetch had a thread, or a moment after.
    QueueTimeouts,
    /// Fetches that ended with an absent object.
    Lost,
    /// Fetches that ended with a disabled object.
    Disabled,
    /// Fetches that ended with something that is no key.
    Invalid,
    /// Fetches that were refused.
    Denied,
    /// Fetches that ended without an answer or with a fault.
    Unavailable,
    /// Uptime in milliseconds of the last fetch that the store answered with a key.
    LastGood,
}

const COUNTERS: usize = Counter::LastGood as usize + 1;

/// The counters of one process, and its lines for the log.
#[derive(Default)]
pub struct Stats {
    counters: [AtomicU64; COUNTERS],
    lines: Mutex<VecDeque<String>>,
    pending: AtomicBool,
}

impl Stats {
    /// Lines kept until a call writes them; the oldest go first.
    const MOST_LINES: usize = 256;

    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `amount`.
    pub fn add(&self, counter: Counter, amount: u64) {
        self.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, counter: Counter, value: u64) {
        self.counters[counter as usize].store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// Keeps a line for SQLite's log. Fetches run on threads of ours, and a host's log callback must
    /// only be called on a thread of the host's: the next call that waits writes the line.
    pub fn log(&self, line: fmt::Arguments<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == Self::MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(format!("journal_crypt: {line}"));
        self.pending.store(true, Ordering::Release);
    }

    /// The lines to write, oldest first; they are gone from here.
    pub fn take_lines(&self) -> VecDeque<String> {
        if !self.pending.load(Ordering::Relaxed) || !self.pending.swap(false, Ordering::Acquire) {
            return VecDeque::new();
        }
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
