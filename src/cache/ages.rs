//! How old a key may be: fresh, due for a check, stale and serving on, or too old for that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Cache;
use super::contents::Entry;

impl Cache {
    pub(super) fn is_fresh(&self, entry: &Entry, now: u64) -> bool {
        now < entry
            .checked
            .load(Ordering::Relaxed)
            .saturating_add(self.ttl)
    }

    pub(super) fn may_serve_stale(&self, entry: &Entry) -> bool {
        let end = self.ttl.saturating_add(self.stale);
        self.now() < entry.checked.load(Ordering::Relaxed).saturating_add(end)
    }

    /// When a key checked at `checked` is to be checked again: in the last third of its TTL, each at
    /// another moment, so that keys that came together are not asked for together.
    pub(super) fn due(&self, checked: u64) -> u64 {
        let percent = 65 + u64::from(crate::store::random_percent()) * 30 / 100;
        checked.saturating_add(self.ttl / 100 * percent)
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
