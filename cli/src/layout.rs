//! `journal-crypt.toml`: which columns hold tokens, and how a row's key and user are found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::failure::{Failure, Result};

const SHIPPED: &str = include_str!("../journal-crypt.toml");
const FILE: &str = "journal-crypt.toml";

/// The tables of a journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// A SELECT of the ids of all who may have a key.
    pub(crate) users: Option<String>,
    #[serde(rename = "table")]
    pub(crate) tables: Vec<Table>,
}

/// A table with tokens. All tokens of a row are under one key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// Columns with tokens of texts.
    #[serde(default)]
    pub(crate) texts: Vec<String>,
    /// Columns with tokens of items.
    #[serde(default)]
    pub(crate) items: Vec<String>,
    key_uid: Option<String>,
    key_id: Option<String>,
    /// What follows JOIN, where the user is not in the table itself.
    join: Option<String>,
    /// An expression over the table, which is `t`, and what is joined to it.
    user: String,
    /// By column the same: the context that the column's tokens are bound to.
    #[serde(default)]
    contexts: BTreeMap<String, String>,
    /// The same, in unix seconds.
    pub(crate) time: Option<String>,
}

impl Layout {
    /// The file that is named, else the one in the current directory, else the shipped schema.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(FILE));
        let text = match fs::read_to_string(path) {
            Err(_) if named.is_none() && !path.exists() => SHIPPED.to_owned(),
            Err(error) => return Err(Failure::Usage(format!("{}: {error}", path.display()))),
            Ok(text) => text,
        };
        Self::parse(&text).map_err(|error| error.of(path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let layout: Self =
            toml::from_str(text).map_err(|error| Failure::Usage(error.to_string()))?;
        for table in &layout.tables {
            let wrong = |what: &str| Err(Failure::Usage(format!("table {}: {what}", table.name)));
            if table.key_uid.is_some() == table.key_id.is_some() {
                return wrong("give key_uid or key_id, the column that names the key");
            }
            if table.columns().next().is_none() {
                return wrong("give texts or items, the columns that hold tokens");
            }
            let is_token = |name: &&String| table.columns().any(|column| column == *name);
            if let Some(other) = table.contexts.keys().find(|name| !is_token(name)) {
                return wrong(&format!(
                    "contexts names {other}, which is none of its columns in texts and items"
                ));
            }
        }
        match layout.tables.is_empty() {
            true => Err(Failure::Usage("there is no [[table]] in it".to_owned())),
            false => Ok(layout),
        }
    }
    /// The table and the place of the column among its tokens, of `TABLE.COLUMN`.
    pub(crate) fn column(&self, name: &str) -> Result<&Table> {
        self.tables
            .iter()
            .find(|table| {
                name.split_once('.').is_some_and(|(t, c)| {
                    t == table.name && table.columns().any(|column| column == c)
                })
            })
            .ok_or_else(|| Failure::Usage(format!("{FILE} names no column {name}")))
    }
}

impl Table {
    /// The columns with tokens: texts first.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().chain(&self.items).map(String::as_str)
    }

    /// Of each column, whether it holds items.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = bool> {
        (0..self.texts.len() + self.items.len()).map(|place| place >= self.texts.len())
    }

    /// Of each column, the expression for the context of its tokens, if they are bound to one.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = Option<&str>> {
        self.columns()
            .map(|column| self.contexts.get(column).map(String::as_str))
    }

    /// Whether rows name their key by its id.
    pub(crate) fn is_by_id(&self) -> bool {
        self.key_id.is_some()
    }

    /// What of a key row that is.
    pub(crate) fn named(&self) -> &'static str {
        match self.is_by_id() {
            true => "id",
            false => "uid",
        }
    }

    /// The column that names the key, quoted.
    pub(crate) fn key(&self) -> String {
        quoted(
            self.key_uid
                .as_deref()
                .or(self.key_id.as_deref())
                .unwrap_or_default(),
        )
    }

    /// The table itself, quoted.
    pub(crate) fn quoted_name(&self) -> String {
        quoted(&self.name)
    }

    /// `column IS NOT NULL OR …`: the rows that hold a token at all.
    pub(crate) fn holds_any(&self) -> String {
        let each: Vec<_> = self
            .columns()
            .map(|column| format!("t.{} IS NOT NULL", quoted(column)))
            .collect();
        format!("({})", each.join(" OR "))
    }

    /// The token columns, each with its context behind it if there is one, as a list for SELECT.
    fn selected(&self) -> String {
        let each: Vec<_> = self
            .columns()
            .zip(self.contexts())
            .map(|(column, context)| match context {
                None => format!("t.{}", quoted(column)),
                Some(context) => format!("t.{}, ({context})", quoted(column)),
            })
            .collect();
        each.join(", ")
    }

    /// `SELECT user, rowid` of the rows with a token that meet a condition over `u`, the user, `k`, what the row names as
    /// its key, and `current`, what it would name now; all of one user side by side.
    pub(crate) fn rows_where(&self, condition: &str) -> String {
        let named = self.named();
        format!(
            "WITH newest AS MATERIALIZED (
               SELECT user_id, {named} AS current FROM (
                 SELECT user_id, id, uid, row_number() OVER (PARTITION BY user_id ORDER BY created_at DESC, uid) AS place
                 FROM user_journal_master_keys
               ) WHERE place = 1
             )
             SELECT u, r FROM (SELECT {} AS u, t.rowid AS r, t.{} AS k FROM {} WHERE {})
             LEFT JOIN newest ON user_id = u WHERE {condition} ORDER BY u, r",
            self.user,
            self.key(),
            self.from(),
            self.holds_any(),
        )
    }

    /// `SELECT key, how many` over all rows with a token.
    pub(crate) fn counted_by_key(&self) -> String {
        format!(
            "SELECT t.{}, count(*) FROM {} AS t GROUP BY 1",
            self.key(),
            self.quoted_name()
        )
    }

    /// `SELECT` of any columns of the rows with the rowids of a JSON array.
    pub(crate) fn chosen(&self, columns: &str) -> String {
        format!(
            "SELECT {columns} FROM {} WHERE t.rowid IN (SELECT value FROM json_each(?))",
            self.from()
        )
    }

    /// The rowid, the key's name, and the tokens and contexts of chosen rows.
    pub(crate) fn chosen_tokens(&self) -> String {
        self.chosen(&format!("t.rowid, t.{}, {}", self.key(), self.selected()))
    }

    fn from(&self) -> String {
        let join = self
            .join
            .as_ref()
            .map(|join| format!(" JOIN {join}"))
            .unwrap_or_default();
        format!("{} AS t{join}", self.quoted_name())
    }
}

/// An identifier for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_layout_is_that_of_the_shipped_schema() {
        let layout = Layout::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(layout.tables.len(), 2);
        let database =
            rusqlite::Connection::open_in_memory().unwrap_or_else(|error| panic!("{error}"));
        let schema = include_str!("../../sql/schema.sql");
        database
            .execute_batch(schema)
            .unwrap_or_else(|error| panic!("{error}"));
        for table in &layout.tables {
            for sql in [
                table.rows_where("k IS NOT current"),
                table.chosen_tokens(),
                table.counted_by_key(),
            ] {
                database
                    .prepare(&sql)
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    #[test]
    fn what_a_table_lacks_is_named() {
        let told = |text: &str| Layout::parse(text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(told("table = []"), "there is no [[table]] in it");
        let table = "[[table]]\nname = 'a'\nuser = 'u'\n";
        assert_eq!(
            told(&format!("{table}texts = ['x']")),
            "table a: give key_uid or key_id, the column that names the key"
        );
        assert_eq!(
            told(&format!("{table}key_id = 'k'")),
            "table a: give texts or items, the columns that hold tokens"
        );
        let columns = format!("{table}key_id = 'k'\ntexts = ['x']\nitems = ['y']\n");
        for known in ["x", "y"] {
            let one = format!("{columns}contexts = {{ {known} = 't.id' }}");
            assert!(Layout::parse(&one).is_ok());
        }
        assert_eq!(
            told(&format!("{columns}contexts = {{ x = 't.id', k = 't.id' }}")),
            "table a: contexts names k, which is none of its columns in texts and items"
        );
        assert!(told(&format!("{table}colour = 'red'")).contains("unknown field `colour`"));
    }
}
