"""A host program in a process of its own, that runs SQL with the extension when told to, and can be killed."""

import base64
import json
import os
import subprocess
import sys
from threading import Thread

from conftest import LIBRARY

# Reads a statement and its values a line, writes its rows or its error a line. Autocommit, as the sqlite3 shell.
_PROGRAM = """
import base64, json, sys
module, library, path = sys.argv[1:]
if module == "apsw":
    import apsw
    db = apsw.Connection(path)
    db.set_busy_timeout(30000)
    db.enable_load_extension(True)
    db.load_extension(library)
    failure = apsw.Error
else:
    import sqlite3
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(library)
    failure = sqlite3.Error

def decoded(value):
    return base64.b64decode(value["blob"]) if isinstance(value, dict) else value

def encoded(value):
    return {"blob": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

print("ready", flush=True)
for line in sys.stdin:
    sql, values = json.loads(line)
    try:
        rows = db.cursor().execute(sql, tuple(map(decoded, values))).fetchall()
        answer = {"rows": [[encoded(value) for value in row] for row in rows]}
    except failure as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""


class HostError(Exception):
    """An SQL error that the host's statement ended with."""


class Killed(Exception):
    """The host was killed before it answered."""


class Host:
    """A Python process with one connection; `module` is the driver, `sqlite3` or `apsw`."""

    def __init__(self, path, env, module="sqlite3"):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, module, str(LIBRARY.with_suffix("")), str(path)],
            env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(self._process.stderr.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def run(self, sql, *values):
        """The rows of a statement, as lists."""
        self._ask(sql, values)
        return self._answer()

    def value(self, sql, *values):
        """The one value of a statement."""
        [[value]] = self.run(sql, *values)
        return value

    def error(self, sql, *values):
        """The text of the error that a statement ends with."""
        try:
            rows = self.run(sql, *values)
        except HostError as error:
            return str(error)
        raise AssertionError(f"no error but {rows}")

    def start(self, sql, *values):
        """Starts a statement; the function that is returned waits for its rows."""
        self._ask(sql, values)
        outcome = []

        def wait():
            try:
                outcome.append((self._answer(), None))
            except Exception as error:
                outcome.append((None, error))

        thread = Thread(target=wait, daemon=True)
        thread.start()

        def rows():
            thread.join(timeout=60)
            [(found, error)] = outcome
            if error:
                raise error
            return found

        return rows

    @property
    def pid(self):
        """Its process id."""
        return self._process.pid

    def kill(self):
        """Ends the process at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def _ask(self, sql, values):
        print(json.dumps([sql, [_encoded(value) for value in values]]), file=self._process.stdin, flush=True)

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise Killed(self._process.stderr.read())
        answer = json.loads(line)
        if "error" in answer:
            raise HostError(answer["error"])
        return [[_decoded(value) for value in row] for row in answer["rows"]]


def _encoded(value):
    return {"blob": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decoded(value):
    return base64.b64decode(value["blob"]) if isinstance(value, dict) else value
