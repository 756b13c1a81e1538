//! A fetch on a thread of its own, and everyone who waits for it.
//!
//! A flight has one outcome, the answer of all who wait. Waiters wait in slices, so that each can be
//! interrupted without failing the others, and no caller's thread ever runs a fetch.

use std::sync::atomic::Ordering;
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::threads::sync::{AtomicBool, Condvar, Mutex, lock};

/// How long a waiter sleeps before it asks whether it was interrupted.
const SLICE: Duration = Duration::from_millis(25);

/// One fetch under way.
pub(crate) struct Flight<T> {
    outcome: Mutex<Option<T>>,
    landed: Condvar,
    begun: AtomicBool,
    begun_at: OnceLock<Instant>,
    hurried: AtomicBool,
}

impl<T: Clone> Flight<T> {
    pub(crate) fn new() -> Self {
        Self {
            outcome: Mutex::new(None),
            landed: Condvar::new(),
            begun: AtomicBool::new(false),
            begun_at: OnceLock::new(),
            hurried: AtomicBool::new(false),
        }
    }

    /// The fetch has a thread; `false` where it had one already.
    pub(crate) fn begin(&self) -> bool {
        let is_first = !self.begun.swap(true, Ordering::Relaxed);
        if is_first {
            let _ = self.begun_at.set(Instant::now());
        }
        is_first
    }

    /// Since when the fetch has a thread; `None` while it stands in line.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.begun_at.get().copied()
    }

    /// Whether this is the first time that somebody is in a hurry for a fetch that has no thread yet.
    pub(crate) fn hurry(&self) -> bool {
        !self.begun.load(Ordering::Relaxed) && !self.hurried.swap(true, Ordering::Relaxed)
    }

    /// Gives everyone their answer.
    pub(crate) fn land(&self, outcome: T) {
        *lock(&self.outcome) = Some(outcome);
        self.landed.notify_all();
    }

    /// Waits for the outcome until `deadline` (`None` without one); `waiting` is asked between slices
    /// whether to go on. `Ok(None)` when the deadline passed.
    pub(crate) fn wait<E>(
        &self,
        deadline: Option<Instant>,
        waiting: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<Option<T>, E> {
        loop {
            let outcome = lock(&self.outcome);
            if let Some(outcome) = &*outcome {
                return Ok(Some(outcome.clone()));
            }
            let slice = match deadline {
                Some(deadline) => deadline
                    .saturating_duration_since(Instant::now())
                    .min(SLICE),
                None => SLICE,
            };
            if slice.is_zero() {
                return Ok(None);
            }
            let (outcome, _) = self
                .landed
                .wait_timeout(outcome, slice)
                .unwrap_or_else(PoisonError::into_inner);
            let landed = outcome.is_some();
            // Nothing is held while the host is asked.
            drop(outcome);
            if !landed {
                waiting()?;
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn everyone_who_waits_gets_the_one_outcome() {
        let flight = Arc::new(Flight::new());
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let flight = Arc::clone(&flight);
                std::thread::spawn(move || flight.wait::<()>(None, &mut || Ok(())))
            })
            .collect();
        flight.land(7);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(Some(7)));
        }
    }

    #[test]
    fn one_waiter_s_interrupt_leaves_the_flight_to_others() {
        let flight = Flight::new();
        assert_eq!(
            flight.wait(None, &mut || Err("interrupted")),
            Err("interrupted")
        );
        flight.land(7);
        assert_eq!(flight.wait::<()>(None, &mut || Ok(())), Ok(Some(7)));
    }

    #[test]
    fn a_waiter_leaves_at_its_deadline() {
        let flight = Flight::<u8>::new();
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        assert_eq!(flight.wait::<()>(deadline, &mut || Ok(())), Ok(None));
    }
}
