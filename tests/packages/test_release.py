"""Installing from a release page, which is dist/ under a web server here: install.sh, and what package lists are told."""

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest
from conftest import ROOT, SQLITE3

from .built import DIST, PACKAGE, finds_its_library, members, release_archive

PLATFORM = "linux-x86_64"


@pytest.fixture
def page(tmp_path):
    """A release page: its files, and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "page"
    shutil.copytree(DIST, folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def install(tmp_path):
    """Runs install.sh below an empty prefix; `programs` take the place of the system's. What it printed, and its errors."""

    def run(*arguments, **programs):
        place = tmp_path / "programs"
        place.mkdir(exist_ok=True)
        for name, script in programs.items():
            (place / name).write_text(f"#!/bin/sh\n{script}\n")
            (place / name).chmod(0o755)
        done = subprocess.run(
            ["sh", ROOT / "packaging/install.sh", "--prefix", tmp_path / "prefix", *arguments], cwd=tmp_path,
            env={"PATH": f"{place}:/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout, done.stderr

    return run


def test_it_installs_what_the_archive_of_this_platform_holds_and_the_shell_loads_it(page, install, tmp_path):
    printed, error = install("--from", page[1])
    assert error == ""
    archive, prefix = members(release_archive()), tmp_path / "prefix"
    [load] = re.findall(r"^Installed\. In the sqlite3 shell: (\.load .*)$", printed, re.MULTILINE)
    library = prefix / "lib/sqlite-journal-crypt/journal_crypt.so"
    assert library.read_bytes() == archive["journal_crypt.so"] and library.stat().st_mode & 0o777 == 0o755
    scripts = {f"sql/{file.name}": file.read_bytes() for file in (prefix / "share/sqlite-journal-crypt/sql").iterdir()}
    assert scripts == {name: content for name, content in archive.items() if name.startswith("sql/")}
    finds_its_library(prefix / "bin/journal-crypt", tmp_path)
    pages = {f"man/{page.name}": page.read_bytes() for page in (prefix / "share/man/man1").iterdir()}
    assert pages == {name: content for name, content in archive.items() if name.startswith("man/")}
    shell = [SQLITE3, "-init", "/dev/null", ":memory:", load, "SELECT journal_version()"]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == f"{PACKAGE['version']}\n"
    # A second time, over a file that somebody may have loaded: it is another file then.
    before = library.stat().st_ino
    assert install("--from", page[1]) == (printed, "") and library.stat().st_ino != before


def test_it_fetches_with_wget_where_there_is_no_curl(page, install, tmp_path):
    # What the script needs, and no more.
    (tmp_path / "few").mkdir()
    for name in "basename chmod cp dirname getconf grep gzip id ls mkdir mktemp mv rm sha256sum tar uname wc wget".split():
        (tmp_path / "few" / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["/bin/sh", ROOT / "packaging/install.sh", "--prefix", tmp_path / "prefix", "--from", page[1]],
        env={"PATH": str(tmp_path / "few"), "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == "" and done.stdout.startswith("Installed.")


def test_a_changed_archive_is_refused_and_nothing_is_installed(page, install, tmp_path):
    archive = page[0] / release_archive().name
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    _, error = install("--from", page[1])
    assert error == f"install.sh: {archive.name} is not what SHA256SUMS says: nothing is installed\n"
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize(
    "programs, platform",
    [
        ({"getconf": "exit 1"}, "linux-musl-x86_64"),  # as on Alpine
        ({"uname": '[ "$1" = -m ] && echo aarch64 || echo Linux', "getconf": "exit 1"}, "linux-musl-aarch64"),
        ({"uname": '[ "$1" = -m ] && echo arm64 || echo Darwin'}, "macos-aarch64"),
    ],
)
def test_it_takes_no_other_platform_s_package(programs, platform, page, install, tmp_path):
    archive = release_archive().name
    (page[0] / "SHA256SUMS").write_text(f"{'0' * 64}  {archive}\n")
    assert install("--from", page[1], **programs)[1] == f"install.sh: {page[1]} has no package for {platform}\n"
    (page[0] / "SHA256SUMS").write_text(f"{'0' * 64}  {archive.replace(PLATFORM, platform)}\n")
    assert f"{archive.replace(PLATFORM, platform)} could not be fetched" in install("--from", page[1], **programs)[1]


def test_it_says_what_it_cannot_do(page, install):
    assert install()[1] == "install.sh: there is no release page yet: name a directory with --from URL\n"
    assert install("--from")[1] == "install.sh: --from needs a value\n"
    assert install("--form", "x")[1] == "install.sh: there is no option --form; --help lists them\n"
    assert install("--from", page[1], uname="echo riscv64")[1] == "install.sh: there is no package for riscv64\n"
    assert "there is no release page yet" in install("--help")[0]


def test_package_lists_name_the_archive_and_its_checksum():
    told = json.loads((DIST / "sqlpkg.json").read_text())
    assert (told["name"], told["version"]) == (PACKAGE["name"], PACKAGE["version"])
    assert told["assets"]["files"] == {"linux-amd64": release_archive().name}
    formula = (DIST / f"{PACKAGE['name']}.rb").read_text()
    checksum = hashlib.sha256(release_archive().read_bytes()).hexdigest()
    page = f"{PACKAGE['repository']}/releases/download/v{PACKAGE['version']}/"
    assert re.findall(r'url "(.*)"\n +sha256 "(.*)"', formula) == [(page + release_archive().name, checksum)]
    for text in (told["$comment"], formula):
        assert "There is no release page yet" in text
