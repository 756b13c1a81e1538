"""docs/testing.md: its conftest and its tests, run as an app's own; and docs/logs.md: what frameworks show of what is bound."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import LIBRARY, ROOT

SECRET = "the fog lifted at ten"


@pytest.fixture
def package(tmp_path):
    """A folder to import the wheel's package from."""
    folder = tmp_path / "package" / "sqlite_journal_crypt"
    shutil.copytree(ROOT / "packaging" / "python" / "sqlite_journal_crypt", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "sql", folder / "sql")
    shutil.copy(LIBRARY, folder / f"journal_crypt{LIBRARY.suffix}")
    return folder.parent


def python(package, folder, *arguments):
    environment = {"PATH": os.defpath, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_page_s_own_suite_passes_and_leaves_no_key_behind(package, tmp_path):
    conftest, tests = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.S)
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "conftest.py").write_text(conftest.replace("journal-keys-", f"journal-keys-{os.getpid()}-"))
    (folder / "test_app.py").write_text(tests)
    done = python(package, folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    assert not [name for name in os.listdir("/tmp") if name.startswith(f"journal-keys-{os.getpid()}-")]


def test_a_suite_that_sets_a_store_for_each_test_is_told_so(package, tmp_path):
    script = """
import os, sqlite3, sqlite_journal_crypt
for store in "first", "second":
    os.environ["JOURNAL_KEY_STORE"] = f"file:///nowhere/{store}"
    try: sqlite_journal_crypt.load(sqlite3.connect(":memory:"))
    except sqlite3.OperationalError as error: print(error)
"""
    assert "JOURNAL_KEY_STORE: changed since this process first loaded the extension" in python(package, tmp_path, "-c", script).stdout


SHOWS = {
    "SQLAlchemy": """
from sqlalchemy import create_engine, text
try: create_engine("sqlite://"{0}).connect().execute(text("INSERT INTO nowhere VALUES (:entry)"), dict(entry={1!r}))
except Exception as error: print(error)
""",
    "aiosqlite": """
import aiosqlite, asyncio, logging
logging.basicConfig(level=logging.DEBUG)
{0}
async def main():
    async with aiosqlite.connect(":memory:") as connection:
        await connection.execute("SELECT ?", ({1!r},))
asyncio.run(main())
""",
    "sqlite3": """
import sqlite3
connection = sqlite3.connect(":memory:")
{0}
connection.execute("SELECT ?", ({1!r},))
""",
}


@pytest.mark.parametrize(
    "who, shown, hidden",
    [
        ("SQLAlchemy", "", ", hide_parameters=True"),
        ("aiosqlite", "", 'logging.getLogger("aiosqlite").setLevel(logging.INFO)'),
        ("sqlite3", "connection.set_trace_callback(print)", ""),
    ],
)
def test_what_the_page_says_of_a_framework_is_so(who, shown, hidden, package, tmp_path):
    page = (ROOT / "docs" / "logs.md").read_text()
    assert f"| {who}" in page or f"`{who}`" in page
    for setting, there in [(shown, True), (hidden, False)]:
        done = python(package, tmp_path, "-c", SHOWS[who].format(setting, SECRET))
        assert (SECRET in done.stdout + done.stderr) is there, done.stdout + done.stderr
