"""SQL in a Python process of its own, whose environment is the test's: the extension reads its configuration
once for each process.

The process (this file, as a program) takes one JSON object a line and answers with one. It opens the connections that
it is asked to use, of the SQLite library `sqlite3` or `apsw`, and loads the extension on them; what SQLite logs under
`apsw` goes to its stderr. `hosts/drivers.py` has programs of other languages that do the same, and says what can be asked.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor


class SqlError(Exception):
    """What SQLite raised in the child: its text, and the name of the exception."""

    def __init__(self, text, kind):
        super().__init__(text)
        self.kind = kind


class Child:
    """A process with `env` and nothing else of ours, and a database open in it.

    `secrets` are texts that must not stand in anything it says: answers, errors, log. `close` looks. `command` starts
    another program than this one, which is given the database and the library too.
    """

    #: Seconds for one answer; far above any timeout of the extension.
    PATIENCE = 60

    def __init__(self, database, library, env, secrets=(), host="sqlite3", command=(sys.executable, __file__)):
        self.host, self._secrets, self._said = host, [s for s in secrets if s], []
        #: Seconds that the last statement took.
        self.seconds = None
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [*command, str(database), str(library)], env={"PATH": os.defpath, **sanitizer(), **env},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except AssertionError:
            if kind is None:
                raise

    def run(self, sql, *parameters, host=None):
        """The rows of a statement, as lists; raises `SqlError`."""
        answer = self._ask({"host": host or self.host, "sql": sql, "parameters": [_plain(p) for p in parameters]})
        self.seconds = answer.get("seconds")
        if "error" in answer:
            raise SqlError(answer["error"], answer.get("kind"))
        return [[_value(v) for v in row] for row in answer["rows"]]

    def value(self, sql, *parameters, host=None):
        """The one value of the one row of a statement."""
        [[value]] = self.run(sql, *parameters, host=host)
        return value

    def error(self, sql, *parameters, host=None):
        """The text of the error that a statement raises; it must raise one."""
        try:
            rows = self.run(sql, *parameters, host=host)
        except SqlError as error:
            return str(error)
        raise AssertionError(f"no error but {rows}")

    def stderr(self):
        """What it wrote to stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def close(self):
        """Ends the process, which must end well, and looks for secrets in what it said."""
        self._process.stdin.close()
        timer = self._killer()
        status = self._process.wait()
        timer.cancel()
        self._process.stdout.close()
        stderr = self.stderr()
        self._stderr.close()
        assert status == 0, f"the child ended with {status}: {stderr}"
        said = "\n".join([*self._said, stderr])
        for number, secret in enumerate(self._secrets):
            assert secret not in said, f"secret {number} was told: " + said[max(0, said.index(secret) - 200) :][:200]

    def _ask(self, request):
        timer = self._killer()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline().decode()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"the child gave no answer: {self._process.wait()} {self.stderr()}")
        answer = json.loads(line)
        if "error" in answer:
            self._said.append(answer["error"])
        return answer

    def _killer(self):
        timer = threading.Timer(self.PATIENCE, self._process.kill)
        timer.start()
        return timer


def sanitizer():
    """What `make sanitize` sets, for processes that get nothing else of ours."""
    return {name: os.environ[name] for name in ("LD_PRELOAD", "ASAN_OPTIONS") if name in os.environ}


def _plain(value):
    """A parameter or a column as JSON."""
    return {"blob": value.hex()} if isinstance(value, bytes) else value


def _value(plain):
    return bytes.fromhex(plain["blob"]) if isinstance(plain, dict) else plain


def connect(host, database, library):
    """A connection of the SQLite library `host` with the extension loaded; it has `execute`."""
    if host == "sqlite3":
        import sqlite3

        connection = sqlite3.connect(database, isolation_level=None)
    else:
        import apsw

        if not hasattr(connect, "logging"):
            connect.logging = apsw.config(apsw.SQLITE_CONFIG_LOG, lambda _, text: print("log:", text, file=sys.stderr))
        connection = apsw.Connection(database)
    connection.enable_load_extension(True)
    connection.load_extension(library)
    connection.enable_load_extension(False)
    return connection


def trips(connection, sql, thread, times):
    """How many texts come back as they went."""
    right = 0
    for turn in range(times):
        text = f"thread {thread} turn {turn}"
        right += connection.execute(sql, [text]).fetchall()[0][0] == text
    connection.close()
    return right


def rows(connection, asked):
    """The rows that a statement gives. While it runs, the next line of the input interrupts it where that is asked."""
    reader = threading.Thread(target=lambda: (sys.stdin.readline(), connection.interrupt()))
    if "interruptible" in asked:
        reader.start()
    try:
        found = connection.execute(asked["sql"], [_value(p) for p in asked["parameters"]]).fetchall()
    finally:
        if "interruptible" in asked:
            reader.join()
    return [[_plain(v) for v in row] for row in found]


def answer(connections, asked, database, library):
    """What a request is answered with; `connections` are those that are open."""
    host, start = asked["host"], time.monotonic()
    name = (host, asked.get("on"))
    try:
        if "threads" in asked:
            def work(thread):
                return trips(connect(host, database, library), asked["sql"], thread, asked["times"])

            with ThreadPoolExecutor(asked["threads"]) as pool:
                told = {"rows": [[sum(pool.map(work, range(asked["threads"])))]]}
        elif "close" in asked:
            connections.pop(name).close()
            told = {"rows": []}
        else:
            if name not in connections:
                connections[name] = connect(host, database, library)
                start = time.monotonic()
            told = {"rows": rows(connections[name], asked)}
    except Exception as error:
        code = getattr(error, "sqlite_errorcode", getattr(error, "extendedresult", None))
        told = {"error": str(error), "kind": type(error).__name__, "code": code}
    return {**told, "seconds": time.monotonic() - start}


def main(database, library):
    connections = {}
    for line in sys.stdin:
        print(json.dumps(answer(connections, json.loads(line), database, library)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
