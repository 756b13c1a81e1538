"""The packages of another platform, as `make test-musl` and its like make them: its Rust host loads what is in each."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import LIBRARY, PLATFORM, ROOT, RUNNER
from hosts.drivers import start

if not PLATFORM:
    pytest.skip("it is for another platform's packages", allow_module_level=True)

DIST = Path(os.environ["DIST"])
NAMES = {
    # of archives, of wheels, of Node
    "x86_64-unknown-linux-musl": ("linux-musl-x86_64", "musllinux_1_2_x86_64", "linuxmusl-x64"),
    "aarch64-unknown-linux-gnu": ("linux-aarch64", "manylinux_2_17_aarch64", "linux-arm64"),
    "x86_64-pc-windows-gnu": ("windows-x86_64", "win_amd64", "win32-x64"),
}
ARCHIVE, WHEEL, NODE = NAMES[PLATFORM]
FILE = f"journal_crypt{LIBRARY.suffix}"


def members(pattern):
    """The contents of the one package of this name, by name."""
    [package] = DIST.glob(pattern)
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(package) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


@pytest.mark.parametrize(
    "package, name",
    [
        (f"*-py3-none-{WHEEL}.whl", f"sqlite_journal_crypt/{FILE}"), ("*.tgz", f"package/{NODE}/{FILE}"),
        (f"*-{ARCHIVE}.tar.gz", FILE), (f"*-{ARCHIVE}-rqlite.tar.gz", FILE),
    ],
    ids=["wheel", "npm", "archive", "rqlite"],
)  # fmt: skip
def test_the_platforms_own_host_loads_what_is_in_its_package(package, name, database, key_store, tmp_path):
    library = tmp_path / FILE
    library.write_bytes(members(package)[name])
    assert hashlib.sha256(library.read_bytes()).digest() == hashlib.sha256(LIBRARY.read_bytes()).digest()
    database.add_user(1)
    with start("rusqlite", database, {**key_store.env, "JOURNAL_ADMIN": "1"}, library) as driver:
        assert "rows" in driver.ask(on="first", sql="SELECT journal_rotate_key(1)", parameters=[])
        sql = "SELECT journal_decrypt(1, NULL, journal_encrypt(1, ?))"
        assert driver.ask(on="first", sql=sql, parameters=["the fog"]) == {"rows": [["the fog"]]}


def test_the_tool_of_its_archive_runs(tmp_path):
    [(name, content)] = [(n, c) for n, c in members(f"*-{ARCHIVE}.tar.gz").items() if n.startswith("journal-crypt")]
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).chmod(0o755)
    # Wine looks for the function that it lacks beside the program.
    for shim in (LIBRARY.parent / "examples").glob("*.dll"):
        (tmp_path / shim.name).write_bytes(shim.read_bytes())
    done = subprocess.run([*RUNNER, tmp_path / name, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("journal-crypt ") and done.returncode == 0, done.stderr


def test_its_library_is_in_no_package_of_another_platform(tmp_path):
    others = {*NAMES, "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl", "x86_64-apple-darwin"} - {PLATFORM}
    for target in others:
        made_of = [sys.executable, ROOT / "packaging/dist.py", f"{target}={LIBRARY}"]
        done = subprocess.run(made_of, env={**os.environ, "DIST": str(tmp_path / "none")}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"{LIBRARY} is for {ARCHIVE}, not for {target}\n")
    assert not (tmp_path / "none").exists()
