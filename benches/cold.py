"""How long a process with 100,000 active users stays cold, of a store that takes 20 ms (`make cold`).

    python benches/cold.py [--users N] [--callers N] [--failing PERCENT] LIBRARY

Three runs, each in a process of its own: `journal_prefetch` of all users, where the ideal is that each of the threads fetches one
key after the other; the same while 5 % of the answers are 503; and calls of many threads for users at random, from a store
that answers 503 as often, until 99 % of the calls of a second find their key. Prints JSON. The store checks no signature.
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from data import PREFIX, ROOT

LATENCY, THREADS = 0.020, 32
KEY = b"A" * 43 + b"="
GOOD = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 44\r\n\r\n' + KEY
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
BAD = b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%b" % (len(SLOW_DOWN), SLOW_DOWN)


class Store(asyncio.Protocol):
    """One connection of an S3 server that has every key."""

    failing, open, most, answered, took = 0.0, 0, 0, 0, 0.0

    def connection_made(self, transport):
        self.transport, self.rest = transport, b""
        Store.open += 1
        Store.most = max(Store.most, Store.open)

    def connection_lost(self, _):
        Store.open -= 1

    def data_received(self, data):
        *requests, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for _ in requests:
            Store.answered += 1
            answer = BAD if random.random() < Store.failing else GOOD
            asyncio.get_running_loop().call_later(LATENCY, self.answer, answer, time.monotonic())

    def answer(self, answer, asked):
        # On a machine that is busy it takes longer than it means to.
        Store.took += time.monotonic() - asked
        self.transport.write(answer)


def serve(failing):
    """Runs the store until its standard input ends; then says what it saw."""

    async def run():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Store, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        took = round(Store.took / max(Store.answered, 1) * 1000, 1)
        print(json.dumps({"requests": Store.answered, "connections": Store.most, "milliseconds of an answer": took}), flush=True)

    Store.failing = failing / 100
    asyncio.run(run())


def write_database(path, users):
    """The shipped schema, with one key for each user."""
    with sqlite3.connect(path) as connection:
        connection.executescript((ROOT / "sql" / "schema.sql").read_text())
        uids = [(user, f"oseh_ujmk_{user:022}") for user in range(1, users + 1)]
        connection.executemany("INSERT INTO users VALUES (?, ?, 0)", [(user, f"oseh_u_{user}") for user, _ in uids])
        files = [(user, f"oseh_s3f_{user}", PREFIX + uid) for user, uid in uids]
        connection.executemany(
            "INSERT INTO s3_files (id, uid, key, file_size, content_type, created_at) VALUES (?, ?, ?, 44, 'text/plain', 0)", files
        )
        rows = [(user, uid, user, user) for user, uid in uids]
        connection.executemany(
            "INSERT INTO user_journal_master_keys (id, uid, user_id, s3_file_id, created_at) VALUES (?, ?, ?, ?, 0)", rows
        )
    connection.close()


def connect(database, library):
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.enable_load_extension(True)
    connection.load_extension(library)
    return connection


def stats(connection):
    return dict(connection.execute("SELECT name, value FROM journal_stats"))


def threads():
    return int(re.search(r"Threads:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def processor():
    """Seconds of this process's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round(used.ru_utime + used.ru_stime, 1)


def prefetch(database, library, users, _):
    """All keys by one call, watched from another connection."""
    caller, watcher = connect(database, library), connect(database, library)
    told, begin = [], time.monotonic()

    def call():
        everyone = json.dumps(list(range(1, users + 1)), separators=(",", ":"))
        told.append(json.loads(caller.execute("SELECT journal_prefetch(?)", (everyone,)).fetchone()[0]))

    thread = threading.Thread(target=call)
    thread.start()
    progress, most = [], 0
    while thread.is_alive():
        thread.join(users * LATENCY / THREADS / 8)
        now, most = stats(watcher), max(most, threads())
        seconds = round(time.monotonic() - begin, 1)
        progress.append(f"{seconds} s: {now['keys_cached']} cached, {now['fetches_pending']} pending")
    seconds, ideal = time.monotonic() - begin, users * LATENCY / THREADS
    return {
        "seconds": round(seconds, 1), "ideal": round(ideal, 1), "of the ideal": round(seconds / ideal, 2), "told": told[0],
        "threads": most, "retries": stats(watcher)["retries"], "seconds of the processor": processor(), "progress": progress,
    }  # fmt: skip


def load(database, library, users, callers):
    """Calls for users at random, until 99 % of a second's find their key."""
    connections = [connect(database, library) for _ in range(callers)]
    watcher, stop, calls, failed = connect(database, library), threading.Event(), [0] * callers, [0] * callers

    def call(number):
        while not stop.is_set():
            try:
                connections[number].execute("SELECT journal_encrypt(?, 'x')", (random.randint(1, users),)).fetchone()
            except sqlite3.OperationalError:
                failed[number] += 1
            calls[number] += 1

    workers = [threading.Thread(target=call, args=[number]) for number in range(callers)]
    begin = time.monotonic()
    for worker in workers:
        worker.start()
    before, most, times = (0, 0), 0, {}
    while not times.get("99 %"):
        time.sleep(1)
        now, most = (sum(calls), stats(watcher)["fetches"]), max(most, threads())
        warm = 1 - (now[1] - before[1]) / max(now[0] - before[0], 1)
        before = now
        for share in (0.5, 0.9, 0.99):
            if warm >= share:
                times.setdefault(f"{share:.0%}".replace("%", " %"), round(time.monotonic() - begin, 1))
    stop.set()
    for worker in workers:
        worker.join()
    told = stats(watcher)
    return {
        "callers": callers, "seconds until so many calls were warm": times, "calls": sum(calls), "calls that failed": sum(failed),
        "keys cached": told["keys_cached"], "seconds of the processor": processor(), "retries": told["retries"], "threads besides the callers": most - callers - 1,
    }  # fmt: skip


def run(part, options, folder, failing):
    """One part, with a store and a process of its own."""
    command = [sys.executable, __file__, "--part"]
    server = subprocess.Popen(
        [*command, "serve", "--failing", str(failing), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    port = server.stdout.readline().strip()
    env = {
        "PATH": os.environ["PATH"], "JOURNAL_KEY_STORE": "s3://journal", "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "secret", "JOURNAL_FETCH_THREADS": str(THREADS),
        "FOLDER": str(folder),
    }  # fmt: skip
    sizes = ["--users", str(options.users), "--callers", str(options.callers)]
    done = subprocess.run([*command, part, *sizes, options.library], env=env, stdout=subprocess.PIPE, check=True)
    seen, _ = server.communicate("")
    told = {**json.loads(done.stdout), "failing": f"{failing} %", **json.loads(seen)}
    if "seconds" in told:
        took = told["requests"] * told["milliseconds of an answer"] / 1000 / THREADS
        told["of what the store took"] = round(told["seconds"] / took, 2)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=int(os.environ.get("COLD_USERS", "100000")))
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--failing", type=float, default=5)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("library")
    options = parser.parse_args()
    if options.part == "serve":
        return serve(options.failing)
    if options.part:
        part = {"prefetch": prefetch, "load": load}[options.part]
        database = Path(os.environ["FOLDER"]) / "journal.db"
        return print(json.dumps(part(database, options.library, options.users, options.callers)))
    options.library = str(Path(options.library).resolve())
    with tempfile.TemporaryDirectory() as folder:
        write_database(Path(folder) / "journal.db", options.users)
        report = {
            "prefetch": run("prefetch", options, folder, 0),
            "prefetch while some fail": run("prefetch", options, folder, options.failing),
            "load": run("load", options, folder, options.failing),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
