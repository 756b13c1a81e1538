//! What the cache keeps: keys, least recently used last; the flights under way; objects that are absent or disabled.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lru::LruCache;

use super::Outcome;
use crate::cipher::MasterKey;
use crate::id::KeyName;
use crate::store::StoreError;
use crate::system::locked::Locked;
use crate::threads::flight::Flight;
use crate::threads::sync::{AtomicBool, AtomicU64};

/// A cached key. Times are milliseconds of uptime.
pub struct Entry {
    /// The key, ready to use.
    pub key: Locked<MasterKey>,
    pub(super) tag: Option<String>,
    /// When it was last known to be the object's content.
    pub(super) checked: AtomicU64,
    /// From when on its use starts a check.
    pub(super) due: AtomicU64,
    /// It is no longer in the cache, and serves nobody who still holds it.
    pub(super) dropped: AtomicBool,
    /// It served somebody who held it since it was last moved to the front.
    pub(super) used: AtomicBool,
}

/// The most absent or disabled objects that are remembered; each for some seconds.
const MOST_ABSENT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

pub(super) struct Contents {
    pub(super) entries: LruCache<KeyName, Arc<Entry>>,
    pub(super) flights: HashMap<KeyName, Arc<Flight<Outcome>>>,
    /// Why there is no key to be had, and until when nobody asks again.
    pub(super) absent: LruCache<KeyName, (StoreError, u64)>,
    /// When the keys that can serve no more were last looked for.
    pub(super) swept: u64,
}

impl Contents {
    /// An empty one, for `most` keys.
    pub(super) fn new(most: NonZeroUsize) -> Self {
        Self {
            entries: bounded(most),
            flights: HashMap::new(),
            absent: bounded(most.min(MOST_ABSENT)),
            swept: 0,
        }
    }

    /// Puts `entry` to the front, and drops the least recently used one if there are too many.
    pub(super) fn keep(&mut self, name: &KeyName, entry: &Arc<Entry>) {
        entry.dropped.store(false, Ordering::Relaxed);
        if self.entries.len() == self.entries.cap().get() && !self.entries.contains(name) {
            // Those who hold an entry use it without moving it.
            for _ in 0..self.entries.len() {
                match self.entries.peek_lru() {
                    Some((name, last)) if last.used.swap(false, Ordering::Relaxed) => {
                        let name = name.clone();
                        self.entries.promote(&name);
                    }
                    _ => break,
                }
            }
        }
        if let Some((_, other)) = self.entries.push(name.clone(), Arc::clone(entry))
            && !Arc::ptr_eq(&other, entry)
        {
            other.dropped.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn drop_key(&mut self, name: &KeyName) {
        if let Some(entry) = self.entries.pop(name) {
            entry.dropped.store(true, Ordering::Relaxed);
        }
    }

    /// Drops every key that is `doomed`, and whatever is known of its absence or being fetched for it. How many keys that
    /// were.
    pub(super) fn drop_keys(&mut self, doomed: impl Fn(&KeyName) -> bool) -> usize {
        // A flight that is no longer listed answers those who wait and leaves nothing behind.
        self.flights.retain(|name, _| !doomed(name));
        for name in names(&self.absent, &doomed) {
            self.absent.pop(&name);
        }
        let cached = names(&self.entries, &doomed);
        for name in &cached {
            self.drop_key(name);
        }
        cached.len()
    }

    /// Takes `flight` off the list; whether it stood there.
    pub(super) fn delist(&mut self, flight: &Arc<Flight<Outcome>>, name: &KeyName) -> bool {
        let listed = self
            .flights
            .get(name)
            .is_some_and(|listed| Arc::ptr_eq(listed, flight));
        if listed {
            self.flights.remove(name);
        }
        listed
    }
}

/// With no room taken before there is something to keep, unlike `LruCache::new`.
fn bounded<V>(most: NonZeroUsize) -> LruCache<KeyName, V> {
    let mut map = LruCache::unbounded();
    map.resize(most);
    map
}

fn names<V>(of: &LruCache<KeyName, V>, wanted: impl Fn(&KeyName) -> bool) -> Vec<KeyName> {
    of.iter()
        .map(|(name, _)| name)
        .filter(|name| wanted(name))
        .cloned()
        .collect()
}
