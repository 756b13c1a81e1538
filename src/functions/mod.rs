//! The SQL functions, one file per family, each the whole story of its calls in safe Rust.

mod admin;
mod context;
mod counters;
mod crypt;
mod doctor;
mod item;
mod memo;
mod operate;
mod scope;

use std::cell::RefCell;
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;

use crate::cache::{Cache, Entry};
use crate::cipher::{Iv, Ivs};
use crate::config::{Admin, Config, ConfigError};
use crate::error::Error;
use crate::id::{KeyUid, UserId};
use crate::keys::{KeyRow, Keys};
use crate::sqlite::connection::Connection;
use crate::sqlite::function::Function;
use crate::sqlite::guard::Traces;
use crate::sqlite::output::Output;
use crate::sqlite::table::Table;
use crate::sqlite::value::Arguments;

use memo::Memo;
use scope::Scope;

/// The version that `journal_version()` gives.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the functions of one connection share.
struct Session {
    connection: Rc<Connection>,
    config: &'static Config,
    keys: Keys,
    main: CString,
    memo: RefCell<Memo>,
    ivs: RefCell<Ivs>,
    scope: RefCell<Option<Scope>>,
}

impl Session {
    /// Refuses where the statement is replicated: it would run on every node, each with another
    /// result, and its plaintext would stand in every node's log.
    fn guard(&self) -> Result<(), Error> {
        match self.config.replicated && !self.connection.is_read_only(&self.main) {
            true => Err(Error::Replicated),
            false => Ok(()),
        }
    }

    /// The user's current key.
    fn current_key(&self, user: UserId<'_>) -> Result<KeyRow, Error> {
        match self.keys.current(&self.connection, user)? {
            Some(row) => Ok(row),
            None => Err(self.no_key(user)),
        }
    }

    /// The user's key `uid`.
    fn named_key(&self, user: UserId<'_>, uid: &str) -> Result<KeyRow, Error> {
        match self.keys.named(&self.connection, user, uid)? {
            Some(row) => Ok(row),
            None => Err(self.absent(
                user,
                Error::KeyNotFound {
                    user: user.label(),
                    key: KeyUid::from(uid).to_string(),
                },
            )),
        }
    }

    /// The error for a user without a key.
    fn no_key(&self, user: UserId<'_>) -> Error {
        self.absent(user, Error::NoKey { user: user.label() })
    }

    /// `error`, which is final, unless no row could ever be this user's.
    fn absent(&self, user: UserId<'_>, error: Error) -> Error {
        match self.keys.fits(&self.connection, user) {
            Ok(()) => error,
            Err(wrong) => wrong,
        }
    }

    /// Asks the host whether to go on waiting.
    fn waiting(&self) -> impl FnMut() -> Result<(), Error> {
        || self.connection.check_interrupt()
    }

    /// The key of `row`, from the cache or the store.
    fn key(&self, row: &KeyRow) -> Result<Arc<Entry>, Error> {
        if self.config.store.is_none() {
            return Err(Error::NotConfigured);
        }
        let name = row.name()?;
        self.cache()?.key(&name, &mut self.waiting())
    }

    fn cache(&self) -> Result<&'static Cache, Error> {
        // The first set-up succeeded, or the library would not have been loaded; this is a forked
        // child's, whose files may have gone.
        Cache::of_this_process(self.config).map_err(|error| Error::StoreUnavailable {
            key: "(any)".to_owned(),
            reason: error.to_string(),
        })
    }

    fn iv(&self) -> Result<Iv, Error> {
        self.ivs.borrow_mut().draw()
    }
}

/// Everything to register on `connection`.
///
/// # Errors
/// A key store that cannot be set up as configured.
pub fn all(
    connection: &Rc<Connection>,
    config: &'static Config,
) -> Result<(Vec<Function>, Vec<Table>), ConfigError> {
    Cache::of_this_process(config)?;
    let session = Rc::new(Session {
        connection: Rc::clone(connection),
        config,
        keys: Keys::new(&config.schema, &config.key_prefix),
        main: CString::from(c"main"),
        memo: RefCell::default(),
        ivs: RefCell::default(),
        scope: RefCell::default(),
    });
    let mut functions = crypt::functions(&session);
    functions.extend(item::functions(&session));
    functions.extend(operate::functions(&session));
    functions.extend(scope::functions(&session));
    functions.extend(counters::functions(&session));
    if config.admin != Admin::None {
        functions.extend(admin::creating(&session));
    }
    let mut tables = vec![
        crypt::seal(&session),
        item::seal_item(&session),
        doctor::table(&session),
    ];
    tables.extend(operate::tables(&session));
    tables.extend(counters::tables(&session));
    if config.admin == Admin::All {
        functions.extend(admin::destroying(&session));
        tables.push(admin::listing(&session));
    }
    Ok((functions, tables))
}

/// What `journal_config()` says of `config`; see [`crate::fuzzing`].
pub(crate) fn shown(config: &Config) -> String {
    operate::report(config).to_string()
}

/// A function of `session`.
fn function(
    session: &Rc<Session>,
    name: &'static str,
    arguments: i32,
    body: impl Fn(&Session, &Arguments<'_>) -> Result<Output, Error> + 'static,
) -> Function {
    let session = Rc::clone(session);
    Function {
        name,
        arguments,
        gives_json: false,
        traces: || Traces::Deep,
        body: Box::new(move |arguments| body(&session, arguments)),
    }
}

/// `function`, which uses no key.
fn keyless(function: Function) -> Function {
    Function {
        traces: || Traces::Shallow,
        ..function
    }
}

/// A function of `session` whose TEXT carries SQLite's JSON subtype.
fn json_function(
    session: &Rc<Session>,
    name: &'static str,
    arguments: i32,
    body: impl Fn(&Session, &Arguments<'_>) -> Result<Output, Error> + 'static,
) -> Function {
    Function {
        gives_json: true,
        ..function(session, name, arguments, body)
    }
}
