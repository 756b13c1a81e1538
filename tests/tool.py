"""Runs `journal-crypt`, the operator's tool, on a database file."""

import os
import subprocess

from conftest import LIBRARY, TARGET

PROGRAM = TARGET / "release" / "journal-crypt"


def tool(path, env, *arguments, status=0):
    """What a command says; it must end with the status."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: run make"
    command = [PROGRAM, "--extension", LIBRARY, "--db", path, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "JOURNAL_ADMIN": "1", **env}, cwd=path.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout or done.stderr
