//! Registering on a connection: all of what is ours, or nothing.

use std::rc::Rc;

use super::connection::Connection;
use super::function::{self, Function};
use super::table::{self, Table};
use super::value::Value;
use crate::error::Error;

/// Registers everything, or nothing.
///
/// What may fail comes first: SQLite replaces no function while a statement runs, so those that are there already,
/// another version's or the host's. Behind the first of them only memory can be wanting, and what was done is undone.
/// The `last` function, by which a second load tells that there was a first, comes last: functions that were added
/// while a statement runs cannot be taken back.
///
/// # Errors
/// SQLite's own.
///
/// # Safety
/// The routines table must be set.
pub(crate) unsafe fn register(
    connection: &Rc<Connection>,
    functions: Vec<Function>,
    tables: Vec<Table>,
    last: &str,
) -> Result<(), Error> {
    let present = functions_of(connection);
    let (replaced, mut added): (Vec<_>, Vec<_>) = functions
        .into_iter()
        .partition(|f| present.contains(&(f.name.to_owned(), i64::from(f.arguments))));
    added.sort_by_key(|function| function.name == last);
    let owner = Table {
        name: super::connection::OWNER,
        columns: &["statement"],
        arguments: &[],
        optional: &[],
        rows: Box::new(|_| Ok(table::Rows::new())),
    };
    let parts = (replaced.into_iter().map(Part::Function))
        .chain([Part::Table(owner, Some(Rc::clone(connection)))])
        .chain(tables.into_iter().map(|table| Part::Table(table, None)))
        .chain(added.into_iter().map(Part::Function));
    let mut done = Vec::new();
    for part in parts {
        let name = part.name();
        // SAFETY: the connection is live, and the caller vouches for the table of routines.
        if let Err(code) = unsafe { part.register(connection) } {
            let error = connection.last_error(code);
            for name in done.into_iter().rev() {
                // SAFETY: as above.
                unsafe { unregister(connection, name) };
            }
            return Err(error);
        }
        done.push(name);
    }
    Ok(())
}

enum Part {
    Function(Function),
    Table(Table, Option<Rc<Connection>>),
}

#[derive(Clone, Copy)]
enum Name {
    Function(&'static str, i32),
    Table(&'static str),
}

impl Part {
    fn name(&self) -> Name {
        match self {
            Self::Function(function) => Name::Function(function.name, function.arguments),
            Self::Table(table, _) => Name::Table(table.name),
        }
    }

    /// # Safety
    /// The connection must be live, and the routines table set.
    unsafe fn register(self, connection: &Connection) -> Result<(), i32> {
        // SAFETY: the caller vouches for both.
        unsafe {
            match self {
                Self::Function(function) => function::register(connection.db(), function),
                Self::Table(table, owns) => table::register(connection.db(), table, owns),
            }
        }
    }
}

/// # Safety
/// The connection must be live, and the routines table set.
unsafe fn unregister(connection: &Connection, name: Name) {
    // SAFETY: the caller vouches for both.
    unsafe {
        match name {
            Name::Function(name, arguments) => {
                function::unregister(connection.db(), name, arguments)
            }
            Name::Table(name) => table::unregister(connection.db(), name),
        }
    }
}

/// Name and number of arguments of the functions that are there and may be ours; none where the host's authorizer hides
/// them.
fn functions_of(connection: &Connection) -> Vec<(String, i64)> {
    const LISTED: &str =
        "SELECT lower(name), narg FROM pragma_function_list WHERE name LIKE 'journal%'";
    let listed = || -> Result<Vec<(String, i64)>, Error> {
        let mut statement = connection.prepare(LISTED)?;
        let mut found = Vec::new();
        while statement.step()? {
            if let (Value::Text(name), Value::Integer(arguments)) =
                (statement.column(0)?, statement.column(1)?)
            {
                found.push((String::from_utf8_lossy(name).into_owned(), arguments));
            }
        }
        Ok(found)
    };
    listed().unwrap_or_default()
}
