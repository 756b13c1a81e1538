//! Addresses of hosts, remembered for a while.
//!
//! With a timeout set, ureq's own resolver starts a thread for every request, which stays for as long as the system's
//! look-up takes, and panics where there is none. Here a name is looked up once at a time, and all who ask wait for that.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::system::process;
use crate::threads::flight::Flight;

const REMEMBERED: Duration = Duration::from_secs(30);
/// As many as ureq takes.
const MOST: usize = 16;

/// The system starts no thread for a look-up.
#[derive(Debug)]
pub(super) struct NoThread;

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system starts no thread")
    }
}

impl std::error::Error for NoThread {}

/// What is known of hosts; clones share it.
#[derive(Clone)]
pub(super) struct Addresses {
    hosts: Arc<Mutex<HashMap<String, Host>>>,
    look_up: LookUp,
}

type LookUp = Arc<dyn Fn(&str) -> Found + Send + Sync>;
/// None where the host has no address.
type Found = Vec<SocketAddr>;

enum Host {
    Known(Instant, Found),
    Asked(Arc<Flight<Found>>),
}

impl Addresses {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self::over(Arc::new(|host: &str| {
            let found = host.to_socket_addrs();
            found.map_or_else(|_| Found::new(), |found| found.take(MOST).collect())
        }))
    }

    pub(super) fn over(look_up: LookUp) -> Self {
        Self {
            hosts: Arc::default(),
            look_up,
        }
    }

    /// Addresses that could not be reached may be others by now.
    pub(super) fn forget(&self) {
        self.hosts()
            .retain(|_, host| matches!(host, Host::Asked(_)));
    }

    /// The addresses of `host`, which ends with its port; none where it has none, or `deadline` passed.
    fn of(&self, host: &str, deadline: Option<Instant>) -> Result<Found, NoThread> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut hosts = self.hosts();
        let flight = match hosts.get(host) {
            Some(Host::Known(since, found)) if since.elapsed() < REMEMBERED => {
                return Ok(found.clone());
            }
            Some(Host::Asked(flight)) => Arc::clone(flight),
            _ => {
                let flight = Arc::new(Flight::new());
                let (this, landing, name) = (self.clone(), Arc::clone(&flight), host.to_owned());
                process::spawn("journal_crypt", move || this.find(&name, &landing))
                    .map_err(|_| NoThread)?;
                hosts.insert(host.to_owned(), Host::Asked(Arc::clone(&flight)));
                flight
            }
        };
        drop(hosts);
        let Ok(found) = flight.wait::<Infallible>(deadline, &mut || Ok(()));
        Ok(found.unwrap_or_default())
    }

    fn find(&self, host: &str, flight: &Flight<Found>) {
        let found = catch_unwind(AssertUnwindSafe(|| (self.look_up)(host))).unwrap_or_default();
        let mut hosts = self.hosts();
        match found.is_empty() {
            true => hosts.remove(host),
            false => hosts.insert(host.to_owned(), Host::Known(Instant::now(), found.clone())),
        };
        drop(hosts);
        flight.land(found);
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses")
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri
            .scheme()
            .zip(uri.authority())
            .and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority))
            .ok_or(ureq::Error::HostNotFound)?;
        let deadline = Instant::now().checked_add(*timeout.after);
        let found = self.of(&host, deadline);
        let found = found.map_err(|error| ureq::Error::Other(Box::new(error)))?;
        if found.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        let mut resolved = self.empty();
        found.into_iter().for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

#[cfg(test)]
#[cfg(not(feature = "schedules"))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const HOST: &str = "s3.journal.test:443";

    fn address() -> SocketAddr {
        "192.0.2.1:443".parse().unwrap()
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn however_many_ask_a_silent_resolver_there_is_one_look_up() {
        let (answer, coming) = mpsc::channel::<Found>();
        let coming = Mutex::new(coming);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let addresses = Addresses::over(Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            coming.lock().unwrap().recv().unwrap_or_default()
        }));
        for _ in 0..20 {
            assert_eq!(addresses.of(HOST, soon()).unwrap(), []);
        }
        answer.send(vec![address()]).unwrap();
        assert_eq!(addresses.of(HOST, None).unwrap(), [address()]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_address_is_remembered_until_it_cannot_be_reached_and_a_failure_is_not() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let addresses = Addresses::over(Arc::new(move |_| {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("planted"),
                1 => Found::new(),
                _ => vec![address()],
            }
        }));
        for _ in 0..2 {
            assert_eq!(addresses.of(HOST, None).unwrap(), []);
        }
        for _ in 0..3 {
            assert_eq!(addresses.of(HOST, None).unwrap(), [address()]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        addresses.forget();
        assert_eq!(addresses.of(HOST, None).unwrap(), [address()]);
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn an_address_needs_no_look_up() {
        let addresses = Addresses::over(Arc::new(|_| panic!("planted")));
        for literal in ["127.0.0.1:9000", "[::1]:443"] {
            let found = addresses.of(literal, None).unwrap();
            assert_eq!(found, [literal.parse().unwrap()]);
        }
    }
}
