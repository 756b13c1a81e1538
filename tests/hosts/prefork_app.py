"""A WSGI application as `gunicorn --preload` runs it: the parent uses a key before it forks its workers.

`GET /USER` answers with the worker's process id and that user's entries, decrypted. `POST /` runs a statement as
`drivers.py` asks for it.
"""

import json
import os
import sqlite3

import child


def connect():
    connection = sqlite3.connect(os.environ["DATABASE"])
    connection.enable_load_extension(True)
    connection.load_extension(os.environ["LIBRARY"])
    return connection


# In the parent: the library is loaded, a key fetched, a connection to the store kept, a block of IVs drawn.
with connect() as warm:
    warm.execute("SELECT journal_encrypt(1, 'x')").fetchone()

_of_worker = {}
_asked_for = {}  # the connections that requests name


def app(environ, start_response):
    """One request; each worker opens its own connection."""
    if environ["REQUEST_METHOD"] == "POST":
        asked = json.load(environ["wsgi.input"])
        told = child.answer(_asked_for, asked, os.environ["DATABASE"], os.environ["LIBRARY"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({**told, "parent": os.getppid()}).encode()]
    connection = _of_worker.setdefault(os.getpid(), None) or connect()
    _of_worker[os.getpid()] = connection
    user = int(environ["PATH_INFO"].strip("/"))
    sql = "SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ?"
    entries = [text for (text,) in connection.execute(sql, (user,))]
    fresh = connection.execute("SELECT journal_encrypt(?, 'same')", (user,)).fetchone()[0]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "entries": entries, "token": fresh}).encode()]
