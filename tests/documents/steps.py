"""Runs a script whose every statement on a connection of `journal.connect` waits for leave: steps.py SCRIPT ARGUMENT…

Before a statement runs it is printed behind `step: `, and a line is read. So a test can kill the script there, or change
what the statement will meet.
"""

import runpy
import sys

import journal

connect = journal.connect


def connect_and_wait():
    connection = connect()
    connection.set_trace_callback(wait)
    return connection


def wait(statement):
    # Behind `--` SQLite tells of statements within statements, such as those of VACUUM.
    if not statement.startswith("--"):
        print("step:", " ".join(statement.split()), flush=True)
        sys.stdin.readline()


journal.connect = connect_and_wait
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
