"""A journal over HTTP.

    POST /entries {"text": "…"}       201 {"uid": "…"}
    GET  /entries[?before=uid]        200 [{"uid": "…", "created_at": 0.0, "text": "…" or null if it is lost}, …]
    GET  /entries/uid                 200 {"uid": "…", "created_at": 0.0, "text": "…"}
    GET  /metrics                     200 OpenMetrics: the counters of the worker that answers, X-Pid

An error is {"error": "word"}. Who the user is, the proxy that stands before this server has found out, and says in the
header X-User-Id; nobody else reaches this port, and the proxy hands /metrics to nobody outside.
"""

import os
import sqlite3
from logging import ERROR, WARNING

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException

import journal

#: What an error is to a client; all that is not here is for the operator to mend, and a 500.
STATUS = {
    "store_unavailable": 503,
    "busy": 503,
    # Somebody paused it, and may bring it back.
    "key_disabled": 423,
    "no_key": 410,
    "key_not_found": 410,
    "key_lost": 410,
    "token_invalid": 410,
}

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20

# gunicorn imports this once, before it forks its workers. An extension that cannot be loaded ends it here.
for finding in journal.findings():
    app.logger.warning("journal_doctor: %s: %s: %s", *finding)


@app.post("/entries")
def write():
    """Stores an entry."""
    body = request.get_json()
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text or not is_unicode(text):
        abort(400)
    return {"uid": journal.write(user_id(), text)}, 201


@app.get("/entries")
def newest():
    """A page of entries. Those that are gone are shown as gone, and hide no other."""
    entries = journal.newest(user_id(), request.args.get("before"))
    return jsonify([{"uid": uid, "created_at": at, "text": text} for uid, at, text in entries])


@app.get("/entries/<uid>")
def read(uid):
    """One entry."""
    found = journal.read(user_id(), uid)
    if found is None:
        abort(404)
    created_at, text = found
    return {"uid": uid, "created_at": created_at, "text": text}


@app.get("/metrics")
def metrics():
    """What the worker that answers has counted. Prometheus tells workers apart where each has a port of its own."""
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return Response(journal.metrics(), content_type=kind, headers={"X-Pid": str(os.getpid())})


@app.errorhandler(sqlite3.Error)
def refused(error):
    """The extension's errors, and SQLite's. Their texts hold no plaintext, so they may be logged."""
    word = journal.word(error)
    status = STATUS.get(word, 500)
    if status == 410 and request.method == "POST":
        status = 409  # the user has no key to write with, until somebody makes one
    app.logger.log(ERROR if status == 500 else WARNING, "%s %s: %s", request.method, request.path, error)
    return {"error": word or "internal"}, status, {"Retry-After": "2"} if status == 503 else {}


@app.errorhandler(HTTPException)
def failed(error):
    """What is wrong with the request."""
    return {"error": error.name.lower().replace(" ", "_")}, error.code


def user_id():
    """The user whose request this is."""
    given = request.headers.get("X-User-Id", "")
    # At most 18 digits: a number that SQLite can hold.
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        abort(401)
    return int(given)


def is_unicode(text):
    """JSON can name half of a surrogate pair, which is no text that SQLite could store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
