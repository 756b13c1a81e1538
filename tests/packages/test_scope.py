"""The scope of a connection, by the helpers of the wheel and of the npm package: ended whatever happens, and nested."""

import shutil
import sys

import pytest

from conftest import LIBRARY, ROOT
from hosts.drivers import BUILT, NODE, build

from .built import run

ANOTHER = "journal_key_uid: out_of_scope: the scope of this connection is another user's"


@pytest.fixture
def journal(database, key_store):
    """A database with a key for each of two users; its path and the variables of the key store."""
    for user in (1, 2):
        database.add_user(user)
        database.add_key(user, f"oseh_ujmk_{user}")
        key_store.write(f"oseh_ujmk_{user}")
    return database.path, key_store.env


PYTHON = """
import sys
import sqlite_journal_crypt
from sqlite_journal_crypt import scope
{driver}
sqlite_journal_crypt.load(connection)
def uid(user):
    try: row = connection.execute("SELECT journal_key_uid(?) AS uid", (user,)).fetchone()
    except Exception as error: return str(error).removeprefix("SQLError: ")
    return row["uid"] if isinstance(row, dict) else row[0]
FIRST, SECOND, ANOTHER = "oseh_ujmk_1", "oseh_ujmk_2", {another!r}
def is_without():
    return (uid(1), uid(2)) == (FIRST, SECOND)
with scope(connection, 1):
    assert (uid(1), uid(2)) == (FIRST, ANOTHER), (uid(1), uid(2))
    with scope(connection, 2):
        assert (uid(1), uid(2)) == (ANOTHER, SECOND)
        with scope(connection, 2):
            assert (uid(1), uid(2)) == (ANOTHER, SECOND)
        assert (uid(1), uid(2)) == (ANOTHER, SECOND)
    assert (uid(1), uid(2)) == (FIRST, ANOTHER)
assert is_without()
# Whatever happens.
for stop in (ValueError("x"), KeyboardInterrupt(), GeneratorExit(), SystemExit()):
    try:
        with scope(connection, 1):
            with scope(connection, 2):
                raise stop
    except BaseException as error:
        assert error is stop
    assert is_without(), stop
try:
    with scope(connection, 1):
        with scope(connection, 2.5):
            raise AssertionError("a scope of nobody")
except Exception as error:
    assert "journal_scope: bad_argument" in str(error), error
assert is_without()
# An end that is interrupted is tried once more.
left = [True]
with scope(connection, 1):
    connection.set_progress_handler(lambda: bool(left and left.pop()), 1)
connection.set_progress_handler(None, 1)
assert not left and is_without()
# What a statement without the nonce asks for is refused.
with scope(connection, 1):
    for injected in ("SELECT journal_scope(2)", "SELECT journal_scope(NULL, 'x')"):
        try: connection.execute(injected).fetchall()
        except Exception as error: assert "journal_scope: out_of_scope" in str(error)
        else: raise AssertionError(injected)
    assert (uid(1), uid(2)) == (FIRST, ANOTHER)
# An end that fails hides no error of the block.
fault = ValueError("x")
try:
    with scope(connection, 1):
        connection.close()
        raise fault
except Exception as error:
    assert error is fault, error
print("ended")
"""
DRIVERS = {
    "sqlite3": "import sqlite3; connection = sqlite3.connect(sys.argv[1])",
    "sqlite3 with rows of its own": (
        "import sqlite3; connection = sqlite3.connect(sys.argv[1])\n"
        "connection.row_factory = lambda cursor, row: {column[0]: value for column, value in zip(cursor.description, row)}"
    ),
    "apsw": "import apsw; connection = apsw.Connection(sys.argv[1])",
}


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_in_python_a_scope_nests_and_ends_whatever_happens(driver, package, journal, tmp_path):
    path, env = journal
    script = PYTHON.format(driver=driver, another=ANOTHER)
    assert run([sys.executable, "-c", script, str(path)], tmp_path, **env, PYTHONPATH=str(package)) == "ended\n"


NODE_SCRIPT = """
const assert = require("node:assert/strict");
const { load, scope } = require("./npm");
const [FIRST, SECOND, ANOTHER] = ["oseh_ujmk_1", "oseh_ujmk_2", "ANOTHER_TEXT"];
const db = process.env.DRIVER === "better-sqlite3"
  ? new (require("better-sqlite3"))(process.argv[2])
  : new (require("node:sqlite").DatabaseSync)(process.argv[2], { allowExtension: true });
load(db);
const uid = (user) => {
  try { return db.prepare("SELECT journal_key_uid(?) AS uid").get(user).uid; } catch (error) { return error.message; }
};
const both = (...expected) => assert.deepEqual([uid(1), uid(2)], expected);
const given = scope(db, 1, () => {
  both(FIRST, ANOTHER);
  assert.equal(scope(db, 2, () => { both(ANOTHER, SECOND); return 7; }), 7);
  both(FIRST, ANOTHER);
  return "given";
});
assert.equal(given, "given");
both(FIRST, SECOND);
const fault = new Error("x");
assert.throws(() => scope(db, 1, () => scope(db, 2, () => { throw fault; })), fault);
both(FIRST, SECOND);
assert.throws(() => scope(db, 1, () => scope(db, 2.5, () => assert.fail())), /journal_scope: bad_argument/);
both(FIRST, SECOND);
assert.throws(() => scope(db, 1, async () => {}), /must not give a promise/);
both(FIRST, SECOND);
scope(db, 1, () => {
  assert.throws(() => db.prepare("SELECT journal_scope(2)").get(), /journal_scope: out_of_scope/);
  both(FIRST, ANOTHER);
});
// An end that fails hides no error of the body.
assert.throws(() => scope(db, 1, () => { db.close(); throw fault; }), fault);
console.log("ended");
"""


@pytest.mark.parametrize("driver", ["node:sqlite", "better-sqlite3"])
def test_in_node_a_scope_nests_and_ends_whatever_happens(driver, journal, tmp_path):
    path, env = journal
    if driver == "better-sqlite3":
        build("node")
    shutil.copytree(ROOT / "packaging" / "npm", tmp_path / "npm")
    (tmp_path / "npm" / "linux-x64").mkdir()
    shutil.copy(LIBRARY, tmp_path / "npm" / "linux-x64" / "journal_crypt.so")
    (tmp_path / "main.js").write_text(NODE_SCRIPT.replace("ANOTHER_TEXT", ANOTHER))
    env = {**env, "DRIVER": driver, "NODE_PATH": str(BUILT / "node" / "node_modules")}
    assert run([NODE, "main.js", str(path)], tmp_path, **env) == "ended\n"
