//! Work on batches, on several threads, each with connections of its own.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::failure::Result;
use crate::journal::{Journal, Place, Statement};
use crate::layout::Layout;
use crate::progress::go_on;
use crate::sealer::Sealer;

/// What every command works with.
pub(crate) struct Setting {
    pub(crate) place: Place,
    pub(crate) extension: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) threads: usize,
    pub(crate) dry_run: bool,
}

/// One thread's connections.
pub(crate) struct Worker {
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) sealer: Sealer,
}

impl Setting {
    pub(crate) fn worker(&self) -> Result<Worker> {
        Ok(Worker {
            journal: self.place.open()?,
            sealer: Sealer::open(&self.extension)?,
        })
    }

    /// Writes guarded statements; how many found their row as it was read, and how many did not, since it was edited
    /// meanwhile. A dry run counts them all as found.
    pub(crate) fn write(&self, worker: &Worker, statements: &[Statement]) -> Result<(u64, u64)> {
        let found = match self.dry_run || statements.is_empty() {
            true => statements.len(),
            false => worker.journal.write(statements)?.into_iter().sum(),
        };
        Ok((found as u64, (statements.len() - found) as u64))
    }

    /// Works on each batch, on as many threads as are allowed; what came of them, in no order. The first failure ends all,
    /// between two batches.
    pub(crate) fn in_parallel<B: Sync, T: Send>(
        &self,
        batches: &[B],
        work: impl Fn(&Worker, &B) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let outcomes = Mutex::new(Vec::with_capacity(batches.len()));
        let run = || -> Result<()> {
            let worker = self.worker()?;
            while !failed.load(Ordering::Relaxed) {
                let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                go_on()?;
                let outcome = work(&worker, batch)?;
                outcomes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(outcome);
            }
            Ok(())
        };
        let guarded = || run().inspect_err(|_| failed.store(true, Ordering::Relaxed));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.min(batches.len()))
                .map(|_| scope.spawn(guarded))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(outcome) => outcome,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        Ok(outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner))
    }
}
