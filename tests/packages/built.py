"""What `make dist` made, what docs/hosts/ say of its installation, and a place where nothing else is installed."""

import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tomllib
from contextlib import closing

import pytest
from conftest import ROOT, SQLITE3
from documents.book import blocks, example, matches

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("the packages are those for Linux on x86-64", allow_module_level=True)

DIST = ROOT / "dist"
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
COMMENT = {"sh": "# ", "python": "# ", "js": "// ", "go": "// ", "java": "// ", "rust": "// "}


def made(pattern):
    """The one file in dist/ of this name."""
    [file] = DIST.glob(pattern)
    return file


def release_archive(kind=""):
    return made(f"*-{PACKAGE['version']}-linux-x86_64{kind}.tar.gz")


def members(archive):
    """The contents of a tar.gz by name."""
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def run(command, folder, **env):
    """Runs a command that must succeed; what it printed."""
    env = {
        "PATH": os.defpath, "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NPM_CONFIG_OFFLINE": "true", "GOPROXY": "off", "CARGO_NET_OFFLINE": "true", **env,
    }  # fmt: skip
    command = [str(word) for word in command]
    done = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Example:
    """The blocks of a host's page."""

    def __init__(self, title):
        page = (ROOT / "docs" / "hosts" / f"{title.lower()}.md").read_text()
        self._blocks = [(language, lines) for language, _, lines in blocks(page)]

    def code(self, language):
        """The sources of its blocks in this language, and what they show that they print."""
        return [example(lines, COMMENT[language]) for its, lines in self._blocks if its == language]

    def only(self, language):
        [found] = self.code(language)
        return found


def unpack(folder):
    """Does what the shell's page says: unpacks the release archive, and opens a database in the shell."""
    (folder / "programs").mkdir()
    (folder / "programs" / "sqlite3").symlink_to(SQLITE3)
    shutil.copy(release_archive(), folder)
    source, shown = Example("Shell").only("sh")
    printed = run(["bash", "-euc", source], folder, PATH=f"{folder / 'programs'}:{os.defpath}")
    assert shown and matches(shown, printed.splitlines())


def finds_its_library(tool, folder):
    """An installed operator's tool loads the library that was installed with it: nobody names one."""
    path, keys = folder / "tool.db", folder / "keys"
    with closing(sqlite3.connect(path)) as journal:
        journal.executescript((ROOT / "sql" / "schema.sql").read_text())
    keys.mkdir()
    told = json.loads(run([tool, "--db", path, "--json", "doctor"], folder, JOURNAL_KEY_STORE=f"file://{keys}"))
    assert {"configuration", "cipher"} < {check["name"] for check in told["checks"]}
    path.unlink()
    keys.rmdir()
