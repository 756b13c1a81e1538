use super::*;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use time::macros::datetime;

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

/// A provider whose clock and source the test moves.
struct Bench {
    provider: Arc<Provider>,
    seconds: Arc<AtomicU64>,
    searches: Arc<AtomicUsize>,
    answers: mpsc::Sender<Result<Found, StoreError>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Retry::new(Arc::default()))
    }

    fn with(retry: Retry) -> Self {
        let (answers, coming) = mpsc::channel();
        let coming = Mutex::new(coming);
        let seconds = Arc::new(AtomicU64::new(1000));
        let searches = Arc::new(AtomicUsize::new(0));
        let (clock, count) = (Arc::clone(&seconds), Arc::clone(&searches));
        let search = Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            coming.lock().unwrap().recv().unwrap()
        });
        let clock = Box::new(move || {
            let now = Duration::from_secs(clock.load(Ordering::SeqCst));
            (now, START + now)
        });
        Self {
            provider: Arc::new(Provider::over(
                search,
                Arc::new(retry),
                Arc::default(),
                clock,
            )),
            seconds,
            searches,
            answers,
        }
    }

    fn now(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Answers one search with credentials that end so many seconds from now.
    fn answer(&self, id: &str, lifetime: Option<u64>) {
        let end = lifetime.map(|s| START + Duration::from_secs(self.now() + s));
        self.answers.send(Ok(found(id, end))).unwrap();
    }

    fn fail(&self, error: StoreError) {
        self.answers.send(Err(error)).unwrap();
    }

    fn get(&self) -> Result<String, StoreError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        self.provider.get(deadline).map(|c| c.id.clone())
    }

    /// Waits until no search is under way.
    fn settle(&self) {
        while self.provider.shared.state().flight.is_some() {
            std::thread::yield_now();
        }
    }

    fn searches(&self) -> usize {
        self.searches.load(Ordering::SeqCst)
    }
}

fn found(id: &str, expiration: Option<OffsetDateTime>) -> Found {
    Found {
        credentials: Credentials {
            id: id.to_owned(),
            secret: "planted".into(),
            token: None,
        },
        source: "test",
        expiration,
        is_renewable: true,
        is_extendable: false,
    }
}

#[test]
fn credentials_without_an_end_are_looked_for_once() {
    let bench = Bench::new();
    bench.answer("a", None);
    assert_eq!(bench.provider.status(), None);
    assert_eq!(bench.get().unwrap(), "a");
    bench.pass(1_000_000);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 1);
    let status = bench.provider.status().unwrap();
    assert_eq!((status.source, status.expires_in), ("test", None));
}

#[test]
fn they_are_renewed_early_while_others_go_on() {
    let bench = Bench::new();
    bench.answer("a", Some(3600));
    assert_eq!(bench.get().unwrap(), "a");
    bench.pass(3600 - 361);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 1);
    bench.pass(61);
    // The search gets no answer yet, and nobody waits for it.
    for _ in 0..10 {
        assert_eq!(bench.get().unwrap(), "a");
    }
    bench.answer("b", Some(3600));
    bench.settle();
    assert_eq!(bench.get().unwrap(), "b");
    assert_eq!(bench.searches(), 2);
    let left = bench.provider.status().unwrap().expires_in;
    assert_eq!(left, Some(Duration::from_secs(3600)));
}

#[test]
fn short_lived_ones_are_renewed_at_half_their_time() {
    let bench = Bench::new();
    bench.answer("a", Some(100));
    assert_eq!(bench.get().unwrap(), "a");
    bench.pass(49);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 1);
    bench.pass(1);
    bench.answer("b", Some(100));
    assert_eq!(bench.get().unwrap(), "a");
    bench.settle();
    assert_eq!(bench.get().unwrap(), "b");
}

#[test]
fn a_failed_early_renewal_is_repeated_after_a_pause_and_fails_nobody_before_the_end() {
    let bench = Bench::new();
    bench.answer("a", Some(3600));
    assert_eq!(bench.get().unwrap(), "a");
    bench.pass(3400);
    bench.fail(StoreError::Denied("no".into()));
    assert_eq!(bench.get().unwrap(), "a");
    bench.settle();
    bench.pass(14);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 2);
    bench.pass(1);
    bench.fail(StoreError::Denied("no".into()));
    assert_eq!(bench.get().unwrap(), "a");
    bench.settle();
    assert_eq!(bench.searches(), 3);
    bench.pass(185);
    bench.fail(StoreError::Denied("still no".into()));
    assert_eq!(bench.get(), Err(StoreError::unsigned("still no")));
}

#[test]
fn those_that_ended_are_waited_for_and_the_search_is_shared() {
    let bench = Bench::new();
    let barrier = Arc::new(Barrier::new(9));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (provider, barrier) = (Arc::clone(&bench.provider), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let deadline = Instant::now() + Duration::from_secs(5);
                provider.get(deadline).map(|c| c.id.clone())
            })
        })
        .collect();
    barrier.wait();
    while bench.searches() == 0 {
        std::thread::yield_now();
    }
    bench.answer("a", Some(100));
    for caller in callers {
        assert_eq!(caller.join().unwrap().unwrap(), "a");
    }
    assert_eq!(bench.searches(), 1);
    bench.pass(100);
    // Nobody waits past its own deadline.
    let late = bench.provider.get(Instant::now());
    let none = StoreError::silent("no credentials in time");
    assert_eq!(late, Err(none.of_credentials()));
    bench.answer("b", Some(100));
    assert_eq!(bench.get().unwrap(), "b");
    assert_eq!(bench.searches(), 2);
}

#[test]
fn one_failure_answers_all_for_a_second() {
    let bench = Bench::new();
    let no = StoreError::Denied("no".into());
    bench.fail(no.clone());
    for _ in 0..2 {
        assert_eq!(bench.get(), Err(no.clone().of_credentials()));
    }
    assert_eq!(bench.searches(), 1);
    bench.pass(1);
    bench.answer("a", None);
    assert_eq!(bench.get().unwrap(), "a");
}

#[test]
fn a_passing_fault_is_tried_again_within_the_search() {
    let bench = Bench::new();
    bench.fail(StoreError::passing("busy"));
    bench.answer("a", None);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 2);
}

#[test]
fn a_search_draws_on_the_store_s_budget_of_retries() {
    let bench = Bench::with(Retry::spent());
    bench.fail(StoreError::passing("busy"));
    assert_eq!(
        bench.get(),
        Err(StoreError::passing("busy").of_credentials())
    );
    assert_eq!(bench.searches(), 1);
}

#[test]
fn what_comes_already_expired_is_an_outage_unless_nobody_has_others() {
    let expired = found("a", Some(START));
    let at = |found| Held::of(found, Duration::from_secs(1), START).map(|_| ());
    let reason = "the credentials from test have expired";
    assert_eq!(at(expired.clone()), Err(StoreError::passing(reason)));
    let last = Found {
        is_renewable: false,
        ..expired
    };
    assert_eq!(at(last), Err(StoreError::Denied(reason.to_owned())));
}

#[test]
fn what_the_store_calls_expired_is_renewed_once_for_all() {
    let bench = Bench::new();
    let soon = || Instant::now() + Duration::from_secs(5);
    let renew = |expired: &Credentials| {
        let renewed = bench.provider.renew(expired, soon());
        renewed.map(|c| c.map(|c| c.id.clone()))
    };
    bench.answer("a", Some(3600));
    let first = bench.provider.get(soon()).unwrap();
    bench.answer("b", Some(3600));
    assert_eq!(renew(&first), Ok(Some("b".to_owned())));
    // Another fetch, signed before that.
    assert_eq!(renew(&first), Ok(Some("b".to_owned())));
    assert_eq!(bench.searches(), 2);
    // The store calls the new ones expired too: not asked again at once.
    let second = bench.provider.get(soon()).unwrap();
    assert_eq!(renew(&second), Ok(None));
    assert_eq!(bench.searches(), 2);
    bench.pass(1);
    // The source has no others.
    bench.answer("b", Some(3600));
    assert_eq!(renew(&second), Ok(None));
    assert_eq!(bench.searches(), 3);
}

#[test]
fn nobody_goes_on_with_expired_ones_while_the_source_is_down() {
    let bench = Bench::new();
    bench.answer("a", Some(3600));
    let deadline = Instant::now() + Duration::from_secs(5);
    let first = bench.provider.get(deadline).unwrap();
    let down = StoreError::lasting("down");
    bench.fail(down.clone());
    let down = down.of_credentials();
    assert_eq!(bench.provider.renew(&first, deadline), Err(down.clone()));
    assert_eq!(bench.get(), Err(down));
}

/// As an instance's are.
fn extendable(id: &str, end: OffsetDateTime) -> Found {
    Found {
        is_extendable: true,
        ..found(id, Some(end))
    }
}

#[test]
fn an_instance_s_are_used_past_their_end_while_its_service_is_in_trouble() {
    let bench = Bench::new();
    let end = START + Duration::from_secs(bench.now() + 3600);
    bench.answers.send(Ok(extendable("a", end))).unwrap();
    assert_eq!(bench.get().unwrap(), "a");
    bench.pass(3600);
    bench.fail(StoreError::lasting("answered 302"));
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 2);
    assert_eq!(
        bench.provider.status().unwrap().expires_in,
        Some(Duration::ZERO)
    );
    // Without asking again at once.
    bench.pass(14);
    assert_eq!(bench.get().unwrap(), "a");
    assert_eq!(bench.searches(), 2);
    // Then on another thread, and what comes has ended too.
    bench.pass(1);
    bench.answers.send(Ok(extendable("b", end))).unwrap();
    assert_eq!(bench.get().unwrap(), "a");
    bench.settle();
    assert_eq!(bench.get().unwrap(), "b");
    // A refusal is no trouble.
    bench.pass(15);
    bench.fail(StoreError::Denied("no role".into()));
    assert_eq!(bench.get().unwrap(), "b");
    bench.settle();
    assert_eq!(bench.get(), Err(StoreError::unsigned("no role")));
}

#[test]
fn a_search_that_panics_is_a_failure_and_the_next_one_runs() {
    let searches = AtomicUsize::new(0);
    let search = Box::new(move |_| match searches.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("planted"),
        _ => Ok(found("a", None)),
    });
    let seconds = AtomicU64::new(0);
    let clock = Box::new(move || {
        let now = Duration::from_secs(seconds.fetch_add(10, Ordering::SeqCst));
        (now, START)
    });
    let retry = Arc::new(Retry::new(Arc::default()));
    let provider = Provider::over(search, retry, Arc::default(), clock);
    let get = || provider.get(Instant::now() + Duration::from_secs(5));
    assert!(get().is_err());
    assert_eq!(get().unwrap().id, "a");
}

#[test]
fn debug_output_shows_no_credential() {
    assert!(!format!("{:?}", found("a", None)).contains("planted"));
}
