//! The cache under shuttle, which runs each of these again and again with its threads in another order (`make
//! schedules`). A wait never ends by time here, so that a waiter whom nobody wakes is a deadlock, which shuttle reports.

use std::collections::HashMap as Counts;
use std::sync::atomic::Ordering;
use std::sync::{Mutex as StdMutex, OnceLock, PoisonError};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config as Shuttle, MaxSteps, Runner};

use super::fixture::{TTL, ask, name, object};
use super::*;
use crate::id::ObjectName;
use crate::stats::Counter;
use crate::store::Fetched;
use crate::threads::sync::AtomicBool;
use std::time::Instant;

const THREADS: usize = 2;
/// Schedules of each scenario under each of the two schedulers.
const SCHEDULES: usize = 1_000;

fn check(scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let config = || {
        let mut config = Shuttle::new();
        // A thread of ours wipes more of its stack than shuttle's have by default.
        config.stack_size = 1 << 19;
        config.max_steps = MaxSteps::FailAfter(100_000);
        config.silence_warnings = true;
        config
    };
    let random = Runner::new(RandomScheduler::new(SCHEDULES), config()).run(scenario);
    let pct = Runner::new(PctScheduler::new(3, SCHEDULES), config()).run(scenario);
    assert_eq!(random + pct, 2 * SCHEDULES);
}

/// A store whose answers depend on nothing but what it was told before.
#[derive(Default)]
struct Store {
    fault: AtomicBool,
    gone: AtomicBool,
    /// What it saw, under locks that are none of the schedule's.
    seen: StdMutex<Seen>,
}

#[derive(Default)]
struct Seen {
    fetches: usize,
    checks: usize,
    /// Fetches under way, of each object.
    under_way: Counts<String, usize>,
    /// The most at one time, of one object and of all.
    most_of_one: usize,
    most: usize,
}

impl Store {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Handle(Arc<Store>);

impl KeyStore for Handle {
    fn fetch(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        _: Instant,
    ) -> Result<Fetched, StoreError> {
        let store = &self.0;
        {
            let mut seen = store.seen();
            seen.fetches += 1;
            seen.checks += usize::from(known.is_some());
            let of_one = seen.under_way.entry(name.as_str().to_owned()).or_default();
            *of_one += 1;
            let of_one = *of_one;
            seen.most_of_one = seen.most_of_one.max(of_one);
            seen.most = seen.most.max(seen.under_way.values().sum());
        }
        thread::yield_now();
        let answer = match (
            store.fault.load(Ordering::SeqCst),
            store.gone.load(Ordering::SeqCst),
        ) {
            (true, _) => Err(StoreError::passing("503")),
            (_, true) => Err(StoreError::Absent),
            _ if known.is_some() => Ok(Fetched::Unchanged),
            _ => object(),
        };
        thread::yield_now();
        *store.seen().under_way.get_mut(name.as_str()).unwrap() -= 1;
        answer
    }
}

/// A cache of its own for one schedule; the clock is turned by hand.
struct Bench {
    cache: &'static Cache,
    store: Arc<Store>,
    clock: Arc<std::sync::atomic::AtomicU64>,
}

impl Bench {
    fn new(keys: usize) -> Self {
        /// Pages are many schedules', since each cache stays to the end of the process.
        static PAGES: OnceLock<Arc<Pages<MasterKey>>> = OnceLock::new();
        let store = Arc::new(Store::default());
        let clock = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
        let time = Arc::clone(&clock);
        let cache = Cache {
            generation: 0,
            child: OnceBox::new(),
            store: Some(Box::new(Handle(Arc::clone(&store)))),
            pool: Pool::new(THREADS),
            pages: Arc::clone(PAGES.get_or_init(Pages::new)),
            wrapping: Wrapping::default(),
            contents: Mutex::new(Contents::new(keys.try_into().unwrap())),
            created: Mutex::new(Created::new()),
            breaker: Breaker::new(),
            ttl: TTL,
            stale: TTL,
            timeout: Duration::from_secs(3_600),
            clock: Box::new(move || time.load(Ordering::SeqCst)),
            stats: Arc::default(),
        };
        let cache = Box::leak(Box::new(cache));
        Self {
            cache,
            store,
            clock,
        }
    }

    /// One whose cache holds the key `a`, just fetched.
    fn warm(keys: usize) -> Self {
        let bench = Self::new(keys);
        assert_eq!(ask(bench.cache, "a"), Ok(()));
        bench
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Waits for all flights, looks at what holds in every schedule, and gives what the store saw.
    fn end(self) -> Seen {
        while !self.cache.contents().flights.is_empty() {
            thread::yield_now();
        }
        let seen = std::mem::take(&mut *self.store.seen());
        assert!(seen.most_of_one <= 1, "two fetches of one key at one time");
        assert!(seen.most <= THREADS, "more fetches than threads allowed");
        assert!(self.cache.pool.threads() <= THREADS, "too many threads");
        let contents = self.cache.contents();
        assert!(contents.entries.len() <= contents.entries.cap().get());
        drop(contents);
        self.cache.evict_all();
        seen
    }
}

fn asking(cache: &'static Cache, uid: &'static str) -> JoinHandle<Result<(), &'static str>> {
    thread::spawn(move || ask(cache, uid))
}

#[test]
fn callers_of_one_key_share_one_fetch_and_all_are_answered() {
    check(|| {
        let bench = Bench::new(4);
        let callers: [_; 3] = std::array::from_fn(|_| asking(bench.cache, "a"));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(()));
        }
        assert_eq!(bench.end().fetches, 1);
    });
}

#[test]
fn a_failure_is_everyone_s_and_nobody_is_left_waiting() {
    check(|| {
        let bench = Bench::new(4);
        bench.store.gone.store(true, Ordering::SeqCst);
        let callers: [_; 3] = std::array::from_fn(|_| asking(bench.cache, "a"));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Err("key_lost"));
        }
        assert!(bench.cache.list().is_empty());
        // The absence is remembered.
        assert_eq!(bench.end().fetches, 1);
    });
}

#[test]
fn no_key_is_served_that_was_fetched_before_an_eviction_that_has_returned() {
    check(|| {
        let bench = Bench::new(4);
        let cache = bench.cache;
        let before = asking(cache, "a");
        let store = Arc::clone(&bench.store);
        let evicting = thread::spawn(move || {
            // As a shredding does: the object goes first.
            store.gone.store(true, Ordering::SeqCst);
            cache.evict_all();
            ask(cache, "a")
        });
        assert_eq!(evicting.join().unwrap(), Err("key_lost"));
        // It began before the eviction, or after it.
        assert!(matches!(before.join().unwrap(), Ok(()) | Err("key_lost")));
        assert!(cache.list().is_empty());
        // Nobody waits for the flight of before the eviction, which may still be under way beside that of after it.
        let mut seen = bench.store.seen();
        seen.most_of_one = seen.most_of_one.saturating_sub(1);
        drop(seen);
        assert!(bench.end().fetches <= 2);
    });
}

#[test]
fn who_holds_an_evicted_key_is_refused_whatever_a_check_says_later() {
    check(|| {
        let bench = Bench::warm(4);
        let cache = bench.cache;
        let held = cache.key(&name("a"), &mut || Ok(())).unwrap();
        bench.pass(TTL * 96 / 100);
        let checking = asking(cache, "a");
        let evicting = thread::spawn(move || {
            cache.evict_all();
            // Either the check had ended, and the key is dropped, or its answer comes too late.
            cache.serves(&held)
        });
        assert!(!evicting.join().unwrap());
        assert_eq!(checking.join().unwrap(), Ok(()));
        bench.end();
    });
}

#[test]
fn a_check_before_the_ttl_ends_is_one_and_holds_nobody_up() {
    check(|| {
        let bench = Bench::warm(4);
        bench.pass(TTL * 96 / 100);
        let callers: [_; 3] = std::array::from_fn(|_| asking(bench.cache, "a"));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(()));
        }
        let seen = bench.end();
        assert_eq!((seen.fetches, seen.checks), (2, 1));
    });
}

#[test]
fn a_check_past_the_ttl_that_fails_lets_everyone_have_the_stale_key() {
    check(|| {
        let bench = Bench::warm(4);
        bench.pass(TTL);
        bench.store.fault.store(true, Ordering::SeqCst);
        let callers: [_; 3] = std::array::from_fn(|_| asking(bench.cache, "a"));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(()));
        }
        assert_eq!(bench.cache.stats.get(Counter::StaleAnswers), 3);
        // Nobody asks again for a moment.
        assert_eq!(bench.end().checks, 1);
    });
}

#[test]
fn a_flight_that_lands_in_a_full_cache_drops_another_key_and_fails_nobody() {
    check(|| {
        let bench = Bench::warm(1);
        let cache = bench.cache;
        bench.pass(TTL * 96 / 100);
        // `a` is checked while `b` and `c` take its place.
        let callers = ["a", "b", "c"].map(|uid| asking(cache, uid));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(()));
        }
        bench.end();
    });
}

#[test]
fn calls_beside_a_prefetch_share_its_fetches_and_all_are_answered() {
    check(|| {
        let bench = Bench::new(8);
        let cache = bench.cache;
        let prefetch = thread::spawn(move || {
            let names: Vec<_> = ["a", "b", "c", "d"].map(name).into();
            let outcomes = cache.prefetch(&names, &mut || Ok(())).unwrap();
            outcomes.iter().filter(|outcome| outcome.is_ok()).count()
        });
        // One that is prefetched last, and one that is not.
        let callers = ["d", "e"].map(|uid| asking(cache, uid));
        assert_eq!(prefetch.join().unwrap(), 4);
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(()));
        }
        assert_eq!(bench.end().fetches, 5);
    });
}
