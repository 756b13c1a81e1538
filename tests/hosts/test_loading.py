"""How a program loads the extension: by which name, again, from threads, and beside another SQLite library.

What it then does is the same in all hosts: test_behaviour.py.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from child import Child
from conftest import LIBRARY, SQLITE3
from servers import faults
from servers.proxy import FaultProxy

KEY_UID = "oseh_ujmk_1"
TEXT = "a private entry, café ☕ 日本"

SECOND_LIBRARY = (
    "journal_crypt: another SQLite library in this process has loaded this file already; "
    "load a copy of the file, or use one SQLite library"
)


@pytest.fixture
def key(database, key_store):
    """The content of the one key, which is user 1's."""
    database.add_user(1)
    database.add_key(1, KEY_UID)
    return key_store.write(KEY_UID)


@pytest.fixture
def installed(tmp_path):
    """A directory with the extension as people install it."""
    folder = tmp_path / "extensions"
    folder.mkdir()
    shutil.copy(LIBRARY, folder / f"journal_crypt{LIBRARY.suffix}")
    return folder


def run_python(script, *arguments, env, **more):
    """A script in a process of its own; it must end well. What it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], env={"PATH": os.defpath, **env},
        capture_output=True, text=True, timeout=60, **more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- The sqlite3 shell ------------------------------------------------------------------------------------------


def shell(folder, database, script, env):
    return subprocess.run(
        [SQLITE3, "-init", os.devnull, "-batch", database.path], input=script, cwd=folder,
        env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )


@pytest.mark.parametrize(
    "load",
    [".load ./journal_crypt", "SELECT load_extension('./journal_crypt');", ".load ./journal_crypt sqlite3_journalcrypt_init"],
)
def test_the_shell_loads_it_by_its_file_name(load, installed, database, key_store, key):
    script = f"{load}\nSELECT 'read: ' || journal_decrypt(1, NULL, journal_encrypt(1, '{TEXT}'));\n{load}\nSELECT 'again';\n"
    done = shell(installed, database, script, key_store.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line] == [f"read: {TEXT}", "again"]


def ours(text):
    """The text of a refused load without what SQLite and the driver put before it."""
    before, begin, rest = text.partition("error during initialization: ")
    assert begin and before in ("", "ExtensionLoadingError: "), text
    return rest


# ---- Python -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first, second", [("sqlite3", "apsw"), ("apsw", "sqlite3")])
def test_a_second_sqlite_library_in_the_process_is_refused_and_the_first_works_on(first, second, database, key_store, key):
    with Child(database.path, LIBRARY, key_store.env, [key], first) as child:
        token = child.value("SELECT journal_encrypt(1, ?)", TEXT)
        versions = {child.value("SELECT sqlite_source_id()")}
        for _ in range(2):
            text = child.error("SELECT 1", host=second)
            assert ours(text) == SECOND_LIBRARY
            assert child.value("SELECT journal_decrypt(1, ?, ?)", KEY_UID, token) == TEXT
            assert child.value("SELECT journal_evict()") == 1
    with Child(database.path, LIBRARY, key_store.env, [key], second) as child:
        versions.add(child.value("SELECT sqlite_source_id()"))
    assert len(versions) == 2, "the two hosts share one SQLite, so that this shows nothing"


def test_a_copy_of_the_file_serves_the_second_sqlite_library(installed, database, key_store, key):
    script = """
        import sqlite3, sys, apsw
        _, database, first, second = sys.argv
        one, two = sqlite3.connect(database), apsw.Connection(database)
        for connection, library in [(one, first), (two, second)]:
            connection.enable_load_extension(True)
            connection.load_extension(library)
        for writer, reader in [(one, two), (two, one)]:
            [[token]] = writer.execute("SELECT journal_encrypt(1, 'across')").fetchall()
            [[text]] = reader.execute("SELECT journal_decrypt(1, NULL, ?)", (token,)).fetchall()
            print(text)
    """
    copy = installed / f"journal_crypt{LIBRARY.suffix}"
    assert run_python(script, database.path, LIBRARY, copy, env=key_store.env).split() == ["across", "across"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_sqlite_that_loaded_it_stays_though_its_host_drops_it(database, key_store):
    script = """
        import _ctypes, ctypes, sys

        def use(*libraries):
            sqlite, db = ctypes.CDLL("libsqlite3.so.0"), ctypes.c_void_p()
            assert sqlite.sqlite3_open(b":memory:", ctypes.byref(db)) == 0
            assert sqlite.sqlite3_enable_load_extension(db, 1) == 0
            for library in libraries:
                assert sqlite.sqlite3_load_extension(db, library.encode(), None, None) == 0
            assert sqlite.sqlite3_close(db) == 0
            _ctypes.dlclose(sqlite._handle)
            with open("/proc/self/maps") as maps:
                return "libsqlite3" in maps.read()

        print(use(), use(sys.argv[1]))
    """
    assert run_python(script, LIBRARY, env=key_store.env) == "False True\n"


def test_loading_again_is_harmless_wherever_it_happens(database, key_store, key):
    script = """
        import sqlite3, sys
        _, database, library = sys.argv

        def connect():
            connection = sqlite3.connect(database)
            connection.enable_load_extension(True)
            connection.load_extension(library)
            return connection

        connection = connect()
        connection.load_extension(library)
        # While a statement of the connection runs, which is where functions cannot be registered.
        rows = connection.execute("SELECT journal_encrypt(1, 'x'), load_extension(?) FROM (VALUES (1), (2), (3))", (library,))
        print(len(rows.fetchall()))
        # After the last connection has gone.
        connection.close()
        for _ in range(100):
            connection = connect()
            [[text]] = connection.execute("SELECT journal_decrypt(1, NULL, journal_encrypt(1, 'again'))")
            connection.close()
        print(text)
    """
    assert run_python(script, database.path, LIBRARY, env=key_store.env).split() == ["3", "again"]


def test_threads_with_their_own_connections_and_one_they_share(database, key_store, key):
    script = """
        import sqlite3, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        _, database, library = sys.argv

        def connect():
            connection = sqlite3.connect(database, check_same_thread=False)
            connection.enable_load_extension(True)
            connection.load_extension(library)
            return connection

        assert sqlite3.threadsafety == 3
        shared = connect()
        start = threading.Barrier(8)

        def work(number):
            start.wait()
            own = connect()
            for turn in range(100):
                text = f"thread {number} turn {turn}"
                for connection in (own, shared):
                    [[token]] = connection.execute("SELECT journal_encrypt(1, ?)", (text,)).fetchall()
                    [[back]] = connection.execute("SELECT journal_decrypt(1, NULL, ?)", (token,)).fetchall()
                    assert back == text
                if turn % 10 == 0:
                    own.execute("SELECT journal_evict()").fetchall()
            own.close()
            return turn + 1

        with ThreadPoolExecutor(8) as threads:
            print(sum(threads.map(work, range(8))))
    """
    assert run_python(script, database.path, LIBRARY, env=key_store.env) == "800\n"


def test_an_interrupt_ends_a_call_that_waits_and_no_other(database, key):
    script = """
        import sqlite3, sys, threading, time
        _, database, library = sys.argv

        def connect():
            connection = sqlite3.connect(database, check_same_thread=False)
            connection.enable_load_extension(True)
            connection.load_extension(library)
            return connection

        ended = {}

        def work(name, connection):
            try:
                connection.execute("SELECT journal_encrypt(1, 'x')").fetchall()
            except sqlite3.OperationalError as error:
                ended[name] = (time.monotonic(), str(error), error.sqlite_errorname)

        connections = {"interrupted": connect(), "waiting": connect()}
        threads = {name: threading.Thread(target=work, args=[name, c], daemon=True) for name, c in connections.items()}
        threads["interrupted"].start()
        sys.stdin.readline()  # its fetch is under way
        begun = threading.Event()
        connections["waiting"].set_trace_callback(lambda _: begun.set())
        threads["waiting"].start()
        begun.wait()
        start = time.monotonic()
        connections["interrupted"].interrupt()
        threads["interrupted"].join()
        at, text, name = ended["interrupted"]
        assert text == "journal_encrypt: interrupted" and name == "SQLITE_INTERRUPT", ended
        assert at - start < 1, at - start
        assert "waiting" not in ended
        print("interrupted", flush=True)
        threads["waiting"].join()
        print(ended["waiting"][1])
    """
    # Its upstream is never asked.
    with FaultProxy("127.0.0.1", 1) as proxy:
        proxy.faults = faults.always(faults.BlackHole())
        env = {
            "PATH": os.defpath, "JOURNAL_KEY_STORE": "s3://bucket", "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "secret", "JOURNAL_FETCH_TIMEOUT": "30",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(database.path), str(LIBRARY)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            while not proxy.in_flight and process.poll() is None:
                time.sleep(0.01)
            process.stdin.write("\n")
            process.stdin.flush()
            told = process.stdout.readline()
            assert told == "interrupted\n", process.communicate()[1]
            proxy.faults = faults.always(faults.ACCESS_DENIED)
            proxy.refuse()  # ends the request that waits; its retry is denied
            proxy.listen()
            rest, stderr = process.communicate()
            assert process.returncode == 0, stderr
            assert f'journal_encrypt: store_denied: key "{KEY_UID}"' in rest
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()
