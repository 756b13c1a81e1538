"""A WSGI application as `gunicorn --preload` runs it: the parent uses a key before it forks its workers.

`GET /USER` answers with the worker's process id and that user's entries, decrypted.
"""

import json
import os
import sqlite3


def connect():
    connection = sqlite3.connect(os.environ["DATABASE"])
    connection.enable_load_extension(True)
    connection.load_extension(os.environ["LIBRARY"])
    return connection


# In the parent: the library is loaded, a key fetched, a connection to the store kept, a block of IVs drawn.
with connect() as warm:
    warm.execute("SELECT journal_encrypt(1, 'x')").fetchone()

_of_worker = {}


def app(environ, start_response):
    """One request; each worker opens its own connection."""
    connection = _of_worker.setdefault(os.getpid(), None) or connect()
    _of_worker[os.getpid()] = connection
    user = int(environ["PATH_INFO"].strip("/"))
    sql = "SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ?"
    entries = [text for (text,) in connection.execute(sql, (user,))]
    fresh = connection.execute("SELECT journal_encrypt(?, 'same')", (user,)).fetchone()[0]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "entries": entries, "token": fresh}).encode()]
