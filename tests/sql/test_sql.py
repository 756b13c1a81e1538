"""Runs each tests/sql/*.sql in the sqlite3 shell, and compares what it says with what stands beside the statements.

A test file is plain SQL. What a statement (or a few) must give follows it, as comments at the start of a line:

    SELECT journal_decrypt(1, NULL, journal_encrypt(1, 'hello'));
    --> hello
    SELECT journal_decrypt(4, NULL, 'gAAA');
    --! journal_decrypt: no_key: user 4 has no key

`-->` is a line of output (columns divided by |, NULL as NULL), `--!` the text of an error. A statement that gives
nothing needs nothing; a file ends with an expectation. Each file gets a fresh database with the keys below.

The shell runs a file as it is, but for the last expectation after a statement: in its place a mark is printed, so
that lines keep their numbers and each output line is known to belong to its statement. A mark that is missing
means that the script stopped early. The shell cannot be asked to stop at unexpected errors only (after one error,
`.bail on` ends the script), so it goes on and every error counts.
"""

import re

import pytest

from conftest import ROOT, new_key, run_shell

from .script import failures, parse

FILES = sorted((ROOT / "tests" / "sql").glob("*.sql"))

# The key and the token of the Fernet specification's generate.json, whose plaintext is "hello".
SPEC_KEY = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="

# user, uid, created_at, content of the object (None: there is no object)
KEYS = [
    (1, "oseh_ujmk_1", 100.0, SPEC_KEY),
    # The newest two are equally new: the uid decides.
    (2, "oseh_ujmk_2_old", 100.0, new_key()),
    (2, "oseh_ujmk_2_tie_b", 200.0, new_key()),
    (2, "oseh_ujmk_2_tie_a", 200.0, new_key()),
    # One good key behind a lost and a broken one.
    (3, "oseh_ujmk_3_good", 100.0, new_key()),
    (3, "oseh_ujmk_3_broken", 200.0, "not the content of a key, though 44 letters."),
    (3, "oseh_ujmk_3_lost", 300.0, None),
    # User 4 has no key.
    (5, "oseh_ujmk_5_lost", 100.0, None),
    # A disabled key above a lost one.
    (7, "oseh_ujmk_7_lost", 100.0, None),
    (7, "oseh_ujmk_7_disabled", 200.0, None),
    # User 6 has a key outside of JOURNAL_KEY_PREFIX (below).
]


@pytest.fixture
def keys_of_the_tests(database, key_store):
    for user in range(1, 8):
        database.add_user(user)
    for user, uid, created_at, content in KEYS:
        database.add_key(user, uid, created_at)
        if content:
            key_store.write(uid, content)
    database.add_key(6, "oseh_ujmk_6_elsewhere", prefix="elsewhere/")
    key_store.write("oseh_ujmk_6_elsewhere", prefix="elsewhere/")
    key_store.write("oseh_ujmk_7_disabled.disabled")
    return database.path, key_store.env


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sql_file(file, keys_of_the_tests):
    assert failures(file.read_text(), *keys_of_the_tests) == []


def test_every_registered_function_is_called_in_a_sql_file(keys_of_the_tests):
    names = "SELECT name FROM pragma_{}_list WHERE name LIKE 'journal\\_%' ESCAPE '\\'"
    shell = run_shell(f"{names.format('function')} UNION {names.format('module')};", *keys_of_the_tests)
    registered = set(shell.stdout.split())
    assert "journal_decrypt" in registered
    called = set(re.findall(r"\bjournal_\w+", "".join(file.read_text() for file in FILES)))
    assert registered - called == set()


# The runner itself: what must make it go red.

GOOD = """\
CREATE TABLE t (a UNIQUE);
INSERT INTO t VALUES ('one'), (NULL);
SELECT a FROM t ORDER BY a;
--> NULL
--> one

INSERT INTO t VALUES ('one');
--! UNIQUE constraint failed: t.a
SELECT count(*),
  'and two columns' FROM t;
--> 2|and two columns
"""


@pytest.mark.parametrize(
    "correct, wrong, complaint",
    [
        ("", "", None),
        ("SELECT count", ".exit\nSELECT count", "line 9: the script stopped before the end of this statement"),
        ("SELECT count", ".bail on\nSELECT count", "line 9: the script stopped before the end of this statement"),
        ("SELECT count", "SELECT 'open\nSELECT count", "line 9: the script stopped before the end of this statement"),
        ("FROM t ORDER BY a;", "FROM t ORDER BY a", "line 1: the script stopped before the end of this statement"),
        ("--> one", "--> two", "line 1: expected ['NULL', 'two'], got ['NULL', 'one']"),
        ("--> NULL\n", "", "line 1: expected ['one'], got ['NULL', 'one']"),
        ("--> one", "--> one\n--> more", "line 1: expected ['NULL', 'one', 'more'], got ['NULL', 'one']"),
        ("VALUES ('one');", "VALUES ('two');", "line 7: expected the errors ['UNIQUE constraint failed: t.a'], got []"),
        ("failed: t.a", "failed: t.b", "line 7: expected the errors ['UNIQUE constraint failed: t.b'], got ['UNIQUE constraint failed: t.a']"),
        ("SELECT count(*)", "SELECT nonsense", "line 9: expected the errors [], got ['no such column: nonsense']"),
        ("SELECT count", "SELEC count", "line 9: expected the errors [], got ['near \"SELEC\": syntax error']"),
        ("SELECT count", ".load ./nonsense\nSELECT count", "line 0: Error: ./nonsense"),
    ],
)
def test_the_runner_sees(correct, wrong, complaint, database):
    assert correct in GOOD
    found = failures(GOOD.replace(correct, wrong, 1), database.path, {})
    if complaint is None:
        assert found == []
    else:
        assert any(sentence.startswith(complaint) for sentence in found), found


@pytest.mark.parametrize(
    "text",
    ["", "SELECT 1;\n", "--> 1\n", "SELECT 1;\n--> 1\nSELECT 2;\n"],
    ids=["an empty file", "no expectation", "no statement", "a statement after the last expectation"],
)
def test_the_runner_refuses_a_file_with(text):
    with pytest.raises(AssertionError):
        parse(text)
