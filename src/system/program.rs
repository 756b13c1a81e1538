//! A program that runs for a while, and what it prints.

use std::io;
use std::time::Instant;

/// How a program ended.
#[derive(Debug)]
#[cfg_attr(not(unix), allow(dead_code))]
pub(crate) enum Ended {
    /// With success, after it had printed so many bytes.
    Well(usize),
    /// With a failure, or with more to say than there was room for.
    Badly,
    /// Not, until it was killed.
    NotInTime,
}

/// Runs the program of `words` until it ends or `deadline`, with nothing to read and its standard error thrown away. What
/// it prints goes into `said`, which has to be longer by a byte. It takes signals, unlike the thread of ours that runs it,
/// and is killed with all that it started.
///
/// # Errors
/// The system's refusal to run it.
#[cfg(unix)]
pub(crate) fn run(words: &[String], said: &mut [u8], deadline: Instant) -> io::Result<Ended> {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    let (name, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    // SAFETY: between fork and exec, where only async-signal-safe functions may be called; both are, and the set is on the
    // stack.
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    let mut child = Started(command.spawn()?);
    let mut output = child.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut length = 0;
    loop {
        if !readable(&output, deadline)? {
            return Ok(Ended::NotInTime);
        }
        match output.read(&mut said[length..]) {
            Ok(0) if length < said.len() => break,
            Ok(0) => return Ok(Ended::Badly),
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // It has said all; its end is near.
    let status = loop {
        match child.0.try_wait() {
            Ok(None) if Instant::now() >= deadline => return Ok(Ended::NotInTime),
            Ok(None) => std::thread::sleep(std::time::Duration::from_millis(2)),
            Ok(status) => break status,
            // A host that waits for every child has heard of its end before us.
            Err(_) => break None,
        }
    };
    Ok(match status.is_none_or(|status| status.success()) {
        true => Ended::Well(length),
        false => Ended::Badly,
    })
}

/// Elsewhere none is run.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub(crate) fn run(_: &[String], _: &mut [u8], _: Instant) -> io::Result<Ended> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A child that does not outlive this, nor its own children.
#[cfg(unix)]
struct Started(std::process::Child);

#[cfg(unix)]
impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let group = self.0.id().cast_signed();
            // SAFETY: takes numbers. The group is the child's own, and its number is taken as long as nobody has waited for
            // the child.
            unsafe {
                libc::kill(-group, libc::SIGKILL);
            }
            let _ = self.0.wait();
        }
    }
}

/// Waits until there is something to read from `pipe`, its end included; `false` where `deadline` was earlier.
#[cfg(unix)]
fn readable(pipe: &impl std::os::fd::AsRawFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last wait is not one of none at all.
        let left = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let mut asked = libc::pollfd {
            fd: pipe.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, of a pipe that is open as long as it is borrowed.
        match unsafe { libc::poll(&mut asked, 1, left) } {
            0 => return Ok(false),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(true),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shell(script: &str, said: &mut [u8], patience: Duration) -> io::Result<Ended> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&words, said, Instant::now() + patience)
    }

    #[test]
    fn what_a_program_prints_is_heard_if_it_ends_well() {
        let (patience, mut said) = (Duration::from_secs(60), [0; 64]);
        let script = "echo heard; echo unheard >&2; read nothing || echo nothing";
        let ended = shell(script, &mut said, patience);
        assert!(matches!(ended, Ok(Ended::Well(14))), "{ended:?}");
        assert!(said.starts_with(b"heard\nnothing\n"));
        for script in ["echo heard; exit 3", "kill -9 $$", "yes"] {
            let ended = shell(script, &mut said, patience);
            assert!(matches!(ended, Ok(Ended::Badly)), "{script}");
        }
        let words = ["/nonexistent".to_owned()];
        let missing = run(&words, &mut said, Instant::now() + patience);
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let root = tempfile::tempdir().unwrap();
        let pid = root.path().join("pid");
        // What it started holds its output open.
        let script = format!(
            "sleep 600 & echo $! > {0}.part; mv {0}.part {0}; wait",
            pid.display()
        );
        let ended = shell(&script, &mut [0; 64], Duration::from_secs(2)).unwrap();
        assert!(matches!(ended, Ended::NotInTime));
        let child: i32 = std::fs::read_to_string(&pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // One that nobody has waited for yet is a zombie.
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while lives() {
            std::thread::yield_now();
        }
    }
}
