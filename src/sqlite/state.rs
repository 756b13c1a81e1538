//! Which state of `main` a connection reads: whether a look-up made before would come to the same now.

use std::ffi::{CStr, c_int};
use std::ptr;

use super::connection::Connection;
use super::kept::Kept;
use super::value::Value;
use super::{code, sqlite3};
use crate::error::Error;

/// Everything that makes a look-up's answer hold again; see [`Connection::state_of_main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// SQLite's count of the changes that this connection found or committed in `main`.
    version: u32,
    plans: Plans,
}

/// How often statements have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plans {
    /// Which probe of the connection counts.
    probe: u64,
    /// How often it has been prepared anew.
    prepared: c_int,
}

/// No row, and a plan that depends on the schema of `main`: what stales any plan of ours stales this one.
const PROBE: &str = "SELECT 1 FROM main.sqlite_master LIMIT 0";

impl Connection {
    /// Which state of `main` this connection reads now: as long as the answer is the same, any statement of ours
    /// gives the same rows out of tables. `None` where that cannot be told, which is where
    ///
    /// - there is no read transaction, or a writing one: a ROLLBACK changes rows and leaves the version alone;
    /// - the cache of pages may be shared with other connections, whose uncommitted rows this one then reads under
    ///   `PRAGMA read_uncommitted`. No routine tells that flag, and reading it by SQL takes longer than a look-up;
    /// - `main` has no file, which may be `sqlite3_deserialize`'s doing, whose versions begin anew and may meet earlier
    ///   ones. Nothing brings the file back.
    ///
    /// An authorizer, a collation, a pragma or a schema read again make a plan stale, which SQLite prepares anew
    /// at its next step. Each statement has its own mark for that, so the probe meets all that was since its own
    /// last step, whichever other statement was stepped in between.
    pub fn state_of_main(&self) -> Option<State> {
        const READ: c_int = 1;
        const DATA_VERSION: c_int = 35;
        // SAFETY: the connection is live.
        let transaction = unsafe { sqlite3!(txn_state(self.db(), c"main".as_ptr())) };
        if transaction != READ || !self.has_file() {
            return None;
        }
        let plans = self.plans()?;
        if self.may_share_pages() {
            return None;
        }
        let mut version = 0_u32;
        // SAFETY: the connection is live; no name means `main`, which need not be looked for then.
        let result = unsafe {
            let version: *mut u32 = &mut version;
            sqlite3!(file_control(
                self.db(),
                ptr::null(),
                DATA_VERSION,
                version.cast()
            ))
        };
        (result == code::OK).then_some(State { version, plans })
    }

    /// Whether `main` is a file's. Before SQLite 3.41 what `sqlite3_deserialize` put in its place is named "x", where a
    /// file has its whole path.
    fn has_file(&self) -> bool {
        // SAFETY: the connection is live, and the name, if there is one, NUL-terminated.
        unsafe {
            let name = sqlite3!(db_filename(self.db(), c"main".as_ptr()));
            !name.is_null() && !matches!(CStr::from_ptr(name).to_bytes(), b"" | b"x")
        }
    }

    /// Steps the probe. An error is `None`, and so is a statement that nobody would keep; where the host's
    /// authorizer refuses it, it is not tried again: each time would be a line in the host's log.
    #[inline(always)]
    fn plans(&self) -> Option<Plans> {
        const REPREPARE: c_int = 5;
        const AUTH: c_int = 23;
        if self.probe_refused() || !self.keeps_statements() {
            return None;
        }
        let stepped = self.statement(Kept::Probe, PROBE).and_then(|mut probe| {
            probe.step()?;
            // SAFETY: the statement is live.
            let prepared = unsafe { sqlite3!(stmt_status(probe.raw(), REPREPARE, 0)) };
            Ok(Plans {
                probe: self.probes(),
                prepared,
            })
        });
        match stepped {
            Ok(plans) => Some(plans),
            Err(Error::Sqlite { code, .. }) if code & 0xff == AUTH => {
                self.refuse_probe();
                None
            }
            Err(_) => None,
        }
    }

    /// Whether `main` was opened with a cache of pages that other connections can share. It then locks tables
    /// (<https://sqlite.org/sharedcache.html>), in a step of each statement's program.
    fn may_share_pages(&self) -> bool {
        if let Some(may) = self.may_share_pages.get() {
            return may;
        }
        let locks_tables = || {
            let mut program = self.prepare("EXPLAIN SELECT 1 FROM main.sqlite_master")?;
            while program.step()? {
                if matches!(program.column(1)?, Value::Text(b"TableLock")) {
                    return Ok(true);
                }
            }
            Ok::<_, Error>(false)
        };
        match locks_tables() {
            Ok(may) => {
                self.may_share_pages.set(Some(may));
                may
            }
            Err(_) => true,
        }
    }
}
