//! The threads that fetch: at most so many, started on demand, gone when idle.
//!
//! Jobs stand in two lines. What a call waits for goes before what is fetched ahead, but only so often in a row.

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

/// Whom a job is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// A call that waits for this one.
    Call,
    /// One that asked for many.
    Prefetch,
}

/// The threads, and what they are to do.
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
    calls: VecDeque<Job>,
    prefetches: VecDeque<Job>,
    /// How many calls in a row went before a prefetch.
    ahead: usize,
    threads: usize,
    idle: usize,
}

impl Line {
    fn of(&mut self, whom: For) -> &mut VecDeque<Job> {
        match whom {
            For::Call => &mut self.calls,
            For::Prefetch => &mut self.prefetches,
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

    /// Within how many fetches' time so many that were prefetched have all had a thread, whatever calls go before them.
    pub(crate) fn rounds(&self, prefetched: usize) -> usize {
        (prefetched / self.most + 1).saturating_mul(1 + AHEAD)
    }

    /// How many threads there are.
    #[cfg(all(test, feature = "schedules"))]
    pub(crate) fn threads(&self) -> usize {
        lock(&self.shared.line).threads
    }

    /// Runs `job` on a thread of ours, in the order of arrival in its line.
    ///
    /// # Errors
    /// The job, where there is no thread and the system makes none, or no memory for its place in the line.
    pub(crate) fn submit(&self, whom: For, job: Job) -> Result<(), Job> {
        let mut line = lock(&self.shared.line);
        if line.of(whom).try_reserve(1).is_err() {
            return Err(job);
        }
        line.of(whom).push_back(job);
        if line.idle >= line.len() {
            self.shared.work.notify_one();
        } else if line.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match spawn("journal_crypt", move || shared.run()) {
                Ok(()) => line.threads += 1,
                Err(_) if line.threads == 0 => {
                    return line.of(whom).pop_back().map_or(Ok(()), Err);
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
            if let Some(job) = line.next() {
                drop(line);
                // Jobs land their flights themselves, whatever happens; the thread is for the next one.
                let _ = catch_unwind(AssertUnwindSafe(job));
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
            if waited.timed_out() && line.len() == 0 {
                line.threads -= 1;
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
            assert!(fetchers.submit(For::Call, job).is_ok());
        }
        let most = (0..50).map(|_| finished.recv().unwrap()).max();
        assert!(most <= Some(3), "{most:?}");
    }

    #[test]
    fn a_job_that_panics_leaves_the_thread_to_the_next() {
        let fetchers = Fetchers::new(1);
        let (done, finished) = mpsc::channel();
        assert!(
            fetchers
                .submit(For::Call, Box::new(|| panic!("planted")))
                .is_ok()
        );
        assert!(
            fetchers
                .submit(For::Call, Box::new(move || done.send(()).unwrap()))
                .is_ok()
        );
        assert_eq!(finished.recv(), Ok(()));
    }

    /// What one thread does with these jobs, which all stand in line when it begins.
    fn order(jobs: &[(For, char)]) -> String {
        let fetchers = Fetchers::new(1);
        let (go, gate) = mpsc::channel::<()>();
        let (done, finished) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let hold: Job = Box::new(move || {
            begin.send(()).unwrap();
            gate.recv().unwrap_or_default();
        });
        assert!(fetchers.submit(For::Call, hold).is_ok());
        begun.recv().unwrap();
        for &(whom, name) in jobs {
            let done = done.clone();
            let job: Job = Box::new(move || done.send(name).unwrap());
            assert!(fetchers.submit(whom, job).is_ok());
        }
        drop((go, done));
        finished.iter().collect()
    }

    #[test]
    fn a_call_goes_before_what_is_prefetched() {
        let jobs = [
            (For::Prefetch, '1'),
            (For::Prefetch, '2'),
            (For::Call, 'a'),
            (For::Call, 'b'),
        ];
        assert_eq!(order(&jobs), "ab12");
    }

    #[test]
    fn calls_do_not_keep_a_prefetch_from_its_turn() {
        let mut jobs = vec![(For::Prefetch, '1'), (For::Prefetch, '2')];
        jobs.extend("abcdefgh".chars().map(|name| (For::Call, name)));
        assert_eq!(order(&jobs), "abc1def2gh");
    }
}
