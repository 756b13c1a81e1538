"""Columns whose tokens are bound to a context, of which `journal-crypt.toml` tells the tool."""

import shutil

import pytest
from cryptography.fernet import Fernet, InvalidToken

from conftest import run_shell
from documents.book import defined

from .node import Node

#: The Fernet of a key and a context.
bound = defined("guards.md", "bound")
OLD, NEW = "oseh_ujmk_old", "oseh_ujmk_new"
ENTRIES = """
[[table]]
name = "journal_entries"
texts = ["token"]
key_uid = "key_uid"
user = "t.user_id"
contexts = { token = "%s" }
"""
ITEMS = """
[[table]]
name = "journal_entry_items"
items = ["master_encrypted_data"]
key_id = "master_key_id"
join = "journal_entries AS e ON e.id = t.journal_entry_id"
user = "e.user_id"
contexts = { master_encrypted_data = "CAST(e.uid || ' ' || t.uid AS BLOB)" }
"""
OF_ENTRY = "'journal_entries.token:' || t.uid"
TEXTS = {1: "the fog lifted", 2: "rain, and fog", 3: "sun"}


def told(journal, entries=OF_ENTRY, more=ITEMS):
    """Which columns hold tokens, and what those are bound to."""
    journal.columns = journal.folder / "columns.toml"
    journal.columns.write_text(ENTRIES % entries + more)


def sql(journal, script):
    done = run_shell(script, journal.path, journal.environment())
    assert done.stderr == "", done.stderr


@pytest.fixture(params=["file", "node"])
def place(journal, request):
    """The journal in a file, or on a node of rqlite."""
    if request.param == "file":
        yield
        return
    with Node(journal.path) as node:
        journal.place = ["--rqlite", node.endpoint]
        yield


@pytest.fixture
def journal(journal):
    """Three bound entries and a bound item of a user, and a key that is newer than theirs."""
    journal.add(1, OLD, 1.0)
    journal.write(1, OLD, *TEXTS.values())
    journal.write_item(2, OLD, {"block": "an item in the fog"})
    sql(journal, f"""
        UPDATE journal_entries AS t SET token = journal_bind(1, key_uid, token, {OF_ENTRY});
        UPDATE journal_entry_items SET master_encrypted_data =
          journal_bind(1, '{OLD}', master_encrypted_data, CAST('oseh_je_2 item_2' AS BLOB));
    """)
    journal.add(1, NEW, 2.0)
    told(journal)
    return journal


def opened(journal):
    """The text of each entry with its own context; without one none opens."""
    texts = {}
    for number, entry, uid, token in journal.rows("SELECT id, uid, key_uid, token FROM journal_entries"):
        with pytest.raises(InvalidToken):
            Fernet(journal.keys[uid]).decrypt(token)
        fernet = bound(journal.keys[uid], f"journal_entries.token:{entry}".encode())
        assert fernet.extract_timestamp(token) == 1_700_000_000
        texts[number] = fernet.decrypt(token).decode()
    return texts


def test_a_bound_column_is_audited_rewrapped_and_searched_with_its_contexts(journal, place):
    assert journal.json("audit")["tokens"] == {"readable": 4}
    assert journal.json("rewrap") == {"rewrapped": 4, "left": {}, "dry_run": False}
    assert journal.rows("SELECT DISTINCT key_uid FROM journal_entries") == [(NEW,)]
    assert opened(journal) == TEXTS
    assert journal.json("audit")["tokens"] == {"readable": 4}
    found = journal.json("search", "--user", 1, "fog")
    assert found["unreadable"] == 0
    assert {(hit["table"], hit["rowid"]) for hit in found["found"]} == {
        ("journal_entries", 1), ("journal_entries", 2), ("journal_entry_items", 1),
    }  # fmt: skip
    assert journal.json("erase", "--user", 1, "--yes")["complete"] is True


def test_swapped_and_unbound_tokens_are_found_and_left(journal, place):
    with journal.writing() as connection:
        [[first], [second]] = connection.execute("SELECT token FROM journal_entries WHERE id < 3 ORDER BY id").fetchall()
        connection.executemany("UPDATE journal_entries SET token = ? WHERE id = ?", [(second, 1), (first, 2)])
        connection.execute("UPDATE journal_entries SET token = ? WHERE id = 3", (journal.seal(OLD, "unbound"),))
    found = journal.json("audit", status=1)
    assert found["tokens"] == {"readable": 1, "broken": 3}
    assert [(f["rowid"], f["word"], f["opens_with"]) for f in found["findings"]] == [
        (number, "token_invalid", None) for number in (1, 2, 3)
    ]
    assert "3  broken: the token or the key is none, or the token belongs elsewhere\n" in journal.run("audit", status=1)
    assert journal.json("rewrap", status=1) == {"rewrapped": 1, "left": {"token_invalid": 3}, "dry_run": False}
    assert journal.json("search", "--user", 1, "fog")["unreadable"] == 3


def test_a_context_that_is_null_unbinds_nothing(journal, place):
    """The token is unbound, so that it would open without one."""
    told(journal, "'journal_entries.token:' || nullif(t.uid, 'oseh_je_3')")
    with journal.writing() as connection:
        connection.execute("UPDATE journal_entries SET token = ? WHERE id = 3", (journal.seal(OLD, "unbound"),))
    found = journal.json("audit", status=1)
    assert found["tokens"] == {"readable": 3, "bad_argument": 1}
    assert [(f["rowid"], f["word"]) for f in found["findings"]] == [(3, "bad_argument")]
    assert journal.json("search", "--user", 1, "unbound") == {"found": [], "unreadable": 1}
    assert journal.json("rewrap", status=1) == {"rewrapped": 3, "left": {"bad_argument": 1}, "dry_run": False}
    assert "1 row left under an old key: bad_argument: the context" in journal.run("rewrap", status=1)
    # What a context that is none would open cannot be said.
    erased = journal.json("erase", "--user", 1, "--yes", status=1)
    assert (erased["tokens_that_open"], erased["tokens_not_proved"], erased["complete"]) == (0, 1, False)


def test_a_backups_tokens_are_tried_with_their_contexts(journal):
    backup = journal.folder / "backup.db"
    shutil.copy(journal.path, backup)
    assert journal.json("drill", backup)["restorable"] is True
    told(journal, "'another table:' || t.uid")
    assert journal.json("drill", backup, status=1)["tokens"] == {"readable": 1, "broken": 3}


def test_plaintext_is_sealed_with_the_context_of_its_row(journal):
    with journal.writing() as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, item TEXT, key_uid TEXT, uid TEXT)")
        connection.executemany(
            "INSERT INTO notes VALUES (?, ?, ?, NULL, ?)", [(1, "one", '{"n":1}', "a"), (2, "two", None, "b"), (3, "three", None, None)]
        )
    told(journal, more="""
[[table]]
name = "notes"
texts = ["body"]
items = ["item"]
key_uid = "key_uid"
user = "1"
contexts = { body = "'body:' || uid", item = "'item:' || uid" }
""")
    nameless = "bad_argument: the context is NULL or of another type, or an item is no JSON"
    assert journal.json("migrate", "notes.body", status=1) == {"sealed": 2, "left": {nameless: 1}, "dry_run": False}
    assert journal.rows("SELECT body, key_uid FROM notes WHERE id = 3") == [("three", None)]
    for uid, wanted in (("a", "one"), ("b", "two")):
        [[body]] = journal.rows("SELECT body FROM notes WHERE uid = ?", uid)
        assert bound(journal.keys[NEW], f"body:{uid}".encode()).decrypt(body).decode() == wanted
    [[item]] = journal.rows("SELECT item FROM notes WHERE uid = 'a'")
    assert bound(journal.keys[NEW], b"item:a").decrypt(item).startswith(b"\x1f\x8b")
    with journal.writing() as connection:
        connection.execute("DELETE FROM notes WHERE id = 3")
    assert journal.json("audit")["tokens"] == {"readable": 6}


def test_a_context_of_a_column_without_tokens_is_refused(journal):
    told(journal, more='[[table]]\nname = "notes"\ntexts = ["body"]\nkey_uid = "k"\nuser = "1"\ncontexts = { bodies = "\'x\'" }\n')
    assert journal.run("status", status=2) == (
        f"journal-crypt: {journal.columns}: table notes: contexts names bodies, which is none of its columns in texts and items\n"
    )
