//! Look-ups that a connection need not make again.
//!
//! A scan asks for the same keys row after row. A look-up is used again only while `main` is in the very
//! state that it was made in, and the key tables are tables of `main`. Whether the key itself still serves
//! is the cache's to say. Keys are held weakly: one that the cache drops is wiped, whoever knew it.

use std::cell::Ref;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::Session;
use crate::cache::Entry;
use crate::cipher::{Cipher, Context, MasterKey};
use crate::error::Error;
use crate::id::{KeyUid, OwnedUserId, UserId};
use crate::keys::KeyRow;
use crate::sqlite::state::State;
use crate::system::process;

/// A key that a call may use.
pub(super) struct Key<'a> {
    /// `user_journal_master_keys.id`.
    pub(super) id: i64,
    pub(super) uid: &'a KeyUid,
    key: &'a MasterKey,
}

impl<'a> Key<'a> {
    /// The key of `row`, which is in the cache as `entry`.
    pub(super) fn of(row: &'a KeyRow, entry: &'a Entry) -> Self {
        Self {
            id: row.id,
            uid: &row.uid,
            key: &entry.key,
        }
    }

    /// Hands the key as a cipher to `body`, or its subkey for `context`.
    pub(super) fn with_cipher<T>(
        &self,
        context: Option<Context<'_>>,
        body: impl FnOnce(&Cipher) -> T,
    ) -> T {
        match context {
            None => body(&self.key.cipher),
            Some(context) => body(&self.key.bound(context)),
        }
    }
}

impl Session {
    /// Hands the key `uid` of `user` to `body`, or the user's current one where `uid` is `None`.
    ///
    /// # Errors
    /// Those of the look-up, of the cache, and of `body`.
    #[inline(always)]
    pub(super) fn with_key<T>(
        &self,
        user: UserId<'_>,
        uid: Option<&str>,
        body: impl FnOnce(&Key<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let state = self.connection.state_of_main();
        if let Some((found, entry)) = self.known(state, user, uid)? {
            return body(&found.key(&entry));
        }
        let row = match uid {
            None => self.current_key(user)?,
            Some(uid) => self.named_key(user, uid)?,
        };
        let entry = self.key(&row)?;
        let outcome = body(&Key::of(&row, &entry));
        if let Some(state) = state {
            self.remember(state, user, uid, row, Arc::downgrade(&entry));
        }
        outcome
    }

    /// Hands the user's current key to `body`, if a look-up made in this state knows it and it serves.
    pub(super) fn with_known<T>(
        &self,
        state: Option<State>,
        user: UserId<'_>,
        body: impl FnOnce(&Key<'_>) -> T,
    ) -> Option<T> {
        let (found, entry) = self.known(state, user, None).ok()??;
        Some(body(&found.key(&entry)))
    }

    /// What a look-up in this state came to, where its key serves.
    #[inline(always)]
    fn known(
        &self,
        state: Option<State>,
        user: UserId<'_>,
        uid: Option<&str>,
    ) -> Result<Option<Known<'_>>, Error> {
        let Some(state) = state else {
            return Ok(None);
        };
        let found = Ref::filter_map(self.memo.borrow(), |memo| memo.find(state, user, uid));
        Ok(match found {
            Ok(found) => match found.entry.upgrade() {
                Some(entry) if self.cache()?.serves(&entry) => Some((found, entry)),
                _ => None,
            },
            Err(_) => None,
        })
    }

    /// The uid of the user's current key, if there is one; the key itself is not asked for.
    ///
    /// # Errors
    /// SQLite's own, and a row that cannot be read.
    pub(super) fn current_uid(&self, user: UserId<'_>) -> Result<Option<String>, Error> {
        let state = self.connection.state_of_main();
        if let Some(state) = state
            && let Some(found) = self.memo.borrow().find(state, user, None)
        {
            return Ok(Some(found.uid.as_str().to_owned()));
        }
        let Some(row) = self.keys.current(&self.connection, user)? else {
            return Ok(None);
        };
        let uid = row.uid.as_str().to_owned();
        if let Some(state) = state {
            self.remember(state, user, None, row, Weak::new());
        }
        Ok(Some(uid))
    }

    /// Keeps what a look-up in `state` came to.
    pub(super) fn remember(
        &self,
        state: State,
        user: UserId<'_>,
        uid: Option<&str>,
        row: KeyRow,
        entry: Weak<Entry>,
    ) {
        // A column's collation may have found the row by another spelling of its uid.
        if uid.is_some_and(|uid| uid != row.uid.as_str()) {
            return;
        }
        let is_in_state = self.memo.borrow().is_in(state);
        if is_in_state || matches!(self.keys.are_tables_of_main(&self.connection), Ok(true)) {
            let mut memo = self.memo.borrow_mut();
            let hash = memo.hash(user, uid);
            memo.put(
                state,
                Found {
                    hash,
                    user: user.into(),
                    id: row.id,
                    uid: row.uid,
                    by_uid: uid.is_some(),
                    entry,
                },
                self.config.cache_keys.get(),
            );
        }
    }
}

/// The look-ups made in one state of the database.
#[derive(Default)]
pub(super) struct Memo {
    /// With the process's generation: a forked child has a cache of its own.
    state: Option<(State, u64)>,
    found: HashTable<Found>,
    /// The hashes of `found`, the oldest first.
    order: VecDeque<u64>,
    hasher: DefaultHashBuilder,
}

/// What a look-up came to.
struct Found {
    /// Of user and uid, as they were asked for.
    hash: u64,
    user: OwnedUserId,
    id: i64,
    uid: KeyUid,
    /// Asked for by its uid, or as the user's current one.
    by_uid: bool,
    /// Of none where only the uid was asked for.
    entry: Weak<Entry>,
}

/// A look-up and its key, which serves.
type Known<'a> = (Ref<'a, Found>, Arc<Entry>);

impl Found {
    fn key<'a>(&'a self, entry: &'a Entry) -> Key<'a> {
        Key {
            id: self.id,
            uid: &self.uid,
            key: &entry.key,
        }
    }

    fn answers(&self, user: UserId<'_>, uid: Option<&str>) -> bool {
        self.user.get() == user
            && match uid {
                None => !self.by_uid,
                Some(uid) => self.by_uid && self.uid.as_str() == uid,
            }
    }
}

impl Memo {
    fn hash(&self, user: UserId<'_>, uid: Option<&str>) -> u64 {
        self.hasher.hash_one((user, uid))
    }

    /// What was found in `state` for this user and uid.
    #[inline(always)]
    fn find(&self, state: State, user: UserId<'_>, uid: Option<&str>) -> Option<&Found> {
        if !self.is_in(state) {
            return None;
        }
        let hash = self.hash(user, uid);
        let found = self.found.find(hash, |found| found.hash == hash)?;
        found.answers(user, uid).then_some(found)
    }

    fn is_in(&self, state: State) -> bool {
        self.state == Some((state, process::generation()))
    }

    /// Keeps `new`, and `most` at the most: as many as the cache has keys. The oldest goes first, one for one.
    fn put(&mut self, state: State, new: Found, most: usize) {
        if !self.is_in(state) {
            self.found.clear();
            self.order.clear();
            self.state = Some((state, process::generation()));
        }
        let hash = new.hash;
        if let Some(found) = self.found.find_mut(hash, |found| found.hash == hash) {
            *found = new;
            return;
        }
        if self.found.len() >= most
            && let Some(oldest) = self.order.pop_front()
            && let Ok(found) = self.found.find_entry(oldest, |found| found.hash == oldest)
        {
            drop(found.remove());
        }
        self.found.insert_unique(hash, new, |found| found.hash);
        self.order.push_back(hash);
    }
}
