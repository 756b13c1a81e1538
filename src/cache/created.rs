//! The keys that this process made, for a while: what may still be taken back.

use std::collections::VecDeque;

use super::Cache;
use crate::id::{KeyName, KeyUid, OwnedUserId};
use crate::threads::sync::lock;

/// How long a new key may be taken back, in milliseconds.
const WHILE: u64 = 600_000;
/// How many are remembered; who makes more in ten minutes is not racing another.
const MOST: usize = 1_024;

/// New keys, the oldest first, whose they are, and when they were made.
pub(super) type Created = VecDeque<(KeyName, OwnedUserId, u64)>;

impl Cache {
    /// Remembers that this process made the key `name`, and that its object is written.
    pub fn was_created(&self, name: KeyName, user: OwnedUserId) {
        let mut created = lock(&self.created);
        while created.len() >= MOST {
            created.pop_front();
        }
        // Without the memory it cannot be taken back, no more.
        if created.try_reserve(1).is_ok() {
            created.push_back((name, user, self.now()));
        }
    }

    /// The key `uid` and its user, if this process made it a moment ago and has not fetched it since.
    pub fn created(&self, uid: &KeyUid) -> Option<(KeyName, OwnedUserId)> {
        let since = self.now().saturating_sub(WHILE);
        let (name, user, _) = lock(&self.created)
            .iter()
            .find(|(name, _, at)| name.uid == *uid && *at >= since)?
            .clone();
        match self.contents().entries.contains(&name) {
            true => None,
            false => Some((name, user)),
        }
    }

    /// Forgets a key that is gone.
    pub fn forget_created(&self, gone: &KeyName) {
        lock(&self.created).retain(|(name, ..)| name != gone);
    }
}
