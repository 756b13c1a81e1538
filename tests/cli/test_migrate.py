"""Plaintext into tokens: migrate."""

import random
import signal
import subprocess
import time

import pytest

from cryptography.fernet import Fernet

MARK = "plainly-readable"


def plain(journal, rows=300, mode="DELETE"):
    """Notes in plaintext, and pages of the file that once held some."""
    for user in (1, 2):
        journal.add(user, f"oseh_ujmk_{user}")
    with journal.writing() as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, owner INTEGER, body TEXT, key_uid TEXT)")
        connection.executemany(
            "INSERT INTO notes VALUES (?, ?, ?, NULL)",
            ((n, n % 2 + 1, f"{MARK} {n} ".ljust(50 + n % 7 * 400, ".")) for n in range(rows)),
        )
        connection.execute("CREATE TABLE former AS SELECT * FROM notes")
        connection.execute("DROP TABLE former")
    with journal.writing() as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    journal.columns = journal.folder / "columns.toml"
    journal.columns.write_text('[[table]]\nname = "notes"\ntexts = ["body"]\nkey_uid = "key_uid"\nuser = "owner"\n')


def bodies(journal):
    return {n: Fernet(journal.keys[uid]).decrypt(body).decode() if uid else body
            for n, uid, body in journal.rows("SELECT id, key_uid, body FROM notes")}


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_no_byte_of_plaintext_is_left_in_the_file_or_its_log(journal, mode):
    plain(journal, mode=mode)
    before = bodies(journal)
    assert journal.json("migrate", "notes.body", "--dry-run") == {"sealed": 300, "left": {}, "dry_run": True}
    assert bodies(journal) == before
    assert MARK.encode() in journal.path.read_bytes()
    assert journal.json("migrate", "notes.body") == {"sealed": 300, "left": {}, "dry_run": False}
    assert bodies(journal) == before
    for path in journal.folder.glob("journal.db*"):
        assert MARK.encode() not in path.read_bytes(), path
    assert journal.json("migrate", "notes.body")["sealed"] == 0


def test_killed_at_any_moment_and_run_again_every_row_is_there_once(journal):
    plain(journal, rows=6000, mode="WAL")
    before, choose, start = bodies(journal), random.Random(3), time.monotonic()
    subprocess.run(journal.command("status"), env=journal.environment(), check=True, capture_output=True)
    least = time.monotonic() - start
    for _ in range(20):
        process = subprocess.Popen(
            journal.command("migrate", "notes.body"), env=journal.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=least + choose.random() * 0.3)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    journal.run("migrate", "notes.body")
    assert bodies(journal) == before and journal.rows("SELECT count(*) FROM notes WHERE key_uid IS NULL") == [(0,)]
    for path in journal.folder.glob("journal.db*"):
        assert MARK.encode() not in path.read_bytes(), path


def test_a_token_without_its_key_is_not_sealed_again_and_nobody_without_a_key_is(journal):
    plain(journal, rows=4)
    token = journal.seal("oseh_ujmk_1", "text")
    with journal.writing() as connection:
        connection.execute("UPDATE notes SET body = ? WHERE id = 0", (token,))
        connection.execute("UPDATE notes SET owner = 3 WHERE id = 1")
    found = journal.json("migrate", "notes.body", status=1)
    assert found == {
        "sealed": 2, "dry_run": False,
        "left": {"a token already, whose key is gone": 1, "the user has no key: rotate gives one": 1},
    }  # fmt: skip
    assert journal.rows("SELECT body FROM notes WHERE id = 0") == [(token,)]


def test_a_column_that_is_not_named_is_refused(journal):
    plain(journal, rows=1)
    assert journal.run("migrate", "notes.owner", status=2) == "journal-crypt: journal-crypt.toml names no column notes.owner\n"
