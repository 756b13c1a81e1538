"""What the Python tests build on: the library, a directory of keys, databases of the shipped schema."""

import base64
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
#: Another platform's target and what starts its programs, as `make test-musl` and its like have them.
PLATFORM, RUNNER = os.environ.get("PLATFORM", ""), os.environ.get("RUNNER", "").split()
BUILT = TARGET / "dist-build" / PLATFORM / "release" if PLATFORM else TARGET / "release"
WINDOWS = "windows" in PLATFORM
LIBRARY = BUILT / (
    "journal_crypt.dll" if WINDOWS else "libjournal_crypt.dylib" if sys.platform == "darwin" else "libjournal_crypt.so"
)
RUST_HOST = BUILT / "examples" / ("host.exe" if WINDOWS else "host")
SQLITE3 = shutil.which(os.environ.get("SQLITE3", "sqlite3"))
PREFIX = "s3_files/journals/keys/master/"

#: A test whose programs are this machine's own.
native = pytest.mark.skipif(bool(PLATFORM), reason="its programs are this machine's")
#: A test of rights and owners as Unix has them.
unix = pytest.mark.skipif(WINDOWS, reason="Windows has other rights")

# Its fixtures are every test's: the servers, and key stores on them.
pytest_plugins = ["stores"]


def pytest_configure():
    # The extension reads its configuration from the environment: a test gives it all that it gets.
    for name in list(os.environ):
        if name.startswith(("JOURNAL_", "AWS_")) or name.lower().endswith("_proxy"):
            del os.environ[name]


def new_key():
    """The content of a new key object: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


class KeyStore:
    """A directory of keys, as JOURNAL_KEY_STORE names it."""

    def __init__(self, root):
        self.root = root
        root.mkdir(mode=0o700)

    @property
    def env(self):
        # Wine has the whole file system as drive Z.
        return {"JOURNAL_KEY_STORE": self.root.as_uri().replace("///", "///Z:/" if WINDOWS else "///")}

    def write(self, uid, content=None, prefix=PREFIX):
        """Write the object of the key `uid` and return its content, by default a new key."""
        content = new_key() if content is None else content
        path = self.root / (prefix + uid)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o600)
        return content


class Database:
    """A database file with the shipped schema, and the rows of keys."""

    def __init__(self, path):
        self.path = path
        with self.writing() as connection:
            connection.executescript(f"BEGIN; {(ROOT / 'sql' / 'schema.sql').read_text()} COMMIT;")

    @contextmanager
    def writing(self):
        """A connection without the extension, for one transaction."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            yield connection

    def add_user(self, user):
        with self.writing() as connection:
            connection.execute("INSERT INTO users VALUES (?, ?, 0)", (user, f"oseh_u_{user}"))

    def add_key(self, user, uid, created_at=0.0, prefix=PREFIX):
        """Write the two rows of the key `uid` of an existing user, and not its object."""
        with self.writing() as connection:
            file = connection.execute(
                "INSERT INTO s3_files (uid, key, file_size, content_type, created_at) VALUES (?, ?, 44, 'text/plain', ?)",
                (uid.replace("ujmk", "s3f"), prefix + uid, created_at),
            ).lastrowid
            connection.execute(
                "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at) VALUES (?, ?, ?, ?)",
                (uid, user, file, created_at),
            )


def run_shell(script, database, env, options=()):
    """Run a script in the sqlite3 shell with the extension loaded; the process that ended."""
    return subprocess.run(
        [SQLITE3, "-init", os.devnull, "-batch", *options, "-cmd", f'.load "{LIBRARY}"', database],
        input=script, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )


@pytest.fixture
def key_store(tmp_path):
    return KeyStore(tmp_path / "keys")


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path / "journal.db")


@pytest.fixture(scope="session", autouse=True)
def built():
    assert LIBRARY.exists(), f"{LIBRARY} is missing: run make"
    assert SQLITE3, "the sqlite3 shell is missing"


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The wheel's package as it is installed: with the library in it."""
    return python_package(tmp_path_factory.mktemp("site"), LIBRARY)


def python_package(folder, library):
    """Puts the wheel's package into the folder, with the library in it."""
    source = ROOT / "packaging" / "python" / "sqlite_journal_crypt"
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(library, folder / source.name / f"journal_crypt{library.suffix}")
    return folder
