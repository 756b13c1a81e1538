//! A fetch or a check of one key, which whoever asks for that key in the meantime waits for too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::shelf::{Entry, Shelf};
use super::{Cache, Outcome, PAUSE};
use crate::cipher::Cipher;
use crate::id::KeyName;
use crate::stats::Counter;
use crate::store::{Fault, Fetched, StoreError, guarded};
use crate::system::locked::Locked;
use crate::threads::flight::Flight;
use crate::threads::pool::{For, Job};
use crate::threads::sync::{AtomicBool, AtomicU64};

/// How long an absent object is remembered, in milliseconds: a scan over entries of a lost key asks
/// the store once, and a key that is being made is soon found.
pub(super) const ABSENT_FOR: u64 = 3_000;
/// How often, while there are fetches, keys that can serve no more are wiped from memory, in milliseconds.
pub(super) const SWEEP: u64 = 60_000;

impl Cache {
    /// The flight for `name`: the one under way, or a new one.
    pub(super) fn flight(
        &'static self,
        shelf: &mut Shelf,
        name: &KeyName,
        known: Option<Arc<Entry>>,
        whom: For,
    ) -> Result<Arc<Flight<Outcome>>, StoreError> {
        if let Some(flight) = shelf.flights.get(name) {
            // Where it stands among others that are prefetched, it goes before them. The first of the two jobs that
            // gets a thread does the work; if there is no room for another, the old one does.
            if whom == For::Call && flight.hurry() {
                let _ = self
                    .fetchers
                    .submit(For::Call, self.job(flight, name, known));
            }
            return Ok(Arc::clone(flight));
        }
        if self.counts_as_down() {
            return Err(unanswered());
        }
        // As many as there are keys to prefetch.
        if shelf.flights.try_reserve(1).is_err() {
            return Err(StoreError::passing("out of memory"));
        }
        let flight = Arc::new(Flight::new());
        if whom == For::Call {
            flight.hurry();
        }
        let job = self.job(&flight, name, known);
        if self.fetchers.submit(whom, job).is_err() {
            return Err(StoreError::passing("no thread or no memory for it"));
        }
        shelf.flights.insert(name.clone(), Arc::clone(&flight));
        Ok(flight)
    }

    /// Fetches and lands, unless another job for `flight` does.
    fn job(
        &'static self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        known: Option<Arc<Entry>>,
    ) -> Job {
        let (flight, name) = (Arc::clone(flight), name.clone());
        Box::new(move || {
            if !flight.begin() {
                return;
            }
            let outcome = guarded(|| self.fly(&flight, &name, known));
            if outcome.is_err() {
                // A flight that a panic ended is still listed.
                self.shelf().delist(&flight, &name);
            }
            flight.land(outcome);
        })
    }

    /// Fetches, on a thread of ours, and keeps what came of it.
    fn fly(
        &self,
        flight: &Arc<Flight<Outcome>>,
        name: &KeyName,
        known: Option<Arc<Entry>>,
    ) -> Outcome {
        let start = Instant::now();
        // The store may have gone down while this flight stood in line.
        let outcome = if self.counts_as_down() {
            Err(unanswered())
        } else {
            // By itself, so that a panic in it is counted.
            let outcome = guarded(|| self.fetch(name, known.as_ref(), start + self.timeout));
            self.account(name, known.is_some(), &outcome, start.elapsed());
            outcome
        };
        let mut shelf = self.shelf();
        // Whoever evicted the key meanwhile took the flight off the list.
        if shelf.delist(flight, name) {
            self.shelve(&mut shelf, name, known.as_deref(), &outcome);
        }
        self.sweep(&mut shelf);
        outcome
    }

    fn fetch(&self, name: &KeyName, known: Option<&Arc<Entry>>, deadline: Instant) -> Outcome {
        let Some(store) = &self.store else {
            return Err(StoreError::lasting("there is no key store"));
        };
        // The age counts from before the question: the answer was true then, not later.
        let asked = self.now();
        let tag = known.and_then(|entry| entry.tag.as_deref());
        match store.fetch(&name.object, tag, deadline)? {
            Fetched::Object { content, tag } => match Cipher::from_object(&content) {
                Some(cipher) => Ok(Arc::new(Entry {
                    cipher: Locked::new(&self.pages, cipher)
                        .ok_or_else(|| StoreError::passing("out of memory"))?,
                    tag,
                    checked: AtomicU64::new(asked),
                    due: AtomicU64::new(self.due(asked)),
                    dropped: AtomicBool::new(false),
                    used: AtomicBool::new(false),
                })),
                None => Err(StoreError::NotAKey("its object is not a Fernet key")),
            },
            Fetched::Unchanged => match known {
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
    fn shelve(&self, shelf: &mut Shelf, name: &KeyName, known: Option<&Entry>, outcome: &Outcome) {
        match outcome {
            Ok(entry) => {
                shelf.absent.pop(name);
                shelf.keep(name, entry);
            }
            Err(StoreError::Absent) => {
                shelf.drop_key(name);
                shelf.absent.put(name.clone(), self.now() + ABSENT_FOR);
            }
            Err(StoreError::Denied(_) | StoreError::NotAKey(_)) => shelf.drop_key(name),
            Err(error @ StoreError::Unavailable { .. }) => {
                if let Some(entry) = known {
                    // Nobody asks again for a moment, but the key serves no longer for that.
                    let serves = match error.is_passing() {
                        true => self.ttl.saturating_add(self.stale),
                        false => self.ttl,
                    };
                    let end = entry.checked.load(Ordering::Relaxed).saturating_add(serves);
                    entry
                        .due
                        .store(end.min(self.now() + PAUSE), Ordering::Relaxed);
                }
            }
        }
    }

    /// Drops the keys that nobody has used for so long that they could not even serve as stale.
    fn sweep(&self, shelf: &mut Shelf) {
        let now = self.now();
        if now < shelf.swept.saturating_add(SWEEP) {
            return;
        }
        shelf.swept = now;
        let ended: Vec<_> = shelf
            .entries
            .iter()
            .filter(|(_, entry)| !self.may_serve_stale(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            shelf.drop_key(&name);
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
                self.down_until.store(0, Ordering::Relaxed);
                let took = took.as_millis();
                return stats.log(format_args!("{what} of key {key} took {took} ms"));
            }
            Err(error) => error,
        };
        stats.count(match error {
            StoreError::Absent => Counter::Lost,
            StoreError::NotAKey(_) => Counter::Invalid,
            StoreError::Denied(_) => Counter::Denied,
            StoreError::Unavailable { fault, .. } => {
                if *fault == Fault::Unreachable {
                    self.store_is_down();
                }
                Counter::Unavailable
            }
        });
        let end = match error {
            _ if !is_check => "",
            StoreError::Unavailable { .. } => "; it is kept for now",
            _ => "; it is dropped from the cache",
        };
        stats.log(format_args!("{what} of key {key} failed: {error}{end}"));
    }
}

fn unanswered() -> StoreError {
    StoreError::unreachable("the store gave no answer a moment ago")
}
