//! What the standard library does not tell about the process: forks, a clock that counts sleep, raised
//! privileges, threads that take no signals, and who is mapped into it.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Counts `fork()` in this process from now on, for [`generation`]. To be called when the library is
/// loaded, which is before any thread of ours exists.
pub fn watch_forks() {
    #[cfg(unix)]
    {
        static WATCH: std::sync::Once = std::sync::Once::new();
        WATCH.call_once(|| {
            extern "C" fn child() {
                // An atomic add is safe in a forked child of a process with threads.
                GENERATION.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the handler is async-signal-safe, and the library is never unmapped.
            unsafe {
                libc::pthread_atfork(None, None, Some(child));
            }
        });
    }
}

/// Keeps the library that `address` lies in mapped as long as the process lives, as we are kept ourselves.
///
/// Node's worker threads drop better-sqlite3, and the SQLite in it, when the last of them has ended: what we know of that
/// SQLite would point nowhere, and the next worker's would be another one.
pub(crate) fn keep_mapped(address: *const c_void) {
    #[cfg(unix)]
    // SAFETY: dladdr looks the address up and reads nothing there; the name that it gives lives as long as the library,
    // which is calling us. dlopen maps nothing new, it marks what it finds. A program itself is not found, nor needs it be.
    unsafe {
        let mut found = std::mem::zeroed::<libc::Dl_info>();
        if libc::dladdr(address, &mut found) != 0 && !found.dli_fname.is_null() {
            let known = libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            libc::dlopen(found.dli_fname, libc::RTLD_LAZY | known);
        }
    }
    #[cfg(not(unix))]
    let _ = address;
}

/// How many forks lie between the process that loaded us and this one. What belongs to another
/// generation (locks, sockets, threads, random numbers) must not be used.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Time since boot, sleep included where the system counts it (`CLOCK_BOOTTIME` on Linux; macOS's
/// `CLOCK_MONOTONIC` does). Never goes back.
pub fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    #[cfg(unix)]
    {
        // Zero would make every age zero, so a failure falls through to the standard clock.
        if let Some(now) = read(CLOCK) {
            return Duration::new(
                u64::try_from(now.tv_sec).unwrap_or(0),
                u32::try_from(now.tv_nsec).unwrap_or(0),
            );
        }
    }
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// [`uptime`] as it was at most a tick of the system's clock ago (1 to 10 ms, sleep not counted), in a fourth of the time.
///
/// What says that there was no tick since is a clock that moves with each, and when the machine goes to sleep.
pub fn uptime_at_tick() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        static TICK: AtomicU64 = AtomicU64::new(u64::MAX);
        static UPTIME: AtomicU64 = AtomicU64::new(0);
        if let Some(tick) = read(libc::CLOCK_MONOTONIC_COARSE) {
            let tick = (tick.tv_sec as u64) << 30 | tick.tv_nsec as u64;
            // Whoever sees the tick sees the uptime that was asked for in it, or a later one.
            if TICK.load(Ordering::Acquire) != tick {
                let now = u64::try_from(uptime().as_nanos()).unwrap_or(u64::MAX);
                UPTIME.fetch_max(now, Ordering::Relaxed);
                TICK.store(tick, Ordering::Release);
            }
            return Duration::from_nanos(UPTIME.load(Ordering::Relaxed));
        }
    }
    uptime()
}

/// The time in seconds since 1970, as the system's last tick, some milliseconds ago, has it: in a sixth of the time that
/// a look at the clock takes.
pub fn unix_seconds() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(now) = read(libc::CLOCK_REALTIME_COARSE) {
        return u64::try_from(now.tv_sec).unwrap_or(0);
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What `clock` says; `None` if there is no such clock.
#[cfg(unix)]
fn read(clock: libc::clockid_t) -> Option<libc::timespec> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec.
    (unsafe { libc::clock_gettime(clock, &mut now) } == 0).then_some(now)
}

/// Whether the process runs with privileges that its caller does not have (set-uid and the like), so
/// that its environment is not to be trusted: `AT_SECURE` on Linux, `issetugid` elsewhere.
pub fn has_raised_privileges() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: reads the auxiliary vector.
    return unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd"))]
    // SAFETY: takes nothing and cannot fail.
    return unsafe { libc::issetugid() } != 0;
    #[allow(unreachable_code)]
    false
}

/// Starts a thread on which the host's signal handlers never run.
///
/// # Errors
/// The system's refusal to make one.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    #[cfg(unix)]
    // SAFETY: both sets are initialised before use; the thread inherits the full mask, and the
    // caller's own mask is restored whether or not the thread was made.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let spawned = builder.spawn(body);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        spawned.map(drop)
    }
    #[cfg(not(unix))]
    builder.spawn(body).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_at_a_tick_is_never_ahead_and_follows() {
        let start = uptime();
        loop {
            let at_tick = uptime_at_tick();
            assert!(at_tick <= uptime());
            if at_tick > start {
                break;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn uptime_advances() {
        let before = uptime();
        thread::sleep(Duration::from_millis(2));
        assert!(uptime() > before);
    }
}
