//! The cache over a store that says what a test tells it to, with a clock turned by hand.

use std::collections::VecDeque;
use std::sync::Condvar;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::breaker::PAUSE;
use super::fetch::{ABSENT_FOR, SWEEP};
use super::fixture::{TTL, ask, name, object};
use super::*;
use crate::error::Error;
use crate::id::ObjectName;
use crate::stats::Counter;
use crate::store::Fetched;
use crate::threads::sync::{AtomicBool, AtomicU64};

mod month;
mod outage;

const STALE: u64 = 3_600_000;

/// What the store is to say; a fetch waits until there is something.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Fetched, StoreError>>>,
    told: Condvar,
    /// The tag that each fetch named, and its object.
    asked: Mutex<Vec<Option<String>>>,
    objects: Mutex<Vec<String>>,
    /// The clock is to panic when it is next asked after a fetch.
    breaks: AtomicBool,
    broken: AtomicBool,
    clock: AtomicU64,
}

impl Script {
    fn tell(&self, answer: Result<Fetched, StoreError>) {
        self.answers.lock().unwrap().push_back(answer);
        self.told.notify_all();
    }

    fn fetches(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn advance(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

struct Store(Arc<Script>);

impl KeyStore for Store {
    fn fetch(
        &self,
        name: &ObjectName,
        known: Option<&str>,
        _: Instant,
    ) -> Result<Fetched, StoreError> {
        let script = &self.0;
        script
            .objects
            .lock()
            .unwrap()
            .push(name.as_str().to_owned());
        script.asked.lock().unwrap().push(known.map(str::to_owned));
        let mut answers = script.answers.lock().unwrap();
        loop {
            match answers.pop_front() {
                Some(answer) => {
                    let breaks = script.breaks.swap(false, Ordering::SeqCst);
                    script.broken.store(breaks, Ordering::SeqCst);
                    return answer;
                }
                None => answers = script.told.wait(answers).unwrap(),
            }
        }
    }
}

fn cache_of(keys: usize) -> (&'static Cache, Arc<Script>) {
    cache_with(keys, 4)
}

fn cache_with(keys: usize, threads: usize) -> (&'static Cache, Arc<Script>) {
    cache_within(keys, threads, Duration::from_secs(60))
}

fn cache_within(keys: usize, threads: usize, timeout: Duration) -> (&'static Cache, Arc<Script>) {
    let script = Arc::new(Script::default());
    script.advance(1_000_000);
    let clock = Arc::clone(&script);
    let cache = Cache {
        generation: 0,
        child: OnceBox::new(),
        store: Some(Box::new(Store(Arc::clone(&script)))),
        pool: Pool::new(threads),
        pages: Pages::new(),
        wrapping: Wrapping::default(),
        contents: Mutex::new(Contents::new(keys.try_into().unwrap())),
        created: Mutex::new(Created::new()),
        breaker: Breaker::new(),
        ttl: TTL,
        stale: STALE,
        timeout,
        clock: Box::new(move || {
            assert!(!clock.broken.swap(false, Ordering::SeqCst), "planted");
            clock.clock.load(Ordering::SeqCst)
        }),
        stats: Arc::default(),
    };
    (Box::leak(Box::new(cache)), script)
}

/// A caller that waits for `uid`.
fn waiting_for(
    cache: &'static Cache,
    uid: &'static str,
) -> std::thread::JoinHandle<Result<(), Error>> {
    let (begin, begun) = std::sync::mpsc::channel();
    let caller = std::thread::spawn(move || {
        let mut waiting = || {
            // Nobody listens after the first time.
            let _ = begin.send(());
            Ok(())
        };
        cache.key(&name(uid), &mut waiting).map(drop)
    });
    begun.recv().unwrap();
    caller
}

/// Waits for the flights under way: a check off the callers' path has no other end to see.
fn settle(cache: &Cache) {
    while !cache.contents().flights.is_empty() {
        std::thread::yield_now();
    }
}

/// A cache that holds the key `a`, just fetched.
fn warm() -> (&'static Cache, Arc<Script>) {
    let (cache, script) = cache_of(10);
    script.tell(object());
    assert_eq!(ask(cache, "a"), Ok(()));
    (cache, script)
}

#[test]
fn a_key_serves_unchecked_before_it_is_due() {
    let (cache, script) = warm();
    script.advance(TTL * 64 / 100);
    for _ in 0..100 {
        assert_eq!(ask(cache, "a"), Ok(()));
    }
    assert_eq!(script.fetches(), 1);
}

#[test]
fn a_key_in_use_is_checked_before_its_ttl_ends_and_nobody_waits() {
    let (cache, script) = warm();
    script.advance(TTL * 96 / 100);
    // The store has nothing to say yet: these would hang if they waited.
    for _ in 0..100 {
        assert_eq!(ask(cache, "a"), Ok(()));
    }
    script.tell(Ok(Fetched::Unchanged));
    settle(cache);
    assert_eq!(
        *script.asked.lock().unwrap(),
        [None, Some("\"v1\"".to_owned())]
    );
    // The 304 renewed it: it is fresh where it would have been past its TTL.
    script.advance(TTL * 60 / 100);
    assert_eq!(ask(cache, "a"), Ok(()));
    assert_eq!(script.fetches(), 2);
}

#[test]
fn past_its_ttl_a_call_waits_for_the_check() {
    let (cache, script) = warm();
    script.advance(TTL);
    script.tell(Err(StoreError::Absent));
    assert_eq!(ask(cache, "a"), Err("key_lost"));
    assert!(cache.list().is_empty());
}

#[test]
fn an_absent_object_or_a_denial_ends_a_key_before_its_ttl() {
    for (answer, word) in [
        (StoreError::Absent, "key_lost"),
        (StoreError::Disabled, "key_disabled"),
        (StoreError::Denied("no".into()), "store_denied"),
        (StoreError::NotAKey("no key"), "key_invalid"),
    ] {
        let (cache, script) = warm();
        script.advance(TTL * 96 / 100);
        script.tell(Err(answer.clone()));
        assert_eq!(ask(cache, "a"), Ok(()));
        settle(cache);
        assert!(cache.list().is_empty(), "{word}");
        script.tell(Err(answer));
        assert_eq!(ask(cache, "a"), Err(word));
    }
}

#[test]
fn while_it_cannot_be_checked_a_key_serves_for_the_stale_time_and_no_longer() {
    for fault in [
        StoreError::passing("503"),
        StoreError::unreachable("refused"),
    ] {
        let (cache, script) = warm();
        script.advance(TTL);
        script.tell(Err(fault.clone()));
        assert_eq!(ask(cache, "a"), Ok(()));
        script.advance(STALE - 1);
        script.tell(Err(fault.clone()));
        assert_eq!(ask(cache, "a"), Ok(()));
        assert_eq!(cache.stats.get(Counter::StaleAnswers), 2);
        // Not even the moment after a failed check makes it longer.
        script.advance(1);
        script.tell(Err(fault));
        assert_eq!(ask(cache, "a"), Err("store_unavailable"));
    }
}

#[test]
fn a_fault_that_lasts_gives_no_stale_time() {
    let (cache, script) = warm();
    script.advance(TTL * 96 / 100);
    script.tell(Err(StoreError::lasting("404 (NoSuchBucket)")));
    assert_eq!(ask(cache, "a"), Ok(()));
    settle(cache);
    for later in [TTL * 4 / 100, 0] {
        script.advance(later);
        script.tell(Err(StoreError::lasting("404 (NoSuchBucket)")));
        assert_eq!(ask(cache, "a"), Err("store_unavailable"));
    }
}

#[test]
fn after_a_failed_check_a_stale_key_serves_at_once_for_a_moment() {
    let (cache, script) = warm();
    script.advance(TTL);
    script.tell(Err(StoreError::passing("503")));
    assert_eq!(ask(cache, "a"), Ok(()));
    // The store has nothing to say: this would hang if it asked.
    script.advance(PAUSE - 1);
    assert_eq!(ask(cache, "a"), Ok(()));
    script.advance(1);
    script.tell(Ok(Fetched::Unchanged));
    assert_eq!(ask(cache, "a"), Ok(()));
    assert_eq!(script.fetches(), 3);
}

#[test]
fn every_stale_answer_is_counted() {
    let (cache, script) = warm();
    script.advance(TTL);
    script.tell(Err(StoreError::passing("503")));
    for _ in 0..10 {
        assert_eq!(ask(cache, "a"), Ok(()));
    }
    assert_eq!(cache.stats.get(Counter::StaleAnswers), 10);
}

#[test]
fn an_absent_or_disabled_object_is_remembered_for_a_few_seconds() {
    for (answer, word) in [
        (StoreError::Absent, "key_lost"),
        (StoreError::Disabled, "key_disabled"),
    ] {
        let (cache, script) = cache_of(10);
        script.tell(Err(answer));
        assert_eq!(ask(cache, "a"), Err(word));
        script.advance(ABSENT_FOR - 1);
        assert_eq!(ask(cache, "a"), Err(word));
        assert_eq!(script.fetches(), 1);
        script.advance(1);
        script.tell(object());
        assert_eq!(ask(cache, "a"), Ok(()));
    }
}

#[test]
fn no_other_failure_of_a_key_is_remembered() {
    for answer in [
        StoreError::Denied("no".into()),
        StoreError::NotAKey("no key"),
        StoreError::passing("503"),
        StoreError::lasting("404 (NoSuchBucket)"),
    ] {
        let (cache, script) = cache_of(10);
        script.tell(Err(answer));
        assert!(ask(cache, "a").is_err());
        script.tell(object());
        assert_eq!(ask(cache, "a"), Ok(()));
    }
}

#[test]
fn a_store_that_cannot_be_reached_counts_as_down_for_a_moment() {
    let (cache, script) = cache_of(10);
    script.tell(Err(StoreError::unreachable("refused")));
    assert_eq!(ask(cache, "a"), Err("store_unavailable"));
    assert!(cache.counts_as_down());
    // The store has nothing to say: these would hang if they asked.
    assert_eq!(ask(cache, "b"), Err("store_unavailable"));
    script.advance(PAUSE - 1);
    assert_eq!(ask(cache, "a"), Err("store_unavailable"));
    assert_eq!(script.fetches(), 1);
    script.advance(1);
    script.tell(object());
    assert_eq!(ask(cache, "b"), Ok(()));
}

#[test]
fn an_answer_of_whatever_kind_does_not_make_the_store_count_as_down() {
    for answer in [
        StoreError::Absent,
        StoreError::Denied("no".into()),
        StoreError::passing("503"),
        StoreError::lasting("404"),
    ] {
        let (cache, script) = cache_of(10);
        script.tell(Err(answer));
        assert!(ask(cache, "a").is_err());
        assert!(!cache.counts_as_down());
    }
}

#[test]
fn keys_that_came_together_are_due_apart_and_always_before_the_ttl_ends() {
    let (cache, _) = cache_of(10);
    let due: std::collections::HashSet<u64> = (0..1000).map(|_| cache.due(0)).collect();
    assert!(due.len() > 10, "{due:?}");
    assert!(
        due.iter()
            .all(|due| (TTL * 65 / 100..TTL * 95 / 100).contains(due)),
        "{due:?}"
    );
}

#[test]
fn the_least_recently_used_key_goes_first() {
    let (cache, script) = cache_of(2);
    for uid in ["a", "b", "a", "c"] {
        if uid != "a" || script.fetches() == 0 {
            script.tell(object());
        }
        assert_eq!(ask(cache, uid), Ok(()));
    }
    let mut held: Vec<_> = cache
        .list()
        .into_iter()
        .map(|(name, ..)| name.object)
        .collect();
    held.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    assert_eq!(held, [name("a").object, name("c").object]);
}

#[test]
fn who_holds_a_key_may_use_it_until_it_is_due_or_dropped() {
    let hold = || {
        let (cache, script) = warm();
        let entry = cache.key(&name("a"), &mut || Ok(())).unwrap();
        assert!(cache.serves(&entry));
        (cache, script, entry)
    };
    let (cache, script, entry) = hold();
    script.advance(TTL * 96 / 100);
    assert!(!cache.serves(&entry));
    assert_eq!(ask(cache, "a"), Ok(()));
    script.tell(Ok(Fetched::Unchanged));
    settle(cache);
    assert!(cache.serves(&entry));
    // Replaced by another version of its object.
    script.advance(TTL * 96 / 100);
    assert_eq!(ask(cache, "a"), Ok(()));
    script.tell(object());
    settle(cache);
    assert!(!cache.serves(&entry));

    let (cache, _, entry) = hold();
    cache.evict(&name("a").uid);
    assert!(!cache.serves(&entry));

    // Evicted while it is being checked: what the check says is too late.
    let (cache, script, entry) = hold();
    script.advance(TTL * 96 / 100);
    assert_eq!(ask(cache, "a"), Ok(()));
    cache.evict_all();
    script.tell(Ok(Fetched::Unchanged));
    while entry.due.load(Ordering::Relaxed) <= cache.now() {
        std::thread::yield_now();
    }
    assert!(!cache.serves(&entry));
}

#[test]
fn a_key_used_by_who_holds_it_outlives_one_used_less_recently() {
    let (cache, script) = cache_of(2);
    script.tell(object());
    let held = cache.key(&name("a"), &mut || Ok(())).unwrap();
    script.tell(object());
    assert_eq!(ask(cache, "b"), Ok(()));
    assert!(cache.serves(&held));
    script.tell(object());
    assert_eq!(ask(cache, "c"), Ok(()));
    assert!(cache.serves(&held));
    let mut left: Vec<_> = cache.list().into_iter().map(|key| key.0).collect();
    left.sort_by_key(|key| key.uid.to_string());
    assert_eq!(left, [name("a"), name("c")]);
    // Unused from here on, it goes like any other.
    for other in ["d", "e"] {
        script.tell(object());
        assert_eq!(ask(cache, other), Ok(()));
    }
    assert!(!cache.serves(&held));
}

#[test]
fn an_eviction_drops_the_key_and_what_is_being_fetched_for_it() {
    let (cache, script) = warm();
    assert_eq!(cache.evict(&name("a").uid), 1);
    assert_eq!(cache.evict(&name("a").uid), 0);
    let waiter = std::thread::spawn(move || ask(cache, "a"));
    while script.fetches() < 2 {
        std::thread::yield_now();
    }
    cache.evict_all();
    script.tell(object());
    assert_eq!(waiter.join().unwrap(), Ok(()));
    assert!(cache.list().is_empty());
}

#[test]
fn a_key_that_nobody_uses_is_wiped_once_it_could_serve_no_more() {
    let (cache, script) = warm();
    for (later, left) in [
        (TTL + STALE - 1, ["b", "a"].as_slice()),
        (SWEEP, &["c", "b"]),
    ] {
        script.advance(later);
        script.tell(object());
        assert_eq!(ask(cache, left[0]), Ok(()));
        let names = cache.list().into_iter().map(|(name, ..)| name);
        assert_eq!(names.collect::<Vec<_>>(), [name(left[0]), name(left[1])]);
    }
}

#[test]
fn however_many_threads_ask_there_is_one_fetch() {
    let (cache, script) = cache_of(10);
    let asking = Arc::new(std::sync::Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let asking = Arc::clone(&asking);
            std::thread::spawn(move || {
                asking.wait();
                ask(cache, "a")
            })
        })
        .collect();
    script.tell(object());
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Ok(()));
    }
    assert_eq!(script.fetches(), 1);
}

#[test]
fn one_caller_s_interrupt_does_not_fail_the_others() {
    let (cache, script) = cache_of(10);
    let waiter = std::thread::spawn(move || ask(cache, "a"));
    while script.fetches() == 0 {
        std::thread::yield_now();
    }
    let interrupted = Error::Sqlite {
        code: 9,
        message: "interrupted".into(),
    };
    let outcome = cache.key(&name("a"), &mut || Err(interrupted.clone()));
    assert_eq!(outcome.map(drop), Err(interrupted));
    script.tell(object());
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn a_panic_after_an_answer_is_everyone_s_failure_and_the_key_is_fetched_again() {
    // What is counted of a key, and what is kept of an absence, ask for the time.
    for answer in [object(), Err(StoreError::Absent)] {
        let (cache, script) = cache_of(10);
        let callers: [_; 3] = std::array::from_fn(|_| waiting_for(cache, "a"));
        script.breaks.store(true, Ordering::SeqCst);
        script.tell(answer);
        for caller in callers {
            let text = caller.join().unwrap().unwrap_err().to_string();
            assert!(text.ends_with("internal error, please report it"), "{text}");
        }
        assert_eq!(script.fetches(), 1);
        script.tell(object());
        assert_eq!(ask(cache, "a"), Ok(()));
    }
}

#[test]
fn a_call_waits_behind_no_prefetch_also_for_a_key_that_is_prefetched() {
    let (cache, script) = cache_with(100, 1);
    let uids: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let names: Vec<_> = uids.iter().map(|uid| name(uid)).collect();
    let prefetch = std::thread::spawn(move || cache.prefetch(&names, &mut || Ok(())));
    while script.fetches() == 0 || cache.contents().flights.len() < 50 {
        std::thread::yield_now();
    }
    let callers = ["z", "k40"].map(|uid| waiting_for(cache, uid));
    for _ in 0..51 {
        script.tell(object());
    }
    for caller in callers {
        assert_eq!(caller.join().unwrap(), Ok(()));
    }
    let outcomes = prefetch.join().unwrap().unwrap();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        50
    );
    let objects = script.objects.lock().unwrap();
    assert_eq!(objects[..5], ["k0", "z", "k40", "k1", "k2"]);
    assert_eq!(objects.len(), 51);
}

#[test]
fn how_far_a_prefetch_is_can_be_seen() {
    let (cache, script) = cache_with(100, 2);
    let names: Vec<_> = (0..40).map(|number| name(&format!("k{number}"))).collect();
    let prefetch = std::thread::spawn(move || cache.prefetch(&names, &mut || Ok(())));
    while cache.pending() < 40 {
        std::thread::yield_now();
    }
    for left in (0..40).rev() {
        script.tell(object());
        while cache.pending() > left {
            std::thread::yield_now();
        }
        assert_eq!((cache.pending(), cache.sizes().0), (left, 40 - left));
    }
    assert_eq!(prefetch.join().unwrap().unwrap().len(), 40);
}

#[test]
fn a_prefetch_asks_for_all_keys_and_reports_each() {
    let (cache, script) = warm();
    for _ in 0..5 {
        script.tell(object());
    }
    script.tell(Err(StoreError::Absent));
    let names: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(name).into();
    let outcomes = cache.prefetch(&names, &mut || Ok(())).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 6);
    assert_eq!(script.fetches(), 7);
}
