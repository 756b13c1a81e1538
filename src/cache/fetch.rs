//! A fetch or a check of one key, which whoever asks for that key in the meantime waits for too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::breaker::PAUSE;
use super::contents::{Contents, Entry};
use super::verdict::{Cached, Says, Verdict};
use super::{Cache, Outcome};
use crate::id::KeyName;
use crate::stats::Counter;
use crate::store::{Fetched, StoreError, guarded};
use crate::system::locked::Locked;
use crate::threads::flight::Flight;
use crate::threads::pool::{Job, Priority};
use crate::threads::sync::{AtomicBool, AtomicU64};

/// How long an absent or disabled object is remembered, in milliseconds: a scan over entries of a lost key asks
/// the store once, and a key that is being made or enabled is soon found.
pub(super) const ABSENT_FOR: u64 = 3_000;
/// How often, while there are fetches, keys that can serve no more are wiped from memory, in milliseconds.
pub(super) const SWEEP: u64 = 60_000;

impl Cache {
    /// The flight for `name`: the one under way, or a new one.
    pub(super) fn flight(
        &'static self,
        contents: &mut Contents,
        name: &KeyName,
        cached: Option<Arc<Entry>>,
        priority: Priority,
    ) -> Result<Arc<Flight<Outcome>>, StoreError> {
        if let Some(flight) = contents.flights.get(name) {
            // Where it stands among others that are prefetched, it goes before them. The first of the two jobs that
            // gets a thread does the work; if there is no room for another, the old one does.
            if priority == Priority::Demand && flight.hurry() {
                let _ = self
                    .pool
                    .submit(Priority::Demand, self.job(flight, name, cached));
            }
            return Ok(Arc::clone(flight));
        }
        if self.counts_as_down() {
            return Err(unanswered());
        }
        // As many as there are keys to prefetch.
        if contents.flights.try_reserve(1).is_err() {
            return Err(StoreError::out_of_memory());
        }
        let flight = Arc::new(Flight::new());
        if priority == Priority::Demand {
            flight.hurry();
        }
        let job = self.job(&flight, name, cached);
        if self.pool.submit(priority, job).is_err() {
            return Err(StoreError::NotSent("no thread or no memory for it"));
        }
        contents.flights.insert(name.clone(), Arc::clone(&flight));
        Ok(flight)
    }

    /// Fetches and lands, unless another job for `flight` does.
    fn job(
        &'static self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        cached: Option<Arc<Entry>>,
    ) -> Job {
        let (flight, name) = (Arc::clone(flight), name.clone());
        Box::new(move || {
            if !flight.begin() {
                return;
            }
            let outcome = guarded(|| self.fly(&flight, &name, cached));
            if outcome.is_err() {
                // A flight that a panic ended is still listed.
                self.contents().delist(&flight, &name);
            }
            flight.land(outcome);
        })
    }

    /// Fetches, on a thread of ours, and keeps what came of it.
    fn fly(
        &self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        cached: Option<Arc<Entry>>,
    ) -> Outcome {
        let start = Instant::now();
        // The store may have gone down while this flight stood in line.
        let outcome = if self.counts_as_down() {
            Err(unanswered())
        } else {
            // By itself, so that a panic in it is counted.
            let outcome = guarded(|| self.fetch(name, cached.as_ref(), start + self.timeout));
            self.account(name, cached.is_some(), &outcome, start.elapsed());
            outcome
        };
        let mut contents = self.contents();
        // Whoever evicted the key meanwhile took the flight off the list.
        if contents.delist(flight, name) {
            self.record(&mut contents, name, cached.as_deref(), &outcome);
        }
        self.sweep(&mut contents);
        outcome
    }

    fn fetch(&self, name: &KeyName, cached: Option<&Arc<Entry>>, deadline: Instant) -> Outcome {
        let Some(store) = &self.store else {
            return Err(StoreError::lasting("there is no key store"));
        };
        // The age counts from before the question: the answer was true then, not later.
        let asked = self.now();
        let tag = cached.and_then(|entry| entry.tag.as_deref());
        match store.fetch(&name.object, tag, deadline)? {
            Fetched::Object { content, tag } => {
                let key = self.wrapping.key(&name.object, &content)?;
                Ok(Arc::new(Entry {
                    key: Locked::new(&self.pages, key).ok_or_else(StoreError::out_of_memory)?,
                    tag,
                    checked: AtomicU64::new(asked),
                    due: AtomicU64::new(self.due(asked)),
                    dropped: AtomicBool::new(false),
                    used: AtomicBool::new(false),
                }))
            }
            Fetched::Unchanged => match cached {
                Some(entry) => {
                    entry.checked.store(asked, Ordering::Relaxed);
                    entry.due.store(self.due(asked), Ordering::Relaxed);
                    Ok(Arc::clone(entry))
                }
                None => Err(StoreError::lasting("its answer was for another request")),
            },
        }
    }

    /// Keeps what a flight brought.
    fn record(
        &self,
        contents: &mut Contents,
        name: &KeyName,
        cached: Option<&Entry>,
        outcome: &Outcome,
    ) {
        let error = match outcome {
            Ok(entry) => {
                contents.absent.pop(name);
                return contents.keep(name, entry);
            }
            Err(error) => error,
        };
        let serves = match Verdict::of(error).cached {
            Cached::ServesOn => self.ttl.saturating_add(self.stale),
            Cached::ServesItsTtl => self.ttl,
            Cached::Dropped => {
                contents.drop_key(name);
                if matches!(error, StoreError::Absent | StoreError::Disabled) {
                    let absent = (error.clone(), self.now() + ABSENT_FOR);
                    contents.absent.put(name.clone(), absent);
                }
                return;
            }
        };
        if let Some(entry) = cached {
            // Nobody asks again for a moment, but the key serves no longer for that.
            let end = entry.checked.load(Ordering::Relaxed).saturating_add(serves);
            entry
                .due
                .store(end.min(self.now() + PAUSE), Ordering::Relaxed);
        }
    }

    /// Drops the keys that nobody has used for so long that they could not even serve as stale.
    fn sweep(&self, contents: &mut Contents) {
        let now = self.now();
        if now < contents.swept.saturating_add(SWEEP) {
            return;
        }
        contents.swept = now;
        let ended: Vec<_> = contents
            .entries
            .iter()
            .filter(|(_, entry)| !self.may_serve_stale(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            contents.drop_key(&name);
        }
    }

    fn account(&self, name: &KeyName, is_check: bool, outcome: &Outcome, took: Duration) {
        let (stats, key) = (&self.stats, &name.uid);
        stats.count(Counter::Fetches);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        stats.add(Counter::FetchMicroseconds, microseconds);
        let what = if is_check { "check" } else { "fetch" };
        let error = match outcome {
            Ok(_) => {
                stats.set(Counter::LastGood, self.now());
                self.breaker.hear(Says::Answers, name, self.now());
                let took = took.as_millis();
                return stats.log(format_args!("{what} of key {key} took {took} ms"));
            }
            Err(error) => error,
        };
        let verdict = Verdict::of(error);
        stats.count(verdict.counter());
        self.breaker.hear(verdict.store, name, self.now());
        let end = match verdict.cached {
            _ if !is_check => "",
            Cached::ServesOn | Cached::ServesItsTtl => "; it is kept for now",
            Cached::Dropped => "; it is dropped from the cache",
        };
        stats.log(format_args!("{what} of key {key} failed: {error}{end}"));
    }
}

fn unanswered() -> StoreError {
    StoreError::unreachable("the store gave no answer a moment ago")
}
