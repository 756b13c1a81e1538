"""The pages of docs/frameworks/: the blocks of one are one program, and what stands in comments below code is what it prints."""

import os
import subprocess
import sys

from conftest import ROOT
from documents.book import blocks
from documents.test_book import is_result


def program(page, language="python", comment="# "):
    """The source of a page's program, and the lines that it shows."""
    found = [lines for its, _, lines in blocks((ROOT / "docs" / "frameworks" / page).read_text()) if its == language]
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
