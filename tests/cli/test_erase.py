"""Forgetting a user: erase."""

import json
import os
import signal
import subprocess
import time

from cryptography.fernet import Fernet

from conftest import PREFIX, ROOT
from servers.faults import INTERNAL_ERROR
from stores import opened

from .conftest import Journal
from .node import Node


def two_users(journal, keys=2):
    for user in (1, 2):
        for number in range(keys):
            uid = f"oseh_ujmk_{user}{number:02}"
            journal.add(user, uid, float(number))
            journal.write(user, uid, f"user {user}, one {number}", f"user {user}, two {number}")
    journal.write_item(1, "oseh_ujmk_100", {"mood": 7})
    return journal


def test_nothing_of_an_erased_user_opens_and_everything_of_others_does(journal):
    two_users(journal)
    keys = [Fernet(journal.keys[f"oseh_ujmk_1{n:02}"]) for n in range(2)]
    found = journal.json("erase", "--user", 1, typed="1\n")
    assert found["complete"] is True and found["tokens_that_open"] == 0 and found["tokens_checked"] == 5
    assert [key["key_uid"] for key in found["destroyed"]] == ["oseh_ujmk_101", "oseh_ujmk_100"]
    assert {path.name for path in journal.store.root.rglob("oseh_*")} == {"oseh_ujmk_200", "oseh_ujmk_201"}
    assert journal.rows("SELECT uid FROM user_journal_master_keys ORDER BY uid") == [("oseh_ujmk_200",), ("oseh_ujmk_201",)]
    assert journal.rows("SELECT count(*) FROM s3_files") == [(2,)]
    assert journal.rows("SELECT master_key_id FROM journal_entry_items") == [(None,)]
    assert journal.json("audit", "--user", 2)["tokens"] == {"readable": 4}
    # The receipt is the answer, and a page; neither holds a token or a key.
    assert json.loads((journal.folder / "erasure-1.json").read_text()) == found
    page = (journal.folder / "erasure-1.txt").read_text()
    assert page.startswith("Erasure of user 1\n\nDestroyed, each with all its versions:\n")
    assert page.endswith("\nComplete: nothing of the user opens any more.\n")
    assert "copies of the key store" in page and "caches of other processes" in page
    for [token] in journal.rows("SELECT token FROM journal_entries"):
        assert token not in page + json.dumps(found)
    assert keys


def test_an_old_key_goes_alone_once_nothing_is_under_it(journal):
    two_users(journal)
    old, new = "oseh_ujmk_100", "oseh_ujmk_101"
    one = ["erase", "--user", 1, "--key"]
    assert journal.run(*one, old, "--yes", status=1) == "journal-crypt: 3 rows under it: rewrap first\n"
    journal.run("rewrap")
    assert "the key that the user writes with" in journal.run(*one, new, "--yes", status=1)
    for uid in ("oseh_ujmk_200", "' OR 1 --"):
        assert journal.run(*one, uid, "--yes", status=1) == "journal-crypt: user 1 has no such key\n"
    assert journal.json(*one, old, "--dry-run")["dry_run"] is True
    journal.run(*one, old, status=1, typed="2\n")
    assert len(journal.rows("SELECT 1 FROM user_journal_master_keys")) == 4
    found = journal.json(*one, old, typed="1\n")
    assert (found["key_uid"], found["gone"], found["user_id"]) == (old, True, 1)
    assert not list(journal.store.root.rglob(old)) and not list(journal.folder.glob("erasure-*"))
    assert journal.rows("SELECT uid FROM user_journal_master_keys WHERE user_id = 1") == [(new,)]
    assert journal.json("audit")["tokens"] == {"readable": 9}


def test_what_is_typed_must_be_the_users_id(journal):
    two_users(journal)
    for typed in ("2\n", "\n", ""):
        assert "nothing was erased: what was typed is not the user's id\n" in journal.run("erase", "--user", 1, status=1, typed=typed)
    assert journal.json("erase", "--user", 1, "--dry-run") == {"user": 1, "keys": 2, "tokens": 5, "dry_run": True}
    assert journal.read() == journal.texts and not list(journal.folder.glob("erasure-*"))
    assert journal.run("erase", "--user", 99, "--yes", status=1) == "journal-crypt: user 99 has neither a key nor a row\n"
    journal.run("erase", "--user", 1, "--yes", status=1, admin="create")


def test_a_key_whose_object_another_user_uses_stays(journal):
    two_users(journal)
    with journal.writing() as connection:
        connection.execute(
            "UPDATE user_journal_master_keys SET s3_file_id = (SELECT s3_file_id FROM user_journal_master_keys"
            " WHERE uid = 'oseh_ujmk_200') WHERE uid = 'oseh_ujmk_101'"
        )
    said = journal.run("erase", "--user", 1, "--yes", status=1)
    assert "the row of another key names the object" in said
    assert (journal.store.root / (PREFIX + "oseh_ujmk_200")).exists()


def test_no_row_keeps_the_id_of_a_key_that_is_gone_though_no_foreign_key_says_so(journal):
    two_users(journal)
    with journal.writing() as connection:
        connection.execute("CREATE TABLE context (id INTEGER PRIMARY KEY, owner INTEGER, key_id INTEGER, body TEXT)")
        connection.execute(
            "INSERT INTO context SELECT id, user_id, id, ? FROM user_journal_master_keys", (journal.seal("oseh_ujmk_100", "text"),)
        )
    journal.columns = journal.folder / "columns.toml"
    journal.columns.write_text('[[table]]\nname = "context"\ntexts = ["body"]\nkey_id = "key_id"\nuser = "owner"\n')
    journal.run("erase", "--user", 1, "--yes")
    assert journal.rows("SELECT count(*) FROM context WHERE owner = 1 AND key_id IS NULL") == [(2,)]
    assert journal.rows("SELECT count(*) FROM context WHERE owner = 2 AND key_id IS NULL") == [(0,)]


def test_killed_at_any_moment_and_run_again_the_receipt_has_every_key(journal):
    two_users(journal, keys=12)
    before = time.monotonic()
    subprocess.run(journal.command("status"), env=journal.environment(), check=True, capture_output=True)
    least = time.monotonic() - before
    command = journal.command("erase", "--user", 1, "--yes", "--receipt", journal.folder)
    for number in range(20):
        process = subprocess.Popen(command, env=journal.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=least * (0.5 + number / 20))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    found = journal.json("erase", "--user", 1, "--yes")
    assert found["complete"] is True
    # Each once, although the object of one whose row was still there is destroyed again.
    assert sorted(key["key_uid"] for key in found["destroyed"]) == [f"oseh_ujmk_1{n:02}" for n in range(12)]
    assert journal.json("audit", "--user", 2)["tokens"] == {"readable": 24}


def test_twelve_keys_with_their_versions_go_from_a_bucket(tmp_path, request):
    with opened("ceph versioned", request) as bucket:
        journal = Journal(tmp_path)
        journal.store = bucket
        for number in range(12):
            uid = f"oseh_ujmk_{number:02}"
            journal.add(1, uid, float(number))
            journal.write(1, uid, f"text {number}")
            bucket.write(uid, journal.keys[uid])
        found = journal.json("erase", "--user", 1, "--yes")
        assert found["complete"] is True and [key["versions_deleted"] for key in found["destroyed"]] == [2] * 12
        assert [bucket.versions(f"oseh_ujmk_{number:02}") for number in range(12)] == [(0, 0)] * 12
        secret = bucket.env["AWS_SECRET_ACCESS_KEY"]
        assert secret not in (tmp_path / "erasure-1.txt").read_text() + json.dumps(found)


def test_rows_stay_while_the_bucket_keeps_the_key_and_go_when_it_is_gone(tmp_path, request):
    with opened("ceph versioned", request) as bucket:
        journal = Journal(tmp_path)
        journal.store = bucket
        journal.add(1, "oseh_ujmk_a")
        bucket.write("oseh_ujmk_a", journal.keys["oseh_ujmk_a"])
        bucket.proxy.faults = lambda request: INTERNAL_ERROR if request.method == "DELETE" else None
        assert "store_unavailable" in journal.run("erase", "--user", 1, "--yes", status=3)
        assert journal.rows("SELECT uid FROM user_journal_master_keys") == [("oseh_ujmk_a",)]
        bucket.proxy.faults = []
        # Destroyed, and stopped before the rows were deleted.
        bucket.destroy("oseh_ujmk_a")
        assert journal.json("erase", "--user", 1, "--yes")["complete"] is True
        assert journal.rows("SELECT uid FROM user_journal_master_keys") == []


def test_without_its_store_nothing_is_erased(journal):
    two_users(journal)
    os.rename(journal.store.root, journal.folder / "away")
    journal.run("erase", "--user", 1, "--yes", status=3)
    assert journal.rows("SELECT count(*) FROM user_journal_master_keys") == [(4,)]
    os.rename(journal.folder / "away", journal.store.root)
    assert journal.read() == journal.texts


def test_who_would_get_a_new_key_is_told(journal):
    two_users(journal)
    reminder = "\nThe user is still among those who get keys: delete them there, or `rotate` makes a new key.\n"
    assert reminder in journal.run("erase", "--user", 1, "--yes")
    assert journal.json("rotate", "--user", 1)["due"] == 1
    journal.columns = journal.folder / "columns.toml"
    shipped = (ROOT / "cli" / "journal-crypt.toml").read_text()
    journal.columns.write_text(shipped.replace("SELECT id FROM users", "SELECT id FROM users WHERE id <> 2"))
    assert reminder not in journal.run("erase", "--user", 2, "--yes")


def test_an_erasure_that_names_some_nodes_alone_is_not_complete(journal):
    two_users(journal)
    with Node(journal.path) as node:
        journal.place = ["--rqlite", node.endpoint]
        node.nodes = 3
        found = journal.json("erase", "--user", 1, "--yes", status=1)
        assert found["complete"] is False
        assert found["nodes"]["others"] == "2 not asked: --rqlite must name every node"
        node.nodes = 1
        assert journal.json("erase", "--user", 1, "--yes")["complete"] is True
