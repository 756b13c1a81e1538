//! A call's look-up: what it finds in the cache, what it waits for, and what serves it in the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::contents::Entry;
use super::verdict::{Cached, Verdict, key_error};
use super::{Cache, Outcome};
use crate::error::Error;
use crate::id::KeyName;
use crate::stats::Counter;
use crate::store::StoreError;
use crate::threads::flight::Flight;
use crate::threads::pool::Priority;

/// What a look at the cache came to.
enum Lookup {
    /// The key.
    Hit(Arc<Entry>),
    /// A fetch or a check was asked for.
    Pending(Pending),
}

/// What is being waited for, and the key at hand, if there is one.
struct Pending {
    cached: Option<Arc<Entry>>,
    flight: Result<Arc<Flight<Outcome>>, StoreError>,
}

impl Cache {
    /// The key `name`, from the cache or the store. `waiting` is asked now and then, while this waits
    /// for a fetch, whether to go on.
    ///
    /// # Errors
    /// What the fetch came to, under the key's label, or what `waiting` said.
    pub fn key(
        &'static self,
        name: &KeyName,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Arc<Entry>, Error> {
        let lookup = self.lookup(name, Priority::Demand);
        self.answer(name, lookup, Instant::now() + self.timeout, waiting)
    }

    /// Whether `entry`, which the cache gave for an earlier call, may serve one more unseen: it is still
    /// in the cache, and its check not yet due.
    pub fn serves(&self, entry: &Entry) -> bool {
        let now = self.now();
        // A stale answer is counted, where the cache is asked.
        if entry.dropped.load(Ordering::Relaxed)
            || now >= entry.due.load(Ordering::Relaxed)
            || !self.is_fresh(entry, now)
        {
            return false;
        }
        // Written once in a while, so that threads with the same keys do not fight for the line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        true
    }

    /// All of `names`, fetched side by side; one outcome for each.
    ///
    /// # Errors
    /// What `waiting` said.
    pub fn prefetch(
        &'static self,
        names: &[KeyName],
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Vec<Result<Arc<Entry>, Error>>, Error> {
        let mut lookups = Vec::new();
        lookups.try_reserve_exact(names.len())?;
        lookups.extend(
            names
                .iter()
                .map(|name| self.lookup(name, Priority::Prefetch)),
        );
        // Every flight lands within its timeout once it has a thread; those behind it wait for theirs.
        let rounds = self.pool.rounds(names.len());
        let patience = self.timeout * u32::try_from(rounds).unwrap_or(u32::MAX);
        let deadline = Instant::now() + patience.min(Duration::from_secs(86_400));
        let mut outcomes = Vec::new();
        outcomes.try_reserve_exact(names.len())?;
        for (name, lookup) in names.iter().zip(lookups) {
            outcomes.push(match self.answer(name, lookup, deadline, waiting) {
                // What was under way when the process was forked lands nowhere.
                Err(error) if error.word().is_none() || !self.is_of_this_process() => {
                    return Err(error);
                }
                outcome => outcome,
            });
        }
        Ok(outcomes)
    }

    /// Looks for `name` in the cache, and starts what fetch or check it needs.
    fn lookup(&'static self, name: &KeyName, priority: Priority) -> Lookup {
        let now = self.now();
        let mut contents = self.contents();
        let cached = contents.entries.get(name).cloned();
        match &cached {
            Some(entry) if now < entry.due.load(Ordering::Relaxed) => {
                if !self.is_fresh(entry, now) {
                    self.stats.count(Counter::StaleAnswers);
                }
                Lookup::Hit(Arc::clone(entry))
            }
            Some(entry) if self.is_fresh(entry, now) => {
                // Whether the check can be started does not matter to this call.
                let _ = self.flight(&mut contents, name, cached.clone(), priority);
                Lookup::Hit(Arc::clone(entry))
            }
            _ => {
                let flight = match contents.absent.get(name) {
                    Some((why, until)) if cached.is_none() && now < *until => Err(why.clone()),
                    _ => self.flight(&mut contents, name, cached.clone(), priority),
                };
                Lookup::Pending(Pending { cached, flight })
            }
        }
    }

    /// Waits for what `lookup` started, if anything, and decides whether a key at hand may serve instead.
    fn answer(
        &self,
        name: &KeyName,
        lookup: Lookup,
        deadline: Instant,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Arc<Entry>, Error> {
        let pending = match lookup {
            Lookup::Hit(entry) => {
                // Checks off the callers' path have something to say too.
                self.write_log();
                return Ok(entry);
            }
            Lookup::Pending(pending) => pending,
        };
        let outcome = match pending.flight {
            Ok(flight) => {
                let outcome = self.wait(&flight, Some(deadline), waiting)?;
                outcome.unwrap_or_else(|| Err(self.out_of_time(&flight)))
            }
            Err(error) => Err(error),
        };
        match (outcome, pending.cached) {
            (Ok(entry), _) => Ok(entry),
            (Err(error), Some(entry))
                if Verdict::of(&error).cached == Cached::ServesOn
                    && self.may_serve_stale(&entry) =>
            {
                self.stats.count(Counter::StaleAnswers);
                Ok(entry)
            }
            (Err(error), _) => Err(key_error(name, &error)),
        }
    }

    /// Why a caller's time has passed while `flight` is still under way. Most of that time was either the store's or our
    /// own line's; what it says of the store is the flight's to tell, not the caller's.
    pub(super) fn out_of_time(&self, flight: &Flight<Outcome>) -> StoreError {
        match flight.begun() {
            Some(begun) if begun.elapsed() >= self.timeout / 2 => {
                StoreError::silent("no answer in time")
            }
            _ => {
                self.stats.count(Counter::QueueTimeouts);
                StoreError::NotSent(
                    "its time passed in this process's queue of fetches (JOURNAL_FETCH_THREADS)",
                )
            }
        }
    }

    /// Waits for `flight`, and writes what there is to log.
    pub(super) fn wait<T: Clone>(
        &self,
        flight: &Flight<T>,
        deadline: Option<Instant>,
        waiting: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<T>, Error> {
        let outcome = flight.wait(deadline, &mut || {
            waiting()?;
            // The host may have forked where it was asked. No thread of the parent's lands anything here, and its
            // locks may be held for ever.
            match self.is_of_this_process() {
                true => Ok(()),
                false => Err(Error::StoreUnavailable {
                    key: "(any)".to_owned(),
                    reason: "this process was forked from one that waited for it".to_owned(),
                }),
            }
        });
        self.write_log();
        outcome
    }
}
