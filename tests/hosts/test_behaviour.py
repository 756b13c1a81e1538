"""The same behaviour in every host: tests/hosts/behaviour.json holds statements and the answer to each.

A step is a statement with the values that are bound to it, or the closing of a connection; `rows` or `error`, SQLite's
code and the text, is the answer.
"""

import json
import re
import sqlite3
import time
from contextlib import closing

import pytest
from conftest import PLATFORM, ROOT, Database, native
from cryptography.fernet import Fernet
from servers import faults
from servers.proxy import FaultProxy
from stores import opened

from .drivers import start

STEPS = json.loads((ROOT / "tests" / "hosts" / "behaviour.json").read_text())

#: The hosts, and the version of SQLite in each where that is what matters.
HOSTS = {
    "shell": None,
    "sqlite3": None,
    "apsw": "3.54.1",
    "better-sqlite3": "3.54.1",
    "node:sqlite": None,
    "go-sqlite3": None,
    "rusqlite": None,
    "sqlite-jdbc": None,
    "sqlite-jdbc 3.34": "3.34.0",
    "gunicorn": None,
}
if PLATFORM:
    HOSTS = {"rusqlite": None}  # which is built for it


def expanded(value):
    """A value of the script; a large one is written as a small one and a number."""
    if not isinstance(value, dict) or "repeat" not in value:
        return value
    once, times = value["repeat"], value["times"]
    return {"blob": once["blob"] * times} if isinstance(once, dict) else once * times


def code_of(answer):
    """SQLite's code by its name; better-sqlite3 gives the name."""
    code = answer.get("code")
    return next((name for name in ("SQLITE_ERROR", "SQLITE_INTERRUPT") if getattr(sqlite3, name) == code), code)


def text_of(answer):
    """The text of an error without what sqlite-jdbc puts around it."""
    wrapped = re.fullmatch(r"\[SQLITE_\w+\] [^(]*(?:\(\))?[^(]*\((.*)\)", answer["error"])
    return wrapped[1] if wrapped else answer["error"]


@pytest.fixture
def encoding():
    """That of the database; a test may have another."""
    return "UTF-8"


@pytest.fixture
def kind():
    """That of the key store; a test may have another."""
    return "directory"


@pytest.fixture
def key_store(kind, request):
    with opened(kind, request) as store:
        yield store


@pytest.fixture
def database(tmp_path, encoding):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        # It stays as it is in the first table.
        connection.executescript(f"PRAGMA encoding = '{encoding}'; CREATE TABLE first(x)")
    return Database(path)


@pytest.fixture
def key(database, key_store):
    """The key of user 1. User 2 has one, 3 has none, the object of 4 is absent, that of 5 is no key and that of 6 is disabled."""
    for user in range(1, 7):
        database.add_user(user)
    for user in (1, 2, 4, 5, 6):
        database.add_key(user, f"oseh_ujmk_{user}")
    key_store.write("oseh_ujmk_2")
    key_store.write("oseh_ujmk_5", "not a key")
    key_store.write_disabled("oseh_ujmk_6")
    return key_store.write("oseh_ujmk_1")


def answered(driver, step):
    """What a driver answers to a step, as the step has it."""
    on = step.get("on", "first")
    if "close" in step:
        answer = driver.ask(on=on, close=True)
    else:
        answer = driver.ask(on=on, sql=step["sql"], parameters=[expanded(value) for value in step.get("bind", [])])
    if "error" in answer:
        return {"error": [code_of(answer), text_of(answer)]}
    return {"rows": answer["rows"]}


def wrong_answers(driver, host):
    """The steps of the script that are not answered as they should be, each with its answer."""
    wrong = []
    for step in STEPS:
        answer = answered(driver, step)
        rows = [[expanded(value) for value in row] for row in step.get(host, step.get("rows", []))]
        if answer != ({"error": step["error"]} if "error" in step else {"rows": rows}):
            wrong.append((step["about"], str(answer)[:200]))
    return wrong


@pytest.mark.parametrize("encoding, kind", [("UTF-8", "directory"), ("UTF-16le", "directory"), ("UTF-8", "ceph versioned")])
@pytest.mark.parametrize("host", HOSTS)
def test_every_statement_has_its_answer(host, encoding, kind, database, key_store, key):
    with start(host, database, key_store.env) as driver:
        assert answered(driver, {"sql": "PRAGMA encoding"}) == {"rows": [[encoding]]}
        if HOSTS[host]:
            assert answered(driver, {"sql": "SELECT sqlite_version()"}) == {"rows": [[HOSTS[host]]]}
        assert wrong_answers(driver, host) == []
    with database.writing() as connection:
        [token] = connection.execute("SELECT token FROM journal_entries WHERE user_id = 1").fetchone()
    assert Fernet(key).decrypt(token).decode() == "the fog lifted at ten"


@pytest.mark.parametrize("host", [host for host in HOSTS if host not in ("shell", "gunicorn")])
def test_threads_that_come_and_go_with_their_own_connections(host, database, key_store, key):
    with start(host, database, key_store.env) as driver:
        # Again and again: Node drops a driver, and its SQLite, when the last thread that uses it has ended.
        for _ in range(5):
            answer = driver.ask(threads=4, times=25, sql="SELECT journal_decrypt(1, NULL, journal_encrypt(1, ?))")
            assert answer.get("rows") == [[100]], answer


#: Who can interrupt a statement, and what comes of it; Node's drivers cannot.
INTERRUPTS = {
    "shell": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
    "sqlite3": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
    "apsw": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
    "go-sqlite3": (None, "context canceled"),
    "rusqlite": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
    "sqlite-jdbc": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
    "sqlite-jdbc 3.34": ("SQLITE_INTERRUPT", "journal_encrypt: interrupted"),
}


@pytest.mark.parametrize("host", [host for host in INTERRUPTS if host in HOSTS])
def test_a_driver_s_interrupt_ends_a_call_that_waits(host, database, key):
    with FaultProxy("127.0.0.1", 1) as proxy:  # its upstream is never asked
        proxy.faults = faults.always(faults.BlackHole())
        env = {
            "JOURNAL_KEY_STORE": "s3://bucket", "AWS_ENDPOINT_URL_S3": proxy.endpoint, "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "secret", "JOURNAL_FETCH_TIMEOUT": "600",  # longer than anybody waits for the answer
        }  # fmt: skip

        def fetching():
            deadline = time.monotonic() + 50
            while not proxy.in_flight:
                assert time.monotonic() < deadline, "nothing was fetched"
                time.sleep(0.01)

        with start(host, database, env) as driver:
            assert answered(driver, {"sql": "SELECT 1"}) == {"rows": [[1]]}
            answer = driver.interrupted(fetching, on="first", sql="SELECT journal_encrypt(1, 'x')", parameters=[])
            assert (code_of(answer), text_of(answer)) == INTERRUPTS[host]
            # The connection works on.
            assert answered(driver, {"sql": "SELECT journal_key_uid(1)"}) == {"rows": [["oseh_ujmk_1"]]}


#: Settings that cannot be used, and the reason that a load gives.
REFUSALS = [
    ({"JOURNAL_CACHE_KEYS": "many"}, "journal_crypt: JOURNAL_CACHE_KEYS: not a number"),
    ({"JOURNAL_KEY_STORE": "ftp://x"}, "journal_crypt: JOURNAL_KEY_STORE: neither s3://bucket nor file:///directory"),
    ({"JOURNAL_REPLICATED": "maybe"}, "journal_crypt: JOURNAL_REPLICATED: neither auto, on nor off"),
]


@pytest.mark.parametrize("setting, reason", REFUSALS, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
@pytest.mark.parametrize("host", [host for host in HOSTS if host != "gunicorn"])
def test_a_refused_load_gives_its_reason(host, setting, reason, database, key_store):
    with start(host, database, {**key_store.env, **setting}) as driver:
        for connection in ("first", "second"):
            answer = driver.ask(on=connection, sql="SELECT 1", parameters=[])
            assert text_of(answer).endswith(f"error during initialization: {reason}"), answer


@pytest.mark.parametrize("host", [host for host in HOSTS if host != "shell"])
def test_sql_loads_nothing_more_once_the_host_has_loaded_it(host, database, key_store, key):
    with start(host, database, key_store.env) as driver:
        answer = answered(driver, {"sql": "SELECT load_extension('x')"})
    assert answer == {"error": ["SQLITE_ERROR", "not authorized"]}


@native
def test_an_sqlite_before_3_34_refuses_the_load(database, key_store):
    with start("sqlite-jdbc 3.32", database, key_store.env) as driver:
        answer = driver.ask(on="first", sql="SELECT 1", parameters=[])
    assert text_of(answer) == "error during initialization: journal_crypt: SQLite 3.34 or later is needed, this is 3.32"
