"""The files that `make dist` made: what is in them, and what they say of themselves."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT

from .built import DIST, PACKAGE, made, members, release_archive, run


TOOL = f"sqlite_journal_crypt-{PACKAGE['version']}.data/scripts/journal-crypt"


@pytest.fixture
def library(tmp_path):
    """The library of the release archive, as a file."""
    [(name, content)] = members(release_archive("-rqlite")).items()
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.fixture
def tool(tmp_path):
    """The operator's tool of the release archive, as a file."""
    (tmp_path / "journal-crypt").write_bytes(members(release_archive())["journal-crypt"])
    return tmp_path / "journal-crypt"


def test_every_file_is_named_with_its_checksum():
    named = dict(reversed(line.split("  ")) for line in (DIST / "SHA256SUMS").read_text().splitlines())
    there = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in DIST.iterdir()}
    del there["SHA256SUMS"]
    assert named == there
    # wheel, npm package, release archive, one for rqlite, crate, sqlpkg's and Homebrew's, install.sh, bill of materials
    assert len(named) == 9


def test_rqlites_archive_holds_the_library_alone_and_all_packages_hold_the_same_one():
    [(name, library)] = members(release_archive("-rqlite")).items()
    assert name == "journal_crypt.so"
    assert members(release_archive())["journal_crypt.so"] == library
    assert members(made("*.tgz"))["package/linux-x64/journal_crypt.so"] == library
    with zipfile.ZipFile(made("*.whl")) as wheel:
        assert wheel.read("sqlite_journal_crypt/journal_crypt.so") == library


def test_release_archive_and_wheel_hold_the_same_tool_which_may_be_run():
    with tarfile.open(release_archive()) as tar, zipfile.ZipFile(made("*.whl")) as wheel:
        assert tar.extractfile("journal-crypt").read() == wheel.read(TOOL)
        assert [tar.getmember("journal-crypt").mode, wheel.getinfo(TOOL).external_attr >> 16 & 0o777] == [0o755, 0o755]


def test_the_release_archive_holds_the_tools_manual():
    pages = {f"man/{page.name}": page.read_bytes() for page in (ROOT / "packaging" / "man").iterdir()}
    assert {"man/journal-crypt.1", "man/journal-crypt-erase.1"} < pages.keys()
    assert {name: content for name, content in members(release_archive()).items() if name.startswith("man/")} == pages


def test_all_packages_but_rqlites_hold_the_schema_the_recipes_and_the_licences():
    scripts = {file.name: file.read_bytes() for file in ROOT.glob("sql/*.sql") if file.name != "demo.sql"}
    licences = {file.name: file.read_bytes() for file in ROOT.glob("LICENSE-*")}
    assert "schema.sql" in scripts and len(licences) == 2
    with zipfile.ZipFile(made("*.whl")) as wheel:
        in_wheel = {name: wheel.read(name) for name in wheel.namelist()}
    info = f"sqlite_journal_crypt-{PACKAGE['version']}.dist-info/licenses/"
    for files, prefix, of_licences in [
        (members(release_archive()), "", ""), (members(made("*.tgz")), "package/", "package/"), (in_wheel, "sqlite_journal_crypt/", info),
    ]:  # fmt: skip
        assert {name.removeprefix(f"{prefix}sql/"): text for name, text in files.items() if name.startswith(f"{prefix}sql/")} == scripts
        assert all(files[of_licences + name] == text for name, text in licences.items())


def test_library_and_tool_need_no_more_than_the_glibc_that_is_named(library, tool):
    needed = run(["readelf", "--version-info", "--dynamic", "--wide", library, tool], library.parent)
    versions = {tuple(map(int, version.split("."))) for version in re.findall(r"Name: GLIBC_([\d.]+)", needed)}
    assert f"any glibc from {'.'.join(map(str, max(versions)))} on" in (ROOT / "docs" / "install.md").read_text()
    assert f"-manylinux_{'_'.join(map(str, max(versions)))}_x86_64" in made("*.whl").name
    libraries = set(re.findall(r"Shared library: \[(\w+)", needed))
    assert libraries <= {"libc", "libm", "libdl", "libpthread", "ld"}
    assert "NODELETE" in run(["readelf", "--dynamic", library], library.parent)


def test_the_library_exports_its_entry_point_alone_and_takes_no_sqlite_from_elsewhere(library):
    symbols = run(["nm", "--dynamic", library], library.parent).splitlines()
    assert [line.split()[-1] for line in symbols if " T " in line] == ["sqlite3_journalcrypt_init"]
    assert not [line for line in symbols if "U sqlite3" in line]
    # The head of a database file, which all that can make one knows.
    assert b"SQLite format 3\0" not in library.read_bytes()


def test_a_library_or_a_tool_of_another_platform_is_refused_before_anything_is_made(library, tool):
    before = {file: file.stat().st_mtime_ns for file in DIST.iterdir()}
    for target in ("aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "x86_64-pc-windows-gnu", "aarch64-apple-darwin"):
        made_of = [sys.executable, ROOT / "packaging/dist.py", f"{target}={library}"]
        done = subprocess.run(made_of, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"{library} is for linux-x86_64, not for {target}\n")
    content = bytearray(tool.read_bytes())
    content[18] = 0xB7  # ARM64, as ELF numbers processors
    tool.write_bytes(content)
    made_of = [sys.executable, ROOT / "packaging/dist.py", f"x86_64-unknown-linux-gnu={library}"]
    done = subprocess.run(made_of, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"{tool} is for linux-aarch64, not for x86_64-unknown-linux-gnu\n")
    assert {file: file.stat().st_mtime_ns for file in DIST.iterdir()} == before


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
