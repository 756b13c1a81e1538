"""Copies of a database that is being written: they hold what the journal held, and a shredded key reaches them all."""

import signal
import sqlite3
import subprocess
import threading
from contextlib import closing, contextmanager

import pytest

from conftest import run_shell
from hosts.drivers import BUILT, build
from stores import Folder, admin

USERS = (1, 2)


class Writer:
    """A thread that writes entries of two users, as an application does, until it is left."""

    INSERT = """
        INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
        SELECT ?1, ?2, key_uid, token, 0 FROM journal_seal(?2, ?3)
    """

    def __init__(self, database, store):
        self._database, self._store = database, store
        self._written, self._enough, self._left = 0, threading.Condition(), False
        self._thread = threading.Thread(target=self._write)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._left = True
        self._thread.join()

    def _write(self):
        with admin(self._database, self._store) as host:
            while not self._left:
                number = self._written
                host.run(self.INSERT, f"oseh_je_{number}", USERS[number % 2], f"entry {number}")
                with self._enough:
                    self._written += 1
                    self._enough.notify_all()

    def wait_for(self, more):
        """Returns when so many more entries are written."""
        with self._enough:
            enough = self._written + more
            assert self._enough.wait_for(lambda: self._written >= enough, timeout=60)


def backup(source, copy, writer):
    """SQLite's online backup, a page at a time, so that writes fall between."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as other:
        pages = []

        def wait(_, left, __):
            if len(pages) < 5:
                pages.append(left)
                writer.wait_for(1)

        live.backup(other, pages=1, progress=wait)


def vacuum_into(source, copy, writer):
    writer.wait_for(1)
    with closing(sqlite3.connect(source)) as live:
        live.execute("VACUUM INTO ?", [str(copy)])
    writer.wait_for(1)


def litestream(source, copy, writer):
    """A replica that follows the log of the database, and is restored. It writes what is left when it is ended."""
    build("litestream")
    replica = f"file://{copy}.replica"
    with open(f"{copy}.log", "w+") as log, following(source, replica, log):
        writer.wait_for(50)
    subprocess.run([BUILT / "litestream", "restore", "-o", copy, replica], check=True, capture_output=True, timeout=60)


@contextmanager
def following(source, replica, log):
    """Litestream, from its first snapshot on."""
    process = subprocess.Popen([BUILT / "litestream", "replicate", source, replica], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            log.write(line)
            if "snapshot written" in line:
                break
        yield
        process.send_signal(signal.SIGINT)
        log.write(process.communicate()[0])
        log.seek(0)
        # Not its status, which is 1 where its last checkpoint was cut off by its own end.
        assert "wal segment written" in log.read()
    finally:
        timer.cancel()
        process.kill()


def ask(path, store, sql):
    """The lines that a process with an empty cache answers."""
    shell = run_shell(sql, path, store.env)
    assert (shell.returncode, shell.stderr) == (0, "")
    return shell.stdout.splitlines()


@pytest.mark.parametrize("copied", [backup, vacuum_into, litestream])
def test_a_copy_made_while_the_journal_is_written_reads_the_same_and_not_after_a_shred(copied, users, tmp_path):
    store, copy = Folder(tmp_path / "keys"), tmp_path / "copy.db"
    with admin(users, store) as host:
        host.run("PRAGMA journal_mode = WAL")
        keys = {user: host.value("SELECT journal_rotate_key(?)", user) for user in USERS}
        with Writer(users, store) as writer:
            writer.wait_for(20)
            copied(users.path, copy, writer)
        texts = "SELECT uid, journal_decrypt(user_id, key_uid, token) FROM journal_entries ORDER BY id;"
        live, held = ask(users.path, store, texts), ask(copy, store, texts)
        assert len(held) >= 20 and held == live[: len(held)]
        # The copy was not made before the writer went on.
        assert len(live) > 20 + len(USERS)
        host.value("SELECT journal_shred_key(1, ?)", keys[1])
    words = "SELECT user_id, group_concat(DISTINCT journal_check(user_id, key_uid, token)) FROM journal_entries GROUP BY 1;"
    assert ask(copy, store, words) == ["1|key_lost", "2|ok"]
