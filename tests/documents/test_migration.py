"""The example's migration from plaintext to tokens: nothing is lost wherever it ends, and no plaintext stays behind."""

import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import PREFIX, Database, KeyStore, new_key
from cryptography.fernet import Fernet

from .application import FOLDER, environment, python

STEPS = Path(__file__).with_name("steps.py")
MARK = "the-fog-lifted"
USERS = (1, 2, 3)
#: Three batches of two; one is of an entry's least length, one has pages of its own.
TEXTS = {
    "oseh_je_1": f"{MARK}-1", "oseh_je_2": f"{MARK}-2 \0 café ☕", "oseh_je_3": "", "oseh_je_4": f"{MARK}-4 " * 2000,
    "oseh_je_5": f"{MARK}-5",
}  # fmt: skip


class Journal(Database):
    """A database whose entries are still plaintext, and the keys to come."""

    def __init__(self, folder):
        super().__init__(folder / "journal.db")
        self.key_store, self.keys = KeyStore(folder / "keys"), {}
        for user in USERS:
            self.add_user(user)
            self.add_key(user, f"oseh_ujmk_{user}")
            self.keys[f"oseh_ujmk_{user}"] = self.key_store.write(f"oseh_ujmk_{user}")
        with self.writing() as connection:
            # Debian's SQLite overwrites what is deleted; others do not.
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute(
                "CREATE TABLE plain_entries (id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL,"
                " entry TEXT NOT NULL, created_at REAL NOT NULL)"
            )
            for number, (uid, text) in enumerate(TEXTS.items()):
                row = (number, uid, USERS[number % 3], text, number / 2)
                connection.execute("INSERT INTO plain_entries VALUES (?, ?, ?, ?, ?)", row)
            # What was written and deleted before there were tokens.
            connection.execute("CREATE TABLE former (entry TEXT)")
            connection.executemany("INSERT INTO former VALUES (?)", [(f"{MARK}-former " * 300,)] * 20)
            connection.execute("DROP TABLE former")

    def entries(self):
        """(uid, user, text, created_at) of each entry, in whichever table it is; no entry may be in both."""
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute("SELECT uid, user_id, created_at, key_uid, token FROM journal_entries").fetchall()
            rows = [(uid, user, Fernet(self.keys[k]).decrypt(token).decode(), at) for uid, user, at, k, token in found]
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'plain_entries'").fetchone():
                rows += connection.execute("SELECT uid, user_id, entry, created_at FROM plain_entries").fetchall()
        return sorted(rows)

    def remove_key_rows(self, user):
        with self.writing() as connection:
            connection.execute("DELETE FROM user_journal_master_keys WHERE user_id = ?", (user,))

    def bytes(self):
        """All that lies in files of the database."""
        return b"".join(file.read_bytes() for file in self.path.parent.glob("journal.db*"))

    @property
    def env(self):
        return environment(self.path, self.path.parent, **self.key_store.env)

    def migrate(self, *arguments):
        """A run of the migration to its end."""
        return subprocess.run(
            [python(), "migrate.py", "--batch", "2", *arguments], cwd=FOLDER, env=self.env, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    @contextmanager
    def step_by_step(self):
        """A run that waits before every statement."""
        process = subprocess.Popen(
            [python(), STEPS, "migrate.py", "--batch", "2"], cwd=FOLDER, env={**self.env, "PYTHONPATH": str(FOLDER)},
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            yield Steps(process)
        finally:
            process.kill()
            process.communicate()


class Steps:
    def __init__(self, process):
        self._process = process

    def __iter__(self):
        """The statements, each before it runs. It runs when the next one is asked for."""
        for line in self._process.stdout:
            if line.startswith("step: "):
                yield line.removeprefix("step: ").rstrip()
                self._process.stdin.write("\n")
                self._process.stdin.flush()

    def kill(self):
        self._process.kill()
        self._process.wait()

    def end(self):
        """Exit status and stderr of a run whose statements are all done."""
        return self._process.wait(timeout=60), self._process.stderr.read()


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def test_every_entry_becomes_a_token_and_no_byte_of_plaintext_stays(journal):
    entries = journal.entries()
    assert MARK.encode() in journal.bytes() and f"{MARK}-former".encode() in journal.bytes()
    done = journal.migrate()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "5 entries to move"
    assert [line.rpartition(",")[0] for line in lines[1:4]] == ["moved 2, 3 to go", "moved 4, 1 to go", "moved 5, 0 to go"]
    assert lines[4:] == ["all entries are moved; writing the file anew", "done"]
    assert journal.entries() == entries
    assert len(entries) == len(TEXTS)
    assert MARK.encode() not in journal.bytes()
    with closing(sqlite3.connect(journal.path)) as connection:
        assert connection.execute("SELECT count(*) FROM journal_entries").fetchone() == (len(TEXTS),)
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'plain_entries'").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_second_run_changes_nothing(journal):
    assert journal.migrate().returncode == 0
    before = journal.bytes()
    done = journal.migrate()
    assert (done.returncode, done.stdout) == (0, "there is no table plain_entries: nothing to do\n")
    assert journal.bytes() == before


def test_killed_before_any_statement_that_writes_it_has_lost_nothing_and_the_next_run_ends_it(tmp_path):
    number = ended = 0
    entries, met = None, []
    while not ended:
        folder = tmp_path / str(number)
        folder.mkdir()
        journal = Journal(folder)
        entries = journal.entries()
        with journal.step_by_step() as steps:
            writes = (s for s in steps if not s.startswith(("SELECT", "PRAGMA secure_delete", "PRAGMA temp_store")))
            for _ in range(number):
                next(writes, None)
            statement = next(writes, None)
            if statement is None:
                assert steps.end() == (0, "")
                ended = 1
            else:
                met.append(statement.split()[0])
                steps.kill()
        assert journal.entries() == entries, statement
        if not ended:
            done = journal.migrate()
            assert done.returncode == 0, done.stderr
        assert journal.entries() == entries, statement
        assert MARK.encode() not in journal.bytes(), statement
        shutil.rmtree(folder)
        number += 1
    # The transactions of three batches, then the file.
    pair = ["INSERT", "DELETE"]
    assert met == [
        "BEGIN", *pair * 2, "COMMIT", "BEGIN", *pair * 2, "COMMIT", "BEGIN", *pair, "COMMIT",
        "VACUUM", "PRAGMA", "BEGIN", "DROP", "COMMIT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "harm, reason",
    [
        (lambda j: j.remove_key_rows(3), "journal_encrypt: no_key: user 3 has no key"),
        (lambda j: (j.key_store.root / (PREFIX + "oseh_ujmk_3")).unlink(), 'journal_encrypt: key_lost: key "oseh_ujmk_3"'),
    ],
)
def test_where_a_user_has_no_key_nothing_is_begun(harm, reason, journal):
    entries = journal.entries()
    harm(journal)
    done = journal.migrate()
    assert done.returncode == 1
    assert "1 of 3 users cannot be written for, so nothing was changed" in done.stderr and reason in done.stderr
    assert journal.entries() == entries
    with closing(sqlite3.connect(journal.path)) as connection:
        assert connection.execute("SELECT count(*) FROM journal_entries").fetchone() == (0,)


def test_a_key_that_goes_meanwhile_takes_no_entry_with_it(journal):
    """It is still in the cache, and its token would decrypt here and never again."""
    key = journal.key_store.root / (PREFIX + "oseh_ujmk_2")
    with journal.step_by_step() as steps:
        for statement in steps:
            if statement == "SELECT journal_evict()" and key.exists():
                key.unlink()
        status, said = steps.end()
    assert status == 1 and 'key_lost: key "oseh_ujmk_2"' in said
    journal.key_store.write("oseh_ujmk_2", new_key())
    with closing(sqlite3.connect(journal.path)) as connection:
        assert connection.execute("SELECT count(*) FROM plain_entries").fetchone() == (len(TEXTS),)


def test_an_entry_that_is_edited_while_it_is_sealed_keeps_its_edit(journal):
    edit = f"{MARK}-edited"
    with journal.step_by_step() as steps:
        for statement in steps:
            if statement == "SELECT journal_evict()":
                with journal.writing() as connection:
                    connection.execute("UPDATE plain_entries SET entry = ? WHERE uid = 'oseh_je_2'", (edit,))
        status, said = steps.end()
    assert status == 1 and "entry oseh_je_2 was changed meanwhile" in said
    assert journal.migrate().returncode == 0
    assert {uid: text for uid, _, text, _ in journal.entries()} == {**TEXTS, "oseh_je_2": edit}


def test_an_entry_that_comes_after_the_last_batch_is_not_dropped_with_the_table(journal):
    late = (99, "oseh_je_late", 1, f"{MARK}-late", 0.0)
    with journal.step_by_step() as steps:
        for statement in steps:
            if statement == "BEGIN IMMEDIATE":
                with journal.writing() as connection:
                    connection.execute("INSERT INTO plain_entries VALUES (?, ?, ?, ?, ?)", late)
        status, said = steps.end()
    assert status == 1 and "somebody has written to plain_entries" in said
    assert journal.migrate().returncode == 0
    assert {uid: text for uid, _, text, _ in journal.entries()} == {**TEXTS, "oseh_je_late": f"{MARK}-late"}
    assert MARK.encode() not in journal.bytes()


def test_while_somebody_reads_the_log_is_not_empty_and_this_is_said(journal):
    with closing(sqlite3.connect(journal.path)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM plain_entries").fetchone()
        done = journal.migrate()
        assert done.returncode == 1 and "run this again" in done.stderr
        reader.rollback()
    assert journal.migrate().returncode == 0
    assert MARK.encode() not in journal.bytes()


def test_a_batch_of_no_entries_is_refused(journal):
    for size in "0", "-1":
        done = journal.migrate("--batch", size)
        assert done.returncode == 2 and "--batch must be 1 or more" in done.stderr
