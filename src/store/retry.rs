//! Bounded retries: exponential backoff with full jitter, within one deadline and one budget.
//!
//! The scheme is the one of the AWS SDKs' standard retry mode: a fault is tried again after a random
//! part of a doubling time, and every retry of the process draws on one budget that only successes
//! refill, so that a store in trouble is not met with a multiple of the usual load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::StoreError;
use crate::stats::{Counter, Stats};

/// The most tries of one fetch.
const TRIES: u32 = 4;
/// The first backoff is a random part of this; each further one of twice as much.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Retries that the process may make in a row without a success.
const BUDGET: u32 = 200;

/// The retries of one store, those of its credentials included.
pub(super) struct Retry {
    budget: AtomicU32,
    stats: Arc<Stats>,
}

impl Retry {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        Self {
            budget: AtomicU32::new(BUDGET),
            stats,
        }
    }

    /// Tries until an answer, an error that no retry mends, or the deadline. Each try but the last is
    /// given a part of the time that is left.
    pub(super) fn run<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut(Instant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for number in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            let until = match number < TRIES {
                // A connection that went silent leaves room for another; a slow store has most of it.
                true => Instant::now() + left * 3 / 4,
                false => deadline,
            };
            let outcome = attempt(until);
            let error = match outcome {
                Err(error) if error.is_passing() => error,
                // Who was not asked has not answered.
                Err(error @ StoreError::NoCredentials { .. }) => return Err(error),
                answered => {
                    self.refill();
                    return answered;
                }
            };
            let pause = backoff(number);
            if number == TRIES || Instant::now() + pause >= deadline || !self.draw() {
                return Err(error);
            }
            self.stats.count(Counter::Retries);
            self.stats.log(format_args!("fetch tried again: {error}"));
            thread::sleep(pause);
        }
        Err(StoreError::passing("not tried"))
    }

    /// One whose budget is spent.
    #[cfg(test)]
    pub(super) fn spent() -> Self {
        Self {
            budget: AtomicU32::new(0),
            stats: Arc::default(),
        }
    }

    fn draw(&self) -> bool {
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    fn refill(&self) {
        let _ = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left < BUDGET).then_some(left + 1)
            });
    }
}

/// Full jitter: anything between nothing and the doubled time.
fn backoff(number: u32) -> Duration {
    FIRST_BACKOFF * 2u32.pow(number - 1) * random_percent() / 100
}

/// A random number from 0 to 99; without randomness the middle.
pub(crate) fn random_percent() -> u32 {
    getrandom::u32().map_or(50, |random| random % 100)
}
