"""What `make dist` made: each package is installed where nothing else is, with no network, and README's example of it runs.

The drivers that the examples open a database with come from the tests' own installations.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile

import pytest
from conftest import ROOT, SQLITE3, TARGET
from test_readme import README, blocks, matches, section

DIST = ROOT / "dist"
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
COMMENT = {"sh": "# ", "python": "# ", "js": "// ", "go": "// ", "java": "// ", "rust": "// "}


def made(pattern):
    """The one file in dist/ of this name."""
    [file] = DIST.glob(pattern)
    return file


def release_archive():
    return made(f"*-{PACKAGE['version']}-linux-x86_64.tar.gz")


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
    """The blocks of one language's part of the section Install."""

    def __init__(self, title):
        part = re.search(rf"^### {title}\n(.*?)(?=^### |\Z)", section(README, "Install"), re.MULTILINE | re.DOTALL)
        self._blocks = [(language, lines) for language, _, lines in blocks(part[1])]

    def code(self, language):
        """The sources of its blocks in this language, and what they show that they print."""
        comment, found = COMMENT[language], []
        for lines in (lines for its, lines in self._blocks if its == language):
            code = list(lines)
            while code[-1].startswith(comment):
                code.pop()
            found.append(("\n".join(code), [line[len(comment):] for line in lines[len(code):]]))
        return found

    def only(self, language):
        [found] = self.code(language)
        return found


def unpack(folder):
    """Does what README's first block says: unpacks the release archive, and opens a database in the shell."""
    (folder / "programs").mkdir()
    (folder / "programs" / "sqlite3").symlink_to(SQLITE3)
    os.link(release_archive(), folder / release_archive().name)
    source, shown = Example("Shell").only("sh")
    printed = run(["bash", "-euc", source], folder, PATH=f"{folder / 'programs'}:{os.defpath}")
    assert shown and matches(shown, printed.splitlines())


@pytest.fixture
def unpacked(tmp_path):
    unpack(tmp_path)
    return tmp_path


# ---- The files --------------------------------------------------------------------------------------------------


def test_every_file_is_named_with_its_checksum():
    named = dict(reversed(line.split("  ")) for line in (DIST / "SHA256SUMS").read_text().splitlines())
    there = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in DIST.iterdir()}
    del there["SHA256SUMS"]
    assert named == there
    assert len(named) == 5  # wheel, npm package, release archive, crate, bill of materials


def test_the_release_archive_holds_the_library_alone_and_all_packages_hold_the_same_one():
    [(name, library)] = members(release_archive()).items()
    assert name == "journal_crypt.so"
    assert members(made("*.tgz"))["package/linux-x64/journal_crypt.so"] == library
    with zipfile.ZipFile(made("*.whl")) as wheel:
        assert wheel.read("sqlite_journal_crypt/journal_crypt.so") == library


def test_the_library_needs_no_more_than_the_glibc_that_is_named(unpacked):
    needed = run(["readelf", "--version-info", "--dynamic", "--wide", "journal_crypt.so"], unpacked, PATH=os.environ["PATH"])
    versions = {tuple(map(int, version.split("."))) for version in re.findall(r"Name: GLIBC_([\d.]+)", needed)}
    assert f"any glibc from {'.'.join(map(str, max(versions)))} on" in README
    assert f"-manylinux_{'_'.join(map(str, max(versions)))}_x86_64" in made("*.whl").name
    libraries = set(re.findall(r"Shared library: \[(\w+)", needed))
    assert libraries <= {"libc", "libm", "libdl", "libpthread", "ld"}
    assert "NODELETE" in needed


def test_the_library_exports_its_entry_point_alone_and_takes_no_sqlite_from_elsewhere(unpacked):
    symbols = run(["nm", "--dynamic", "journal_crypt.so"], unpacked, PATH=os.environ["PATH"]).splitlines()
    assert [line.split()[-1] for line in symbols if " T " in line] == ["sqlite3_journalcrypt_init"]
    assert not [line for line in symbols if "U sqlite3" in line]
    # The head of a database file, which all that can make one knows.
    assert b"SQLite format 3\0" not in (unpacked / "journal_crypt.so").read_bytes()


def test_no_path_of_the_machine_that_built_it_is_in_a_package():
    with zipfile.ZipFile(made("*.whl")) as wheel:
        contents = [wheel.read(name) for name in wheel.namelist()]
    contents += [content for file in [*DIST.glob("*gz"), *DIST.glob("*.crate")] for content in members(file).values()]
    assert not [content[:60] for content in contents if str(ROOT).encode() in content or b"/.cargo/" in content]


def test_name_version_and_licence_are_those_of_cargo():
    with zipfile.ZipFile(made("*.whl")) as wheel:
        metadata = wheel.read(f"sqlite_journal_crypt-{PACKAGE['version']}.dist-info/METADATA").decode()
    npm = json.loads(members(made("*.tgz"))["package/package.json"])
    for key, name in [("name", "Name"), ("version", "Version"), ("description", "Summary"), ("license", "License-Expression")]:
        assert f"\n{name}: {PACKAGE[key]}\n" in metadata
        assert npm[key] == PACKAGE[key]
    assert f"Keywords: {','.join(sorted(PACKAGE['keywords']))}\n" in metadata and npm["keywords"] == PACKAGE["keywords"]
    assert PACKAGE["repository"] in metadata and npm["repository"]["url"] == PACKAGE["repository"]
    for readme in [metadata, members(made("*.tgz"))["package/README.md"].decode()]:
        assert "SELECT journal_version()" in readme


# ---- Python -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """A Python that has nothing but the wheel, installed as README says."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder / "venv", with_pip=True)
    os.link(made("*.whl"), folder / made("*.whl").name)
    run(["bash", "-euc", Example("Python").only("sh")[0]], folder, PATH=f"{folder}/venv/bin:{os.defpath}")
    return folder / "venv" / "bin" / "python"


def test_the_wheel_loads_in_sqlite3(python, tmp_path):
    source, shown = Example("Python").code("python")[0]
    assert shown and matches(shown, run([python, "-c", source], tmp_path).splitlines())


def test_the_wheel_loads_at_sqlalchemys_connect_event(python, tmp_path):
    [_, (source, shown)] = Example("Python").code("python")
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
    assert run([python, "-c", script], tmp_path).startswith("builtins.object cannot load extensions")


# ---- The library of the release archive -------------------------------------------------------------------------


def test_the_shell_loads_it(unpacked):
    assert (unpacked / "journal_crypt.so").stat().st_mode & 0o777 == 0o755


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
    (unpacked / "src").mkdir()
    (unpacked / "src" / "main.rs").write_text(source)
    (unpacked / "Cargo.toml").write_text(
        '[package]\nname = "example"\nversion = "0.0.0"\nedition = "2024"\n'
        '[dependencies]\nrusqlite = { version = "0.40", features = ["bundled", "load_extension"] }\n'
    )
    shutil.copy(ROOT / "Cargo.lock", unpacked)  # the versions that this machine has
    home = os.environ["HOME"]
    printed = run(
        ["cargo", "run", "--quiet"], unpacked, PATH=os.environ["PATH"], CARGO_TARGET_DIR=str(TARGET / "dist-rust"),
        CARGO_HOME=os.environ.get("CARGO_HOME", f"{home}/.cargo"), RUSTUP_HOME=os.environ.get("RUSTUP_HOME", f"{home}/.rustup"),
    )  # fmt: skip
    assert shown and matches(shown, printed.splitlines())
