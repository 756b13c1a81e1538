"""The example application under load for a minute (`make load`; LOAD_SECONDS says otherwise): 8 clients write and read
the entries of 40 users at 4 workers, while the S3 server that keeps the keys stalls now and then.

It ends well when every text that came back was the one that was written, every refusal was one of the extension's words
with the time to come back, a refused entry was not stored and every other was, and all workers lived to the end.
"""

import json
import os
import random
import re
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

WORKERS, CLIENTS, USERS_OF_CLIENT = 4, 8, 5
#: Every so many seconds the store is silent for so long.
PERIOD, STALL = 4.0, 1.5
#: So that a stall is felt: keys are checked often, and serve unchecked for less than a stall.
ENVIRONMENT = {"JOURNAL_CACHE_TTL": "0.4", "JOURNAL_CACHE_STALE": "0.5", "JOURNAL_FETCH_TIMEOUT": "0.7"}
#: What a request may be refused with.
TYPED = {"store_unavailable", "busy"}
MARK = "only-the-writer-reads-this"
#: What must not stand in the log: that a worker hung or died, that something raised, what an entry says.
COMPLAINTS = ("[CRITICAL]", "[ERROR]", "Traceback", MARK)


class Client(threading.Thread):
    """Writes the entries of its own users and compares what comes back, until `end`."""

    def __init__(self, journal, number, end):
        super().__init__()
        self.journal, self.end, self.random = journal, end, random.Random(number)
        first = 1 + number * USERS_OF_CLIENT
        #: For each user: the entries, which are a text by uid, in the order in which they were written.
        self.entries = {user: {} for user in range(first, first + USERS_OF_CLIENT)}
        self.done, self.refused, self.wrong, self.slowest = Counter(), Counter(), [], 0.0

    def run(self):
        while time.monotonic() < self.end:
            user, start = self.random.choice(list(self.entries)), time.monotonic()
            action = self.random.choices([self.write, self.read, self.list], [4, 4, 1])[0]
            try:
                answer = action(user, self.entries[user])
            except Exception as error:
                self.wrong.append(f"{action.__name__}: {error!r}")
                continue
            self.slowest = max(self.slowest, time.monotonic() - start)
            if answer.status == 503 and answer.json["error"] in TYPED and answer.headers["Retry-After"] == "2":
                self.refused[answer.json["error"]] += 1
                time.sleep(0.05)
            elif answer.status not in (200, 201):
                self.wrong.append(f"{action.__name__}: {answer.status} {answer.json}")
            else:
                self.done[action.__name__] += 1

    def write(self, user, entries):
        text = f"{MARK} {user} {len(entries)} " + "x" * self.random.randint(0, 3000)
        answer = self.journal.post(text, user)
        if answer.status == 201:
            entries[answer.json["uid"]] = text
        return answer

    def read(self, user, entries):
        if not entries:
            return self.write(user, entries)
        uid = self.random.choice(list(entries))
        answer = self.journal.get(f"/entries/{uid}", user)
        assert answer.status != 200 or answer.json["text"] == entries[uid], f"user {user}: another text"
        return answer

    def list(self, user, entries):
        answer = self.journal.get("/entries", user)
        if answer.status == 200:
            given = [(entry["uid"], entry["text"]) for entry in answer.json]
            assert given == list(entries.items())[::-1][:50], f"user {user}: other entries"
        return answer


def stalling(random, start):
    """What the proxy does with one request: nothing comes back during a stall, and at other times few answers are bad."""
    from servers import faults

    harm = [faults.Latency(delay=0.1), faults.SLOW_DOWN, faults.INTERNAL_ERROR, faults.Reset(), faults.HalfBody()]

    def fault(request):
        # A stall ends each period, so that the first one begins when the keys have been fetched.
        if (time.monotonic() - start) % PERIOD > PERIOD - STALL:
            return faults.BlackHole()
        return random.choice(harm) if random.random() < 0.05 else None

    return fault


def run(seconds, folder):
    """The load; a report of what came of it."""
    from conftest import new_key
    from cryptography.fernet import Fernet
    from documents.application import Application
    from scene import Scene
    from servers.rclone import Rclone

    with Rclone() as server, Scene(server, folder) as scene:
        keys = {}
        for user in range(1, 1 + CLIENTS * USERS_OF_CLIENT):
            uid = f"oseh_ujmk_{user}"
            if user > 1:
                scene.database.add_user(user)
            scene.database.add_key(user, uid)
            keys[uid] = new_key()
            scene.put(keys[uid], uid)
        with Application(scene.database.path, folder, **scene.env, **ENVIRONMENT) as journal:
            start = time.monotonic()
            scene.proxy.faults = stalling(random.Random(7), start)
            clients = [Client(journal, number, start + seconds) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            for client in clients:
                client.join(timeout=seconds + 120)
                assert not client.is_alive(), "a request is stuck"
            scene.proxy.faults = []
            counted = stats_of_workers(journal)
        wrong = [text for client in clients for text in client.wrong]
        written = {uid: text for client in clients for entries in client.entries.values() for uid, text in entries.items()}
        with scene.database.writing() as connection:
            stored = connection.execute("SELECT uid, key_uid, token FROM journal_entries").fetchall()
        found = {uid: Fernet(keys[key_uid]).decrypt(token).decode() for uid, key_uid, token in stored}
        if found != written:
            wrong.append(f"{len(written)} entries were written, {len(found)} are stored, {len(found.items() ^ written.items())} differ")
        said = journal.said()
        return {
            "seconds": seconds,
            "done": sum((client.done for client in clients), Counter()),
            "refused": sum((client.refused for client in clients), Counter()),
            "slowest": round(max(client.slowest for client in clients), 2),
            "wrong": wrong,
            "entries": len(stored),
            "requests of the store": scene.proxy.count(),
            "workers": counted,
            "workers begun": said.count("Booting worker"),
            "complaints": [line for line in said.splitlines() if any(word in line for word in COMPLAINTS)],
        }


def stats_of_workers(journal):
    """For each worker by its process id, how its fetches went."""
    found = {}
    deadline = time.monotonic() + 30
    while len(found) < WORKERS and time.monotonic() < deadline:
        answer = journal.get("/metrics")
        counted = dict(re.findall(r"^journal_crypt_(\w+)_total (\d+)$", answer.text, re.MULTILINE))
        names = ("fetches", "retries", "failed_store_unavailable", "stale_answers")
        found[answer.headers["X-Pid"]] = {name: int(counted[name]) for name in names}
    return found


def verdict(report):
    """Fails where it did not end well."""
    assert not report["wrong"], report["wrong"][:10]
    assert not report["complaints"], report["complaints"][:10]
    # One that is replaced by another has crashed or hung.
    assert report["workers begun"] == len(report["workers"]) == WORKERS, report
    assert sum(stats["fetches"] > 0 for stats in report["workers"].values()) > 1, "one worker did it all"
    assert report["refused"]["store_unavailable"] and set(report["refused"]) <= TYPED, report["refused"]
    assert min(report["done"][action] for action in ("write", "read", "list")) > 10, report["done"]


def main(seconds):
    with tempfile.TemporaryDirectory() as folder:
        report = run(seconds, Path(folder))
    print(json.dumps(report, indent=2))
    verdict(report)
    done, refused = sum(report["done"].values()), sum(report["refused"].values())
    print(f"load: {done} requests right, {refused} refused in order, none wrong; {report['entries']} entries, no worker lost")


if __name__ == "__main__":
    main(float(os.environ.get("LOAD_SECONDS", "60")))
