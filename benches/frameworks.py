"""Reading 1,000 rows through a framework: what a sealed text takes beside one that lies there in the clear.

    python benches/frameworks.py [--rounds N] LIBRARY [FRAMEWORK…]

Both are columns of one table, 101 characters each, read by the same program in turns. The fastest round of each is printed,
in microseconds a row. The key is in the cache, as it is after the first row. The programs of other languages are built by the
tests (tests/hosts/Makefile): run those of tests/frameworks once before.
"""

import argparse
import asyncio
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from conftest import python_package  # noqa: E402
from hosts.drivers import COMMANDS, GO, NODE, go_module, node_modules, rust_package, sqlx_package  # noqa: E402

ROWS = 1000
TEXT = "The fog lifted at ten, and the harbour lay there as if nobody had ever left it. Slept well after that"
SEALED = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)"


def write(path, load):
    """A journal of one user, whose entries have their text in the clear beside the token."""
    with sqlite3.connect(path) as connection:
        load(connection)
        connection.executescript(f"BEGIN; {(ROOT / 'sql' / 'schema.sql').read_text()} COMMIT;")
        connection.execute("ALTER TABLE journal_entries ADD COLUMN plain TEXT")
        connection.execute("INSERT INTO users VALUES (1, 'oseh_u_1', 0)")
        connection.execute("SELECT journal_rotate_key(1)").fetchone()
        for number in range(ROWS):
            connection.execute(
                "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at, plain)"
                " SELECT ?1, 1, key_uid, token, 0, ?2 FROM journal_seal(1, ?2, 'journal_entries.token:' || ?1)",
                (f"oseh_je_{number}", TEXT),
            )  # fmt: skip


def of_sqlite3(path, load):
    connection = sqlite3.connect(path)
    load(connection)

    def read(column):
        return [text for _, text in connection.execute(f"SELECT id, {column} FROM journal_entries WHERE user_id = ?", (1,))]

    return lambda: read("plain"), lambda: read(SEALED)


def of_sqlalchemy(path, load):
    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, defer, mapped_column
    from sqlite_journal_crypt.sqlalchemy import install, sealed

    engine = create_engine(f"sqlite:///{path}")
    install(engine)

    class Base(DeclarativeBase):
        pass

    class Entry(Base):
        __tablename__ = "journal_entries"
        id: Mapped[int] = mapped_column(primary_key=True)
        uid: Mapped[str] = mapped_column()
        user_id: Mapped[int] = mapped_column()
        key_uid: Mapped[str] = mapped_column()
        token: Mapped[str] = mapped_column()
        plain: Mapped[str] = mapped_column()
        text: Mapped[str] = sealed(user_id, key_uid, token, context=("journal_entries.token:", uid))

    def read(name, other):
        query = select(Entry).where(Entry.user_id == 1).options(defer(getattr(Entry, other)))
        with Session(engine) as session:
            return [getattr(entry, name) for entry in session.scalars(query)]

    return lambda: read("plain", "text"), lambda: read("text", "plain")


def of_django(path, load):
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["sqlite_journal_crypt.django.JournalCrypt"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}},
    )
    django.setup()
    from django.db import models
    from sqlite_journal_crypt.django import SealedManager, SealedText

    class Entry(models.Model):
        uid, key_uid, token, plain = (models.TextField() for _ in range(4))
        user_id = models.IntegerField()
        text = SealedText(context=("journal_entries.token:", "uid"))
        unopened = models.Manager()
        objects = SealedManager()

        class Meta:
            app_label = "journal"
            db_table = "journal_entries"

    def read(entries, name):
        return [getattr(entry, name) for entry in entries.filter(user_id=1)]

    return lambda: read(Entry.unopened, "plain"), lambda: read(Entry.objects, "text")


def of_aiosqlite(path, load):
    """As a request reads them, with a connection of its own."""
    import aiosqlite

    async def rows(column):
        async with aiosqlite.connect(path) as connection:
            await load(connection)
            return await connection.execute_fetchall(f"SELECT id, {column} FROM journal_entries WHERE user_id = ?", (1,))

    def read(column):
        return [text for _, text in asyncio.run(rows(column))]

    return lambda: read("plain"), lambda: read(SEALED)


FRAMEWORKS = {"sqlite3": of_sqlite3, "SQLAlchemy": of_sqlalchemy, "Django": of_django, "aiosqlite": of_aiosqlite}


def measure(name, path, load, rounds):
    """Microseconds a row of plain text, and of sealed."""
    reads = FRAMEWORKS[name](path, load)
    took = [[], []]
    for _ in range(rounds):
        for read, times in zip(reads, took):
            begun = time.perf_counter()
            found = read()
            times.append((time.perf_counter() - begun) / ROWS * 1e6)
            assert found == [TEXT] * ROWS
    return [min(times) for times in took]


def in_node(folder, library):
    node_modules(folder, library)
    shutil.copy(ROOT / "benches" / "frameworks.mjs", folder)
    return [NODE, "frameworks.mjs"]


def in_go(folder, library):
    shutil.copy(ROOT / "benches" / "frameworks.go", folder)
    go_module(folder)
    os.environ.update(GO)
    return ["go", "run", ".", library]


def in_java(folder, library):
    java, option, path, _ = COMMANDS["sqlite-jdbc"][1]
    return [java, option, path, ROOT / "benches" / "Frameworks.java", library]


def in_rusqlite(folder, library):
    os.environ.update(rust_package(folder, (ROOT / "benches" / "frameworks_rust" / "rusqlite.rs").read_text()))
    return ["cargo", "run", "--quiet", "--release", "--", library]


def in_sqlx(folder, library):
    os.environ.update(sqlx_package(folder, (ROOT / "benches" / "frameworks_rust" / "sqlx.rs").read_text()))
    return ["cargo", "run", "--quiet", "--release", "--locked", "--", library]


#: Programs of other languages, with what tests/hosts/Makefile installed: the names of the figures that each prints.
OTHERS = {
    "node": (in_node, ["better-sqlite3", "Kysely"]), "go": (in_go, ["database/sql"]), "java": (in_java, ["JDBC"]),
    "rusqlite": (in_rusqlite, ["rusqlite"]), "sqlx": (in_sqlx, ["sqlx"]),
}  # fmt: skip


def measure_other(name, folder, library, rounds):
    prepare, names = OTHERS[name]
    command = [*prepare(folder, library), "journal.db", rounds]
    said = subprocess.run([str(word) for word in command], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
    for figure, line in zip(names, said.splitlines()):
        say(figure, *map(float, line.split()))


def say(name, plain, sealed):
    print(f"{name}: {plain:.2f} µs a row in the clear, {sealed:.2f} sealed, {sealed / plain:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("library", type=Path)
    parser.add_argument("frameworks", nargs="*", help=", ".join([*FRAMEWORKS, *OTHERS]))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python_package(folder, options.library)
        (folder / "keys").mkdir(mode=0o700)
        os.environ.update(JOURNAL_KEY_STORE=(folder / "keys").as_uri(), JOURNAL_ADMIN="1")
        sys.path.insert(0, name)
        from sqlite_journal_crypt import load

        write(folder / "journal.db", load)
        print(f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {options.rounds} rounds")
        for framework in options.frameworks or [*FRAMEWORKS, *OTHERS]:
            if framework in OTHERS:
                measure_other(framework, folder, options.library.resolve(), options.rounds)
            else:
                say(framework, *measure(framework, folder / "journal.db", load, options.rounds))


if __name__ == "__main__":
    main()
