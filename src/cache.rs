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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use once_cell::race::OnceBox;

use crate::cipher::Cipher;
use crate::config::{Config, ConfigError, StoreLocation};
use crate::error::Error;
use crate::fetchers::{Fetchers, For, Job};
use crate::ffi::locked::{Locked, Pages};
use crate::ffi::system;
use crate::flight::Flight;
use crate::id::{KeyName, KeyUid, ObjectName};
use crate::stats::{Counter, Stats};
use crate::store::directory::Directory;
use crate::store::s3::S3;
use crate::store::{CredentialStatus, Fault, Fetched, KeyStore, StoreError, guarded};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, lock};

/// How long an absent object is remembered, in milliseconds: a scan over entries of a lost key asks
/// the store once, and a key that is being made is soon found.
const ABSENT_FOR: u64 = 3_000;
/// How long after a failed check, or while the store is down, nobody asks again, in milliseconds.
const PAUSE: u64 = 1_000;

/// How often, while there are fetches, keys that can serve no more are wiped from memory, in milliseconds.
const SWEEP: u64 = 60_000;

/// A cached key. Times are milliseconds of uptime.
pub struct Entry {
    /// The key, ready to use.
    pub cipher: Locked<Cipher>,
    tag: Option<String>,
    /// When it was last known to be the object's content.
    checked: AtomicU64,
    /// From when on its use starts a check.
    due: AtomicU64,
    /// It is no longer in the cache, and serves nobody who still holds it.
    dropped: AtomicBool,
    /// It served somebody who held it since it was last moved to the front.
    used: AtomicBool,
}

/// What a look at the cache came to.
enum Look {
    /// The key.
    Ready(Arc<Entry>),
    /// A fetch or a check was asked for.
    Asked(Asked),
}

/// What is being waited for, and the key at hand, if there is one.
struct Asked {
    known: Option<Arc<Entry>>,
    flight: Result<Arc<Flight<Outcome>>, StoreError>,
}

/// What the store itself said of a name.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Whether its object is a Fernet key, or why there is none.
    pub is_key: Result<bool, StoreError>,
    /// The store's clock, where it tells.
    pub date: Option<SystemTime>,
    /// How long the question took.
    pub took: Duration,
}

/// What a flight brings.
type Outcome = Result<Arc<Entry>, StoreError>;

/// The keys of one process.
pub struct Cache {
    generation: u64,
    child: OnceBox<Cache>,
    store: Option<Box<dyn KeyStore>>,
    fetchers: Fetchers,
    /// Where the keys lie.
    pages: Arc<Pages<Cipher>>,
    shelf: Mutex<Shelf>,
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

struct Shelf {
    entries: LruCache<KeyName, Arc<Entry>>,
    flights: HashMap<KeyName, Arc<Flight<Outcome>>>,
    absent: LruCache<KeyName, u64>,
    /// When the keys that can serve no more were last looked for.
    swept: u64,
}

impl Shelf {
    /// Puts `entry` to the front, and drops the least recently used one if there are too many.
    fn keep(&mut self, name: &KeyName, entry: &Arc<Entry>) {
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

    fn drop_key(&mut self, name: &KeyName) {
        if let Some(entry) = self.entries.pop(name) {
            entry.dropped.store(true, Ordering::Relaxed);
        }
    }
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
            pages: Pages::new(),
            shelf: Mutex::new(Shelf {
                entries: LruCache::new(config.cache_keys),
                flights: HashMap::new(),
                absent: LruCache::new(config.cache_keys),
                swept: 0,
            }),
            down_until: AtomicU64::new(0),
            ttl: milliseconds(config.cache_ttl),
            stale: milliseconds(config.cache_stale),
            timeout: config.fetch_timeout,
            clock: Box::new(|| milliseconds(system::uptime_at_tick())),
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
        let look = self.look(name, For::Call);
        self.answer(name, look, Instant::now() + self.timeout, waiting)
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
        let mut looks = Vec::new();
        looks.try_reserve_exact(names.len())?;
        looks.extend(names.iter().map(|name| self.look(name, For::Prefetch)));
        // Every flight lands within its timeout once it has a thread; those behind it wait for theirs.
        let rounds = self.fetchers.rounds(names.len());
        let patience = self.timeout * u32::try_from(rounds).unwrap_or(u32::MAX);
        let deadline = Instant::now() + patience.min(Duration::from_secs(86_400));
        let mut outcomes = Vec::new();
        outcomes.try_reserve_exact(names.len())?;
        for (name, look) in names.iter().zip(looks) {
            outcomes.push(match self.answer(name, look, deadline, waiting) {
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
    fn look(&'static self, name: &KeyName, whom: For) -> Look {
        let now = self.now();
        let mut shelf = self.shelf();
        let known = shelf.entries.get(name).cloned();
        match &known {
            Some(entry) if now < entry.due.load(Ordering::Relaxed) => {
                if !self.is_fresh(entry, now) {
                    self.stats.count(Counter::StaleAnswers);
                }
                Look::Ready(Arc::clone(entry))
            }
            Some(entry) if self.is_fresh(entry, now) => {
                // Whether the check can be started does not matter to this call.
                let _ = self.flight(&mut shelf, name, known.clone(), whom);
                Look::Ready(Arc::clone(entry))
            }
            None if shelf.absent.get(name).is_some_and(|until| now < *until) => {
                Look::Asked(Asked {
                    known,
                    flight: Err(StoreError::Absent),
                })
            }
            _ => {
                let flight = self.flight(&mut shelf, name, known.clone(), whom);
                Look::Asked(Asked { known, flight })
            }
        }
    }

    /// Waits for what `look` started, if anything, and decides whether a key at hand may serve instead.
    fn answer(
        &self,
        name: &KeyName,
        look: Look,
        deadline: Instant,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Arc<Entry>, Error> {
        let asked = match look {
            Look::Ready(entry) => {
                // Checks off the callers' path have something to say too.
                self.write_log();
                return Ok(entry);
            }
            Look::Asked(asked) => asked,
        };
        let outcome = match asked.flight {
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
        match (outcome, asked.known) {
            (Ok(entry), _) => Ok(entry),
            (Err(error), Some(entry)) if error.is_passing() && self.may_serve_stale(&entry) => {
                self.stats.count(Counter::StaleAnswers);
                Ok(entry)
            }
            (Err(error), _) => Err(key_error(name, error)),
        }
    }

    /// Asks the store itself for `name`, on a thread of ours, whatever the cache holds and whether or
    /// not the store counts as down.
    ///
    /// # Errors
    /// What `waiting` said.
    pub fn probe(
        &'static self,
        name: &ObjectName,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Probe>, Error> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let flight = Arc::new(Flight::new());
        let (landing, name, timeout) = (Arc::clone(&flight), name.clone(), self.timeout);
        let job = Box::new(move || {
            let start = Instant::now();
            let mut date = None;
            let is_key = guarded(|| {
                let (outcome, of_the_store) = store.probe(&name, start + timeout);
                date = of_the_store;
                outcome.map(|fetched| match fetched {
                    Fetched::Object { content, .. } => Cipher::from_object(&content).is_some(),
                    Fetched::Unchanged => false,
                })
            });
            landing.land(Probe {
                is_key,
                date,
                took: start.elapsed(),
            });
        });
        if self.fetchers.submit(For::Call, job).is_err() {
            return Ok(None);
        }
        self.wait(&flight, Some(Instant::now() + 2 * self.timeout), waiting)
    }

    /// Does something to the store that is no fetch, on a thread of ours. Whether the store counts as down
    /// does not matter. A caller who is interrupted leaves; what was begun goes on.
    ///
    /// # Errors
    /// What `waiting` said; the store's own within.
    pub fn at_store<T: Clone + Send + 'static>(
        &'static self,
        errand: impl FnOnce(&dyn KeyStore, Duration) -> Result<T, StoreError> + Send + 'static,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Result<T, StoreError>, Error> {
        let Some(store) = &self.store else {
            return Err(Error::NotConfigured);
        };
        let flight = Arc::new(Flight::new());
        let landing = Arc::clone(&flight);
        let job = Box::new(move || landing.land(guarded(|| errand(&**store, self.timeout))));
        if self.fetchers.submit(For::Call, job).is_err() {
            return Ok(Err(StoreError::passing("no thread or no memory for it")));
        }
        let outcome = self.wait(&flight, None, waiting)?;
        Ok(outcome.unwrap_or_else(|| Err(StoreError::unreachable("no answer in time"))))
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

    /// The cached keys: name, seconds since the last check, and whether the TTL is over.
    pub fn list(&self) -> Vec<(KeyName, f64, bool)> {
        let now = self.now();
        let shelf = self.shelf();
        shelf
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

    /// Where the store's credentials come from and for how long; `None` where none were needed yet.
    pub fn credentials(&self) -> Option<CredentialStatus> {
        self.store.as_ref()?.credentials()
    }

    /// How many keys lie in memory that may be swapped out.
    pub fn keys_unlocked(&self) -> usize {
        self.pages.unlocked()
    }

    /// Whether the store gave no answer a moment ago, so that calls do not ask it.
    pub fn counts_as_down(&self) -> bool {
        self.now() < self.down_until.load(Ordering::Relaxed)
    }

    /// Seconds since the store last answered with a key; `None` before the first time.
    pub fn seconds_since_good(&self) -> Option<f64> {
        match self.stats.get(Counter::LastGood) {
            0 => None,
            at => Some(self.now().saturating_sub(at) as f64 / 1000.0),
        }
    }

    /// Drops the key with this uid, under whatever object it is cached, and whatever is being fetched
    /// for it. How many keys that were.
    pub fn evict(&self, uid: &KeyUid) -> usize {
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
            shelf.drop_key(name);
        }
        cached.len()
    }

    /// The flight for `name`: the one under way, or a new one.
    fn flight(
        &'static self,
        shelf: &mut Shelf,
        name: &KeyName,
        known: Option<Arc<Entry>>,
        whom: For,
    ) -> Result<Arc<Flight<Outcome>>, StoreError> {
        if let Some(flight) = shelf.flights.get(name) {
            // Where it stands among others that are prefetched, it goes before them. The first of the two jobs that
            // gets a thread does the work; if there is no room for another, the old one does.
            if whom == For::Call && flight.hurry() {
                let _ = self
                    .fetchers
                    .submit(For::Call, self.job(flight, name, known));
            }
            return Ok(Arc::clone(flight));
        }
        if self.counts_as_down() {
            return Err(unanswered());
        }
        // As many as there are keys to prefetch.
        if shelf.flights.try_reserve(1).is_err() {
            return Err(StoreError::passing("out of memory"));
        }
        let flight = Arc::new(Flight::new());
        if whom == For::Call {
            flight.hurry();
        }
        let job = self.job(&flight, name, known);
        if self.fetchers.submit(whom, job).is_err() {
            return Err(StoreError::passing("no thread or no memory for it"));
        }
        shelf.flights.insert(name.clone(), Arc::clone(&flight));
        Ok(flight)
    }

    /// Fetches and lands, unless another job for `flight` does.
    fn job(
        &'static self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        known: Option<Arc<Entry>>,
    ) -> Job {
        let (flight, name) = (Arc::clone(flight), name.clone());
        Box::new(move || {
            if !flight.begin() {
                return;
            }
            let outcome = guarded(|| self.fly(&flight, &name, known));
            if outcome.is_err() {
                // A flight that a panic ended is still listed.
                delist(&mut self.shelf(), &flight, &name);
            }
            flight.land(outcome);
        })
    }

    /// Fetches, on a thread of ours, and keeps what came of it.
    fn fly(
        &self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        known: Option<Arc<Entry>>,
    ) -> Outcome {
        let start = Instant::now();
        // The store may have gone down while this flight stood in line.
        let outcome = if self.counts_as_down() {
            Err(unanswered())
        } else {
            // By itself, so that a panic in it is counted.
            let outcome = guarded(|| self.fetch(name, known.as_ref(), start + self.timeout));
            self.account(name, known.is_some(), &outcome, start.elapsed());
            outcome
        };
        let mut shelf = self.shelf();
        // Whoever evicted the key meanwhile took the flight off the list.
        if delist(&mut shelf, flight, name) {
            self.shelve(&mut shelf, name, known.as_deref(), &outcome);
        }
        self.sweep(&mut shelf);
        outcome
    }

    fn fetch(&self, name: &KeyName, known: Option<&Arc<Entry>>, deadline: Instant) -> Outcome {
        let Some(store) = &self.store else {
            return Err(StoreError::lasting("there is no key store"));
        };
        // The age counts from before the question: the answer was true then, not later.
        let asked = self.now();
        let tag = known.and_then(|entry| entry.tag.as_deref());
        match store.fetch(&name.object, tag, deadline)? {
            Fetched::Object { content, tag } => match Cipher::from_object(&content) {
                Some(cipher) => Ok(Arc::new(Entry {
                    cipher: Locked::new(&self.pages, cipher)
                        .ok_or_else(|| StoreError::passing("out of memory"))?,
                    tag,
                    checked: AtomicU64::new(asked),
                    due: AtomicU64::new(self.due(asked)),
                    dropped: AtomicBool::new(false),
                    used: AtomicBool::new(false),
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
                shelf.keep(name, entry);
            }
            Err(StoreError::Absent) => {
                shelf.drop_key(name);
                shelf.absent.put(name.clone(), self.now() + ABSENT_FOR);
            }
            Err(StoreError::Denied(_) | StoreError::NotAKey(_)) => shelf.drop_key(name),
            Err(error @ StoreError::Unavailable { .. }) => {
                if let Some(entry) = known {
                    // Nobody asks again for a moment, but the key serves no longer for that.
                    let serves = match error.is_passing() {
                        true => self.ttl.saturating_add(self.stale),
                        false => self.ttl,
                    };
                    let end = entry.checked.load(Ordering::Relaxed).saturating_add(serves);
                    entry
                        .due
                        .store(end.min(self.now() + PAUSE), Ordering::Relaxed);
                }
            }
        }
    }

    /// Drops the keys that nobody has used for so long that they could not even serve as stale.
    fn sweep(&self, shelf: &mut Shelf) {
        let now = self.now();
        if now < shelf.swept.saturating_add(SWEEP) {
            return;
        }
        shelf.swept = now;
        let ended: Vec<_> = shelf
            .entries
            .iter()
            .filter(|(_, entry)| !self.may_serve_stale(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            shelf.drop_key(&name);
        }
    }

    fn account(&self, name: &KeyName, is_check: bool, outcome: &Outcome, took: Duration) {
        let (stats, key) = (&self.stats, &name.uid);
        stats.count(Counter::Fetches);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        stats.add(Counter::FetchMicroseconds, microseconds);
        let what = if is_check { "check" } else { "fetch" };
        let error = match outcome {
            Ok(_) => {
                stats.set(Counter::LastGood, self.now());
                self.down_until.store(0, Ordering::Relaxed);
                let took = took.as_millis();
                return stats.log(format_args!("{what} of key {key} took {took} ms"));
            }
            Err(error) => error,
        };
        stats.count(match error {
            StoreError::Absent => Counter::Lost,
            StoreError::NotAKey(_) => Counter::Invalid,
            StoreError::Denied(_) => Counter::Denied,
            StoreError::Unavailable { fault, .. } => {
                if *fault == Fault::Unreachable {
                    self.store_is_down();
                }
                Counter::Unavailable
            }
        });
        let end = match error {
            _ if !is_check => "",
            StoreError::Unavailable { .. } => "; it is kept for now",
            _ => "; it is dropped from the cache",
        };
        stats.log(format_args!("{what} of key {key} failed: {error}{end}"));
    }

    fn is_of_this_process(&self) -> bool {
        self.generation == system::generation()
    }

    /// Writes what the fetching threads had to say; on a thread that is inside an SQLite call.
    fn write_log(&self) {
        // A forked child leaves its parent's alone.
        if self.is_of_this_process() {
            for line in self.stats.take_lines() {
                crate::ffi::log(&line);
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

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }
}

/// Takes `flight` off the list; whether it stood there.
fn delist(shelf: &mut Shelf, flight: &Arc<Flight<Outcome>>, name: &KeyName) -> bool {
    let listed = shelf
        .flights
        .get(name)
        .is_some_and(|listed| Arc::ptr_eq(listed, flight));
    if listed {
        shelf.flights.remove(name);
    }
    listed
}

fn unanswered() -> StoreError {
    StoreError::unreachable("the store gave no answer a moment ago")
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

#[cfg(test)]
mod scene;
#[cfg(test)]
#[cfg(feature = "schedules")]
mod schedules;
#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests;
