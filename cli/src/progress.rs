//! Long work shows itself: a bar on a terminal, a line every ten seconds elsewhere, on standard error.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::failure::{Failure, Result};
use crate::report::grouped;

const EVERY: Duration = Duration::from_secs(10);

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C asks for an end between two batches; a second one ends at once.
pub(crate) fn heed_interrupts() -> std::io::Result<()> {
    let stop = STOP.get_or_init(Arc::default);
    signal_hook::flag::register_conditional_default(signal_hook::consts::SIGINT, Arc::clone(stop))?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(stop))?;
    Ok(())
}

/// Fails once an end was asked for.
pub(crate) fn go_on() -> Result<()> {
    match STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        true => Err(Failure::Stopped),
        false => Ok(()),
    }
}

/// How far one piece of work is.
pub(crate) struct Progress {
    title: &'static str,
    total: u64,
    done: AtomicU64,
    start: Instant,
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new(title: &'static str, total: u64) -> Self {
        let bar = (std::io::stderr().is_terminal() && total > 0).then(|| {
            let bar = ProgressBar::new(total);
            let template = "{prefix} {wide_bar} {percent}% {human_pos} {rate} a second, {eta} left";
            let style = ProgressStyle::with_template(template).map(|style| {
                style.with_key(
                    "rate",
                    |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                        let _ = write!(out, "{}", grouped(state.per_sec() as u64));
                    },
                )
            });
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(title);
            bar
        });
        let start = Instant::now();
        Self {
            title,
            total,
            done: AtomicU64::new(0),
            start,
            bar,
            told: Mutex::new(start),
        }
    }

    /// So many more are done.
    pub(crate) fn add(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(bar) = &self.bar {
            bar.inc(more);
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            eprintln!("{}", self.line(done));
        }
    }

    fn line(&self, done: u64) -> String {
        let rate = done as f64 / self.start.elapsed().as_secs_f64().max(0.001);
        let left = self.total.saturating_sub(done) as f64 / rate.max(0.001);
        format!(
            "{}: {done} of {}, {rate:.0} a second, {left:.0} s left",
            self.title, self.total
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
