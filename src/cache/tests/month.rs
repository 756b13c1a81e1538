//! A month of an active user's key with the defaults: what it asks of the store, and what that costs.

use super::*;
use crate::config::Config;

const MINUTE: u64 = 60_000;
const MONTH: u64 = 30 * 24 * 60 * MINUTE;
/// Dollars for a GET, by Amazon's list.
const GET: f64 = 0.40 / 1e6;
const USERS: f64 = 100_000.0;

/// Answers at once, and counts.
struct Prompt(Arc<AtomicU64>);

impl KeyStore for Prompt {
    fn fetch(
        &self,
        _: &ObjectName,
        known: Option<&str>,
        _: Instant,
    ) -> Result<Fetched, StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match known {
            Some(_) => Ok(Fetched::Unchanged),
            None => object(),
        }
    }
}

#[test]
fn a_month_of_a_hundred_thousand_users_costs_less_than_fifty_dollars_a_process() {
    let config = Config::of_variables::<&str, &str>(&[]).unwrap();
    assert!(config.cache_keys.get() as f64 >= USERS);
    let (asked, clock) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(MINUTE)),
    );
    let store: Box<dyn KeyStore> = Box::new(Prompt(Arc::clone(&asked)));
    let mut cache = Cache::over(Some(store), &config, Arc::default(), 0);
    let time = Arc::clone(&clock);
    cache.clock = Box::new(move || time.load(Ordering::SeqCst));
    let cache: &'static Cache = Box::leak(Box::new(cache));
    for _ in 0..MONTH / MINUTE {
        assert_eq!(ask(cache, "a"), Ok(()));
        settle(cache);
        clock.fetch_add(MINUTE, Ordering::SeqCst);
    }
    // Nobody ever waited for a check, or was given a key past its TTL.
    assert_eq!(cache.stats.get(Counter::StaleAnswers), 0);
    let asked = asked.load(Ordering::SeqCst);
    let dollars = asked as f64 * USERS * GET;
    println!("{asked} GETs for each key, {dollars:.0} dollars");
    assert!(
        (25.0..50.0).contains(&dollars),
        "{asked} GETs for each key, {dollars} dollars"
    );
}
