//! The rows that hold tokens: listed by user, and worked through in batches.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::types::Value;

use crate::failure::{Failure, Result};
use crate::journal::{Journal, array, integer, shown};
use crate::keys::{self, Key};
use crate::layout::Table;
use crate::work::Worker;

/// Rows in one batch: as many as are read at once, and written in one transaction.
const BATCH: usize = 2000;

/// The word for a token or a context that is none.
pub(crate) const BAD_ARGUMENT: &str = "bad_argument";

/// Which rows of a table there are to do, all of one user side by side; 16 bytes a row.
pub(crate) struct List {
    users: Vec<Value>,
    rows: Vec<(u32, i64)>,
}

/// Some rows of a table.
pub(crate) struct Batch<'l> {
    pub(crate) table: &'l Table,
    list: &'l List,
    range: Range<usize>,
}

/// One user's part of a batch.
pub(crate) struct Part<'p> {
    /// The number by which the extension knows the user.
    pub(crate) number: i64,
    pub(crate) user: &'p Value,
    /// The newest first.
    pub(crate) keys: &'p [Key],
    pub(crate) rows: Vec<TokenRow>,
}

/// A row as it was read.
pub(crate) struct TokenRow {
    pub(crate) rowid: i64,
    /// What the row names as its key.
    pub(crate) named: Value,
    /// By the table's columns.
    pub(crate) tokens: Vec<Token>,
}

/// What a row holds in a column with tokens.
pub(crate) struct Token {
    pub(crate) value: Value,
    /// What the column's tokens are bound to, if they are.
    pub(crate) context: Option<Value>,
}

impl List {
    /// The rows with a token that meet a condition, of some users or of all.
    pub(crate) fn of(
        journal: &dyn Journal,
        table: &Table,
        condition: &str,
        users: &[Value],
    ) -> Result<Self> {
        let mut list = Self {
            users: Vec::new(),
            rows: Vec::new(),
        };
        let mut add = |row: &[Value]| {
            if list.users.last() != Some(&row[0]) {
                list.users.push(row[0].clone());
            }
            let user = u32::try_from(list.users.len() - 1).unwrap_or(u32::MAX);
            list.rows.push((user, integer(&row[1])?));
            Ok(())
        };
        if users.is_empty() {
            journal.each_row(&table.rows_where(condition), &[], &mut add)?;
        } else {
            let condition = format!("{condition} AND u IN (SELECT value FROM json_each(?))");
            journal.each_row(&table.rows_where(&condition), &[array(users)?], &mut add)?;
        }
        Ok(list)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn batches<'l>(&'l self, table: &'l Table) -> impl Iterator<Item = Batch<'l>> {
        let starts = (0..self.rows.len()).step_by(BATCH);
        starts.map(move |start| Batch {
            table,
            list: self,
            range: start..(start + BATCH).min(self.rows.len()),
        })
    }
}

impl TokenRow {
    /// What it holds in each column.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        self.tokens.iter().map(|token| token.value.clone())
    }
}

impl Batch<'_> {
    pub(crate) fn len(&self) -> u64 {
        self.range.len() as u64
    }

    /// The rows as they are now, by rowid.
    pub(crate) fn read(&self, journal: &dyn Journal) -> Result<HashMap<i64, TokenRow>> {
        let listed = &self.list.rows[self.range.clone()];
        let rowids: Vec<_> = listed
            .iter()
            .map(|(_, rowid)| Value::Integer(*rowid))
            .collect();
        let bound: Vec<_> = self.table.contexts().map(|c| c.is_some()).collect();
        let mut found = HashMap::with_capacity(listed.len());
        journal.each_row(
            &self.table.chosen_tokens(),
            &[array(&rowids)?],
            &mut |row| {
                let rowid = integer(&row[0])?;
                found.insert(
                    rowid,
                    TokenRow {
                        rowid,
                        named: row[1].clone(),
                        tokens: tokens(&row[2..], &bound),
                    },
                );
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// Reads rows and keys as they are now, fetches the keys side by side, and hands on each user's part together with
    /// the extension's functions over that user's keys.
    pub(crate) fn each_part(
        &self,
        worker: &Worker,
        mut work: impl FnMut(&Part<'_>, &crate::sealer::Calls<'_>) -> Result<()>,
    ) -> Result<()> {
        let listed = &self.list.rows[self.range.clone()];
        let first = listed.first().map_or(0, |(user, _)| *user as usize);
        let last = listed.last().map_or(0, |(user, _)| *user as usize + 1);
        let users = &self.list.users[first..last];
        let keys = keys::of_users(&*worker.journal, users)?;
        let mut found = self.read(&*worker.journal)?;
        let numbered: Vec<&[Key]> = users
            .iter()
            .map(|user| {
                keys.get(&shown(user))
                    .map(Vec::as_slice)
                    .unwrap_or_default()
            })
            .collect();
        let given = numbered
            .iter()
            .enumerate()
            .flat_map(|(number, keys)| keys.iter().map(move |key| (number as i64, key)));
        worker.sealer.given(given, |calls| {
            calls.prefetch(users.len())?;
            for (number, user) in users.iter().enumerate() {
                let mine = |(place, _): &&(u32, i64)| *place as usize == first + number;
                let start = listed.partition_point(|(place, _)| (*place as usize) < first + number);
                let rows = listed[start..]
                    .iter()
                    .take_while(mine)
                    .filter_map(|(_, rowid)| found.remove(rowid))
                    .collect();
                let part = Part {
                    number: number as i64,
                    user,
                    keys: numbered[number],
                    rows,
                };
                work(&part, calls)?;
            }
            Ok(())
        })
    }
}

impl Part<'_> {
    /// The key of the user that a row names; none where it has gone.
    pub(crate) fn key_of(&self, table: &Table, row: &TokenRow) -> Option<&Key> {
        self.keys.iter().find(|key| key.is_named(table, row))
    }

    /// `ok`, or the error word that a token of a row meets.
    pub(crate) fn check(
        &self,
        calls: &crate::sealer::Calls<'_>,
        table: &Table,
        row: &TokenRow,
        token: &Token,
    ) -> Result<String> {
        match (self.key_of(table, row), self.keys) {
            (Some(key), _) => calls.check(self.number, Some(&key.uid), token),
            (None, []) => Ok("no_key".to_owned()),
            (None, _) => Ok("key_not_found".to_owned()),
        }
    }
}

impl Key {
    /// Whether a row names this key.
    pub(crate) fn is_named(&self, table: &Table, row: &TokenRow) -> bool {
        match (&row.named, table.is_by_id()) {
            (Value::Integer(id), true) => self.id == *id,
            (Value::Text(uid), false) => self.uid == *uid,
            _ => false,
        }
    }
}

/// The tokens of a row as it was read, where behind each of a bound column stands its context.
fn tokens(row: &[Value], bound: &[bool]) -> Vec<Token> {
    let mut row = row.iter().cloned();
    let mut next = || row.next().unwrap_or(Value::Null);
    let tokens = bound.iter().map(|is_bound| Token {
        value: next(),
        context: is_bound.then(&mut next),
    });
    tokens.collect()
}

/// The error word in an extension's error text.
pub(crate) fn word(failure: &Failure) -> Option<&str> {
    let Failure::Refused(text) = failure else {
        return None;
    };
    let word = text.split(": ").nth(1)?;
    [
        "no_key",
        "key_not_found",
        "key_lost",
        "key_invalid",
        "key_disabled",
        "token_invalid",
        "not_utf8",
        "not_item",
        BAD_ARGUMENT,
    ]
    .contains(&word)
    .then_some(word)
}
