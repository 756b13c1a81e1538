//! A fetch on a thread of its own, and everyone who waits for it.
//!
//! A flight has one outcome, the answer of all who wait. Waiters wait in slices, so that each can be
//! interrupted without failing the others, and no caller's thread ever runs a fetch.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ffi::system;
use crate::secret::wipe_stack;

/// How long a waiter sleeps before it asks whether it was interrupted.
const SLICE: Duration = Duration::from_millis(25);
/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// How much of its stack a fetch may have used: the calls of TLS go deep.
const STACK: usize = 128 * 1024;

/// One fetch under way.
pub(crate) struct Flight<T> {
    outcome: Mutex<Option<T>>,
    landed: Condvar,
    begun: AtomicBool,
}

impl<T: Clone> Flight<T> {
    pub(crate) fn new() -> Self {
        Self {
            outcome: Mutex::new(None),
            landed: Condvar::new(),
            begun: AtomicBool::new(false),
        }
    }

    /// The fetch has a thread.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether the fetch has a thread, or had one.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
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

type Job = Box<dyn FnOnce() + Send>;

/// The threads that fetch: at most so many, started on demand, gone when idle.
pub(crate) struct Fetchers {
    shared: Arc<Shared>,
    most: usize,
}

struct Shared {
    line: Mutex<Line>,
    work: Condvar,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Fetchers {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                line: Mutex::default(),
                work: Condvar::new(),
            }),
            most,
        }
    }

    /// How many fetches there may be at one time.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Runs `job` on a thread of ours, in the order of arrival.
    ///
    /// # Errors
    /// The job, where there is no thread and the system makes none, or no memory for its place in the line.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut line = lock(&self.shared.line);
        if line.jobs.try_reserve(1).is_err() {
            return Err(job);
        }
        line.jobs.push_back(job);
        if line.idle >= line.jobs.len() {
            self.shared.work.notify_one();
        } else if line.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match system::spawn("journal_crypt", move || shared.run()) {
                Ok(()) => line.threads += 1,
                Err(_) if line.threads == 0 => {
                    return line.jobs.pop_back().map_or(Ok(()), Err);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Shared {
    fn run(&self) {
        let mut line = lock(&self.line);
        loop {
            if let Some(job) = line.jobs.pop_front() {
                drop(line);
                // A job that panics has landed its flight when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(job));
                // The thread may now sleep, or its stack wait for another thread, with a key in it.
                wipe_stack::<STACK>();
                line = lock(&self.line);
                continue;
            }
            line.idle += 1;
            let (woken, waited) = self
                .work
                .wait_timeout(line, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            line = woken;
            line.idle -= 1;
            if waited.timed_out() && line.jobs.is_empty() {
                line.threads -= 1;
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

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

    #[test]
    fn no_more_threads_run_than_allowed_and_all_jobs_do() {
        let fetchers = Fetchers::new(3);
        let running = Arc::new(AtomicUsize::new(0));
        let (done, finished) = mpsc::channel();
        for _ in 0..50 {
            let (running, done) = (Arc::clone(&running), done.clone());
            let job: Job = Box::new(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                done.send(now).unwrap();
            });
            assert!(fetchers.submit(job).is_ok());
        }
        let most = (0..50).map(|_| finished.recv().unwrap()).max();
        assert!(most <= Some(3), "{most:?}");
    }

    #[test]
    fn a_job_that_panics_leaves_the_thread_to_the_next() {
        let fetchers = Fetchers::new(1);
        let (done, finished) = mpsc::channel();
        assert!(fetchers.submit(Box::new(|| panic!("planted"))).is_ok());
        assert!(
            fetchers
                .submit(Box::new(move || done.send(()).unwrap()))
                .is_ok()
        );
        assert_eq!(finished.recv(), Ok(()));
    }
}
