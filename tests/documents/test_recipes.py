"""The recipes in sql/, in the sqlite3 shell, on both stores."""

import pytest

from conftest import PREFIX, ROOT
from stores import Folder, admin

from .recipes import recipe, write


def test_a_listing_that_cannot_be_read_is_no_empty_one(users, store):
    error = recipe("audit", users, store, env={}, listing="/nowhere/listing.txt", code=1)
    assert "the file that :listing names cannot be read" in error


def test_audit_tells_what_can_be_read_and_what_lies_elsewhere(users, store, tmp_path):
    with admin(users, store) as host:
        lost = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["lost"])
        old = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["a", "b", "c"])
        gone = host.value("SELECT journal_rotate_key(2)")
        write(host, 2, ["orphan"])
        current = host.value("SELECT journal_rotate_key(1)")
        host.run("SELECT journal_shred_key(1, ?)", lost)
        host.run("DELETE FROM user_journal_master_keys WHERE uid = ?", gone)
        # One that is recorded under another key than its own, one that is no token.
        host.run("UPDATE journal_entries SET key_uid = ? WHERE id = 2", current)
        host.run("UPDATE journal_entries SET token = 'gAAAAA' WHERE id = 3")
        write(host, 3, ["whole"], host.value("SELECT journal_rotate_key(3)"))
        host.run("BEGIN")
        left = host.value("SELECT journal_rotate_key(3)")
        host.run("ROLLBACK")
        if isinstance(store, Folder):
            where = {"directory": f"{store.root}/"}
        else:
            (tmp_path / "listing.txt").write_text("".join(f"{PREFIX}{uid}\n" for uid in sorted(store.uids())))
            where = {"listing": str(tmp_path / "listing.txt")}
        before = users.path.read_bytes()
        lines = recipe("audit", users, store, env={}, **where)
        assert lines == [
            "-- 1. What can be read: user|kind|all|readable|lost|orphaned|broken|unknown",
            "(all)|entry|6|2|1|1|2|0",
            "(all)|item|6|4|1|1|0|0",
            "1|entry|4|1|1|0|2|0",
            "1|item|4|3|1|0|0|0",
            "2|entry|1|0|0|1|0|0",
            "2|item|1|0|0|1|0|0",
            "-- 2. What the recorded key does not open: user|kind|id|recorded key|word|key that opens it",
            f"1|entry|1|{lost}|key_lost|",
            f"1|entry|2|{current}|token_invalid|{old}",
            f"1|entry|3|{old}|token_invalid|",
            f"1|item|1|{lost}|key_lost|",
            f"2|entry|5|{gone}|key_not_found|",
            "2|item|5|(deleted)|key_not_found|",
            "-- 3. Objects and rows: object that no row names|row that names no object",
            *sorted(f"{PREFIX}{uid}|" for uid in (left, gone)),
            f"|{lost}",
        ]
        assert recipe("audit", users, store, env={}, user_id=2)[1:5] == [
            "(all)|entry|1|0|0|1|0|0", "(all)|item|1|0|0|1|0|0", "2|entry|1|0|0|1|0|0", "2|item|1|0|0|1|0|0",
        ]
        assert recipe("audit", users, store, env={}, user_id=2)[-1] == "(not looked at: set :directory or :listing)|"
        assert users.path.read_bytes() == before


def test_audit_in_an_outage_calls_nothing_lost(users, bucket):
    with admin(users, bucket) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["entry"])
        bucket.proxy.refuse()
        assert recipe("audit", users, bucket, env={})[3:5] == ["1|entry|1|0|0|0|0|1", "1|item|1|0|0|0|0|1"]
        bucket.proxy.listen()


def test_search_finds_words_however_they_are_written_and_ranks_them(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["ÖPEN " + "and much else that was said that day " * 5, "Open open", *(f"day {n}" for n in range(30))])
    search = lambda words, **more: recipe("search", users, store, env={}, user_id=1, words=words, **more)
    for words in ("öpen", "ÖPEN", "open", "ope"):
        assert [line.split("|")[1] for line in search(words)] == ["2", "2", "1", "1"], words
    assert search("öpen", most=1) == ["2026-01-01|2|[Open] [open]"]
    assert len(search("day")) == 20 and len(search("day", most=100)) == 62
    # What means something to FTS5 is a word like any other, and words without letters are none.
    for words in ('"', "open NOT day", "text:open", "open*)", "((", "^", "'"):
        assert search(words) in ([], search("open")), words


def test_search_finds_words_in_entries_and_items_of_one_user(users, store):
    with admin(users, store) as host:
        lost = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["lost words"])
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["Dear Diary,\nit’s 3 °C", "nothing here"])
        host.run("SELECT journal_rotate_key(2)")
        write(host, 2, ["dear diary of another"])
        assert recipe("search", users, store, env={}, user_id=1, words="diary dear") == [
            "2026-01-01|2|[Dear] [Diary], it’s 3 °C", "2026-01-01|2|[Dear] [Diary], it’s 3 °C",
        ]
        assert recipe("search", users, store, env={}, user_id=1, words="dear nobody") == []
        host.run("SELECT journal_shred_key(1, ?)", lost)
        assert recipe("search", users, store, env={}, user_id=1, words="words") == ["(2 entries and items cannot be read any more)"]
    assert "set :words to what is looked for" in recipe("search", users, store, env={}, user_id=1, code=1)
    assert "set :user_id to the user" in recipe("search", users, store, env={}, words="x", code=1)


def test_search_in_an_outage_is_an_error(users, bucket):
    with admin(users, bucket) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["entry"])
    bucket.proxy.refuse()
    assert "store_unavailable" in recipe("search", users, bucket, env={}, user_id=1, words="entry", code=1)
    bucket.proxy.listen()


def test_no_recipe_leaves_a_table_behind_or_a_word_of_a_journal_in_a_file(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["unmistakable words"])
        tables = host.run("SELECT name FROM sqlite_schema ORDER BY name")
    recipe("audit", users, store)
    recipe("search", users, store, user_id=1, words="words")
    with admin(users, store) as host:
        assert host.run("SELECT name FROM sqlite_schema ORDER BY name") == tables
    assert b"unmistakable" not in users.path.read_bytes()


@pytest.mark.parametrize("name", ["audit", "search"])
def test_each_recipe_says_what_it_needs_takes_and_gives(name):
    header = (ROOT / "sql" / f"{name}.sql").read_text().split("\n\n")[0]
    assert all(line.startswith("--") for line in header.splitlines())
    for word in ("Needs", "Takes", "Gives", f"sql/{name}.sql"):
        assert word in header
