//! Key rows as the database has them.

use std::collections::HashMap;

use rusqlite::types::Value;

use crate::failure::{Failure, Result};
use crate::journal::{Journal, array, integer, seconds, shown, text};

const COLUMNS: &str =
    "SELECT k.user_id, k.id, k.uid, k.created_at, f.key FROM user_journal_master_keys AS k
    LEFT JOIN s3_files AS f ON f.id = k.s3_file_id";

/// A key row, and the name of its object.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) user: Value,
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) created_at: f64,
    pub(crate) object: Option<String>,
}

impl Key {
    fn read(row: &[Value]) -> Result<Self> {
        let [user, id, uid, created_at, object] = row else {
            return Err(Failure::Refused(
                "a key row does not have the columns that it should have".to_owned(),
            ));
        };
        Ok(Self {
            user: user.clone(),
            id: integer(id)?,
            uid: text(uid).unwrap_or_default(),
            created_at: seconds(created_at),
            object: text(object),
        })
    }
}

/// The keys of some users, each user's newest first, by the user as it is shown.
pub(crate) fn of_users(
    journal: &dyn Journal,
    users: &[Value],
) -> Result<HashMap<String, Vec<Key>>> {
    let sql = format!(
        "{COLUMNS} WHERE k.user_id IN (SELECT value FROM json_each(?)) ORDER BY k.created_at DESC, k.uid"
    );
    let mut found = HashMap::<_, Vec<_>>::new();
    for row in journal.rows(&sql, &[array(users)?])? {
        let key = Key::read(&row)?;
        found.entry(shown(&key.user)).or_default().push(key);
    }
    Ok(found)
}

/// The keys of one user, the newest first.
pub(crate) fn of(journal: &dyn Journal, user: &Value) -> Result<Vec<Key>> {
    Ok(of_users(journal, std::slice::from_ref(user))?
        .into_values()
        .next()
        .unwrap_or_default())
}

/// The rows of other keys that name the same object.
pub(crate) fn naming(journal: &dyn Journal, key: &Key) -> Result<Vec<Key>> {
    let Some(object) = &key.object else {
        return Ok(Vec::new());
    };
    let values = [Value::Text(object.clone()), Value::Text(key.uid.clone())];
    let rows = journal.rows(
        &format!("{COLUMNS} WHERE f.key = ? AND k.uid <> ?"),
        &values,
    )?;
    rows.iter().map(|row| Key::read(row)).collect()
}

/// All keys, each user's newest first.
pub(crate) fn all(journal: &dyn Journal) -> Result<Vec<Key>> {
    let rows = journal.rows(
        &format!("{COLUMNS} ORDER BY k.user_id, k.created_at DESC, k.uid"),
        &[],
    )?;
    rows.iter().map(|row| Key::read(row)).collect()
}
