"""Each package is installed where nothing else is, with no network, and README's example of it runs.

The drivers that the examples open a database with come from the tests' own installations.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
from documents.book import matches
from hosts.drivers import BUILT, COMMANDS, GO, NODE, PATH, build, go_module, rust_package

from .built import PACKAGE, Example, finds_its_library, made, release_archive, run, unpack


@pytest.fixture
def unpacked(tmp_path):
    unpack(tmp_path)
    return tmp_path


# ---- Python -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """A Python that has nothing but the wheel, installed as README says."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder / "venv", with_pip=True)
    shutil.copy(made("*.whl"), folder)
    run(["bash", "-euc", Example("Python").only("sh")[0]], folder, PATH=f"{folder}/venv/bin:{os.defpath}")
    return folder / "venv" / "bin" / "python"


def test_the_wheel_loads_in_sqlite3(python, tmp_path):
    source, shown = Example("Python").code("python")[0]
    assert shown and matches(shown, run([python, "-c", source], tmp_path).splitlines())


def test_the_wheel_loads_at_sqlalchemys_connect_event(python, tmp_path):
    source, shown = Example("Python").code("python")[1]
    drivers = {"PYTHONPATH": sysconfig.get_path("purelib")}
    printed = run([python, "-c", f"import sqlite_journal_crypt\n{source}"], tmp_path, **drivers)
    assert shown and matches(shown, printed.splitlines())


@pytest.mark.parametrize("connect", ["sqlite3.connect(':memory:')", "apsw.Connection(':memory:')"])
def test_the_wheel_leaves_extension_loading_off_even_where_it_is_refused(connect, python, tmp_path):
    script = f"""
import apsw, os, sqlite3, sqlite_journal_crypt
journal = {connect}
try:
    sqlite_journal_crypt.load(journal)
    print("loaded", *journal.execute("SELECT journal_version()").fetchone())
except Exception as error:
    print("refused", error)
try:
    journal.load_extension(sqlite_journal_crypt.loadable_path())
    print("still on")
except Exception as error:
    print(error)
"""
    drivers = {"PYTHONPATH": sysconfig.get_path("purelib")}
    loaded, after = run([python, "-c", script], tmp_path, **drivers).splitlines()
    assert loaded == f"loaded {PACKAGE['version']}" and after.endswith("not authorized")
    refused, after = run([python, "-c", script], tmp_path, JOURNAL_CACHE_KEYS="many", **drivers).splitlines()
    assert refused.startswith("refused") and "JOURNAL_CACHE_KEYS: not a number" in refused
    assert after.endswith("not authorized")


def test_the_wheel_says_what_cannot_load_extensions(python, tmp_path):
    script = "import sqlite_journal_crypt\ntry: sqlite_journal_crypt.load(object())\nexcept RuntimeError as e: print(e)"
    assert run([python, "-c", script], tmp_path) == (
        "builtins.object cannot load extensions: load takes a connection of sqlite3, apsw or aiosqlite, or what SQLAlchemy's "
        "connect event gives\n"
    )


def test_the_wheels_tool_finds_the_wheels_library(python, tmp_path):
    tool = python.with_name("journal-crypt")
    assert run([tool, "--version"], tmp_path) == f"journal-crypt {PACKAGE['version']}\n"
    finds_its_library(tool, tmp_path)
    # As pipx has it: the program in another folder is a link.
    (tmp_path / "journal-crypt").symlink_to(tool)
    finds_its_library(tmp_path / "journal-crypt", tmp_path)


ASYNC = {
    "aiosqlite": """
        connection = await aiosqlite.connect(":memory:")
        await sqlite_journal_crypt.load(connection)
        print(*await (await connection.execute("SELECT journal_version()")).fetchone())
        try: await connection.load_extension(sqlite_journal_crypt.loadable_path())
        except Exception as error: print(error)
        await connection.close()
    """,
    "SQLAlchemy": """
        engine = create_async_engine("sqlite+aiosqlite://", hide_parameters=True)
        event.listen(engine.sync_engine, "connect", lambda connection, _: sqlite_journal_crypt.load(connection))
        async with engine.connect() as connection:
            print(await connection.scalar(text("SELECT journal_version()")))
            try: await connection.scalar(text("SELECT load_extension(:path)"), {"path": sqlite_journal_crypt.loadable_path()})
            except Exception as error: print(error.orig)
        await engine.dispose()
    """,
}


@pytest.mark.parametrize("driver", ASYNC)
def test_the_wheel_loads_in_async_drivers_and_leaves_extension_loading_off(driver, python, tmp_path):
    script = (
        "import aiosqlite, asyncio, sqlite_journal_crypt\nfrom sqlalchemy import event, text\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\nasync def main():\n"
        f"{ASYNC[driver]}\nasyncio.run(main())"
    )
    loaded, after = run([python, "-W", "error", "-c", script], tmp_path, PYTHONPATH=sysconfig.get_path("purelib")).splitlines()
    assert loaded == PACKAGE["version"] and after.endswith("not authorized")


def test_the_wheel_gives_the_paths_of_its_scripts(python, tmp_path):
    script = "import sqlite_journal_crypt as j, sqlite3; c = sqlite3.connect(':memory:')\n"
    script += "c.executescript(open(j.sql_path()).read()); print(open(j.sql_path('audit.sql')).readline())\n"
    script += "try: j.sql_path('../_loading.py')\nexcept ValueError as e: print(e)"
    first, _, error = run([python, "-c", script], tmp_path).splitlines()
    assert first.startswith("-- Looks whether every entry") and error.startswith("there is no such script; there are audit.sql, ")


# ---- The library of the release archive -------------------------------------------------------------------------


def test_the_shell_loads_it(unpacked):
    assert (unpacked / "journal_crypt.so").stat().st_mode & 0o777 == 0o755


def test_the_tool_beside_it_loads_it(unpacked):
    finds_its_library(unpacked / "journal-crypt", unpacked)


def test_a_new_release_unpacked_over_a_loaded_library_leaves_the_process_the_old_one(unpacked):
    script = "import sqlite3, sys; c = sqlite3.connect(':memory:'); c.enable_load_extension(True)\n"
    script += "c.load_extension('./journal_crypt'); print('loaded', flush=True); sys.stdin.readline()\n"
    script += "print(*[line.split()[-1] for line in open('/proc/self/maps') if 'journal_crypt' in line][:1])\n"
    script += "print(*c.execute('SELECT journal_version()').fetchone())"
    with subprocess.Popen([sys.executable, "-c", script], cwd=unpacked, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "loaded\n"
        run(["tar", "xzf", release_archive()], unpacked)
        printed, _ = process.communicate("\n", timeout=60)
    assert printed.splitlines() == ["(deleted)", PACKAGE["version"]]


def test_rust_loads_it(unpacked):
    source, shown = Example("Rust").only("rust")
    home = os.environ["HOME"]
    printed = run(
        ["cargo", "run", "--quiet"], unpacked, PATH=PATH, **rust_package(unpacked, source),
        CARGO_HOME=os.environ.get("CARGO_HOME", f"{home}/.cargo"), RUSTUP_HOME=os.environ.get("RUSTUP_HOME", f"{home}/.rustup"),
    )  # fmt: skip
    assert shown and matches(shown, printed.splitlines())


# ---- The drivers of other languages -----------------------------------------------------------------------------


def test_go_loads_it(unpacked):
    build("go")
    source, shown = Example("Go").only("go")
    (unpacked / "main.go").write_text(source)
    go_module(unpacked)
    printed = run(["go", "run", "."], unpacked, **GO, CGO_CFLAGS="-O0")
    assert shown and matches(shown, printed.splitlines())


def test_java_loads_it(unpacked):
    build("java")
    source, shown = Example("Java").only("java")
    (unpacked / "Example.java").write_text(source)
    java, option, path, _ = COMMANDS["sqlite-jdbc"][1]
    printed = run([java, option, path, "Example.java"], unpacked, PATH=PATH)
    assert shown and matches(shown, printed.splitlines())


# ---- Node -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def application(tmp_path_factory):
    """A directory with nothing but the npm package, installed as README says."""
    build("node")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(made("*.tgz"), folder)
    run(["bash", "-euc", Example("Node").only("sh")[0]], folder, PATH=PATH)
    return folder


@pytest.fixture
def node(application):
    """Runs a script there, with the drivers of the tests; what it printed, by line."""

    def run_script(script, name="example.cjs", **env):
        (application / name).write_text(script)
        return run([NODE, name], application, NODE_PATH=str(BUILT / "node" / "node_modules"), **env).splitlines()

    return run_script


def test_the_npm_package_loads_in_better_sqlite3(node):
    source, shown = Example("Node").only("js")
    assert shown and matches(shown, node(source))


def test_the_npm_package_loads_in_node_sqlite_and_leaves_extension_loading_off(node):
    script = """
        import { DatabaseSync } from "node:sqlite";
        import { load, getLoadablePath } from "sqlite-journal-crypt";
        const journal = new DatabaseSync(":memory:", { allowExtension: true });
        try {
          load(journal);
          console.log("loaded", journal.prepare("SELECT journal_version() AS version").get().version);
        } catch (error) {
          console.log("refused", error.message);
        }
        try {
          journal.loadExtension(getLoadablePath());
          console.log("still on");
        } catch (error) {
          console.log(error.message);
        }
    """
    loaded, after = node(script, "example.mjs")
    assert loaded == f"loaded {PACKAGE['version']}" and "not allowed" in after
    refused, after = node(script, "example.mjs", JOURNAL_CACHE_KEYS="many")
    assert refused.startswith("refused") and "JOURNAL_CACHE_KEYS: not a number" in refused
    assert "not allowed" in after


def test_the_npm_package_gives_the_paths_of_its_scripts(node):
    script = """
        const { getSqlPath } = require("sqlite-journal-crypt");
        const { readFileSync } = require("node:fs");
        const journal = new (require("better-sqlite3"))(":memory:");
        journal.exec(readFileSync(getSqlPath(), "utf8"));
        console.log(readFileSync(getSqlPath("audit.sql"), "utf8").split(" every")[0]);
        try { getSqlPath("../load.js"); } catch (error) { console.log(error.message); }
    """
    first, error = node(script)
    assert first == "-- Looks whether" and error.startswith("there is no such script; there are audit.sql, ")


def test_the_npm_package_says_that_it_has_no_library_for_a_platform(node):
    script = """
        Object.defineProperty(process, "arch", { value: "mips" });
        try { require("sqlite-journal-crypt").getLoadablePath(); } catch (error) { console.log(error.message); }
    """
    assert node(script) == ["sqlite-journal-crypt has no library for linux-mips in this package"]
