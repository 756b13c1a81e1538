//! What the cache tells of itself.

use std::sync::atomic::Ordering;

use super::Cache;
use crate::id::KeyName;
use crate::stats::Counter;
use crate::store::CredentialStatus;

impl Cache {
    /// The cached keys: name, seconds since the last check, and whether the TTL is over.
    pub fn list(&self) -> Vec<(KeyName, f64, bool)> {
        let now = self.now();
        let contents = self.contents();
        contents
            .entries
            .iter()
            .map(|(name, entry)| {
                let age = now.saturating_sub(entry.checked.load(Ordering::Relaxed));
                (
                    name.clone(),
                    age as f64 / 1000.0,
                    !self.is_fresh(entry, now),
                )
            })
            .collect()
    }

    /// How many keys are cached, and how many of these are past their TTL.
    pub fn sizes(&self) -> (usize, usize) {
        let now = self.now();
        let contents = self.contents();
        let entries = contents.entries.iter();
        let stale = entries.filter(|(_, entry)| !self.is_fresh(entry, now));
        (contents.entries.len(), stale.count())
    }

    /// How many keys stand in line for their fetch or check, or are being fetched.
    pub fn pending(&self) -> usize {
        self.contents().flights.len()
    }

    /// Where the store's credentials come from and for how long; `None` where none were needed yet.
    pub fn credentials(&self) -> Option<CredentialStatus> {
        self.store.as_ref()?.credentials()
    }

    /// How many keys lie in memory that may be swapped out.
    pub fn keys_unlocked(&self) -> usize {
        self.pages.unlocked()
    }

    /// Whether the store could not be reached a moment ago, so that calls do not ask it.
    pub fn counts_as_down(&self) -> bool {
        self.breaker.is_open(self.now())
    }

    /// Seconds since the store last answered with a key; `None` before the first time.
    pub fn seconds_since_good(&self) -> Option<f64> {
        match self.stats.get(Counter::LastGood) {
            0 => None,
            at => Some(self.now().saturating_sub(at) as f64 / 1000.0),
        }
    }
}
