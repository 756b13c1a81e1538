"""A process forks while the library is loaded, its cache warm and a fetch under way: the child has keys, sockets and
random numbers of its own, and nothing of its parent's to wait for."""

import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

import pytest
from conftest import LIBRARY
from cryptography.fernet import Fernet
from scene import Scene
from servers import faults

WARM, SLOW, COLD = "oseh_ujmk_warm", "oseh_ujmk_slow", "oseh_ujmk_cold"
CHILDREN = 3
TOKENS = 500

#: The parent: warms its cache, has a fetch under way in a thread, forks when told to, and ends when told to. Each
#: process tells its tokens by key in one line of JSON, read through a pipe of its own.
SCRIPT = """
    import json, os, sqlite3, sys, threading, time
    _, database, library, warm, slow, cold, children, tokens = sys.argv

    def connect():
        connection = sqlite3.connect(database, check_same_thread=False)
        connection.enable_load_extension(True)
        connection.load_extension(library)
        return connection

    def encrypt(connection, uid, count):
        sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT journal_encrypt(1, 'text', ?) FROM n"
        return [token for (token,) in connection.execute(sql, (count, uid))]

    def wait():
        assert sys.stdin.buffer.raw.read(1), "the test has gone"

    def tell(message):
        os.write(1, json.dumps(message).encode() + b"\\n")

    parent = connect()
    # A connection without a file, the only kind that SQLite lets a child go on with.
    memory = sqlite3.connect(":memory:")
    memory.execute("ATTACH ? AS file", (database,))
    for table in ("user_journal_master_keys", "s3_files"):
        memory.execute(f"CREATE TABLE {table} AS SELECT * FROM file.{table}")
    memory.commit()
    memory.execute("DETACH file")
    memory.enable_load_extension(True)
    memory.load_extension(library)

    told = {"warm": encrypt(parent, warm, 10), "memory": encrypt(memory, warm, 10)}
    waiting = []
    # A connection of its own: the other threads' must not be in the middle of a call when the process forks.
    other = connect()
    thread = threading.Thread(target=lambda: waiting.extend(encrypt(other, slow, 1)), daemon=True)
    thread.start()
    wait()  # until the fetch is under way
    pipes = []
    for number in range(int(children)):
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                start = time.monotonic()
                told = {}
                told["memory"] = encrypt(memory, warm, int(tokens))
                child = connect()
                told["warm"] = encrypt(child, warm, int(tokens))
                told["slow"] = encrypt(child, slow, 1)
                told["cold"] = encrypt(child, cold, 1)
                told["evicted"] = child.execute("SELECT journal_evict()").fetchone()[0]
                told["seconds"] = time.monotonic() - start
            except BaseException as error:
                told = {"error": repr(error)}
            with open(writing, "w") as pipe:
                json.dump(told, pipe)
            os._exit(0)
        os.close(writing)
        pipes.append(reading)
    for reading in pipes:
        with open(reading) as pipe:
            tell(json.load(pipe))
    told["warm"] += encrypt(parent, warm, int(tokens))
    told["memory"] += encrypt(memory, warm, int(tokens))
    tell({"still waiting": thread.is_alive()})
    wait()  # until the fetch may end
    thread.join()
    told["slow"] = waiting
    tell(told)
"""


@pytest.fixture
def scene(rclone, tmp_path):
    with Scene(rclone, tmp_path) as scene:
        yield scene


def test_children_forked_in_the_middle_of_a_fetch(scene):
    keys = {uid: Fernet(scene.add_key(uid)) for uid in [WARM, SLOW, COLD]}
    go, slow_path = threading.Event(), scene.path(SLOW)
    held = []

    def first_of_the_slow(request):
        if request.path == slow_path and not held:
            held.append(request)
            return faults.Held(go, served=True)
        return None

    scene.proxy.faults = first_of_the_slow
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(scene.database.path), str(LIBRARY),
         WARM, SLOW, COLD, str(CHILDREN), str(TOKENS)],
        env={"PATH": os.defpath, **scene.env, "JOURNAL_FETCH_TIMEOUT": "100"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )

    def end():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children too, which a test that fails may leave behind

    watchdog = threading.Timer(60, end)
    watchdog.start()
    try:
        while not held and process.poll() is None:
            time.sleep(0.01)
        of_parent = {request.connection for request in scene.proxy.requests}
        process.stdin.write(b"1")
        process.stdin.flush()
        children = [json.loads(process.stdout.readline() or '{"error": "none"}') for _ in range(CHILDREN)]
        still = process.stdout.readline()
        assert still and json.loads(still) == {"still waiting": True}, process.communicate()[1].decode()
        between = list(scene.proxy.requests)
        go.set()
        rest, stderr = process.communicate(b"1")
        assert (process.returncode, stderr) == (0, b"")
        parent = json.loads(rest)
    finally:
        watchdog.cancel()
        go.set()
        end()
        process.communicate()

    # Every child read its own keys, and waited for nothing of its parent's.
    for child in children:
        assert "error" not in child, child
        assert child["evicted"] == 3
        assert child["seconds"] < 20
    of_key = {"warm": WARM, "memory": WARM, "slow": SLOW, "cold": COLD}
    for told in [parent, *children]:
        for name, uid in of_key.items():
            for token in told.get(name, []):
                assert keys[uid].decrypt(token) == b"text"
    assert [len(parent["warm"]), len(parent["slow"])] == [TOKENS + 10, 1]

    # Each child fetched each key over a connection that is no other process's.
    of_children = [request for request in between if request.connection not in of_parent]
    assert sorted(request.path for request in of_children) == sorted(map(scene.path, [WARM, SLOW, COLD] * CHILDREN))
    by_connection = {}
    for request in of_children:
        by_connection.setdefault(request.connection, []).append(request.path)
    assert len(by_connection) >= CHILDREN
    assert all(len(set(paths)) == len(paths) for paths in by_connection.values())
    # The parent's pooled connection brought nothing new, and the parent asked for nothing again.
    paths_of_parent = [request.path for request in scene.proxy.requests if request.connection in of_parent]
    assert sorted(paths_of_parent) == sorted([scene.path(WARM), scene.path(SLOW)])

    # No IV was used twice, by whichever process and connection.
    tokens = [token for told in [parent, *children] for name in of_key for token in told.get(name, [])]
    assert len(tokens) == (1 + CHILDREN) * (2 * TOKENS + 1) + 20 + CHILDREN
    ivs = {base64.urlsafe_b64decode(token)[9:25] for token in tokens}
    assert len(ivs) == len(tokens)


def test_a_child_of_a_child_has_its_own_too(scene):
    fernet = Fernet(scene.add_key(WARM))
    script = """
        import os, sqlite3, sys
        _, database, library = sys.argv

        def encrypt():
            connection = sqlite3.connect(database)
            connection.enable_load_extension(True)
            connection.load_extension(library)
            [[token]] = connection.execute("SELECT journal_encrypt(1, 'text')").fetchall()
            os.write(1, token.encode() + b"\\n")
            connection.close()

        for generation in range(4):
            encrypt()
            if child := os.fork():
                _, status = os.waitpid(child, 0)
                encrypt()
                os._exit(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(scene.database.path), str(LIBRARY)],
        env={"PATH": os.defpath, **scene.env}, capture_output=True, text=True, timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    tokens = done.stdout.split()
    assert len(tokens) == len({base64.urlsafe_b64decode(token)[9:25] for token in tokens}) == 8
    assert all(fernet.decrypt(token) == b"text" for token in tokens)
    # One fetch and one connection for each of the four generations that asked.
    assert (scene.proxy.count(), scene.proxy.connections) == (4, 4)


def test_a_child_forked_where_the_host_is_asked_whether_to_wait_gets_an_error_and_its_parent_the_key(scene):
    fernet, go = Fernet(scene.add_key(SLOW)), threading.Event()
    scene.proxy.faults = lambda request: faults.Held(go, served=True)
    script = """
        import apsw, json, os, sys
        _, database, library, uid = sys.argv
        # No file crosses the fork, and none of SQLite's mutexes, whose owner the child's thread would not be.
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
        connection = apsw.Connection(":memory:", flags=flags)
        connection.execute("ATTACH ? AS file", (database,))
        for table in ("user_journal_master_keys", "s3_files"):
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM file.{table}")
        connection.execute("DETACH file")
        connection.enable_load_extension(True)
        connection.load_extension(library)
        child = None

        def fork():
            global child
            if child is None and sys.stdin.buffer.raw.read(1):
                child = os.fork()
                if child:
                    # The child's error comes first; then the fetch may end.
                    os.waitpid(child, 0)
            return False

        os.set_blocking(0, False)
        connection.set_progress_handler(fork, 1)
        try:
            told = connection.execute("SELECT journal_encrypt(1, 'text', ?)", (uid,)).fetchone()[0]
        except apsw.Error as error:
            told = str(error)
        os.write(1, json.dumps([child == 0, told]).encode() + b"\\n")
        os._exit(0)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(scene.database.path), str(LIBRARY), SLOW],
        env={"PATH": os.defpath, **scene.env, "JOURNAL_FETCH_TIMEOUT": "100"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )

    def end():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(60, end)
    watchdog.start()
    try:
        while not scene.proxy.requests and process.poll() is None:
            time.sleep(0.01)
        process.stdin.write(b"1")
        process.stdin.flush()
        of_child = json.loads(process.stdout.readline() or "null")
        go.set()
        of_parent = json.loads(process.stdout.readline() or "null")
    finally:
        watchdog.cancel()
        go.set()
        end()
        process.communicate()
    assert of_child == [True, (
        'journal_encrypt: store_unavailable: key (any) could not be fetched: '
        'this process was forked from one that waited for it'
    )]
    assert of_parent[0] is False and fernet.decrypt(of_parent[1]) == b"text"
