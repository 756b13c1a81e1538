"""A process of its own with a limit on its memory and on its time."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from conftest import LIBRARY

# Memory that a hostile file may make a process use, beyond what Python and SQLite themselves do.
MEMORY = 1 << 30

PRELUDE = """
import json, os, resource, sqlite3, sys, threading, time
resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
connection = sqlite3.connect(DATABASE, isolation_level=None, check_same_thread=False)
connection.enable_load_extension(True)
connection.load_extension(LIBRARY)

def run(sql, *parameters):
    '''The first value of a statement, or the text of its error.'''
    try:
        row = connection.execute(sql, parameters).fetchone()
        return row and row[0]
    except sqlite3.Error as error:
        return f"{type(error).__name__}: {error}"
    except UnicodeDecodeError as error:  # SQLite's own message quotes a damaged schema; ours are UTF-8.
        assert not error.object.startswith(b"journal_"), error.object
        return "OperationalError: a message that is not UTF-8"

def say(*values):
    print(json.dumps(values, default=repr), flush=True)
"""


@pytest.fixture
def child(database, key_store):
    """Runs Python in a process that has `connection`, `run` and `say`; what it said, one list a line."""

    def run(body, timeout=60, env=None):
        start = PRELUDE.replace("MEMORY", str(MEMORY)).replace("DATABASE", repr(str(database.path)))
        ended = subprocess.run(
            [sys.executable, "-c", start.replace("LIBRARY", repr(str(LIBRARY))) + textwrap.dedent(body)],
            env={"PATH": os.defpath, **key_store.env, **(env or {})}, capture_output=True, text=True, timeout=timeout,
        )
        assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return run
