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

mod ages;
mod breaker;
mod bypass;
mod contents;
mod created;
mod fetch;
mod lookup;
mod report;
mod verdict;
mod wrapping;

use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

use self::ages::milliseconds;
use self::breaker::Breaker;
pub use self::bypass::Probe;
use self::contents::Contents;
pub use self::contents::Entry;
use self::created::Created;
use self::wrapping::Wrapping;
use crate::cipher::MasterKey;
use crate::config::{Config, ConfigError, StoreLocation};
use crate::id::KeyUid;
use crate::secret::wipe_stack;
use crate::stats::Stats;
use crate::store::directory::Directory;
use crate::store::s3::S3;
use crate::store::{KeyStore, StoreError};
use crate::system::locked::Pages;
use crate::system::process;
use crate::threads::pool::Pool;
use crate::threads::sync::{Mutex, MutexGuard, lock};

/// What a flight brings.
type Outcome = Result<Arc<Entry>, StoreError>;

/// The keys of one process.
pub struct Cache {
    generation: u64,
    child: OnceBox<Cache>,
    store: Option<Box<dyn KeyStore>>,
    pool: Pool,
    /// Where the keys lie.
    pages: Arc<Pages<MasterKey>>,
    wrapping: Wrapping,
    contents: Mutex<Contents>,
    created: Mutex<Created>,
    breaker: Breaker,
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
        let mut cache = Self::over(store, config, stats, generation);
        let wrapping = Wrapping::read(config, &cache.pages);
        // The keys' bytes went over it.
        wipe_stack::<4096>();
        cache.wrapping = wrapping?;
        Ok(cache)
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
            wrapping: Wrapping::default(),
            contents: Mutex::new(Contents::new(config.cache_keys)),
            created: Mutex::new(Created::new()),
            breaker: Breaker::new(),
            ttl: milliseconds(config.cache_ttl),
            stale: milliseconds(config.cache_stale),
            timeout: config.fetch_timeout,
            clock: Box::new(|| milliseconds(process::uptime_at_tick())),
            stats,
        }
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

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
#[cfg(feature = "schedules")]
mod schedules;
#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests;
