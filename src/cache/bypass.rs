//! What is asked of the store itself, on a thread of the cache's, whatever the cache holds.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Cache;
use crate::error::Error;
use crate::id::ObjectName;
use crate::store::{Fetched, KeyStore, StoreError, guarded};
use crate::threads::flight::Flight;
use crate::threads::pool::Priority;

/// What the store itself said of a name.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Whether its object is a key that can be used, or why not.
    pub is_key: Result<(), StoreError>,
    /// The store's clock, where it tells.
    pub date: Option<SystemTime>,
    /// How long the question took.
    pub took: Duration,
}

impl Cache {
    /// Asks the store itself for `name`, on a thread of ours, whatever the cache holds and whether or
    /// not the store counts as down. `None` where there was no answer within one fetch's time, the queue included.
    ///
    /// # Errors
    /// What `waiting` said.
    pub fn probe(
        &'static self,
        name: &ObjectName,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Probe>, Error> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        /// For the answer's way to the caller.
        const GRACE: Duration = Duration::from_millis(250);
        let flight = Arc::new(Flight::new());
        let (landing, name, timeout) = (Arc::clone(&flight), name.clone(), self.timeout);
        let deadline = Instant::now() + timeout;
        let job = Box::new(move || {
            let start = Instant::now();
            let mut date = None;
            let is_key = guarded(|| {
                let (outcome, of_the_store) = store.probe(&name, deadline);
                date = of_the_store;
                match outcome? {
                    Fetched::Object { content, .. } => self.wrapping.key(&name, &content).map(drop),
                    Fetched::Unchanged => {
                        Err(StoreError::NotAKey("its answer was for another request"))
                    }
                }
            });
            landing.land(Probe {
                is_key,
                date,
                took: start.elapsed(),
            });
        });
        if self.pool.submit(Priority::Demand, job).is_err() {
            return Ok(None);
        }
        self.wait(&flight, Some(deadline + GRACE), waiting)
    }

    /// Does something to the store that is no fetch, on a thread of ours. Whether the store counts as down
    /// does not matter. A caller who is interrupted leaves; what was begun goes on.
    ///
    /// # Errors
    /// What `waiting` said; the store's own within.
    pub fn at_store<T: Clone + Send + 'static>(
        &'static self,
        operation: impl FnOnce(&dyn KeyStore, Duration) -> Result<T, StoreError> + Send + 'static,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Result<T, StoreError>, Error> {
        let Some(store) = &self.store else {
            return Err(Error::NotConfigured);
        };
        let flight = Arc::new(Flight::new());
        let landing = Arc::clone(&flight);
        let job = Box::new(move || landing.land(guarded(|| operation(&**store, self.timeout))));
        if self.pool.submit(Priority::Demand, job).is_err() {
            return Ok(Err(StoreError::NotSent("no thread or no memory for it")));
        }
        let outcome = self.wait(&flight, None, waiting)?;
        Ok(outcome.unwrap_or_else(|| Err(StoreError::silent("no answer in time"))))
    }
}
