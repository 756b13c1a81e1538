"""Counting, renewing and using up keys: status, doctor, rotate, rewrap."""

import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest
from cryptography.fernet import Fernet

from conftest import PREFIX, ROOT, run_shell
from tool import PROGRAM

NOW = time.time()


def filled(journal, users=3, entries=50):
    """Users with an old and a new key each, and entries under the old one."""
    for user in range(1, users + 1):
        journal.add(user, f"oseh_ujmk_old{user}", created_at=1.0)
        journal.write(user, f"oseh_ujmk_old{user}", *(f"user {user}, entry {n}" for n in range(entries)))
        journal.add(user, f"oseh_ujmk_new{user}", created_at=2.0)
    return journal


def test_status_counts_keys_by_age_and_rows_by_key_and_says_what_is_due(journal):
    journal.add(1, "oseh_ujmk_a", NOW - 40 * 86400)
    journal.write(1, "oseh_ujmk_a", "one", "two")
    journal.add(2, "oseh_ujmk_b", NOW - 500 * 86400)
    journal.add(2, "oseh_ujmk_c", NOW - 3600)
    journal.add(2, "oseh_ujmk_idle", 1.0)
    journal.write(2, "oseh_ujmk_b", "three")
    journal.write(2, "oseh_ujmk_c", "four")
    journal.write_item(4, "oseh_ujmk_b", {"a": 1})
    with journal.writing() as connection:
        connection.execute("INSERT INTO users VALUES (3, 'oseh_u_3', 0)")
        connection.execute("UPDATE journal_entries SET key_uid = 'oseh_ujmk_gone' WHERE id = 2")
    found = journal.json("status")
    assert found["users"] == 3 and found["users_with_a_key"] == 2 and found["keys"] == 4
    assert found["keys_by_age"]["30 to 90 days"] == 1 and found["keys_by_age"]["under 1 day"] == 1
    assert found["keys_by_age"]["over 1 year"] == 2
    assert found["tables"]["journal_entries"] == {"current": 2, "older": 1, "gone": 1}
    assert found["tables"]["journal_entry_items"] == {"current": 0, "older": 1, "gone": 0}
    assert found["due"] == {"rotate": 1, "rewrap": 2} and found["idle_keys"] == 1
    text = journal.run("status", "--older-than", "50d")
    assert "0  users whose newest key is 50 days old or older: rotate" in text
    assert "2  rows under an older key: rewrap" in text


def test_doctor_fails_where_the_extensions_doctor_does(journal):
    journal.add(1, "oseh_ujmk_a")
    assert "failed" not in journal.run("doctor")
    shutil.rmtree(journal.store.root)
    failed = [check["name"] for check in journal.json("doctor", status=1)["checks"] if check["status"] == "failed"]
    assert "store" in failed


def test_rotate_gives_a_key_to_whoever_is_due_and_to_nobody_else(journal):
    journal.add(1, "oseh_ujmk_a", NOW - 40 * 86400)
    journal.add(2, "oseh_ujmk_b", NOW - 86400)
    with journal.writing() as connection:
        connection.execute("INSERT INTO users VALUES (3, 'oseh_u_3', 0)")
    assert journal.json("rotate", "--dry-run") == {"due": 2, "rotated": 0, "dry_run": True}
    assert journal.current(1) == "oseh_ujmk_a"
    assert journal.json("rotate", admin="create") == {"due": 2, "rotated": 2, "dry_run": False}
    assert journal.current(1) != "oseh_ujmk_a" and journal.current(2) == "oseh_ujmk_b"
    for user in (1, 3):
        Fernet(journal.object(journal.current(user)))
    assert journal.json("rotate") == {"due": 0, "rotated": 0, "dry_run": False}
    before = journal.current(2)
    assert journal.json("rotate", "--older-than", "0", "--user", 2)["rotated"] == 1
    assert journal.current(2) != before
    assert journal.run("rotate", "--user", 99, status=1) == "journal-crypt: there is no such user\n"


def test_rotate_without_the_permission_says_how_to_give_it(journal):
    journal.add(1, "oseh_ujmk_a")
    assert journal.run("rotate", status=1, admin="0") == (
        "journal-crypt: the extension has no journal_create_key here: set JOURNAL_ADMIN=create, and give it credentials"
        " that may write keys\n"
    )


def test_rewrap_puts_everything_under_the_current_key_and_keeps_the_time(journal):
    filled(journal)
    journal.write_item(1, "oseh_ujmk_old1", {"mood": 7})
    assert journal.json("rewrap", "--dry-run") == {"rewrapped": 151, "left": {}, "dry_run": True}
    assert journal.json("rewrap", "--user", 2) == {"rewrapped": 50, "left": {}, "dry_run": False}
    assert journal.json("rewrap") == {"rewrapped": 101, "left": {}, "dry_run": False}
    assert journal.read() == journal.texts
    for user, uid, token in journal.rows("SELECT user_id, key_uid, token FROM journal_entries"):
        assert uid == f"oseh_ujmk_new{user}"
        assert Fernet(journal.keys[uid]).extract_timestamp(token) == 1_700_000_000
    assert journal.rows("SELECT k.uid FROM journal_entry_items JOIN user_journal_master_keys AS k ON k.id = master_key_id") == [
        ("oseh_ujmk_new1",)
    ]


def test_what_cannot_be_rewrapped_stays_and_is_told_by_its_word(journal):
    filled(journal, users=1, entries=4)
    with journal.writing() as connection:
        connection.execute("UPDATE journal_entries SET token = 'x' WHERE id = 1")
        connection.execute("UPDATE journal_entries SET key_uid = 'oseh_ujmk_none' WHERE id = 2")
        connection.execute("UPDATE journal_entries SET key_uid = 'oseh_ujmk_lost' WHERE id = 3")
    journal.add_key(1, "oseh_ujmk_lost", 1.5)
    found = journal.json("rewrap", status=1)
    assert found == {"rewrapped": 1, "left": {"token_invalid": 1, "key_not_found": 1, "key_lost": 1}, "dry_run": False}
    assert journal.rows("SELECT token FROM journal_entries WHERE id = 1") == [("x",)]


def test_rewrap_says_of_bound_tokens_and_disabled_keys_what_helps(journal):
    filled(journal, users=1, entries=4)
    sql = "UPDATE journal_entries SET token = journal_encrypt(1, 'bound', 'oseh_ujmk_old1', 'journal_entries.token:1') WHERE id = 1"
    assert run_shell(sql, journal.path, journal.environment()).stderr == ""
    text = journal.run("rewrap", status=1)
    assert text.splitlines() == [
        "3 rows rewrapped",
        "1 row left under an old key: token_invalid: broken, or bound to another context than journal-crypt.toml says",
        "`journal-crypt audit` says more of what trying again does not help",
    ]
    journal.run("disable", "--user", 1)
    text = journal.run("rewrap", status=1)
    assert text.splitlines() == [
        "0 rows rewrapped", "1 row left under an old key: key_disabled, until `journal-crypt enable` brings the key back",
    ]


def test_in_an_outage_nothing_is_rewrapped_and_all_of_it_later(journal):
    filled(journal, users=1, entries=4)
    away = journal.store.root.rename(journal.folder / "away")
    assert "store_unavailable" in journal.run("rewrap", status=3)
    away.rename(journal.store.root)
    assert journal.json("rewrap") == {"rewrapped": 4, "left": {}, "dry_run": False}


def test_rewrap_of_a_user_who_is_not_there_is_no_success(journal):
    filled(journal, users=1)
    assert journal.run("rewrap", "--user", 99, status=1) == "journal-crypt: user 99 has neither a key nor a row\n"


def test_no_table_and_no_text_is_left_in_the_database(journal):
    filled(journal, users=1)
    tables = journal.rows("SELECT sql FROM sqlite_schema ORDER BY name")
    for arguments in (["rotate", "--older-than", "0"], ["rewrap"], ["audit"], ["search", "--user", "1", "entry"], ["status"]):
        journal.run(*arguments)
    assert journal.rows("SELECT sql FROM sqlite_schema ORDER BY name") == tables
    assert all(b"user 1, entry" not in path.read_bytes() for path in journal.folder.glob("journal.db*"))


def test_edits_made_during_a_rewrap_all_survive(journal):
    filled(journal, users=4, entries=3000)
    with closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    edited, over = {}, threading.Event()

    def edit():
        with closing(sqlite3.connect(journal.path, timeout=60, isolation_level=None)) as connection:
            choose = random.Random(1)
            while not over.is_set():
                number = choose.randrange(1, 12001)
                # An application that still holds the old key.
                user = (number - 1) // 3000 + 1
                uid, text = f"oseh_ujmk_old{user}", f"edit {len(edited)}"
                connection.execute(
                    "UPDATE journal_entries SET token = ?, key_uid = ? WHERE id = ?", (journal.seal(uid, text), uid, number)
                )
                edited[number] = text

    editor = threading.Thread(target=edit)
    editor.start()
    rewrap = subprocess.Popen(journal.command("rewrap"), env=journal.environment(), stdout=subprocess.DEVNULL)
    try:
        # Each round takes up what was edited during the one before; it ends once the editor does.
        while rewrap.poll() is None and len(edited) < 400:
            time.sleep(0.01)
    finally:
        over.set()
        editor.join()
    assert rewrap.wait(timeout=120) == 0
    assert journal.json("rewrap")["left"] == {}
    assert edited and journal.read() == {**journal.texts, **edited}
    assert journal.rows("SELECT count(*) FROM journal_entries WHERE key_uid LIKE 'oseh_ujmk_old%'") == [(0,)]


@pytest.mark.parametrize("command", ["rewrap", "rotate"])
def test_killed_at_any_moment_and_run_again_nothing_is_lost(journal, command):
    filled(journal, users=40, entries=100)
    arguments = [command, *(["--older-than", "1h"] if command == "rotate" else [])]
    choose, before = random.Random(2), time.monotonic()
    subprocess.run(journal.command("status"), env=journal.environment(), check=True, capture_output=True)
    least = time.monotonic() - before
    for _ in range(20):
        process = subprocess.Popen(
            journal.command(*arguments), env=journal.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=least + choose.random() * 0.2)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert journal.read() == journal.texts
    journal.run(*arguments)
    assert journal.read() == journal.texts
    if command == "rewrap":
        assert {uid[:13] for [uid] in journal.rows("SELECT DISTINCT key_uid FROM journal_entries")} == {"oseh_ujmk_new"}
    else:
        # A key may be left that no row names; never a row without its object, and never two new keys of one user.
        for uid, name in journal.rows("SELECT k.uid, f.key FROM user_journal_master_keys AS k JOIN s3_files AS f ON f.id = s3_file_id"):
            assert name == PREFIX + uid and Fernet(journal.object(uid))
        assert journal.rows("SELECT count(*) FROM user_journal_master_keys WHERE created_at > 100") == [(40,)]


def test_ctrl_c_ends_between_two_batches_and_nothing_is_lost(journal):
    filled(journal, users=4, entries=4000)
    process = subprocess.Popen(
        journal.command("--jobs", "1", "rewrap"), env=journal.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while journal.rows("SELECT count(*) FROM journal_entries WHERE key_uid LIKE 'oseh_ujmk_new%'") == [(0,)]:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    # It may have been done when the signal came.
    assert (process.returncode, out, err) == (1, "", "journal-crypt: stopped; what was done stays, run it again for the rest\n") or (
        process.returncode == 0
    )
    assert journal.read() == journal.texts
    assert journal.json("rewrap")["left"] == {}


def test_standard_output_has_one_json_object_and_long_work_tells_elsewhere(journal):
    filled(journal)
    for arguments in (["status"], ["doctor"], ["rotate"], ["rewrap"], ["audit"], ["search", "--user", "1", "entry"]):
        done = subprocess.run(journal.command("--json", *arguments), env=journal.environment(), capture_output=True, text=True)
        assert done.stdout.count("\n") == 1 and done.stdout.startswith("{"), arguments


def test_the_manual_that_is_packed_is_what_the_tool_says_of_itself(journal):
    """Else: `journal-crypt man packaging/man`."""
    pages = journal.folder / "man"
    pages.mkdir()
    subprocess.run([PROGRAM, "man", pages], check=True)
    packed = {page.name: page.read_text() for page in (ROOT / "packaging" / "man").iterdir()}
    assert {page.name: page.read_text() for page in pages.iterdir()} == packed


def test_shells_can_complete_it(journal):
    for shell in ("bash", "zsh", "fish"):
        assert "rewrap" in journal.run("completions", shell)
