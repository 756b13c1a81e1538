"""Runs `journal-crypt`, and a journal whose texts are known."""

import gzip
import json
import os
import subprocess
from contextlib import closing
import sqlite3

import pytest
from cryptography.fernet import Fernet

from conftest import LIBRARY, Database, KeyStore
from tool import PROGRAM


class Journal(Database):
    """A database, a directory of keys, and what is written in it."""

    def __init__(self, folder):
        super().__init__(folder / "journal.db")
        self.folder, self.store, self.keys, self.texts = folder, KeyStore(folder / "keys"), {}, {}
        self.columns, self.place = None, ["--db", self.path]

    def add(self, user, uid, created_at=1.0):
        """A key of a user, who may be new."""
        with self.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO users VALUES (?, ?, 0)", (user, f"oseh_u_{user}"))
        self.add_key(user, uid, created_at)
        self.keys[uid] = self.store.write(uid)

    def seal(self, uid, text):
        return Fernet(self.keys[uid]).encrypt_at_time(text.encode(), 1_700_000_000).decode()

    def write(self, user, uid, *texts):
        """Entries of a user under a key."""
        with self.writing() as connection:
            for text in texts:
                number = len(self.texts) + 1
                self.texts[number] = text
                connection.execute(
                    "INSERT INTO journal_entries VALUES (?, ?, ?, ?, ?, ?)",
                    (number, f"oseh_je_{number}", user, uid, self.seal(uid, text), float(number)),
                )

    def write_item(self, entry, uid, item):
        with self.writing() as connection:
            [key] = connection.execute("SELECT id FROM user_journal_master_keys WHERE uid = ?", (uid,)).fetchone()
            token = Fernet(self.keys[uid]).encrypt(gzip.compress(json.dumps(item).encode(), mtime=0)).decode()
            connection.execute(
                "INSERT INTO journal_entry_items (uid, journal_entry_id, ordinal, master_key_id, master_encrypted_data,"
                " created_at) VALUES (?, ?, 1, ?, ?, 0)", (f"item_{entry}", entry, key, token),
            )  # fmt: skip

    def rows(self, sql, *values):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, values).fetchall()

    def read(self):
        """The text of each entry, by its id, with the key that is recorded and its object as it is now."""
        return {number: Fernet(self.object(uid)).decrypt(token).decode()
                for number, uid, token in self.rows("SELECT id, key_uid, token FROM journal_entries")}

    def object(self, uid):
        [path] = self.store.root.rglob(uid)
        return path.read_text()

    def current(self, user):
        [[uid]] = self.rows(
            "SELECT uid FROM user_journal_master_keys WHERE user_id = ? ORDER BY created_at DESC, uid LIMIT 1", user
        )
        return uid

    def command(self, *arguments):
        options = ["--extension", LIBRARY, *(["--columns", self.columns] if self.columns else [])]
        return [PROGRAM, *options, *([] if "drill" in arguments else self.place), *map(str, arguments)]

    def environment(self, admin="1"):
        return {**os.environ, **self.store.env, "JOURNAL_ADMIN": admin}

    def run(self, *arguments, status=0, admin="1", typed=None):
        """What the command gives; it must end with the status."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment(admin), cwd=self.folder, capture_output=True, text=True,
            input=typed, timeout=120,
        )  # fmt: skip
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout or done.stderr

    def json(self, *arguments, **named):
        return json.loads(self.run("--json", *arguments, **named))


@pytest.fixture
def journal(tmp_path):
    assert PROGRAM.exists(), f"{PROGRAM} is missing: run make"
    return Journal(tmp_path)
