"""The journal's database: a connection for each thread, and what the application does with it."""

import os
import secrets
import sqlite3
import threading
import time
from contextlib import closing

import sqlite_journal_crypt

#: Stores a token whose key is still there.
STORE = """
    INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) SELECT ?1, ?2, ?3, ?4, ?5
    WHERE EXISTS (SELECT 1 FROM user_journal_master_keys WHERE uid = ?3 AND user_id = ?2)
"""

_of_thread = threading.local()


def connect():
    """A connection with the extension and the settings that every connection to the journal needs."""
    connection = sqlite3.connect(os.environ["DATABASE"], timeout=5)
    sqlite_journal_crypt.load(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def connection():
    """The connection of this thread. Call it in a worker alone: a connection must not cross a fork."""
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = connect()
    return _of_thread.connection


def findings():
    """What the doctor finds to say, as (name, status, detail); raises if the extension cannot be loaded."""
    with closing(connect()) as first:
        return first.execute("SELECT name, status, detail FROM journal_doctor WHERE status <> 'ok'").fetchall()


def word(error):
    """The word with which the extension says what an error is; `busy` where a lock was not to be had; None for others."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY"):
        return "busy"
    function, _, rest = str(error).partition(": ")
    found = rest.partition(": ")[0]
    return found if name == "SQLITE_ERROR" and function.startswith("journal_") and found.isidentifier() else None


def write(user_id, text):
    """Stores an entry and gives its uid."""
    uid = f"oseh_je_{secrets.token_urlsafe(16)}"
    while True:
        # Two steps: the first may wait for a key, the second holds the database's write lock.
        key_uid, token = connection().execute("SELECT key_uid, token FROM journal_seal(?, ?)", (user_id, text)).fetchone()
        with connection() as transaction:
            if transaction.execute(STORE, (uid, user_id, key_uid, token, time.time())).rowcount:
                return uid
        # The key's row was deleted in between. Sealed once more, it is under the next key, or there is none and this raises.


def read(user_id, uid):
    """An entry as (created_at, text); None if the user has no such entry."""
    sql = "SELECT created_at, journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ? AND uid = ?"
    return connection().execute(sql, (user_id, uid)).fetchone()


def newest(user_id, before=None, limit=50):
    """Entries as (uid, created_at, text), the newest first; those before the entry `before`, if one is named.

    The text of an entry that is lost, or whose token does not open, is None. An outage raises.
    """
    sql = """
        SELECT uid, created_at, journal_try_decrypt(user_id, key_uid, token) FROM journal_entries
        WHERE user_id = :user_id AND (
          :before IS NULL
          OR (created_at, id) < (SELECT created_at, id FROM journal_entries WHERE user_id = :user_id AND uid = :before))
        ORDER BY created_at DESC, id DESC LIMIT :limit
    """
    return connection().execute(sql, {"user_id": user_id, "before": before, "limit": limit}).fetchall()


def metrics():
    """What this process has counted, as OpenMetrics text."""
    return connection().execute("SELECT journal_metrics()").fetchone()[0]
