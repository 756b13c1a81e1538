"""The scans in each host of tests/hosts: what a row takes depends on how the host's SQLite was compiled."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from data import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from hosts.drivers import start  # noqa: E402
from hosts.test_behaviour import HOSTS  # noqa: E402


class Place:
    """A database, as a driver wants it."""

    def __init__(self, path):
        self.path = path


def build_copied(folder, library):
    """Compiles `copied.c`, and gives what a host is started with to have it beside the extension."""
    copied = folder / f"copied{library.suffix}"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", copied, ROOT / "benches" / "copied.c"], check=True)
    return {"library": copied, "env": {"JOURNAL_CRYPT": str(library)}}


class Host:
    """A host's process, and how long a statement takes in it."""

    def __init__(self, name, database, store, copied):
        self._driver = start(name, Place(database), {**store, **copied["env"]}, copied["library"])

    def __enter__(self):
        self._driver.__enter__()
        return self

    def __exit__(self, *outcome):
        return self._driver.__exit__(*outcome)

    def value(self, sql):
        """The one value of the one row."""
        answer = self._driver.ask(on="first", sql=sql, parameters=[])
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer["rows"][0][0]


def processor_seconds(body):
    """How long the processors work for this process's children while `body` runs. On a machine that nobody else uses it is
    the time that passes; on a busy one it leaves out the others' turns.
    """
    before = _spent(os.getpid())
    body()
    return (_spent(os.getpid()) - before) / 1e9


def _spent(parent):
    """Nanoseconds of all processes below one, of threads that have ended too."""
    total = 0
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ends
            for child in map(int, (task / "children").read_text().split()):
                # The clock that clock_getcpuclockid(3) gives for a process.
                total += _spent(child) + time.clock_gettime_ns(~child << 3 | 2)
    return total
