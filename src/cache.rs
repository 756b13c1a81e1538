//! The process-wide cache: single flight, ages, bounds.
//!
//! The cache only saves a fetch: whether a key may be used is decided by its row, before the cache is
//! asked. An entry serves unchecked for the TTL. Towards its end, the next call that uses it has it
//! checked on another thread and goes on; past it, a call waits for the check. A key that could not be
//! checked, since the store gave no answer or a passing fault, serves on as stale for a bounded time;
//! one that the store denies or no longer has is dropped at once.
//!
//! One lock guards the entries, and nothing waits while it is held. A forked child gets a cache of its
//! own: it must not touch its parent's locks, threads or sockets.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use once_cell::race::OnceBox;

use crate::cipher::Cipher;
use crate::config::{Config, ConfigError, StoreLocation};
use crate::error::Error;
use crate::ffi::system;
use crate::flight::{Fetchers, Flight};
use crate::id::KeyName;
use crate::stats::{Counter, Stats};
use crate::store::directory::Directory;
use crate::store::s3::S3;
use crate::store::{Fault, Fetched, KeyStore, StoreError};

/// How long an absent object is remembered, in milliseconds: a scan over entries of a lost key asks
/// the store once, and a key that is being made is soon found.
const ABSENT_FOR: u64 = 3_000;
/// How long after a failed check, or while the store is down, nobody asks again, in milliseconds.
const PAUSE: u64 = 1_000;

/// A cached key. Times are milliseconds of uptime.
pub struct Entry {
    /// The key, ready to use.
    pub cipher: Cipher,
    tag: Option<String>,
    /// When it was last known to be the object's content.
    checked: AtomicU64,
    /// From when on its use starts a check.
    due: AtomicU64,
}

/// What a flight brings.
type Outcome = Result<Arc<Entry>, StoreError>;

/// The keys of one process.
pub struct Cache {
    generation: u64,
    child: OnceBox<Cache>,
    store: Option<Box<dyn KeyStore>>,
    fetchers: Fetchers,
    shelf: Mutex<Shelf>,
    /// Until when the store counts as down.
    down_until: AtomicU64,
    ttl: u64,
    stale: u64,
    timeout: Duration,
    /// What this process has counted.
    pub stats: Arc<Stats>,
}

struct Shelf {
    entries: LruCache<KeyName, Arc<Entry>>,
    flights: HashMap<KeyName, Arc<Flight<Outcome>>>,
    absent: LruCache<KeyName, u64>,
}

static CACHE: OnceBox<Cache> = OnceBox::new();

impl Cache {
    /// This process's cache. `OnceBox` takes no lock, so that a child forked at any moment gets here.
    ///
    /// # Errors
    /// A key store that cannot be set up as configured.
    pub fn of_this_process(config: &'static Config) -> Result<&'static Self, ConfigError> {
        let generation = system::generation();
        let new = || Self::new(config, generation).map(Box::new);
        let mut cache = CACHE.get_or_try_init(new)?;
        while cache.generation != generation {
            cache = cache.child.get_or_try_init(new)?;
        }
        Ok(cache)
    }

    fn new(config: &'static Config, generation: u64) -> Result<Self, ConfigError> {
        let stats = Arc::new(Stats::default());
        let store: Option<Box<dyn KeyStore>> = match &config.store {
            None => None,
            Some(StoreLocation::Directory(root)) => Some(Box::new(Directory::new(root.clone()))),
            Some(StoreLocation::S3 { bucket }) => {
                Some(Box::new(S3::new(bucket, config, Arc::clone(&stats))?))
            }
        };
        Ok(Self::over(store, config, stats, generation))
    }

    fn over(
        store: Option<Box<dyn KeyStore>>,
        config: &Config,
        stats: Arc<Stats>,
        generation: u64,
    ) -> Self {
        Self {
            generation,
            child: OnceBox::new(),
            store,
            fetchers: Fetchers::new(config.fetch_threads.get()),
            shelf: Mutex::new(Shelf {
                entries: LruCache::new(config.cache_keys),
                flights: HashMap::new(),
                absent: LruCache::new(config.cache_keys),
            }),
            down_until: AtomicU64::new(0),
            ttl: milliseconds(config.cache_ttl),
            stale: milliseconds(config.cache_stale),
            timeout: config.fetch_timeout,
            stats,
        }
    }

    /// The key `name`, from the cache or the store. `waiting` is asked now and then, while this waits
    /// for a fetch, whether to go on.
    ///
    /// # Errors
    /// What the fetch came to, under the key's label, or what `waiting` said.
    pub fn key(
        &'static self,
        name: &KeyName,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Arc<Entry>, Error> {
        let now = uptime();
        let (known, flight) = {
            let mut shelf = self.shelf();
            let known = shelf.entries.get(name).cloned();
            if let Some(entry) = &known {
                if now < entry.due.load(Ordering::Relaxed) {
                    return Ok(Arc::clone(entry));
                }
                if self.is_fresh(entry, now) {
                    // Whether the check can be started does not matter to this call.
                    let _ = self.flight(&mut shelf, name, known.clone(), now);
                    return Ok(Arc::clone(entry));
                }
            } else if shelf.absent.get(name).is_some_and(|until| now < *until) {
                return Err(key_error(name, StoreError::Absent));
            }
            let flight = self.flight(&mut shelf, name, known.clone(), now);
            (known, flight)
        };
        let outcome = match flight {
            Ok(flight) => {
                let deadline = Instant::now() + self.timeout;
                let outcome = flight.wait(Some(deadline), waiting);
                self.write_log();
                outcome?.unwrap_or_else(|| {
                    self.store_is_down();
                    Err(StoreError::unreachable("no answer in time"))
                })
            }
            Err(error) => Err(error),
        };
        match (outcome, known) {
            (Ok(entry), _) => Ok(entry),
            (Err(error), Some(entry)) if error.is_passing() && self.may_serve_stale(&entry) => {
                self.stats.count(Counter::StaleAnswers);
                Ok(entry)
            }
            (Err(error), _) => Err(key_error(name, error)),
        }
    }

    /// Drops the key with this uid, under whatever object it is cached, and whatever is being fetched
    /// for it. How many keys that were.
    pub fn evict(&self, uid: &crate::id::KeyUid) -> usize {
        self.drop_keys(|name| name.uid == *uid)
    }

    /// Drops every key. How many that were.
    pub fn evict_all(&self) -> usize {
        self.drop_keys(|_| true)
    }

    fn drop_keys(&self, doomed: impl Fn(&KeyName) -> bool) -> usize {
        let mut shelf = self.shelf();
        // A flight that is no longer listed answers those who wait and leaves nothing behind.
        shelf.flights.retain(|name, _| !doomed(name));
        for name in names(&shelf.absent, &doomed) {
            shelf.absent.pop(&name);
        }
        let cached = names(&shelf.entries, &doomed);
        for name in &cached {
            shelf.entries.pop(name);
        }
        cached.len()
    }

    /// The flight for `name`: the one under way, or a new one.
    fn flight(
        &'static self,
        shelf: &mut Shelf,
        name: &KeyName,
        known: Option<Arc<Entry>>,
        now: u64,
    ) -> Result<Arc<Flight<Outcome>>, StoreError> {
        if let Some(flight) = shelf.flights.get(name) {
            return Ok(Arc::clone(flight));
        }
        if now < self.down_until.load(Ordering::Relaxed) {
            return Err(StoreError::unreachable(
                "the store gave no answer a moment ago",
            ));
        }
        let flight = Arc::new(Flight::new());
        let job = {
            let (flight, name) = (Arc::clone(&flight), name.clone());
            Box::new(move || self.fly(&flight, &name, known))
        };
        if self.fetchers.submit(job).is_err() {
            return Err(StoreError::passing("the system starts no thread"));
        }
        shelf.flights.insert(name.clone(), Arc::clone(&flight));
        Ok(flight)
    }

    /// Fetches, on a thread of ours, and lands.
    fn fly(&self, flight: &Arc<Flight<Outcome>>, name: &KeyName, known: Option<Arc<Entry>>) {
        let start = Instant::now();
        let fetch = || self.fetch(name, known.as_ref(), start + self.timeout);
        let outcome = catch_unwind(AssertUnwindSafe(fetch))
            .unwrap_or_else(|_| Err(StoreError::lasting("internal error, please report it")));
        self.account(name, &outcome, start.elapsed());
        let mut shelf = self.shelf();
        // Whoever evicted the key meanwhile took the flight off the list.
        let listed = shelf
            .flights
            .get(name)
            .is_some_and(|listed| Arc::ptr_eq(listed, flight));
        if listed {
            shelf.flights.remove(name);
            self.shelve(&mut shelf, name, known.as_deref(), &outcome);
        }
        drop(shelf);
        flight.land(outcome);
    }

    fn fetch(&self, name: &KeyName, known: Option<&Arc<Entry>>, deadline: Instant) -> Outcome {
        let Some(store) = &self.store else {
            return Err(StoreError::lasting("there is no key store"));
        };
        // The age counts from before the question: the answer was true then, not later.
        let asked = uptime();
        let tag = known.and_then(|entry| entry.tag.as_deref());
        match store.fetch(&name.object, tag, deadline)? {
            Fetched::Object { content, tag } => match Cipher::from_object(&content) {
                Some(cipher) => Ok(Arc::new(Entry {
                    cipher,
                    tag,
                    checked: AtomicU64::new(asked),
                    due: AtomicU64::new(self.due(asked)),
                })),
                None => Err(StoreError::NotAKey("its object is not a Fernet key")),
            },
            Fetched::Unchanged => match known {
                Some(entry) => {
                    entry.checked.store(asked, Ordering::Relaxed);
                    entry.due.store(self.due(asked), Ordering::Relaxed);
                    Ok(Arc::clone(entry))
                }
                None => Err(StoreError::lasting("its answer was for another request")),
            },
        }
    }

    /// Keeps what a flight brought.
    fn shelve(&self, shelf: &mut Shelf, name: &KeyName, known: Option<&Entry>, outcome: &Outcome) {
        match outcome {
            Ok(entry) => {
                shelf.absent.pop(name);
                shelf.entries.put(name.clone(), Arc::clone(entry));
            }
            Err(StoreError::Absent) => {
                shelf.entries.pop(name);
                shelf.absent.put(name.clone(), uptime() + ABSENT_FOR);
            }
            Err(StoreError::Denied(_) | StoreError::NotAKey(_)) => drop(shelf.entries.pop(name)),
            Err(StoreError::Unavailable { .. }) => {
                if let Some(entry) = known {
                    entry.due.store(uptime() + PAUSE, Ordering::Relaxed);
                }
            }
        }
    }

    fn account(&self, name: &KeyName, outcome: &Outcome, took: Duration) {
        self.stats.count(Counter::Fetches);
        self.stats
            .add(Counter::FetchMilliseconds, milliseconds(took));
        let counter = match outcome {
            Ok(_) => {
                self.stats.set(Counter::LastGood, uptime());
                self.down_until.store(0, Ordering::Relaxed);
                return;
            }
            Err(StoreError::Absent) => Counter::Lost,
            Err(StoreError::NotAKey(_)) => Counter::Invalid,
            Err(StoreError::Denied(_)) => Counter::Denied,
            Err(StoreError::Unavailable { fault, .. }) => {
                if *fault == Fault::Unreachable {
                    self.store_is_down();
                }
                Counter::Unavailable
            }
        };
        self.stats.count(counter);
        if let Err(error) = outcome {
            self.stats
                .log(format_args!("fetch of key {} failed: {error}", name.uid));
        }
    }

    /// Writes what the fetching threads had to say; on a thread that is inside an SQLite call.
    fn write_log(&self) {
        for line in self.stats.take_lines() {
            crate::ffi::log(&line);
        }
    }

    fn store_is_down(&self) {
        self.down_until.store(uptime() + PAUSE, Ordering::Relaxed);
    }

    fn is_fresh(&self, entry: &Entry, now: u64) -> bool {
        now < entry
            .checked
            .load(Ordering::Relaxed)
            .saturating_add(self.ttl)
    }

    fn may_serve_stale(&self, entry: &Entry) -> bool {
        let end = self.ttl.saturating_add(self.stale);
        uptime() < entry.checked.load(Ordering::Relaxed).saturating_add(end)
    }

    /// When a key checked at `checked` is to be checked again: in the last third of its TTL, each at
    /// another moment, so that keys that came together are not asked for together.
    fn due(&self, checked: u64) -> u64 {
        let percent = 65 + u64::from(crate::store::random_percent()) * 30 / 100;
        checked.saturating_add(self.ttl / 100 * percent)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names<V>(of: &LruCache<KeyName, V>, wanted: impl Fn(&KeyName) -> bool) -> Vec<KeyName> {
    of.iter()
        .map(|(name, _)| name)
        .filter(|name| wanted(name))
        .cloned()
        .collect()
}

fn key_error(name: &KeyName, error: StoreError) -> Error {
    let key = name.uid.to_string();
    match error {
        StoreError::Absent => Error::KeyLost {
            key,
            reason: "its object is not in the key store",
        },
        StoreError::NotAKey(reason) => Error::KeyInvalid { key, reason },
        StoreError::Denied(reason) => Error::StoreDenied { key, reason },
        StoreError::Unavailable { reason, .. } => Error::StoreUnavailable { key, reason },
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn uptime() -> u64 {
    milliseconds(system::uptime())
}
