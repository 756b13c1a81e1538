"""The recipes in sql/, in the sqlite3 shell, on both stores."""

import json
import os
import subprocess
from threading import Event, Thread

import pytest

from conftest import LIBRARY, PREFIX, ROOT, SQLITE3
from host import Host
from servers.faults import INTERNAL_ERROR, always
from stores import Folder, admin, rows

from .recipes import recipe, write


READ = (
    "SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ?1 UNION ALL"
    " SELECT json_extract(journal_decrypt_item(?1, k.uid, master_encrypted_data), '$.text') FROM journal_entry_items AS i"
    " JOIN journal_entries AS e ON e.id = journal_entry_id JOIN user_journal_master_keys AS k ON k.id = master_key_id"
    " WHERE e.user_id = ?1"
)


def test_rotate_renews_what_is_old_and_passes_over_what_is_young(users, store):
    first = recipe("rotate", users, store)
    assert [line.split("|")[:2] for line in first] == [["1", "(none)"], ["2", "(none)"], ["3", "(none)"]]
    keys = [line.split("|")[2] for line in first]
    assert recipe("rotate", users, store) == [f"{user}|{key}|{key}" for user, key in enumerate(keys, 1)]
    with users.writing() as connection:
        connection.execute("UPDATE user_journal_master_keys SET created_at = created_at - 86400 * 31 WHERE user_id = 2")
    assert [line.split("|")[1] == line.split("|")[2] for line in recipe("rotate", users, store)] == [True, False, True]
    [line] = recipe("rotate", users, store, user_id=3, days=0)
    assert line.startswith(f"3|{keys[2]}|oseh_ujmk_") and not line.endswith(keys[2])
    assert len(rows(users)) == 5 and store.uids() == {row[0] for row in rows(users)}
    assert "no such function: journal_rotate_key" in recipe("rotate", users, store, env={}, code=1)


def test_rewrap_moves_a_journal_in_batches_and_proves_it(users, store):
    texts = [f"entry {number}" for number in range(25)]
    with admin(users, store) as host:
        old = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, texts)
        host.run("SELECT journal_rotate_key(2)")
        write(host, 2, ["another's"])
        times = host.run("SELECT journal_token_time(token) FROM journal_entries ORDER BY id")
        assert recipe("rewrap", users, store, user_id=1) == ["0 of 0 entries rewrapped", "0 of 0 items rewrapped", "done"]
        new = host.value("SELECT journal_rotate_key(1)")
        of_another = host.run("SELECT token FROM journal_entries WHERE user_id = 2")
        runs = []
        while not runs or runs[-1][-1] == "run again":
            runs.append(recipe("rewrap", users, store, user_id=1, rows=10))
        assert runs == [
            ["10 of 10 entries rewrapped", "10 of 10 items rewrapped", "15 of the entries left: under an old key",
             "15 of the items left: under an old key", "run again"],
            ["10 of 10 entries rewrapped", "10 of 10 items rewrapped", "5 of the entries left: under an old key",
             "5 of the items left: under an old key", "run again"],
            ["5 of 5 entries rewrapped", "5 of 5 items rewrapped", "done"],
        ]
        assert host.value("SELECT count(*) FROM journal_entries WHERE key_uid = ?", old) == 0
        assert host.value(
            "SELECT count(*) FROM journal_entries WHERE user_id = 1 AND journal_check(1, ?, token) = 'ok'", new) == 25
        assert sorted(row[0] for row in host.run(READ, 1)) == sorted(texts * 2)
        assert host.run("SELECT journal_token_time(token) FROM journal_entries ORDER BY id") == times
        assert host.run("SELECT token FROM journal_entries WHERE user_id = 2") == of_another
        # Nothing is under the old key, so that it can be shredded and nothing is lost.
        assert recipe("shred", users, store, user_id=1, key_uid=old, loses=0)[-1] == "the rows of the key are deleted"
        assert sorted(row[0] for row in host.run(READ, 1)) == sorted(texts * 2)


def test_rewrap_moves_a_whole_journal_in_one_run(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, [f"entry {number}" for number in range(600)])
        host.run("SELECT journal_rotate_key(1)")
    assert recipe("rewrap", users, store, user_id=1) == ["600 of 600 entries rewrapped", "600 of 600 items rewrapped", "done"]


def test_rewrap_says_what_it_cannot_move(users, store):
    with admin(users, store) as host:
        lost = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["lost"])
        old = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["kept"])
        host.run("SELECT journal_rotate_key(1)")
        host.run("SELECT journal_shred_key(1, ?)", lost)
        assert recipe("rewrap", users, store, user_id=1) == [
            "1 of 1 entries rewrapped", "1 of 1 items rewrapped", "1 of the entries left: key_lost", "1 of the items left: key_lost", "stuck",
        ]
        # A row that says that it is under the current key, and is not.
        host.run("DELETE FROM journal_entries WHERE key_uid = ?", lost)
        host.run("DELETE FROM journal_entry_items")
        host.run("UPDATE journal_entries SET token = journal_encrypt(1, 'x', ?)", old)
        assert recipe("rewrap", users, store, user_id=1)[2:] == ["1 of the entries left: token_invalid", "stuck"]
    assert "set :user_id to the user" in recipe("rewrap", users, store, code=1)
    assert "this user has neither a key nor an entry" in recipe("rewrap", users, store, user_id=99, code=1)


def test_rewrap_in_an_outage_is_not_done(users, bucket):
    with admin(users, bucket) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["entry"])
        host.run("SELECT journal_rotate_key(1)")
        bucket.proxy.faults = always(INTERNAL_ERROR)
        assert recipe("rewrap", users, bucket, user_id=1)[2:] == [
            "1 of the entries left: store_unavailable", "1 of the items left: store_unavailable", "run again",
        ]
        bucket.proxy.faults = []
        assert recipe("rewrap", users, bucket, user_id=1)[-1] == "done"


def test_rewrap_beside_edits_loses_none(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host, Host(users.path, store.env) as editor:
        host.run("PRAGMA journal_mode = WAL")
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, [f"{number} as written" for number in range(100)])
        latest = {number: f"{number} as written" for number in range(100)}
        edits, stop = 0, Event()

        def edit():
            nonlocal edits
            while not stop.is_set():
                number = edits * 37 % 100
                text = f"{number} edited {edits}"
                editor.run(
                    "UPDATE journal_entries SET (key_uid, token) = (SELECT key_uid, token FROM journal_seal(1, ?)) WHERE id = ?",
                    text, number + 1,
                )
                latest[number] = text
                edits += 1

        thread = Thread(target=edit)
        thread.start()
        try:
            rounds = 0
            while rounds < 3 or edits < 100:
                host.run("SELECT journal_rotate_key(1)")
                while recipe("rewrap", users, store, user_id=1, rows=20)[-1] != "done":
                    pass
                rounds += 1
        finally:
            stop.set()
            thread.join()
        assert [row[0] for row in host.run("SELECT journal_decrypt(1, key_uid, token) FROM journal_entries ORDER BY id")] == list(latest.values())


def test_an_edit_between_reading_and_writing_is_kept(users, tmp_path):
    """The recipe's own statements, with an edit between them."""
    store = Folder(tmp_path / "keys")
    script = (ROOT / "sql" / "rewrap.sql").read_text()
    before, after = script.split("BEGIN IMMEDIATE;")
    with admin(users, store) as host:
        host.run("SELECT journal_rotate_key(1)")
        write(host, 1, ["first", "second"])
        host.run("SELECT journal_rotate_key(1)")
        ready = tmp_path / "ready"
        pause = f".shell touch {ready}\n.shell while [ -e {ready} ]; do sleep 0.01; done\nBEGIN IMMEDIATE;"
        shell = subprocess.Popen(
            [SQLITE3, "-init", os.devnull, "-batch", "-cmd", f'.load "{LIBRARY.with_suffix("")}"', "-cmd", ".param set :user_id 1", users.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **store.env}, text=True,
        )
        shell.stdin.write(before + pause + after)
        shell.stdin.close()
        while not ready.exists():
            assert shell.poll() is None
        host.run("UPDATE journal_entries SET (key_uid, token) = (SELECT key_uid, token FROM journal_seal(1, 'edited')) WHERE id = 1")
        ready.unlink()
        assert shell.stdout.read().splitlines() == ["1 of 2 entries rewrapped", "2 of 2 items rewrapped", "done"]
        shell.wait()
        shell.stdout.close()
        assert [row[0] for row in host.run("SELECT journal_decrypt(1, key_uid, token) FROM journal_entries ORDER BY id")] == ["edited", "second"]


def test_a_user_who_is_not_there_is_not_rotated_in_silence(users, store):
    error = recipe("rotate", users, store, user_id=99, code=1)
    assert "there is no user with the id that is set as :user_id" in error
    assert rows(users) == [] and store.uids() == set()


def test_a_listing_that_cannot_be_read_is_no_empty_one(users, store):
    error = recipe("audit", users, store, env={}, listing="/nowhere/listing.txt", code=1)
    assert "the file that :listing names cannot be read" in error


def test_shred_wants_to_know_what_is_lost_and_deletes_rows_last(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["one", "two"])
        other = host.value("SELECT journal_rotate_key(2)")
        for loses in ({}, {"loses": 0}, {"loses": 3}):
            error = recipe("shred", users, store, user_id=1, key_uid=uid, current=1, code=1, **loses)
            assert "set :loses to the number of entries and items that are lost" in error
        assert "this user has no such key row" in recipe("shred", users, store, user_id=2, key_uid=uid, loses=4, code=1)
        assert "no such function: journal_shred_key" in recipe("shred", users, store, env={}, user_id=1, key_uid=uid, current=1, loses=4, code=1)
        # Others go on writing with the current key until they look at the store again.
        assert "this is the user's current key" in recipe("shred", users, store, user_id=1, key_uid=uid, loses=4, code=1)
        assert store.read(uid) and host.value("SELECT count(*) FROM user_journal_master_keys") == 2
        lost, receipt, deleted = recipe("shred", users, store, user_id=1, key_uid=uid, current=1, loses=4)
        assert (lost, deleted) == (
            "lost with it, besides what backups hold under it: 2 entries, 2 items", "the rows of the key are deleted",
        )
        assert json.loads(receipt)["gone"]
        assert store.uids() == {other} and [row[0] for row in rows(users)] == [other]
        assert host.value("SELECT count(*) FROM s3_files") == 1
        assert host.value("SELECT count(*) FROM journal_entry_items WHERE master_key_id IS NULL") == 2
        assert host.error("SELECT journal_decrypt(1, key_uid, token) FROM journal_entries").endswith(f'user 1 has no key "{uid}"')


def test_shred_keeps_the_row_of_a_key_that_the_bucket_keeps_and_completes_later(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        bucket.proxy.faults = lambda request: INTERNAL_ERROR if request.method == "DELETE" else None
        assert "store_unavailable" in recipe("shred", users, bucket, user_id=1, key_uid=uid, current=1, loses=0, code=1)
        assert [row[0] for row in rows(users)] == [uid]
        bucket.proxy.faults = []
        # Shredded, and stopped before the rows were deleted.
        host.run("SELECT journal_shred_key(1, ?)", uid)
        assert recipe("shred", users, bucket, user_id=1, key_uid=uid, current=1, loses=0)[-1] == "the rows of the key are deleted"
        assert rows(users) == [] and bucket.client.list_versions(bucket.name) == []


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
        uid = host.value("SELECT journal_rotate_key(1)")
        write(host, 1, ["unmistakable words"])
        tables = host.run("SELECT name FROM sqlite_schema ORDER BY name")
    recipe("rotate", users, store, days=0)
    for name, parameters in {
        "rewrap": {"user_id": 1}, "audit": {}, "search": {"user_id": 1, "words": "words"},
        "shred": {"user_id": 1, "key_uid": uid, "loses": 0},
    }.items():
        recipe(name, users, store, **parameters)
    with admin(users, store) as host:
        assert host.run("SELECT name FROM sqlite_schema ORDER BY name") == tables
    assert b"unmistakable" not in users.path.read_bytes()


@pytest.mark.parametrize("name", ["rotate", "rewrap", "shred", "audit", "search"])
def test_each_recipe_says_what_it_needs_takes_and_gives(name):
    header = (ROOT / "sql" / f"{name}.sql").read_text().split("\n\n")[0]
    assert all(line.startswith("--") for line in header.splitlines())
    for word in ("Needs", "Takes", "Gives", f"sql/{name}.sql"):
        assert word in header
