//! Which state of `main` a connection reads: whether a look-up made before would come to the same now.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

use sqlite_loadable::ext::sqlite3;

use super::connection::Connection;
use super::kept::Kept;
use super::{ROUTINES, code, sqlite3};
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
    /// - the cache of pages is shared with another connection, whose uncommitted rows this one reads under
    ///   `PRAGMA read_uncommitted`. No routine tells that flag, and reading it by SQL takes longer than a look-up;
    /// - `main` is `sqlite3_deserialize`'s, whose versions begin anew and may meet earlier ones. It is in the VFS
    ///   `memdb`, and nothing brings the file back. Before SQLite 3.41 it has a file name ("x");
    /// - `main` was opened without a file name.
    ///
    /// An authorizer, a collation, a pragma or a schema read again make a plan stale, which SQLite prepares anew
    /// at its next step. Each statement has its own mark for that, so the probe meets all that was since its own
    /// last step, whichever other statement was stepped in between.
    pub fn state_of_main(&self) -> Option<State> {
        const READ: c_int = 1;
        const DATA_VERSION: c_int = 35;
        // SAFETY: the connection is live.
        let transaction = || unsafe { sqlite3!(txn_state(self.db(), c"main".as_ptr())) };
        if !self.lasting.has_file || transaction() != READ {
            return None;
        }
        let plans = self.plans()?;
        if self.is_in_memory()? || self.shares_pages()? {
            return None;
        }
        let mut version = 0_u32;
        self.control(DATA_VERSION, (&raw mut version).cast())?;
        Some(State { version, plans })
    }

    /// Steps the probe. An error is `None`, and so is a statement that nobody would keep; where the host's
    /// authorizer refuses it, it is not tried again: each time would be a line in the host's log.
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

    fn is_in_memory(&self) -> Option<bool> {
        const VFS_POINTER: c_int = 27;
        let mut vfs: *const Vfs = ptr::null();
        self.control(VFS_POINTER, (&raw mut vfs).cast())?;
        // `memdb` is SQLite's own and stays where it is, so that no other is found in its place.
        if !vfs.is_null() && vfs == self.on_disk.get() {
            return Some(false);
        }
        // SAFETY: the VFS of an open file outlives it, and its name is NUL-terminated.
        let name = unsafe { CStr::from_ptr(vfs.as_ref()?.name) };
        let is_in_memory = name == c"memdb";
        if !is_in_memory {
            self.on_disk.set(vfs);
        }
        Some(is_in_memory)
    }

    /// Whether another connection has one of this connection's caches of pages at this moment. SQLite divides the bytes
    /// of a shared one by its connections: the sum is then another.
    fn shares_pages(&self) -> Option<bool> {
        if !self.lasting.may_share_pages {
            return Some(false);
        }
        const CACHE_USED: c_int = 1;
        const CACHE_USED_SHARED: c_int = 11;
        let status = |of| {
            let (mut bytes, mut highest) = (0, 0);
            // SAFETY: the connection is live, and the answers are two integers.
            let result = unsafe { sqlite3!(db_status(self.db(), of, &mut bytes, &mut highest, 0)) };
            (result == code::OK).then_some(bytes)
        };
        Some(status(CACHE_USED_SHARED)? != status(CACHE_USED)?)
    }

    /// No name means `main`, which need not be looked for then.
    fn control(&self, operation: c_int, answer: *mut c_void) -> Option<()> {
        // SAFETY: the connection is live; each caller gives the place that its operation fills.
        let result = unsafe { sqlite3!(file_control(self.db(), ptr::null(), operation, answer)) };
        (result == code::OK).then_some(())
    }
}

/// What of a connection stays as it is while it is open.
pub(super) struct Lasting {
    /// `main` was opened as a file; `sqlite3_deserialize` may put memory in its place, and nothing a file in that of memory.
    has_file: bool,
    /// SQLite was built with its shared cache, which <https://sqlite.org/compile.html> recommends to leave out.
    may_share_pages: bool,
}

impl Lasting {
    /// # Safety
    /// The connection must be live, and the routines table set.
    pub(super) unsafe fn of(db: *mut sqlite3) -> Self {
        // SAFETY: the caller vouches for both; the file name, if there is one, is NUL-terminated. An SQLite without its list
        // of options has no such routine.
        unsafe {
            let name = sqlite3!(db_filename(db, c"main".as_ptr()));
            let option = (*ROUTINES.load(Ordering::Relaxed)).compileoption_used;
            let is_left_out =
                option.is_some_and(|is_used| is_used(c"OMIT_SHARED_CACHE".as_ptr()) == 1);
            Self {
                has_file: !name.is_null() && *name != 0,
                may_share_pages: !is_left_out,
            }
        }
    }
}

/// `sqlite3_vfs` (<https://sqlite.org/c3ref/vfs.html>) as far as its name.
#[repr(C)]
pub(super) struct Vfs {
    version: c_int,
    file_size: c_int,
    longest_path: c_int,
    next: *const Self,
    name: *const c_char,
}
