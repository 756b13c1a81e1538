//! What is registered, what is documented and what is tested are the same; and how it is registered.

use std::collections::BTreeSet;

use crate::journal::Journal;
use crate::process::Process;
use crate::values::FUNCTIONS;

/// A function and how many arguments it takes.
type Signature = (String, u32);

/// What administrators call, which `tests/keys` and `tests/packages/test_sealer.py` test.
pub(crate) const ADMINISTERED: [(&str, u32); 9] = [
    ("journal_create_key", 1),
    ("journal_rotate_key", 1),
    ("journal_rotate_key", 2),
    ("journal_discard_key", 1),
    ("journal_disable_key", 2),
    ("journal_enable_key", 2),
    ("journal_wrap_key", 2),
    ("journal_shred_key", 2),
    ("journal_objects", 0),
];

/// What `scope.rs` tests: what it gives differs each time.
const SCOPES: [(&str, u32); 2] = [("journal_scope", 1), ("journal_scope", 2)];

/// The calls in a text, such as `journal_evict(key_uid)`, optional arguments left out and given; a
/// table without arguments is its name alone.
fn calls_in(text: &str) -> BTreeSet<Signature> {
    text.match_indices("journal_")
        .map(|(start, _)| {
            let is_no_part = |c: char| c != '_' && !c.is_ascii_lowercase();
            let (name, rest) = match text[start..].find(is_no_part) {
                Some(length) => text[start..].split_at(length),
                None => (&text[start..], ""),
            };
            let arguments = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            (
                name.to_owned(),
                arguments.map_or("", |(arguments, _)| arguments),
            )
        })
        .flat_map(|(name, arguments)| {
            let (required, optional) = arguments.split_once('[').unwrap_or((arguments, ""));
            let count =
                |text: &str| text.split(',').filter(|a| !a.trim().is_empty()).count() as u32;
            let fewest = count(required);
            (fewest..=fewest + count(optional)).map(move |count| (name.clone(), count))
        })
        .collect()
}

/// The calls of a part of the reference card at the head of the source: what everyone has is the first.
fn documented(part: usize) -> BTreeSet<Signature> {
    let source = include_str!("../../src/lib.rs");
    let card = source.split("```").nth(2 * part + 1);
    let calls: Vec<&str> = card
        .expect("a part of the reference card")
        .lines()
        .filter_map(|line| line.split_once("->").map(|(calls, _)| calls))
        .collect();
    calls_in(&calls.join("\n"))
}

fn registered(journal: &Journal) -> BTreeSet<Signature> {
    journal
        .prepare(
            "SELECT name, narg FROM pragma_function_list WHERE name LIKE 'journal%'
             UNION ALL
             -- The context is the one argument that a table need not be given.
             SELECT m.name, (SELECT count(*) FROM pragma_table_xinfo(m.name) WHERE hidden AND name NOT LIKE left_out)
             FROM pragma_module_list AS m, (SELECT '' AS left_out UNION ALL SELECT '%_context')
             WHERE m.name LIKE 'journal%'",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn tested() -> BTreeSet<Signature> {
    FUNCTIONS
        .iter()
        .map(|(name, arguments, _)| (*name, arguments.len() as u32))
        .chain(SCOPES)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[test]
fn the_registered_the_documented_and_the_tested_functions_are_the_same() {
    Process::with_directory().run(|| {
        let registered = registered(&Journal::in_memory());
        assert_eq!(registered, documented(0));
        assert_eq!(registered, tested());
    });
}

#[test]
fn who_may_make_keys_has_those_functions_and_none_that_hides_or_shreds() {
    Process::with_directory()
        .variable("JOURNAL_ADMIN", "create")
        .run(|| {
            let mut documented_here = documented(0);
            documented_here.extend(documented(1));
            for function in ["disable", "enable", "wrap", "shred"] {
                documented_here.remove(&(format!("journal_{function}_key"), 2));
            }
            documented_here.remove(&("journal_objects".to_owned(), 0));
            assert_eq!(registered(&Journal::in_memory()), documented_here);
        });
}

#[test]
fn an_administrator_has_those_functions_and_all_that_manage_keys() {
    Process::with_directory()
        .variable("JOURNAL_ADMIN", "1")
        .run(|| {
            let registered = registered(&Journal::in_memory());
            let mut documented_here = documented(0);
            documented_here.extend(documented(1));
            assert_eq!(registered, documented_here);
            let mut tested = tested();
            tested.extend(ADMINISTERED.map(|(name, count)| (name.to_owned(), count)));
            assert_eq!(registered, tested);
        });
}

#[test]
fn every_function_is_direct_only_and_none_is_deterministic_or_innocuous() {
    const DETERMINISTIC: i64 = 0x800;
    const DIRECTONLY: i64 = 0x80000;
    const INNOCUOUS: i64 = 0x200000;
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let flags: Vec<(String, i64)> = journal
            .prepare("SELECT name, flags FROM pragma_function_list WHERE name LIKE 'journal%'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(!flags.is_empty());
        for (name, flags) in flags {
            assert_eq!(
                flags & (DETERMINISTIC | DIRECTONLY | INNOCUOUS),
                DIRECTONLY,
                "{name}"
            );
        }
    });
}

#[test]
fn a_seal_names_its_key_and_its_token() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        journal.key(7, "oseh_ujmk_old", 1.0);
        let key = journal.key(7, "oseh_ujmk_new", 2.0);
        let (id, uid, token): (i64, String, String) = journal
            .query_row(
                "SELECT key_id, key_uid, token FROM journal_seal(7, 'dear diary')",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!((id, uid.as_str()), (2, "oseh_ujmk_new"));
        assert_eq!(key.decrypt(&token).unwrap(), b"dear diary");
    });
}
