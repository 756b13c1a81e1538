"""Times the extension side by side with what applications use today and with the floor.

    python benches/run.py [--rows N] [--rounds N] [--calls N] [--output FILE] LIBRARY

Writes every round of every measurement as JSON; `report.py` makes tables and chart of it. The floor of a
scan is the same scan through a function that only copies its argument, plus the bare primitives on the same
bytes. What is compared is measured in turns, round by round, so that a busy moment meets them all. Times are the
processor's, but for two connections at a time, loading, S3 and rqlite.

The hosts are those of tests/hosts, each with the SQLite that it brings. A page of rqlite's is measured where there is an
`rqlited`, in PATH or as RQLITED.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import cryptography
import page
import peers
import scans as everywhere
from data import ROOT, Keys, write_bound, write_database

sys.path.insert(0, str(ROOT / "tests"))
from servers.faults import Latency, always  # noqa: E402
from servers.proxy import FaultProxy  # noqa: E402
from servers.rclone import Rclone  # noqa: E402

USERS, LENGTHS = 1_000, (300, 1_024, 4_096)
DECRYPT, DECRYPT_COPY = "journal_decrypt(user_id, key_uid, token)", "copied(user_id, key_uid, token)"
CONTEXT = "'drafts.body:' || id"
DECRYPT_BOUND = f"journal_decrypt(user_id, key_uid, token, {CONTEXT})"
ENCRYPT_BOUND = f"journal_encrypt(user_id, body, NULL, {CONTEXT})"
ENCRYPT, ENCRYPT_COPY = "journal_encrypt(user_id, body)", "copied(user_id, body)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement")
    parser.add_argument("--calls", type=int, default=10_000_000, help="calls after which memory is compared")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "bench.json")
    parser.add_argument("--only", default="", help="the parts to run, separated by commas; all of them by default")
    parser.add_argument("library", type=Path)
    options = parser.parse_args()
    Worker.program, Worker.library = build_worker(), options.library.resolve()
    parts = {
        "scans": scans, "context": context, "hosts": hosts, "peers": alternatives, "page": pages, "calls": single_calls, "pair": pair,
        "library": library, "memory": memory, "s3": s3,
    }  # fmt: skip
    results = about(options)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "target") as folder:
        folder = Path(folder)
        data = Data(folder, options.rows)
        for name in options.only.split(",") if options.only else parts:
            print(f"{name} …", file=sys.stderr, flush=True)
            results[name] = parts[name](data, options)
            # What was measured stays, whatever becomes of the rest.
            options.output.write_text(json.dumps(results, indent=1) + "\n")
        with Worker(data.store, data.database(300)) as worker:
            results["versions"]["sqlite"] = worker.sqlite
    options.output.write_text(json.dumps(results, indent=1) + "\n")


# ---- The parts: each gives {name: [a number for each round]}, times in microseconds for each call ----


def scans(data, options):
    """All rows in one query, with the keys cached."""
    results = {}
    for length in LENGTHS:
        database = data.database(length)
        with Worker(data.store, database) as worker, closing(sqlite3.connect(database)) as connection:
            python = Python(connection, data.keys)
            folder = data.keys.folder
            tokens, drafts = rows_of("token"), rows_of("body")

            def scan(call, table):
                return lambda: worker("scan", f"SELECT sum(length({call})) FROM {table}")

            same_answer(worker, connection)
            results[length] = {
                "decrypt": in_turns(options.rounds, options.rows, {
                    "extension": scan(DECRYPT, "journal_entries"),
                    "copy": scan(DECRYPT_COPY, "journal_entries"),
                    "primitives": lambda: worker("decrypt", options.rows, folder, tokens),
                    "python rows": timed(python.decrypt_rows),
                    "python function": timed(python.decrypt_function),
                }),
                "encrypt": in_turns(options.rounds, options.rows, {
                    "extension": scan(ENCRYPT, "drafts"),
                    "copy": scan(ENCRYPT_COPY, "drafts"),
                    "primitives": lambda: worker("encrypt", options.rows, folder, drafts),
                    "python rows": timed(python.encrypt_rows),
                    "python function": timed(python.encrypt_function),
                }),
            }
    return results


def context(data, options):
    """What a context adds to scans of 300 B: beside the same scans without one, which make its text as well."""
    database, length = data.database(LENGTHS[0]), f"length({CONTEXT})"
    write_bound(database, data.keys)
    with Worker(data.store, database) as worker:
        scans = {
            "decrypt, bound": f"SELECT sum(length({DECRYPT_BOUND}) + {length}) FROM bound",
            "decrypt": f"SELECT sum(length({DECRYPT}) + {length}) FROM journal_entries",
            "encrypt, bound": f"SELECT sum(length({ENCRYPT_BOUND}) + {length}) FROM drafts",
            "encrypt": f"SELECT sum(length({ENCRYPT}) + {length}) FROM drafts",
        }
        assert worker("sum", scans["decrypt, bound"]) == worker("sum", scans["decrypt"])
        return in_turns(options.rounds, options.rows, {
            name: lambda sql=sql: worker("scan", sql) for name, sql in scans.items()
        })


def hosts(data, options):
    """The same scans in each host, and those that ask for a key's uid; processor time."""
    results = {}
    copied = everywhere.build_copied(data.folder, options.library.resolve())
    for length in LENGTHS:
        database = data.database(length)
        tokens, drafts = rows_of("token"), rows_of("body")

        def scan(call, table):
            return lambda: everywhere.processor_seconds(lambda: host.value(f"SELECT sum(length({call})) FROM {table}"))

        def primitives(way, rows):
            return lambda: worker(way, options.rows, data.keys.folder, rows)

        with Worker(data.store, database) as worker:
            for name in everywhere.HOSTS:
                with everywhere.Host(name, database, data.store, copied) as host:
                    measurements = {
                        "decrypt": scan(DECRYPT, "journal_entries"),
                        "decrypt, copy": scan(DECRYPT_COPY, "journal_entries"),
                        "decrypt, primitives": primitives("decrypt", tokens),
                        "encrypt": scan(ENCRYPT, "drafts"),
                        "encrypt, copy": scan(ENCRYPT_COPY, "drafts"),
                        "encrypt, primitives": primitives("encrypt", drafts),
                    }
                    if length == LENGTHS[0]:
                        measurements["key uid"] = scan("journal_key_uid(user_id)", "drafts")
                        measurements["version"] = scan("journal_version()", "drafts")
                    for measurement in measurements.values():
                        measurement()
                    host_results = results.setdefault(name, {"sqlite": host.value("SELECT sqlite_version()")})
                    host_results[length] = in_turns(options.rounds, options.rows, measurements)
    return results


def alternatives(data, options):
    """Other implementations of Fernet, on entries in memory."""
    results = {}
    entries = data.folder / "entries"
    for length in LENGTHS:
        with closing(sqlite3.connect(data.database(length))) as connection:
            rows = connection.execute(
                f"SELECT user_id, token, body FROM journal_entries JOIN drafts USING (id, user_id) LIMIT {USERS}"
            )
            lines = (f"{data.keys.objects[user].decode()}\t{token}\t{body}\n" for user, token, body in rows)
            entries.write_text("".join(lines))
        for build in peers.rust, peers.go, peers.node, None:
            command, title = build() if build else (None, peers.Python.TITLE)
            with peers.Program(command, entries) if build else peers.Python(entries) as peer:
                # npm's is a hundred times as slow.
                times = options.rows // (100 if build is peers.node else 10)
                results.setdefault(title, {})[length] = {
                    way: [round(peer(way, times), 4) for _ in range(options.rounds)] for way in ("decrypt", "encrypt")
                }
    return results


def pages(data, options):
    """A page of entries of 1 KiB from rqlite: its tokens, its texts, and its texts decrypted by the application."""
    if not page.rqlited():
        print("page: left out, there is no rqlited here", file=sys.stderr)
        return None
    users = 20
    some = Data(data.folder / "page", 2 * page.ENTRIES * users, users)
    fernets = some.keys.fernets()

    def decrypted(user, tokens):
        return [fernets[user].decrypt(token) for token in tokens]

    with page.journal(data.folder / "rqlite", some.store, some.database(1_024)) as journal:
        assert [text.decode() for text in decrypted(1, journal(page.TOKENS, 1))] == journal(page.TEXTS, 1)
        asked = [*some.keys.objects] * 10
        return {"rqlite": journal.version, **in_turns(options.rounds, len(asked), {
            "tokens": lambda: journal.seconds(page.TOKENS, asked),
            "texts": lambda: journal.seconds(page.TEXTS, asked),
            "tokens, then Python": lambda: journal.seconds(page.TOKENS, asked, decrypted),
        })}


def single_calls(data, options):
    """One entry of 1 KiB in a query of its own."""
    runs = max(options.rows // 5, 1_000)
    ids = f"SELECT id FROM journal_entries ORDER BY id * 7919 % {options.rows} LIMIT 1000"
    rows = "SELECT user_id, key_uid, token FROM journal_entries LIMIT 1000"
    with Worker(data.store, data.database(1_024)) as worker:

        def by_id(command, call):
            return lambda: worker(command, runs, ids, f"SELECT {call} FROM journal_entries WHERE id = ?")

        def bare(call):
            return lambda: worker("each", runs, rows, f"SELECT {call}(?, ?, ?)")

        worker("scan", f"SELECT sum(length({DECRYPT})) FROM journal_entries")
        return in_turns(options.rounds, runs, {
            "extension": by_id("each", DECRYPT),
            "copy": by_id("each", DECRYPT_COPY),
            "primitives": lambda: worker("decrypt", runs, data.keys.folder, rows.replace("user_id, ", "")),
            "extension, prepared each time": by_id("prepare", DECRYPT),
            "copy, prepared each time": by_id("prepare", DECRYPT_COPY),
            "extension, no FROM": bare("journal_decrypt"),
            "copy, no FROM": bare("copied"),
        })


def pair(data, options):
    """One connection beside two at a time, of which each does all rows."""
    with Worker(data.store, data.database(1_024)) as worker:
        queries = {
            "decrypt": f"SELECT sum(length({DECRYPT})) FROM journal_entries",
            "encrypt": f"SELECT sum(length({ENCRYPT})) FROM drafts",
            # What SQLite and the machine allow.
            "copy": f"SELECT sum(length({DECRYPT_COPY})) FROM journal_entries",
        }
        for query in queries.values():
            worker("pair", query)
        return in_turns(options.rounds, options.rows, {
            f"{name}, {how}": lambda command=command, query=query: worker(command, query)
            for name, query in queries.items()
            for how, command in (("one", "one"), ("two", "pair"))
        })


def library(data, options):
    """The file's size, and the time that a process takes to load it."""
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, Worker.library], check=True)
        size = os.path.getsize(stripped.name)
    loads = []
    for _ in range(4 * options.rounds):
        with Worker(data.store, data.database(300)) as worker:
            loads.append(worker.loaded * 1e6)
    return {"bytes": [size], "load": loads}


def memory(data, options):
    """Bytes of a cached key, and by how much the process grows over many calls."""
    first, more = 100, 10_000
    users = Data(data.folder / "many", first + more, users=first + more)
    with Worker(users.store, users.database(300), JOURNAL_CACHE_KEYS=str(first + more)) as worker:
        resident = [worker("sum", f"SELECT sum(length({DECRYPT_COPY})) FROM journal_entries")]
        for some in f"id <= {first}", f"id > {first}":
            worker("sum", f"SELECT sum(length({DECRYPT})) FROM journal_entries WHERE {some}")
            resident.append(worker("resident"))
        key = (resident[2] - resident[1]) / more
        times = options.calls // 2 // (first + more) + 1

        def call(times):
            worker("sum", f"WITH RECURSIVE times(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times LIMIT {times}) "
                          f"SELECT sum(length({DECRYPT}) + length(journal_encrypt(user_id, 'x'))) FROM times, journal_entries")
            return worker("resident")

        # What a connection keeps is there before.
        growth = -call(times // 10 + 1) + call(times)
        return {"cached key": [key], "growth": [growth], "calls": [2 * times * (first + more)]}


def s3(data, options):
    """Keys from an S3 server that answers 20 ms late."""
    with Rclone() as server, FaultProxy(server.host, server.port) as proxy:
        shutil.copytree(data.keys.root, server.folder / "journal")
        proxy.faults = always(Latency(delay=0.020))
        store = {
            "JOURNAL_KEY_STORE": "s3://journal", "AWS_ENDPOINT_URL": proxy.endpoint, "AWS_REGION": server.region,
            "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        results = {"first key": [], "prefetch": []}
        for _ in range(options.rounds):
            with Worker(store, data.database(300)) as worker:
                results["first key"].append(
                    worker("one", f"SELECT length({DECRYPT}) FROM journal_entries WHERE id = 1") * 1e6
                )
            with Worker(store, data.database(300)) as worker:
                everyone = "(SELECT json_group_array(id) FROM users)"
                start = time.perf_counter()
                ready = worker("sum", f"SELECT json_extract(journal_prefetch({everyone}), '$.ready')")
                results["prefetch"].append((time.perf_counter() - start) * 1e6)
                assert ready == USERS, f"{ready:.0f} of {USERS} keys"
        return results


# ---- What the parts are made of ----


def rows_of(column):
    """A query for what the primitives are run on."""
    return f"SELECT key_uid, {column} FROM journal_entries JOIN drafts USING (id) LIMIT {USERS}"


def in_turns(rounds, calls, measurements):
    """Runs each measurement once a round. Microseconds for each call."""
    results = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, seconds in measurements.items():
            results[name].append(round(seconds() / calls * 1e6, 4))
    return results


def timed(body):
    """Seconds that the processor works for a call of `body`, as a measurement."""

    def seconds():
        start = time.thread_time()
        body()
        return time.thread_time() - start

    return seconds


def same_answer(worker, connection):
    """Fetches all keys into the cache, and sees that what is compared gives the same plaintexts."""
    total = connection.execute("SELECT sum(length(body)) FROM drafts").fetchone()[0]
    for sql in f"SELECT sum(length({DECRYPT})) FROM journal_entries", f"SELECT sum(length({ENCRYPT_COPY})) FROM drafts":
        assert worker("sum", sql) == total, sql
    theirs = connection.execute("SELECT sum(length(py_decrypt(user_id, token))) FROM journal_entries").fetchone()[0]
    assert theirs == total


class Python:
    """What an application does today, with its keys in a dict."""

    def __init__(self, connection, keys):
        self.connection = connection
        self.fernets = keys.fernets()
        connection.create_function("py_decrypt", 2, lambda user, token: self.fernets[user].decrypt(token).decode())
        connection.create_function("py_encrypt", 2, lambda user, body: self.fernets[user].encrypt(body.encode()).decode())

    def decrypt_rows(self):
        rows = self.connection.execute("SELECT user_id, token FROM journal_entries")
        return sum(len(self.fernets[user].decrypt(token).decode()) for user, token in rows)

    def encrypt_rows(self):
        rows = self.connection.execute("SELECT user_id, body FROM drafts")
        return sum(len(self.fernets[user].encrypt(body.encode()).decode()) for user, body in rows)

    def decrypt_function(self):
        return self.connection.execute("SELECT sum(length(py_decrypt(user_id, token))) FROM journal_entries").fetchone()

    def encrypt_function(self):
        return self.connection.execute("SELECT sum(length(py_encrypt(user_id, body))) FROM drafts").fetchone()


class Data:
    """A directory of keys, and a database for each length of entry, written when it is first needed."""

    def __init__(self, folder, rows, users=USERS):
        self.folder, self.rows, self.keys = folder, rows, Keys(folder / "keys", users)
        self.store = {"JOURNAL_KEY_STORE": self.keys.root.as_uri()}

    def database(self, length):
        path = self.folder / f"{length}.db"
        if not path.exists():
            write_database(path, self.keys, self.rows, length)
        return path


class Worker:
    """A process that has the extension loaded: a call is a command of `worker.rs`, and gives its number."""

    program = library = None

    def __init__(self, store, database, **env):
        self.process = subprocess.Popen(
            [self.program, self.library, database], env={"PATH": os.defpath, **store, **env},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        loaded, self.sqlite = self._line().split("\t")
        self.loaded = float(loaded)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def __call__(self, *command):
        self.process.stdin.write("\t".join(map(str, command)) + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the worker ended, see above")
        return line.rstrip("\n")


def build_worker():
    """Compiles `worker.rs` and gives the program's path.

    rusqlite's SQLite has one page cache for all connections, with one lock around it, which no Linux distribution's
    has: two connections that only copy are 1.3 times as fast as one. The worker's is built without it, in a directory
    of its own, so that cargo need not build SQLite anew at every turn between tests and benches.
    """
    build = subprocess.run(
        ["cargo", "bench", "--locked", "--no-run", "--bench", "worker", "--message-format", "json",
         "--target-dir", "target/bench"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE,
        env={**os.environ, "LIBSQLITE3_FLAGS": "-USQLITE_ENABLE_MEMORY_MANAGEMENT"},
    )
    artifacts = map(json.loads, build.stdout.splitlines())
    return next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == "worker" and a.get("executable"))


def about(options):
    """What the numbers depend on."""
    cpu = next((l.split(": ")[1] for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")), "")
    output = lambda *command: subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: E731
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": {"cpu": cpu or platform.processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "extension": output("git", "describe", "--always", "--dirty"),
            "rustc": output("rustc", "--version").split()[1],
            "python": platform.python_version(),
            "python sqlite": sqlite3.sqlite_version,
            "cryptography": cryptography.__version__,
        },
        "rows": options.rows, "users": USERS, "rounds": options.rounds, "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
