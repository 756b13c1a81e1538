"""Ten minutes of trouble (`make soak`; SOAK_SECONDS says otherwise): 8 threads read and write the entries of 60
users while the network between the extension and a real S3 server does its worst and keys are evicted at random. Before that,
for a tenth of the time, nothing is wrong but that the object of one user never answers: no call for another user may fail.

It ends well when every plaintext was right, every error was one that the faults explain, no call took longer than
its timeout allows, and memory, threads and files are what they were after the first tenth.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

THREADS, USERS, TIMEOUT = 8, 60, 1.0
#: The user whose object never answers, in the first part.
SILENT = 17
#: What a call may take beyond its timeouts on a busy machine.
MARGIN = 3.0
#: The words that a call may fail with while the faults below are about.
EXPLAINED = {"store_unavailable", "store_denied", "key_invalid"}


def faults_of(random):
    """What the proxy does with one request; three of five are served."""
    from servers import faults

    harm = [
        faults.Latency(delay=0.05), faults.Latency(delay=0.5), faults.Reset(), faults.Reset(served=True),
        faults.Close(), faults.CloseKept(), faults.HalfBody(), faults.WrongLength(by=7), faults.HugeBody(100_000),
        faults.INTERNAL_ERROR, faults.SLOW_DOWN, faults.TOO_MANY_REQUESTS, faults.ACCESS_DENIED, faults.Garbage(),
        faults.EndByClose(short=5), faults.Drip(interval=0.2), faults.BlackHole(),
        faults.redirect(307, "http://127.0.0.1:9/", None),
    ]  # fmt: skip
    return lambda request: random.choice(harm) if random.random() < 0.4 else None


def main(seconds):
    """The server, the proxy and the tables; the process under test is a child."""
    from conftest import LIBRARY, new_key
    from scene import Scene
    from servers.rclone import Rclone

    with tempfile.TemporaryDirectory() as folder, Rclone() as server, Scene(server, Path(folder)) as scene:
        for user in range(1, USERS + 1):
            uid = f"oseh_ujmk_{user}"
            if user > 1:
                scene.database.add_user(user)
            scene.database.add_key(user, uid)
            scene.put(new_key(), uid)
        from servers import faults

        silent = scene.path(f"oseh_ujmk_{SILENT}")
        scene.proxy.faults = lambda request: faults.BlackHole() if request.path == silent else None
        env = {
            **os.environ, **scene.env, "JOURNAL_CACHE_TTL": "0.5", "JOURNAL_CACHE_STALE": "0.5",
            "JOURNAL_FETCH_TIMEOUT": str(TIMEOUT), "JOURNAL_CACHE_KEYS": "40",
        }  # fmt: skip

        def run(seconds):
            command = [sys.executable, __file__, "--work", str(scene.database.path), str(LIBRARY), str(seconds)]
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, timeout=seconds + 120, check=True)
            return json.loads(done.stdout)

        one = run(max(seconds / 10, 10))
        assert set(one["failed"]) == {str(SILENT)}, one
        print(f"soak: one silent object: {one['right']} calls right, {one['failed'][str(SILENT)]} refused, all its user's")
        scene.proxy.forget()
        scene.proxy.faults = faults_of(random.Random(7))
        report = run(seconds)
        report["requests"] = scene.proxy.count()
        # A black hole or a drip may still be held open.
        scene.proxy.refuse()
    report.pop("failed")
    print(json.dumps(report, indent=2))
    verdict(report)


def verdict(report):
    """Fails where the run did not end well."""
    assert report["right"] > 1000, "too little happened"
    assert not report["wrong"], report["wrong"]
    assert set(report["words"]) <= EXPLAINED, report["words"]
    assert report["slowest"] < 2 * TIMEOUT + MARGIN, report["slowest"]
    assert report["after"]["files"] <= report["before"]["files"] + 20
    assert report["after"]["threads"] <= report["before"]["threads"] + 32
    assert report["after"]["kib"] <= report["before"]["kib"] * 1.25 + 8192
    print(f"soak: {report['right']} calls right, {sum(report['words'].values())} refused in order, none wrong or stuck")


class Worker(threading.Thread):
    """One connection, its calls and what came of them."""

    def __init__(self, path, library, seed, end):
        super().__init__()
        self.path, self.library, self.random, self.end = path, library, random.Random(seed), end
        self.words, self.wrong, self.right, self.slowest = Counter(), [], 0, 0.0
        self.failed = Counter()

    def run(self):
        connection = sqlite3.connect(self.path)
        connection.enable_load_extension(True)
        connection.load_extension(self.library)
        tokens = {}
        while time.monotonic() < self.end:
            user = self.random.randint(1, USERS)
            start = time.monotonic()
            try:
                self.call(connection, user, tokens)
                self.right += 1
            except sqlite3.OperationalError as error:
                self.words[str(error).split(": ")[1]] += 1
                self.failed[user] += 1
            except AssertionError as error:
                self.wrong.append(str(error))
            self.slowest = max(self.slowest, time.monotonic() - start)
        connection.close()

    def call(self, connection, user, tokens):
        if self.random.random() < 0.05:
            connection.execute("SELECT journal_evict(?)", (f"oseh_ujmk_{user}",)).fetchone()
        if user in tokens and self.random.random() < 0.7:
            text, token = tokens[user]
            sql, uid = "SELECT journal_decrypt(?, ?, ?)", self.random.choice([None, f"oseh_ujmk_{user}"])
            [found] = connection.execute(sql, (user, uid, token)).fetchone()
            assert found == text, f"user {user}: another text"
        else:
            text = f"entry of user {user}: " + "x" * self.random.randint(0, 3000)
            [token] = connection.execute("SELECT journal_encrypt(?, ?)", (user, text)).fetchone()
            tokens[user] = (text, token)


def held():
    """What this process holds."""
    status = Path("/proc/self/status").read_text()
    kib, threads = (int(status.split(f"{name}:")[1].split()[0]) for name in ("VmRSS", "Threads"))
    return {"kib": kib, "threads": threads, "files": len(os.listdir("/proc/self/fd"))}


def work(path, library, seconds):
    """The process under test."""
    start = time.monotonic()
    workers = [Worker(path, library, seed, start + seconds) for seed in range(THREADS)]
    for worker in workers:
        worker.start()
    time.sleep(seconds / 10)
    before = held()
    while len([worker for worker in workers if worker.is_alive()]) == THREADS and time.monotonic() < start + seconds - 1:
        time.sleep(0.2)
    after = held()
    for worker in workers:
        worker.join(timeout=60)
        assert not worker.is_alive(), "a call is stuck"
    report = {
        "right": sum(worker.right for worker in workers),
        "wrong": [text for worker in workers for text in worker.wrong],
        "words": sum((worker.words for worker in workers), Counter()),
        "failed": sum((worker.failed for worker in workers), Counter()),
        "slowest": max(worker.slowest for worker in workers),
        "before": before,
        "after": after,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main(float(os.environ.get("SOAK_SECONDS", "600")))
