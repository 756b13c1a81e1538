//! Look-ups that a connection need not make again.
//!
//! A scan asks for the same keys row after row. A look-up is used again only while `main` is in the very
//! state that it was made in, and the key tables are tables of `main`. Whether the key itself still serves
//! is the cache's to say. Keys are held weakly: one that the cache drops is wiped, whoever knew it.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use hashbrown::{Equivalent, HashMap};

use super::Session;
use crate::cache::Entry;
use crate::error::Error;
use crate::ffi::connection::{Kept, State};
use crate::ffi::system;
use crate::id::{KeyUid, UserId};
use crate::keys::KeyRow;

impl Session {
    /// Hands the key `uid` of `user` to `body`, or the user's current one where `uid` is `None`.
    ///
    /// # Errors
    /// Those of the look-up, of the cache, and of `body`.
    pub(super) fn with_key<T>(
        &self,
        user: UserId,
        uid: Option<&str>,
        body: impl FnOnce(&KeyRow, &Entry) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let look_up = match uid {
            None => Kept::CurrentKey,
            Some(_) => Kept::KeyByUid,
        };
        let state = self.connection.state_of_main(look_up);
        if state.is_none() {
            // What made the state unclear, such as a new authorizer, outlasts this call unseen.
            self.known.borrow_mut().forget();
        }
        if let Some(state) = state
            && let Some((row, entry)) = self.known.borrow().get(state, user, uid)
            && self.cache()?.serves(&entry)
        {
            return body(row, &entry);
        }
        let row = match uid {
            None => self.current_key(user)?,
            Some(uid) => self.keys.named(&self.connection, user, uid)?,
        };
        let entry = self.key(&row)?;
        let outcome = body(&row, &entry);
        if let Some(state) = state {
            let known_state = self.known.borrow().is_in(state);
            if known_state || matches!(self.keys.are_tables_of_main(&self.connection), Ok(true)) {
                self.known.borrow_mut().put(state, user, uid, row, &entry);
            }
        }
        outcome
    }
}

/// The look-ups made in one state of the database.
#[derive(Default)]
pub(super) struct Known {
    /// With the process's generation: a forked child has a cache of its own.
    state: Option<(State, u64)>,
    keys: HashMap<Wanted, (KeyRow, Weak<Entry>)>,
}

/// What was asked for: a user's key by its uid, or the current one.
#[derive(PartialEq, Eq)]
struct Wanted {
    user: UserId,
    uid: Option<KeyUid>,
}

/// The same, borrowed from a call's arguments.
#[derive(Hash)]
struct Asked<'a>(UserId, Option<&'a str>);

impl Hash for Wanted {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        Asked(self.user, self.uid.as_ref().map(KeyUid::as_str)).hash(hasher);
    }
}

impl Equivalent<Wanted> for Asked<'_> {
    fn equivalent(&self, wanted: &Wanted) -> bool {
        self.0 == wanted.user && self.1 == wanted.uid.as_ref().map(KeyUid::as_str)
    }
}

impl Known {
    /// So many are known at the most.
    const MOST: usize = 2048;

    fn get(&self, state: State, user: UserId, uid: Option<&str>) -> Option<(&KeyRow, Arc<Entry>)> {
        if !self.is_in(state) {
            return None;
        }
        let (row, entry) = self.keys.get(&Asked(user, uid))?;
        Some((row, entry.upgrade()?))
    }

    fn is_in(&self, state: State) -> bool {
        self.state == Some((state, system::generation()))
    }

    fn forget(&mut self) {
        self.keys.clear();
    }

    fn put(
        &mut self,
        state: State,
        user: UserId,
        uid: Option<&str>,
        row: KeyRow,
        entry: &Arc<Entry>,
    ) {
        if !self.is_in(state) || self.keys.len() >= Self::MOST {
            self.keys.clear();
            self.state = Some((state, system::generation()));
        }
        let uid = uid.map(KeyUid::from);
        let key = (row, Arc::downgrade(entry));
        self.keys.insert(Wanted { user, uid }, key);
    }
}
