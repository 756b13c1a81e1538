//! Key rows: the SQL text and its order; the current key, one by uid, all of a user.
//!
//! The row is the authority. It is read for every call, on the calling connection and within that
//! connection's transaction, schema-qualified so that a TEMP table cannot stand in for it.

pub mod rows;

use crate::error::Error;
use crate::id::{KeyName, KeyUid, ObjectName, OwnedUserId, UserId};
use crate::sqlite::connection::Connection;
use crate::sqlite::kept::Kept;
use crate::sqlite::statement::Statement;
use crate::sqlite::value::Value;

/// A row of `user_journal_master_keys`, with the object that its `s3_files` row names.
pub struct KeyRow {
    /// `user_journal_master_keys.id`.
    pub id: i64,
    /// `user_journal_master_keys.uid`.
    pub uid: KeyUid,
    /// The object, or why it is not to be fetched.
    object: Result<ObjectName, Box<Error>>,
}

impl KeyRow {
    /// What the cache knows this key by.
    ///
    /// # Errors
    /// [`Error::KeyLost`] where no `s3_files` row names an object, [`Error::KeyInvalid`] where the
    /// name is one that is never fetched.
    pub fn name(&self) -> Result<KeyName, Error> {
        Ok(KeyName {
            uid: self.uid.clone(),
            object: self.object.clone().map_err(|error| *error)?,
        })
    }

    fn read(statement: &Statement, prefix: &str) -> Result<Self, Error> {
        let uid = statement.column(1)?;
        let uid = KeyUid::parse(uid).map_err(|_| Error::KeyInvalid {
            key: format!("({uid})"),
            reason: "its row's uid is not TEXT of at most 1024 bytes",
        })?;
        let invalid = |reason| Error::KeyInvalid {
            key: uid.to_string(),
            reason,
        };
        let Value::Integer(id) = statement.column(0)? else {
            return Err(invalid("its row's id is not an INTEGER"));
        };
        let object = match statement.column(2)? {
            Value::Null => Err(Error::KeyLost {
                key: uid.to_string(),
                reason: "it has no s3_files row",
            }),
            Value::Text(name) => std::str::from_utf8(name)
                .map_err(|_| "its object's name is not UTF-8")
                .and_then(|name| ObjectName::parse(name, prefix))
                .map_err(invalid),
            _ => Err(invalid("its object's name is not TEXT")),
        };
        Ok(Self {
            id,
            uid,
            object: object.map_err(Box::new),
        })
    }
}

/// The look-ups, for one schema and one prefix.
pub struct Keys {
    prefix: &'static str,
    in_main: bool,
    newest: String,
    current: String,
    by_uid: String,
    of_user: String,
    reading: String,
    newest_user: String,
    user_types: String,
}

impl Keys {
    /// The most keys of one user that are tried or fetched in one call. Nobody has that many; a prepared
    /// database may have any number.
    const MOST: usize = 10_000;

    /// Look-ups in `schema`, for objects whose names begin with `prefix`.
    pub fn new(schema: &str, prefix: &'static str) -> Self {
        // Any other can be detached, and another file attached under its name.
        let in_main = schema.eq_ignore_ascii_case("main");
        let schema = format!("\"{}\"", schema.replace('"', "\"\""));
        let select = format!(
            "SELECT k.id, k.uid, f.key FROM {schema}.user_journal_master_keys AS k \
             LEFT JOIN {schema}.s3_files AS f ON f.id = k.s3_file_id"
        );
        // `coalesce(?1, NULL)` and `?2 || ''` are the parameters, behind something the planner does not see through:
        // it would peek at a bare one, and then plan anew whenever another value is bound, for 20 µs.
        //
        // A user is compared twice: by the column, whose index finds the rows, and then as it is. The column's affinity
        // alone would have 7 equal '7', and its collation 'a' equal 'A'; a unary plus leaves the affinity out
        // (https://sqlite.org/datatype3.html#comparison_expressions).
        let exactly = "+k.user_id = coalesce(?1, NULL) COLLATE BINARY";
        let of_user = format!("WHERE k.user_id = coalesce(?1, NULL) AND {exactly}");
        let in_order = format!("{of_user} ORDER BY k.created_at DESC, k.uid ASC");
        Self {
            prefix,
            in_main,
            // In the order of the index (user_id, created_at), which the uid is not in: ordering by it too would sort.
            newest: format!(
                "SELECT k.id, k.uid, f.key, k.created_at FROM {schema}.user_journal_master_keys AS k \
                 LEFT JOIN {schema}.s3_files AS f ON f.id = k.s3_file_id \
                 {of_user} ORDER BY k.created_at DESC LIMIT 2"
            ),
            current: format!("{select} {in_order} LIMIT 1"),
            by_uid: format!("{select} WHERE k.uid = ?2 || '' AND {exactly}"),
            // One more than are used, to tell that there are more.
            of_user: format!("{select} {in_order} LIMIT {}", Self::MOST + 1),
            reading: format!("SELECT 1 FROM {schema}.user_journal_master_keys"),
            newest_user: format!(
                "SELECT user_id FROM {schema}.user_journal_master_keys \
                 WHERE typeof(user_id) IN ('integer', 'text') ORDER BY id DESC LIMIT 1"
            ),
            // In the order of SQLite's types, a number comes before every TEXT, and that before every BLOB.
            user_types: format!(
                "SELECT EXISTS (SELECT 1 FROM {schema}.user_journal_master_keys WHERE user_id < ''), \
                 EXISTS (SELECT 1 FROM {schema}.user_journal_master_keys WHERE user_id >= '' AND typeof(user_id) = 'text')"
            ),
        }
    }

    /// The key that encrypts for `user` now, if there is one.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn current(
        &self,
        connection: &Connection,
        user: UserId<'_>,
    ) -> Result<Option<KeyRow>, Error> {
        if let Some(answer) = self.newest(connection, user)? {
            return answer;
        }
        let mut statement = connection.statement(Kept::CurrentKey, &self.current)?;
        bind_user(&mut statement, 1, user)?;
        match statement.step()? {
            true => KeyRow::read(&statement, self.prefix).map(Some),
            false => Ok(None),
        }
    }

    /// The current key where its time alone makes it so; `None` where another may be of the same time, or of none.
    fn newest(
        &self,
        connection: &Connection,
        user: UserId<'_>,
    ) -> Result<Option<Result<Option<KeyRow>, Error>>, Error> {
        let mut statement = connection.statement(Kept::NewestKeys, &self.newest)?;
        bind_user(&mut statement, 1, user)?;
        if !statement.step()? {
            return Ok(Some(Ok(None)));
        }
        let row = KeyRow::read(&statement, self.prefix).map(Some);
        let time = time_of(&statement)?;
        let is_alone = !statement.step()?
            || matches!((time, time_of(&statement)?), (Some(newest), Some(next)) if newest > next);
        Ok(is_alone.then_some(row))
    }

    /// The key named `uid`, if there is one and it is `user`'s.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn named(
        &self,
        connection: &Connection,
        user: UserId<'_>,
        uid: &str,
    ) -> Result<Option<KeyRow>, Error> {
        let mut statement = connection.statement(Kept::KeyByUid, &self.by_uid)?;
        bind_user(&mut statement, 1, user)?;
        statement.bind_text(2, uid)?;
        match statement.step()? {
            true => KeyRow::read(&statement, self.prefix).map(Some),
            false => Ok(None),
        }
    }

    /// All keys of `user`, the current one first. A row that cannot be read is an error in its place, and
    /// so are those past the bound: the last one then says that there are more.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn of_user(
        &self,
        connection: &Connection,
        user: UserId<'_>,
    ) -> Result<Vec<Result<KeyRow, Error>>, Error> {
        let mut statement = connection.statement(Kept::KeysOfUser, &self.of_user)?;
        bind_user(&mut statement, 1, user)?;
        let mut rows = Vec::new();
        while statement.step()? {
            rows.try_reserve(1)?;
            if rows.len() == Self::MOST {
                rows.push(Err(Error::KeyInvalid {
                    key: format!("({} of user {})", Self::MOST + 1, user),
                    reason: "only the 10000 newest keys of a user are tried; name the key",
                }));
                break;
            }
            rows.push(KeyRow::read(&statement, self.prefix));
        }
        Ok(rows)
    }

    /// A read transaction on the key tables, until it is dropped: look-ups in it are of one moment, and none of
    /// them takes the lock anew, which costs more than a look-up.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn reading(&self, connection: &Connection) -> Result<Statement, Error> {
        let mut statement = connection.prepare(&self.reading)?;
        statement.step()?;
        Ok(statement)
    }

    /// Whether both key tables are tables of `main` itself, so that their rows change with it alone: a
    /// view may look at the clock, and a virtual table at anything.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn are_tables_of_main(&self, connection: &Connection) -> Result<bool, Error> {
        const TABLES: &str = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' \
            AND rootpage > 0 AND name COLLATE NOCASE IN ('user_journal_master_keys', 's3_files')";
        if !self.in_main {
            return Ok(false);
        }
        let mut statement = connection.statement(Kept::Tables, TABLES)?;
        Ok(statement.step()? && matches!(statement.column(0)?, Value::Integer(2)))
    }

    /// Refuses `user` where the key rows hold users of the other type alone: `'7'` is then a mistake for `7`, and must
    /// not pass for a user who is gone.
    ///
    /// # Errors
    /// [`Error::BadArgument`], or SQLite's own.
    pub fn fits(&self, connection: &Connection, user: UserId<'_>) -> Result<(), Error> {
        let mut statement = connection.statement(Kept::UserTypes, &self.user_types)?;
        statement.step()?;
        let are = |column| Ok::<_, Error>(matches!(statement.column(column)?, Value::Integer(1)));
        let (other, this) = match (user, are(0)?, are(1)?) {
            (UserId::Text(text), true, false) => ("an INTEGER", Value::Text(text.as_bytes())),
            (UserId::Number(number), false, true) => ("TEXT", Value::Integer(number)),
            _ => return Ok(()),
        };
        Err(Error::BadArgument(format!(
            "user_id must be {other}, as in the key rows, this is {this}"
        )))
    }

    /// The user of the newest key row.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn newest_user(&self, connection: &Connection) -> Result<Option<OwnedUserId>, Error> {
        let mut statement = connection.prepare(&self.newest_user)?;
        match statement.step()? {
            true => Ok(UserId::parse(statement.column(0)?).ok().map(Into::into)),
            false => Ok(None),
        }
    }
}

/// Binds a user to the parameter `index` (from 1).
fn bind_user(statement: &mut Statement, index: i32, user: UserId<'_>) -> Result<(), Error> {
    match user {
        UserId::Number(id) => statement.bind_integer(index, id),
        UserId::Text(id) => statement.bind_text(index, id),
    }
}

/// When the key of a row of [`Keys::newest`] was made. Rounding makes equal at the most what differs.
fn time_of(statement: &Statement) -> Result<Option<f64>, Error> {
    Ok(match statement.column(3)? {
        Value::Real(time) => Some(time),
        Value::Integer(time) => Some(time as f64),
        _ => None,
    })
}
