//! The locks, atomics and threads under the cache, in one place, so that a test can put a scheduler under them.

#[cfg(not(all(test, feature = "schedules")))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) use crate::system::process::spawn;
}
#[cfg(not(all(test, feature = "schedules")))]
pub(crate) use real::*;

/// Those of shuttle. Its waits never end by time, so that a waiter whom nobody wakes is seen as one.
#[cfg(test)]
#[cfg(feature = "schedules")]
mod scheduled {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// A task and not a thread, since shuttle takes a thread that waits for work at the end for a deadlock.
    pub(crate) fn spawn(_: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        drop(shuttle::future::spawn(async move { body() }));
        Ok(())
    }
}
#[cfg(test)]
#[cfg(feature = "schedules")]
pub(crate) use scheduled::*;

/// What `mutex` guards. A panic of another thread while it held the lock is no reason to fail here too.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
