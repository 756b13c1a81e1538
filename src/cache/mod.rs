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

mod bypass;
mod contents;
mod created;
mod fetch;
mod report;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use once_cell::race::OnceBox;

pub use self::bypass::Probe;
use self::contents::Contents;
pub use self::contents::Entry;
use self::created::Created;
use crate::cipher::Cipher;
use crate::config::{Config, ConfigError, StoreLocation};
use crate::error::Error;
use crate::id::{KeyName, KeyUid};
use crate::stats::{Counter, Stats};
use crate::store::directory::Directory;
use crate::store::s3::S3;
use crate::store::{KeyStore, StoreError};
use crate::system::locked::Pages;
use crate::system::process;
use crate::threads::flight::Flight;
use crate::threads::pool::{Pool, Priority};
use crate::threads::sync::{AtomicU64, Mutex, MutexGuard, lock};

/// How long after a failed check, or while the store is down, nobody asks again, in milliseconds.
const PAUSE: u64 = 1_000;

/// What a look at the cache came to.
enum Lookup {
    /// The key.
    Hit(Arc<Entry>),
    /// A fetch or a check was asked for.
    Pending(Pending),
}

/// What is being waited for, and the key at hand, if there is one.
struct Pending {
    cached: Option<Arc<Entry>>,
    flight: Result<Arc<Flight<Outcome>>, StoreError>,
}

/// What a flight brings.
type Outcome = Result<Arc<Entry>, StoreError>;

/// The keys of one process.
pub struct Cache {
    generation: u64,
    child: OnceBox<Cache>,
    store: Option<Box<dyn KeyStore>>,
    pool: Pool,
    /// Where the keys lie.
    pages: Arc<Pages<Cipher>>,
    contents: Mutex<Contents>,
    created: Mutex<Created>,
    /// Until when the store counts as down.
    down_until: AtomicU64,
    ttl: u64,
    stale: u64,
    timeout: Duration,
    /// Milliseconds of uptime; the tests turn it by hand.
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// What this process has counted.
    pub stats: Arc<Stats>,
}

static CACHE: OnceBox<Cache> = OnceBox::new();

impl Cache {
    /// This process's cache. `OnceBox` takes no lock, so that a child forked at any moment gets here.
    ///
    /// # Errors
    /// A key store that cannot be set up as configured.
    pub fn of_this_process(config: &'static Config) -> Result<&'static Self, ConfigError> {
        let generation = process::generation();
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
            pool: Pool::new(config.fetch_threads.get()),
            pages: Pages::new(),
            contents: Mutex::new(Contents::new(config.cache_keys)),
            created: Mutex::new(Created::new()),
            down_until: AtomicU64::new(0),
            ttl: milliseconds(config.cache_ttl),
            stale: milliseconds(config.cache_stale),
            timeout: config.fetch_timeout,
            clock: Box::new(|| milliseconds(process::uptime_at_tick())),
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
        let lookup = self.lookup(name, Priority::Demand);
        self.answer(name, lookup, Instant::now() + self.timeout, waiting)
    }

    /// Whether `entry`, which the cache gave for an earlier call, may serve one more unseen: it is still
    /// in the cache, and its check not yet due.
    pub fn serves(&self, entry: &Entry) -> bool {
        let now = self.now();
        // A stale answer is counted, where the cache is asked.
        if entry.dropped.load(Ordering::Relaxed)
            || now >= entry.due.load(Ordering::Relaxed)
            || !self.is_fresh(entry, now)
        {
            return false;
        }
        // Written once in a while, so that threads with the same keys do not fight for the line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        true
    }

    /// All of `names`, fetched side by side; one outcome for each.
    ///
    /// # Errors
    /// What `waiting` said.
    pub fn prefetch(
        &'static self,
        names: &[KeyName],
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Vec<Result<Arc<Entry>, Error>>, Error> {
        let mut lookups = Vec::new();
        lookups.try_reserve_exact(names.len())?;
        lookups.extend(
            names
                .iter()
                .map(|name| self.lookup(name, Priority::Prefetch)),
        );
        // Every flight lands within its timeout once it has a thread; those behind it wait for theirs.
        let rounds = self.pool.rounds(names.len());
        let patience = self.timeout * u32::try_from(rounds).unwrap_or(u32::MAX);
        let deadline = Instant::now() + patience.min(Duration::from_secs(86_400));
        let mut outcomes = Vec::new();
        outcomes.try_reserve_exact(names.len())?;
        for (name, lookup) in names.iter().zip(lookups) {
            outcomes.push(match self.answer(name, lookup, deadline, waiting) {
                // What was under way when the process was forked lands nowhere.
                Err(error) if error.word().is_none() || !self.is_of_this_process() => {
                    return Err(error);
                }
                outcome => outcome,
            });
        }
        Ok(outcomes)
    }

    /// Looks for `name` in the cache, and starts what fetch or check it needs.
    fn lookup(&'static self, name: &KeyName, priority: Priority) -> Lookup {
        let now = self.now();
        let mut contents = self.contents();
        let cached = contents.entries.get(name).cloned();
        match &cached {
            Some(entry) if now < entry.due.load(Ordering::Relaxed) => {
                if !self.is_fresh(entry, now) {
                    self.stats.count(Counter::StaleAnswers);
                }
                Lookup::Hit(Arc::clone(entry))
            }
            Some(entry) if self.is_fresh(entry, now) => {
                // Whether the check can be started does not matter to this call.
                let _ = self.flight(&mut contents, name, cached.clone(), priority);
                Lookup::Hit(Arc::clone(entry))
            }
            None if contents.absent.get(name).is_some_and(|until| now < *until) => {
                Lookup::Pending(Pending {
                    cached,
                    flight: Err(StoreError::Absent),
                })
            }
            _ => {
                let flight = self.flight(&mut contents, name, cached.clone(), priority);
                Lookup::Pending(Pending { cached, flight })
            }
        }
    }

    /// Waits for what `lookup` started, if anything, and decides whether a key at hand may serve instead.
    fn answer(
        &self,
        name: &KeyName,
        lookup: Lookup,
        deadline: Instant,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Arc<Entry>, Error> {
        let pending = match lookup {
            Lookup::Hit(entry) => {
                // Checks off the callers' path have something to say too.
                self.write_log();
                return Ok(entry);
            }
            Lookup::Pending(pending) => pending,
        };
        let outcome = match pending.flight {
            Ok(flight) => {
                self.wait(&flight, Some(deadline), waiting)?
                    .unwrap_or_else(|| {
                        // One that still stands in our own line says nothing of the store.
                        if flight.has_begun() {
                            self.store_is_down();
                        }
                        Err(StoreError::unreachable("no answer in time"))
                    })
            }
            Err(error) => Err(error),
        };
        match (outcome, pending.cached) {
            (Ok(entry), _) => Ok(entry),
            (Err(error), Some(entry)) if error.is_passing() && self.may_serve_stale(&entry) => {
                self.stats.count(Counter::StaleAnswers);
                Ok(entry)
            }
            (Err(error), _) => Err(key_error(name, error)),
        }
    }

    /// Waits for `flight`, and writes what there is to log.
    fn wait<T: Clone>(
        &self,
        flight: &Flight<T>,
        deadline: Option<Instant>,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<T>, Error> {
        let outcome = flight.wait(deadline, &mut || {
            waiting()?;
            // The host may have forked where it was asked. No thread of the parent's lands anything here, and its
            // locks may be held for ever.
            match self.is_of_this_process() {
                true => Ok(()),
                false => Err(Error::StoreUnavailable {
                    key: "(any)".to_owned(),
                    reason: "this process was forked from one that waited for it".to_owned(),
                }),
            }
        });
        self.write_log();
        outcome
    }

    /// Drops the key with this uid, under whatever object it is cached, and whatever is being fetched
    /// for it. How many keys that were.
    pub fn evict(&self, uid: &KeyUid) -> usize {
        self.contents().drop_keys(|name| name.uid == *uid)
    }

    /// Drops every key. How many that were.
    pub fn evict_all(&self) -> usize {
        self.contents().drop_keys(|_| true)
    }

    fn is_of_this_process(&self) -> bool {
        self.generation == process::generation()
    }

    /// Writes what the fetching threads had to say; on a thread that is inside an SQLite call.
    fn write_log(&self) {
        // A forked child leaves its parent's alone.
        if self.is_of_this_process() {
            for line in self.stats.take_lines() {
                crate::sqlite::log(&line);
            }
        }
    }

    fn store_is_down(&self) {
        self.down_until.store(self.now() + PAUSE, Ordering::Relaxed);
    }

    fn is_fresh(&self, entry: &Entry, now: u64) -> bool {
        now < entry
            .checked
            .load(Ordering::Relaxed)
            .saturating_add(self.ttl)
    }

    fn may_serve_stale(&self, entry: &Entry) -> bool {
        let end = self.ttl.saturating_add(self.stale);
        self.now() < entry.checked.load(Ordering::Relaxed).saturating_add(end)
    }

    /// When a key checked at `checked` is to be checked again: in the last third of its TTL, each at
    /// another moment, so that keys that came together are not asked for together.
    fn due(&self, checked: u64) -> u64 {
        let percent = 65 + u64::from(crate::store::random_percent()) * 30 / 100;
        checked.saturating_add(self.ttl / 100 * percent)
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
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

#[cfg(test)]
mod fixture;
#[cfg(test)]
#[cfg(feature = "schedules")]
mod schedules;
#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests;
