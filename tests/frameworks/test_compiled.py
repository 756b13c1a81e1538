"""The pages of docs/frameworks/ whose program is compiled: Go's database/sql, JDBC, rusqlite, sqlx."""

import os
import shutil
import sqlite3
import sys

import pytest
from conftest import LIBRARY, ROOT, TARGET
from documents.book import blocks
from hosts.drivers import BUILT, COMMANDS, build

from .pages import execute


@pytest.fixture
def folder(journal):
    """The journal's folder, with the library in it."""
    shutil.copy(LIBRARY, journal[0] / f"journal_crypt{LIBRARY.suffix}")
    return journal[0]


@pytest.fixture
def env(journal):
    """No connection may use a key without a scope."""
    return {**journal[1], "JOURNAL_REQUIRE_SCOPE": "1", "LC_ALL": "C.UTF-8"}


def block(page, language, number=0):
    """The source of a block of a page, and what it shows."""
    lines = [lines for its, _, lines in blocks((ROOT / "docs" / "frameworks" / page).read_text()) if its == language][number]
    shown = []
    while lines[-1].startswith("// "):
        shown.insert(0, lines.pop().removeprefix("// "))
    return "\n".join(lines), shown


def tokens(folder):
    with sqlite3.connect(folder / "journal.db") as connection:
        return connection.execute("SELECT user_id, key_uid, substr(token, 1, 6) FROM journal_entries ORDER BY user_id").fetchall()


SEALED = [(1, "oseh_ujmk_1", "gAAAAA"), (2, "oseh_ujmk_2", "gAAAAA")]


def test_gos_page_gives_what_it_shows(folder, env):
    build("go")
    source, shown = block("go.md", "go")
    (folder / "main.go").write_text(source)
    for file in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "tests" / "hosts" / file, folder)
    go = {
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", "GOPATH": str(BUILT / "cache" / "go"),
        "GOCACHE": str(BUILT / "cache" / "go-build"), "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "CGO_ENABLED": "1",
    }  # fmt: skip
    execute(["go", "vet", "."], folder, go)
    assert execute(["go", "run", "."], folder, {**env, **go}) == shown != []
    assert tokens(folder) == SEALED


def test_javas_page_gives_what_it_shows(folder, env):
    build("java")
    source, shown = block("jdbc.md", "java")
    (folder / "Journal.java").write_text(source)
    java, option, path, _ = COMMANDS["sqlite-jdbc"][1]
    assert execute([java, option, path, "Journal.java"], folder, env) == shown != []
    assert tokens(folder) == SEALED


def test_rusts_page_gives_what_it_shows(folder, env):
    source, shown = block("rust.md", "rust")
    (folder / "src").mkdir()
    (folder / "src" / "main.rs").write_text(source)
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "page"\nversion = "0.0.0"\nedition = "2024"\n'
        '[dependencies]\nrusqlite = { version = "0.40", features = ["bundled", "load_extension"] }\n'
    )
    shutil.copy(ROOT / "Cargo.lock", folder)  # the versions that this machine has
    # What tests/packages/test_install.py builds too.
    built = {"CARGO_TARGET_DIR": str(TARGET / "dist-rust"), "CARGO_NET_OFFLINE": "true"}
    assert execute(["cargo", "run", "--quiet"], folder, {**env, **built}) == shown != []
    assert tokens(folder) == SEALED


# 80 crates, which are minutes of a processor.
SQLX = TARGET / "frameworks-sqlx"


@pytest.mark.skipif(not SQLX.exists(), reason="make test-more builds it")
def test_sqlxs_program_gives_what_it_shows(folder, env):
    source, shown = block("rust.md", "rust", 1)
    (folder / "src").mkdir()
    (folder / "src" / "main.rs").write_text(source)
    for file in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / "tests" / "frameworks" / "sqlx" / file, folder)
    built = {"CARGO_TARGET_DIR": str(SQLX)}
    assert execute(["cargo", "run", "--quiet", "--locked"], folder, {**env, **built}) == shown != []
    assert tokens(folder) == SEALED
