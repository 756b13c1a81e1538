"""Whose fault it is that a key does not come: one object's, our own queue's, or that of who stands between."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
from conftest import LIBRARY, new_key
from scene import KEY_UID, Scene
from servers import faults

EVERY = "SELECT uid, journal_check(1, uid, 'x') FROM user_journal_master_keys ORDER BY id"
ENCRYPT = "SELECT journal_encrypt(1, 'text')"


@pytest.fixture
def scene(rclone, tmp_path):
    with Scene(rclone, tmp_path) as scene:
        yield scene


def stats(child):
    return dict(child.run("SELECT name, value FROM journal_stats"))


def test_one_object_that_never_answers_refuses_nobody_else(scene):
    uids = [f"oseh_ujmk_{number}" for number in range(1, 12)]
    for uid in uids:
        scene.add_key(uid)
    silent = scene.path(uids[0])
    scene.proxy.faults = lambda request: faults.BlackHole() if request.path == silent else None
    child = scene.child(JOURNAL_FETCH_TIMEOUT="0.4")
    for _ in range(3):
        found = dict(child.run(EVERY))
        assert found.pop(uids[0]) == "store_unavailable"
        assert set(found.values()) == {"token_invalid"}
        assert stats(child)["store_down"] == 0
        child.run("SELECT journal_evict()")


CROWD = """
import json, sqlite3, sys, threading
database, library, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
said = []
def connect():
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.enable_load_extension(True)
    connection.load_extension(library)
    return connection
def ask(connection, number):
    try:
        connection.execute("SELECT journal_encrypt(1, 'text', ?)", (f"oseh_ujmk_{number}",)).fetchone()
        said.append("")
    except sqlite3.OperationalError as error:
        said.append(str(error))
connections = [connect() for _ in range(count)]
threads = [threading.Thread(target=ask, args=asked) for asked in zip(connections, range(count))]
for thread in threads: thread.start()
for thread in threads: thread.join()
stats = dict(connections[0].execute("SELECT name, value FROM journal_stats"))
print(json.dumps([said, stats]))
"""


def test_a_crowd_of_cold_keys_before_a_slow_store_hears_of_the_queue_and_blames_nobody(scene):
    count = 300
    for number in range(count):
        uid = f"oseh_ujmk_{number}"
        scene.add_rows(uid)
        scene.put(new_key(), uid)
    scene.proxy.faults = faults.always(faults.Latency(delay=0.5))
    env = {**scene.env, "JOURNAL_FETCH_THREADS": "8", "JOURNAL_FETCH_TIMEOUT": "3"}
    done = subprocess.run(
        [sys.executable, "-c", CROWD, scene.database.path, LIBRARY, str(count)],
        env=env, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, stats = json.loads(done.stdout)
    refused = [text for text in said if text]
    assert len(said) == count and 0 < len(refused) < count
    assert all("this process's queue of fetches" in text for text in refused), set(refused)
    assert stats["queue_timeouts"] == len(refused)
    assert (stats["store_down"], stats["failed_store_unavailable"]) == (0, 0)


@dataclass(frozen=True)
class Announced(faults.Fault):
    """A 304 with the Content-Length of the 200, as RFC 9110 allows."""

    statuses: list

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        self.statuses.append(response.status)
        if response.status == 304:
            exchange.write(response.head(content_length=44), last=True)
        else:
            exchange.send(response)


def test_an_unchanged_object_may_be_told_with_the_length_that_it_has(scene):
    scene.add_key()
    statuses = []
    scene.proxy.faults = faults.always(Announced(statuses))
    child = scene.child(JOURNAL_CACHE_TTL="0")
    for _ in range(61):  # an hour of checks, one a minute
        assert child.run(ENCRYPT)
    assert statuses == [200] + 60 * [304]
    found = stats(child)
    assert (found["retries"], found["stale_answers"], found["failed_store_unavailable"]) == (0, 0, 0)


@dataclass(frozen=True)
class Middlebox(faults.Fault):
    """A refusal that ends with its connection; `length` is what it announces, if anything."""

    length: str

    def act(self, exchange, upstream):
        exchange.write(f"HTTP/1.1 403 Forbidden\r\n{self.length}Connection: close\r\n\r\n<html>no".encode())
        exchange.close()


@pytest.mark.parametrize("length", ["", "Content-Length: 500\r\n"])
def test_a_refusal_that_ends_with_its_connection_is_a_denial(scene, length):
    scene.add_key()
    scene.proxy.faults = faults.always(Middlebox(length))
    said = f'journal_encrypt: store_denied: key "{KEY_UID}" may not be fetched: the store answered 403 (no code)'
    assert scene.child().error(ENCRYPT) == said
    assert scene.proxy.count() == 1


def test_a_directory_of_keys_does_not_mind_what_is_set_for_aws(database, key_store):
    from child import Child

    database.add_user(1)
    database.add_key(1, KEY_UID)
    key_store.write(KEY_UID)
    odd = {"HTTPS_PROXY": "socks5://127.0.0.1:1080", "AWS_ACCESS_KEY_ID": "AK", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "odd"}
    with Child(database.path, LIBRARY, {**key_store.env, **odd}) as child:
        assert child.run(ENCRYPT)
