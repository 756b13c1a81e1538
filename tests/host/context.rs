//! Tokens that are bound to a context: what their column, row and user are, they cannot leave.

use rusqlite::types::Value;

use crate::journal::{Journal, error, text};
use crate::process::Process;

const ENTRIES: &str = "
    CREATE TABLE entries (uid TEXT, user_id INTEGER, key_uid TEXT, token TEXT, title TEXT);
    INSERT INTO entries SELECT uid, 7, key_uid, token, journal_encrypt(7, 'title of ' || uid, key_uid, 'entries.title:' || uid)
      FROM (SELECT 'a' AS uid UNION ALL SELECT 'b'), journal_seal(7, 'text of ' || uid, 'entries.token:' || uid)";

/// What the column holds in the row.
fn read(journal: &Journal, column: &str, uid: &str) -> Result<Value, (i32, String)> {
    journal.ask(
        &format!(
            "SELECT journal_decrypt(user_id, key_uid, {column}, 'entries.{column}:' || uid)
             FROM entries WHERE uid = ?"
        ),
        [uid],
    )
}

fn refused() -> Result<Value, (i32, String)> {
    error("journal_decrypt: token_invalid: not a Fernet token under key \"oseh_ujmk_1\"")
}

fn journal() -> Journal {
    let journal = Journal::in_memory();
    journal.key(7, "oseh_ujmk_1", 1.0);
    journal.run(ENTRIES);
    assert_eq!(read(&journal, "token", "a"), text("text of a"));
    assert_eq!(read(&journal, "title", "b"), text("title of b"));
    journal
}

#[test]
fn two_entries_of_one_user_cannot_be_swapped() {
    Process::with_directory().run(|| {
        let journal = journal();
        journal.run(
            "CREATE TEMP TABLE before AS SELECT * FROM entries;
             UPDATE entries SET token = (SELECT token FROM before WHERE before.uid <> entries.uid)",
        );
        for uid in ["a", "b"] {
            assert_eq!(read(&journal, "token", uid), refused(), "{uid}");
        }
        assert_eq!(read(&journal, "title", "a"), text("title of a"));
    });
}

#[test]
fn a_token_cannot_be_moved_to_another_column() {
    Process::with_directory().run(|| {
        let journal = journal();
        journal.run("UPDATE entries SET token = title");
        assert_eq!(read(&journal, "token", "a"), refused());
        assert_eq!(read(&journal, "title", "a"), text("title of a"));
    });
}

#[test]
fn what_is_bound_is_read_with_its_context_alone_and_what_is_not_without_one() {
    Process::with_directory().run(|| {
        let journal = journal();
        let token = journal.text("SELECT token FROM entries WHERE uid = 'a'", []);
        let unbound = journal.text("SELECT journal_encrypt(7, 'x')", []);
        let check = |token: &str, context: &str| {
            journal.text(
                &format!("SELECT journal_check(7, NULL, ?{context})"),
                [token],
            )
        };
        assert_eq!(check(&token, ", 'entries.token:a'"), "ok");
        assert_eq!(check(&token, ""), "token_invalid");
        assert_eq!(check(&token, ", 'entries.token:b'"), "token_invalid");
        assert_eq!(check(&unbound, ""), "ok");
        assert_eq!(check(&unbound, ", 'entries.token:a'"), "token_invalid");
        for function in [
            "journal_rewrap(7, NULL, ?)",
            "journal_rewrap(7, NULL, ?, 'entries.token:b')",
        ] {
            assert_eq!(
                journal.error(&format!("SELECT {function}"), [&token]),
                "journal_rewrap: token_invalid: not a Fernet token under any key of user 7"
            );
        }
    });
}

#[test]
fn a_rewrapped_token_keeps_its_context_and_its_time() {
    Process::with_directory().run(|| {
        let journal = journal();
        journal.key(7, "oseh_ujmk_2", 2.0);
        let [old, new] = [
            "token",
            "journal_rewrap(7, key_uid, token, 'entries.token:a')",
        ]
        .map(|token| journal.text(&format!("SELECT {token} FROM entries WHERE uid = 'a'"), []));
        assert_ne!(old, new);
        let ask = |sql: &str, token: &str| journal.ask(sql, [token]);
        assert_eq!(
            ask(
                "SELECT journal_decrypt(7, 'oseh_ujmk_2', ?, 'entries.token:a')",
                &new
            ),
            text("text of a")
        );
        assert_eq!(
            ask("SELECT journal_check(7, NULL, ?)", &new),
            text("token_invalid")
        );
        assert_eq!(
            ask("SELECT journal_token_time(?)", &new),
            ask("SELECT journal_token_time(?)", &old)
        );
        // It is there already.
        assert_eq!(
            ask("SELECT journal_rewrap(7, NULL, ?, 'entries.token:a')", &new),
            text(&new)
        );
    });
}

#[test]
fn an_unbound_token_is_bound_under_the_current_key_and_keeps_its_time() {
    Process::with_directory().run(|| {
        let journal = Journal::in_memory();
        let token = journal
            .key(7, "oseh_ujmk_1", 1.0)
            .encrypt_at_time(b"dear diary", 499_162_800);
        let bind =
            |token: &str| journal.ask("SELECT journal_bind(7, 'oseh_ujmk_1', ?, 'c')", [token]);
        for current in ["oseh_ujmk_1", "oseh_ujmk_2"] {
            if current == "oseh_ujmk_2" {
                journal.key(7, current, 2.0);
            }
            let Ok(Value::Text(bound)) = bind(&token) else {
                panic!("{current}");
            };
            assert_eq!(
                journal.ask(
                    &format!("SELECT journal_decrypt(7, '{current}', ?, 'c')"),
                    [&bound]
                ),
                text("dear diary")
            );
            assert_eq!(
                journal.ask("SELECT journal_token_time(?)", [&bound]),
                Ok(Value::Integer(499_162_800))
            );
            // Not twice, and not by a context that is not there.
            assert_eq!(
                bind(&bound),
                error(
                    "journal_bind: token_invalid: not a Fernet token under key \"oseh_ujmk_1\""
                        .to_owned()
                )
            );
        }
    });
}
