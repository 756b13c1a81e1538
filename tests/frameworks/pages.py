"""The pages of docs/frameworks/: their programs, what they show that these print, and what these leave in the journal."""

import os
import sqlite3
import subprocess
import sys

from conftest import ROOT
from documents.book import blocks, example
from documents.test_book import is_result

#: What `tokens` has of an entry of user 1, and of one of user 2.
SEALED = [(1, "oseh_ujmk_1", "gAAAAA"), (2, "oseh_ujmk_2", "gAAAAA")]


def blocks_of(page, language):
    return [lines for its, _, lines in blocks((ROOT / "docs" / "frameworks" / page).read_text()) if its == language]


def block(page, language, number=0):
    """The source of a block of a page, and the lines that it shows at its end."""
    return example(blocks_of(page, language)[number], "// ")


def program(page, language="python", comment="# "):
    """The source of a page whose blocks are one program, and the lines that it shows in comments below code."""
    found = blocks_of(page, language)
    shown = [
        line.removeprefix(comment) for lines in found for index, line in enumerate(lines)
        if line.startswith(comment) and is_result(lines, index, comment.strip())
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in found), shown


def execute(command, folder, env):
    """What a program prints, in this folder; it must succeed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def run(source, folder, package, env, **more):
    """What a Python program prints that has the wheel's package."""
    return execute([sys.executable, "-c", source], folder, {**env, **more, "PYTHONPATH": str(package)})


def tokens(folder):
    """User, key and the head of the token of each entry in the journal."""
    with sqlite3.connect(folder / "journal.db") as connection:
        return connection.execute("SELECT user_id, key_uid, substr(token, 1, 6) FROM journal_entries ORDER BY user_id").fetchall()
