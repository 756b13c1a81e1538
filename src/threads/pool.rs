//! The threads that fetch: at most so many, started on demand, gone when idle.
//!
//! Jobs stand in two queues. What a call waits for goes before what is fetched ahead, but only so often in a row.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::threads::sync::{Condvar, Mutex, lock, spawn};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);
/// How many calls' jobs go before one that was prefetched and waits.
const AHEAD: usize = 3;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// What a job goes before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A call that waits for this one.
    Demand,
    /// One that asked for many.
    Prefetch,
}

/// The threads, and what they are to do.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    most: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Job>,
    prefetches: VecDeque<Job>,
    /// How many calls in a row went before a prefetch.
    ahead: usize,
    threads: usize,
    idle: usize,
}

impl Queue {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Demand => &mut self.calls,
            Priority::Prefetch => &mut self.prefetches,
        }
    }

    fn len(&self) -> usize {
        self.calls.len() + self.prefetches.len()
    }

    fn next(&mut self) -> Option<Job> {
        if (self.calls.is_empty() || self.ahead >= AHEAD)
            && let Some(job) = self.prefetches.pop_front()
        {
            self.ahead = 0;
            return Some(job);
        }
        self.ahead += usize::from(!self.prefetches.is_empty());
        self.calls.pop_front()
    }
}

impl Pool {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                work: Condvar::new(),
            }),
            most,
        }
    }

    /// Within how many fetches' time so many that were prefetched have all had a thread, whatever calls go before them.
    pub(crate) fn rounds(&self, prefetched: usize) -> usize {
        (prefetched / self.most + 1).saturating_mul(1 + AHEAD)
    }

    /// How many threads there are.
    #[cfg(all(test, feature = "schedules"))]
    pub(crate) fn threads(&self) -> usize {
        lock(&self.shared.queue).threads
    }

    /// Runs `job` on a thread of ours, in the order of arrival in its queue.
    ///
    /// # Errors
    /// The job, where there is no thread and the system makes none, or no memory for its place in the queue.
    pub(crate) fn submit(&self, priority: Priority, job: Job) -> Result<(), Job> {
        let mut queue = lock(&self.shared.queue);
        if queue.of(priority).try_reserve(1).is_err() {
            return Err(job);
        }
        queue.of(priority).push_back(job);
        if queue.idle >= queue.len() {
            self.shared.work.notify_one();
        } else if queue.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match spawn("journal_crypt", move || shared.run()) {
                Ok(()) => queue.threads += 1,
                Err(_) if queue.threads == 0 => {
                    return queue.of(priority).pop_back().map_or(Ok(()), Err);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Shared {
    fn run(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.next() {
                drop(queue);
                // Jobs land their flights themselves, whatever happens; the thread is for the next one.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = lock(&self.queue);
                continue;
            }
            queue.idle += 1;
            let (woken, waited) = self
                .work
                .wait_timeout(queue, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.len() == 0 {
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn no_more_threads_run_than_allowed_and_all_jobs_do() {
        let pool = Pool::new(3);
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
            assert!(pool.submit(Priority::Demand, job).is_ok());
        }
        let most = (0..50).map(|_| finished.recv().unwrap()).max();
        assert!(most <= Some(3), "{most:?}");
    }

    #[test]
    fn a_job_that_panics_leaves_the_thread_to_the_next() {
        let pool = Pool::new(1);
        let (done, finished) = mpsc::channel();
        assert!(
            pool.submit(Priority::Demand, Box::new(|| panic!("planted")))
                .is_ok()
        );
        assert!(
            pool.submit(Priority::Demand, Box::new(move || done.send(()).unwrap()))
                .is_ok()
        );
        assert_eq!(finished.recv(), Ok(()));
    }

    /// What one thread does with these jobs, which all stand in line when it begins.
    fn order(jobs: &[(Priority, char)]) -> String {
        let pool = Pool::new(1);
        let (go, gate) = mpsc::channel::<()>();
        let (done, finished) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let hold: Job = Box::new(move || {
            begin.send(()).unwrap();
            gate.recv().unwrap_or_default();
        });
        assert!(pool.submit(Priority::Demand, hold).is_ok());
        begun.recv().unwrap();
        for &(priority, name) in jobs {
            let done = done.clone();
            let job: Job = Box::new(move || done.send(name).unwrap());
            assert!(pool.submit(priority, job).is_ok());
        }
        drop((go, done));
        finished.iter().collect()
    }

    #[test]
    fn a_call_goes_before_what_is_prefetched() {
        let jobs = [
            (Priority::Prefetch, '1'),
            (Priority::Prefetch, '2'),
            (Priority::Demand, 'a'),
            (Priority::Demand, 'b'),
        ];
        assert_eq!(order(&jobs), "ab12");
    }

    #[test]
    fn calls_do_not_keep_a_prefetch_from_its_turn() {
        let mut jobs = vec![(Priority::Prefetch, '1'), (Priority::Prefetch, '2')];
        jobs.extend("abcdefgh".chars().map(|name| (Priority::Demand, name)));
        assert_eq!(order(&jobs), "abc1def2gh");
    }
}
