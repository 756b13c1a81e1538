//! Whose fault it is: the store's, our credentials', our own queue's, or that of one object.

use super::*;
use crate::cache::breaker::SILENT_KEYS;

/// Named keys, all different.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn silent() -> StoreError {
    StoreError::silent("no answer in time")
}

#[test]
fn one_key_without_an_answer_however_often_is_no_outage() {
    let (cache, script) = cache_of(10);
    for _ in 0..2 * SILENT_KEYS {
        script.tell(Err(silent()));
        assert_eq!(ask(cache, "a"), Err("store_unavailable"));
        assert!(!cache.counts_as_down());
    }
    script.tell(object());
    assert_eq!(ask(cache, "b"), Ok(()));
}

#[test]
fn several_keys_in_a_row_without_an_answer_are_an_outage_until_there_is_one() {
    let (cache, script) = cache_of(10);
    let none = |uid| {
        script.tell(Err(silent()));
        assert_eq!(ask(cache, uid), Err("store_unavailable"));
        cache.counts_as_down()
    };
    let row: Vec<bool> = NAMES[..SILENT_KEYS].iter().map(|uid| none(uid)).collect();
    assert_eq!(row, [false, false, true]);
    script.advance(PAUSE);
    // It is still in a row with those before.
    assert!(none("a"));
    script.advance(PAUSE);
    // Any answer will do.
    script.tell(Err(StoreError::Absent));
    assert_eq!(ask(cache, "d"), Err("key_lost"));
    for uid in &NAMES[..SILENT_KEYS - 1] {
        assert!(!none(uid));
    }
}

#[test]
fn what_is_not_the_store_s_word_ends_no_key_and_counts_nobody_as_down() {
    let trouble = StoreError::passing("busy").of_credentials();
    for (error, word) in [
        (StoreError::unsigned("expired"), "store_denied"),
        (trouble, "store_unavailable"),
        (StoreError::NotSent("queue"), "store_unavailable"),
    ] {
        let (cache, script) = warm();
        script.advance(TTL + STALE - 1);
        script.tell(Err(error.clone()));
        assert_eq!(ask(cache, "a"), Ok(()), "{error:?}");
        assert_eq!(cache.list().len(), 1);
        assert!(!cache.counts_as_down());
        script.tell(Err(error.clone()));
        assert_eq!(ask(cache, "b"), Err(word));
        assert!(!cache.counts_as_down());
        // Nor for longer than in an outage.
        script.advance(1);
        script.tell(Err(error));
        assert_eq!(ask(cache, "a"), Err(word));
    }
}

#[test]
fn who_waits_in_our_own_line_in_vain_hears_of_the_queue_and_the_store_is_not_to_blame() {
    let (cache, script) = cache_within(10, 1, Duration::from_millis(50));
    let first = waiting_for(cache, "a");
    while script.fetches() == 0 {
        std::thread::yield_now();
    }
    let text = cache
        .key(&name("b"), &mut || Ok(()))
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(text.contains("this process's queue"), "{text}");
    assert_eq!(cache.stats.get(Counter::QueueTimeouts), 1);
    // The store had all the time of the first one.
    let text = first.join().unwrap().unwrap_err().to_string();
    assert!(text.ends_with("no answer in time"), "{text}");
    assert_eq!(cache.stats.get(Counter::QueueTimeouts), 1);
    assert!(!cache.counts_as_down());
    script.tell(object());
    script.tell(object());
    settle(cache);
}

#[test]
fn a_fetch_that_has_merely_begun_when_its_caller_s_time_is_over_was_in_the_queue() {
    let (cache, _) = cache_within(10, 1, Duration::from_secs(60));
    let flight = crate::threads::flight::Flight::new();
    let in_the_queue = |error| matches!(error, StoreError::NotSent(_));
    assert!(in_the_queue(cache.out_of_time(&flight)));
    assert!(flight.begin());
    assert!(in_the_queue(cache.out_of_time(&flight)));
    let (cache, _) = cache_within(10, 1, Duration::ZERO);
    assert_eq!(cache.out_of_time(&flight), silent());
}
