"""Moves the entries of the table plain_entries into journal_entries, as tokens: python migrate.py

    CREATE TABLE plain_entries (
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL, entry TEXT NOT NULL, created_at REAL NOT NULL);

An entry is in one table or in the other at every moment, and its plaintext goes only after its token was read from the
table and decrypted. So this can be stopped or killed at any time and run again, also while the application serves. When
all entries are moved, the file is written anew, so that no page of it holds what plain_entries once held; then the table
goes too. Other copies, such as backups and what a disk keeps of files, are not reached.
"""

import argparse
import json
import sqlite3
import sys
import time
from contextlib import closing

import journal

SEAL = """
    SELECT p.id, p.uid, p.user_id, s.key_uid, s.token, p.created_at
    FROM plain_entries AS p, journal_seal(p.user_id, p.entry) AS s ORDER BY p.id LIMIT ?
"""
STORE = "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) VALUES (?, ?, ?, ?, ?)"
#: Deletes the plaintext of which the stored token gives every byte back, and no other.
DELETE = """
    DELETE FROM plain_entries WHERE id = ? AND CAST(entry AS BLOB) = (
      SELECT journal_decrypt_blob(e.user_id, e.key_uid, e.token) FROM journal_entries AS e WHERE e.uid = plain_entries.uid)
"""


class Stopped(Exception):
    """Why the migration cannot go on; what was moved stays moved."""


def main():
    parser = argparse.ArgumentParser(description="Moves plain_entries into journal_entries, as tokens.")
    parser.add_argument("--batch", type=int, default=500, help="entries a transaction")
    batch = parser.parse_args().batch
    if batch < 1:
        parser.error("--batch must be 1 or more")
    with closing(journal.connect()) as connection:
        try:
            migrate(connection, batch)
        except (Stopped, sqlite3.Error) as error:
            sys.exit(f"migrate: stopped: {error}")


def migrate(connection, batch):
    """All of it, from wherever an earlier run was stopped."""
    # What is deleted is overwritten. VACUUM at the end sees to what earlier deletions left behind.
    connection.execute("PRAGMA secure_delete = ON")
    if not count(connection, "sqlite_schema WHERE type = 'table' AND name = 'plain_entries'"):
        return say("there is no table plain_entries: nothing to do")
    require_keys(connection)
    left, moved, start = count(connection, "plain_entries"), 0, time.monotonic()
    say(f"{left} entries to move")
    while done := move(connection, batch):
        moved += done
        say(f"moved {moved}, {left - moved} to go, {moved / (time.monotonic() - start):.0f} a second")
    say("all entries are moved; writing the file anew")
    scrub(connection)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if count(connection, "plain_entries"):
            raise Stopped("somebody has written to plain_entries: stop what does, and run this again")
        connection.execute("DROP TABLE plain_entries")
    say("done")


def require_keys(connection):
    """Refuses to begin unless each user who has plaintext has a key that can be used."""
    users = [user for (user,) in connection.execute("SELECT DISTINCT user_id FROM plain_entries")]
    connection.execute("SELECT journal_prefetch(?)", (json.dumps(users),)).fetchone()
    refused = []
    for user in users:
        try:
            connection.execute("SELECT journal_encrypt(?, '')", (user,)).fetchone()
        except sqlite3.OperationalError as error:
            refused.append(str(error))
    if refused:
        shown = "\n  ".join(refused[:20])
        raise Stopped(f"{len(refused)} of {len(users)} users cannot be written for, so nothing was changed; the first are\n  {shown}")


def move(connection, batch):
    """Moves the first entries in one transaction, and gives how many."""
    # No write lock is held while keys are fetched.
    sealed = connection.execute(SEAL, (batch,)).fetchall()
    users = json.dumps(list({user for _, _, user, *_ in sealed}))
    # A key that was deleted meanwhile may still be in the cache. The tokens are to be read by what the store has now.
    connection.execute("SELECT journal_evict()").fetchone()
    connection.execute("SELECT journal_prefetch(?)", (users,)).fetchone()
    with connection:
        for number, *entry in sealed:
            connection.execute(STORE, entry)
            if connection.execute(DELETE, (number,)).rowcount != 1:
                raise Stopped(f"entry {entry[0]} was changed meanwhile: stop what writes plain_entries, and run this again")
    return len(sealed)


def scrub(connection):
    """Leaves no plaintext in free pages and in the write-ahead log. Raises if somebody is in the way."""
    # The copy that VACUUM makes holds tokens only, and may be too large for memory.
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute("VACUUM")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise Stopped("others are using the database, so that its log cannot be emptied: run this again")


def count(connection, what):
    return connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    main()
