//! The scope of a connection: the one user whose keys it uses.
//!
//! A statement that forgets its WHERE, or that somebody injected, reaches the keys of all users whose rows the connection
//! sees. Under a scope it reaches one user's. It knows the nonce of neither this scope nor another, so it can neither move
//! nor end it.

use std::rc::Rc;

use subtle::ConstantTimeEq;

use super::{Session, function};
use crate::cipher;
use crate::error::Error;
use crate::id::{KeyUid, OwnedUserId, UserId};
use crate::secret::{SecretBytes, SecretString};
use crate::sqlite::function::Function;
use crate::sqlite::output::Output;
use crate::sqlite::value::{Arguments, Value};

pub(super) fn functions(session: &Rc<Session>) -> Vec<Function> {
    vec![
        function(session, "journal_scope", 1, scope),
        function(session, "journal_scope", 2, scope),
    ]
}

/// A connection's scope.
pub(super) struct Scope {
    user: OwnedUserId,
    /// What moves and ends it.
    nonce: SecretString,
}

impl Session {
    /// Reads a `user_id` argument: a user whose keys this connection may use.
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::OutOfScope`].
    #[inline(always)]
    pub(super) fn user<'a>(&self, value: Value<'a>) -> Result<UserId<'a>, Error> {
        let user = UserId::parse(value)?;
        self.allows(user)?;
        Ok(user)
    }

    /// Whether this connection may use the keys of `user`.
    ///
    /// # Errors
    /// [`Error::OutOfScope`] where it may not.
    #[inline(always)]
    pub(super) fn allows(&self, user: UserId<'_>) -> Result<(), Error> {
        match &*self.scope.borrow() {
            Some(scope) if scope.user.get() != user => Err(Error::OutOfScope(
                "the scope of this connection is another user's",
            )),
            Some(_) => Ok(()),
            None => self.may_do_without(),
        }
    }

    /// Whether this connection may drop the key `uid` from the cache, or all keys.
    ///
    /// # Errors
    /// [`Error::OutOfScope`] where it may not; SQLite's own.
    pub(super) fn allows_key(&self, uid: Option<&KeyUid>) -> Result<(), Error> {
        let Some(user) = self.scoped()? else {
            return Ok(());
        };
        let named = match uid {
            Some(uid) => self
                .keys
                .named(&self.connection, user.get(), uid.as_str())?,
            None => None,
        };
        match named {
            Some(_) => Ok(()),
            None => Err(Error::OutOfScope(
                "a connection with a scope drops only a key of the scope's user, named by its uid",
            )),
        }
    }

    /// The one user whose keys this connection uses, if there is a scope.
    ///
    /// # Errors
    /// [`Error::OutOfScope`] where there is none and one is required.
    pub(super) fn scoped(&self) -> Result<Option<OwnedUserId>, Error> {
        match &*self.scope.borrow() {
            Some(scope) => Ok(Some(scope.user.clone())),
            None => self.may_do_without().map(|()| None),
        }
    }

    fn may_do_without(&self) -> Result<(), Error> {
        match self.config.require_scope {
            true => Err(Error::OutOfScope(
                "JOURNAL_REQUIRE_SCOPE is set, and this connection has no scope: begin one with journal_scope",
            )),
            false => Ok(()),
        }
    }
}

/// `journal_scope(user_id[, nonce])`: begins a scope, and with the nonce of the one that stands moves it; or ends it, where
/// `user_id` is NULL.
fn scope(session: &Session, arguments: &Arguments<'_>) -> Result<Output, Error> {
    if session.config.replicated {
        return Err(Error::ReplicatedScope);
    }
    let user = match arguments.get(0)? {
        Value::Null if arguments.len() > 1 => None,
        user => Some(OwnedUserId::from(UserId::parse(user)?)),
    };
    let given = match (arguments.len(), arguments.get(1)?) {
        (1, _) => None,
        (_, Value::Text(nonce)) => Some(nonce),
        (_, other) => {
            return Err(Error::BadArgument(format!(
                "nonce must be TEXT, this is {other}"
            )));
        }
    };
    let mut scope = session.scope.borrow_mut();
    let nonce = match (&*scope, given) {
        (None, None) => SecretString::from(cipher::random_name()?),
        (None, Some(_)) => {
            return Err(Error::OutOfScope(
                "this connection has no scope to move or to end",
            ));
        }
        (Some(_), None) => {
            return Err(Error::OutOfScope(
                "this connection has a scope; only a call with its nonce moves or ends it",
            ));
        }
        (Some(scope), Some(given)) => {
            if !bool::from(scope.nonce.expose().as_bytes().ct_eq(given)) {
                return Err(Error::OutOfScope(
                    "this is not the nonce of this connection's scope",
                ));
            }
            scope.nonce.clone()
        }
    };
    let Some(user) = user else {
        *scope = None;
        return Ok(Output::Null);
    };
    let shown = SecretBytes::copy_of(nonce.expose().as_bytes())?;
    *scope = Some(Scope { user, nonce });
    Ok(Output::SecretText(shown))
}
