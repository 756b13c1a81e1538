//! The credentials to sign with now, renewed before they end.
//!
//! A thread of its own looks for them, and at most one at a time: some five minutes before they end, while
//! others go on with those that are valid; and when they have ended, or the store calls them expired, while
//! the fetches wait, each until its own deadline. No thread stays. A forked child builds all of this anew.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::chain::Sources;
use super::{Credentials, Found};
use crate::config::Aws;
use crate::stats::Stats;
use crate::store::retry::{Retry, random_percent};
use crate::store::{CredentialStatus, StoreError, guarded};
use crate::system::process;
use crate::threads::flight::Flight;

/// How long before their end credentials are renewed, and at most how much sooner, so that a fleet that
/// started together does not ask together.
const EARLY: Duration = Duration::from_secs(300);
const JITTER: Duration = Duration::from_secs(60);
/// How long one search may take, its retries included.
const SEARCH: Duration = Duration::from_secs(10);
/// How long after a failed search the next one begins: while credentials are valid, and while none are.
const PAUSE_VALID: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(1);

/// The credentials of one store.
pub(in crate::store) struct Provider {
    shared: Arc<Shared>,
}

type Search = Box<dyn Fn(Instant) -> Result<Found, StoreError> + Send + Sync>;
type Clock = Box<dyn Fn() -> (Duration, OffsetDateTime) + Send + Sync>;
type Outcome = Result<Arc<Credentials>, StoreError>;

struct Shared {
    search: Search,
    /// The store's: what one of them draws from its budget the other has not.
    retry: Arc<Retry>,
    stats: Arc<Stats>,
    /// Time that counts a machine's sleep, and the date.
    clock: Clock,
    state: Mutex<State>,
}

/// Times are those of the clock.
#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<Arc<Flight<Outcome>>>,
    /// The last search's failure, which answers everyone until then.
    failed: Option<(Duration, StoreError)>,
    /// Until when no other answer of the store starts a search.
    renewed: Duration,
}

struct Held {
    credentials: Arc<Credentials>,
    source: &'static str,
    /// From when on they are renewed, and when they end.
    due: Option<Duration>,
    end: Option<Duration>,
    is_extendable: bool,
    /// The source has failed since, and not by refusing.
    in_trouble: bool,
}

impl Provider {
    /// The credentials that `aws` leads to. Nothing is looked for yet.
    pub(in crate::store) fn new(aws: &'static Aws, retry: Arc<Retry>, stats: Arc<Stats>) -> Self {
        let sources = Sources::new(aws);
        let search = Box::new(move |deadline| sources.search(deadline));
        let clock = || (process::uptime(), OffsetDateTime::now_utc());
        Self::over(search, retry, stats, Box::new(clock))
    }

    fn over(search: Search, retry: Arc<Retry>, stats: Arc<Stats>, clock: Clock) -> Self {
        let shared = Shared {
            search,
            retry,
            stats,
            clock,
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The credentials to sign with now; waits for them only where there are no valid ones.
    ///
    /// # Errors
    /// [`StoreError::NoCredentials`]: there are none, or the one who has them refuses; else that one is in trouble, or
    /// `deadline` passed.
    pub(in crate::store) fn get(&self, deadline: Instant) -> Outcome {
        self.held_or_found(deadline)
            .map_err(StoreError::of_credentials)
    }

    fn held_or_found(&self, deadline: Instant) -> Outcome {
        let (now, _) = (self.shared.clock)();
        let mut state = self.shared.state();
        let failed = state.failed.as_ref().filter(|(until, _)| now < *until);
        if let Some(held) = state
            .held
            .as_ref()
            .filter(|held| held.is_valid(now) || held.is_extended(now))
        {
            let credentials = Arc::clone(&held.credentials);
            if failed.is_none() && held.due.is_some_and(|due| now >= due) {
                // Whether the search can be started does not matter to this call.
                let _ = self.shared.fly(&mut state);
            }
            return Ok(credentials);
        }
        if let Some((_, error)) = failed {
            return Err(error.clone());
        }
        let flight = self.shared.fly(&mut state)?;
        drop(state);
        wait(&flight, deadline)
    }

    /// Other credentials than `expired`, which the store calls so; `None` where there are no others.
    ///
    /// # Errors
    /// As [`Provider::get`].
    pub(in crate::store) fn renew(
        &self,
        expired: &Credentials,
        deadline: Instant,
    ) -> Result<Option<Arc<Credentials>>, StoreError> {
        let (now, _) = (self.shared.clock)();
        let mut state = self.shared.state();
        if let Some(held) = &state.held
            && *held.credentials != *expired
        {
            return Ok(Some(Arc::clone(&held.credentials)));
        }
        if state.flight.is_none() {
            if now < state.renewed {
                return Ok(None);
            }
            state.renewed = now + PAUSE;
            // Should the search fail, nobody is to go on with them.
            if let Some(held) = &mut state.held {
                held.end = Some(now);
            }
        }
        let flight = self.shared.fly(&mut state);
        drop(state);
        let found = flight.and_then(|flight| wait(&flight, deadline));
        let found = found.map_err(StoreError::of_credentials)?;
        Ok((*found != *expired).then_some(found))
    }

    /// Where the credentials came from and how long they last; `None` before the first were found.
    pub(in crate::store) fn status(&self) -> Option<CredentialStatus> {
        let (now, _) = (self.shared.clock)();
        let state = self.shared.state();
        let held = state.held.as_ref()?;
        Some(CredentialStatus {
            source: held.source,
            expires_in: held.end.map(|end| end.saturating_sub(now)),
        })
    }
}

fn wait(flight: &Flight<Outcome>, deadline: Instant) -> Outcome {
    let Ok(outcome) = flight.wait::<Infallible>(Some(deadline), &mut || Ok(()));
    outcome.unwrap_or_else(|| Err(StoreError::silent("no credentials in time")))
}

impl Shared {
    /// The search under way, or a new one on a thread of its own.
    fn fly(self: &Arc<Self>, state: &mut State) -> Result<Arc<Flight<Outcome>>, StoreError> {
        if let Some(flight) = &state.flight {
            return Ok(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::new());
        let (shared, landing) = (Arc::clone(self), Arc::clone(&flight));
        process::spawn("journal_crypt", move || landing.land(shared.search()))
            .map_err(|_| StoreError::NotSent("the system starts no thread"))?;
        state.flight = Some(Arc::clone(&flight));
        Ok(flight)
    }

    fn search(&self) -> Outcome {
        let deadline = Instant::now() + SEARCH;
        let search = || self.retry.run(deadline, |until| (self.search)(until));
        let found = guarded(search);
        let (now, date) = (self.clock)();
        let held = found.and_then(|found| Held::of(found, now, date));
        let mut state = self.state();
        state.flight = None;
        match held {
            Ok(held) => {
                let credentials = Arc::clone(&held.credentials);
                if let Some(end) = held.end {
                    let seconds = (end - now).as_secs();
                    let source = held.source;
                    self.stats.log(format_args!(
                        "credentials from {source}, valid for {seconds} s"
                    ));
                }
                state.failed = None;
                state.held = Some(held);
                Ok(credentials)
            }
            Err(error) => {
                self.stats
                    .log(format_args!("credentials could not be had: {error}"));
                if let Some(held) = &mut state.held {
                    held.in_trouble = !error.is_refusal();
                }
                let extended = state.held.as_ref().filter(|held| held.is_extended(now));
                let extended = extended.map(|held| Arc::clone(&held.credentials));
                let valid = match (&extended, &state.held) {
                    (None, Some(held)) => {
                        held.end.map_or(PAUSE_VALID, |end| end.saturating_sub(now))
                    }
                    (None, None) => Duration::ZERO,
                    (Some(_), _) => PAUSE_VALID,
                };
                let until = now + valid.clamp(PAUSE, PAUSE_VALID);
                state.failed = Some((until, error.clone()));
                extended.ok_or(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Credentials found at the time `now`, which is `date`.
    fn of(found: Found, now: Duration, date: OffsetDateTime) -> Result<Self, StoreError> {
        let Found {
            source,
            is_renewable,
            ..
        } = found;
        let left = found
            .expiration
            .map(|expiration| Duration::try_from(expiration - date).unwrap_or_default());
        let has_ended = left.is_some_and(|left| left.is_zero());
        if has_ended && !found.is_extendable {
            let reason = format!("the credentials from {source} have expired");
            return Err(match is_renewable {
                // It may have others soon.
                true => StoreError::passing(reason),
                false => StoreError::Denied(reason),
            });
        }
        let early = EARLY + JITTER * random_percent() / 100;
        let due = left
            .filter(|_| is_renewable)
            .map(|left| match left > 2 * EARLY {
                _ if has_ended => now + PAUSE_VALID,
                true => now + left.saturating_sub(early),
                false => now + left / 2,
            });
        Ok(Self {
            credentials: Arc::new(found.credentials),
            source,
            due,
            end: left.map(|left| now + left),
            is_extendable: found.is_extendable,
            in_trouble: has_ended,
        })
    }

    /// Whether they have ended and are used on all the same.
    fn is_extended(&self, now: Duration) -> bool {
        self.is_extendable && self.in_trouble && !self.is_valid(now)
    }

    fn is_valid(&self, now: Duration) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests;
