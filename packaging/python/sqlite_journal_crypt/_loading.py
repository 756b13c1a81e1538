"""The extension as a file, and how to load it on a connection."""

import inspect
import sqlite3
import sys
from pathlib import Path
from typing import Any

_SUFFIX = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")


def loadable_path() -> str:
    """The path of the extension's file, for whatever else loads it."""
    return str(Path(__file__).parent / f"journal_crypt.{_SUFFIX}")


def sql_path(name: str = "schema.sql") -> str:
    """The path of a script of this package, to run in a database or in the `sqlite3` shell.

    `schema.sql`, or a recipe such as `audit.sql`, whose head says what it needs.
    """
    folder = Path(__file__).parent / "sql"
    names = sorted(file.name for file in folder.iterdir())
    if name not in names:
        raise ValueError(f"there is no such script; there are {', '.join(names)}")
    return str(folder / name)


def load(connection: Any) -> Any:
    """Load the extension on a connection of `sqlite3` or `apsw`, or on what SQLAlchemy's connect event gives.

    For a connection of `aiosqlite` this is a coroutine: `await load(connection)`.

    Extension loading is on for this one call; afterwards it is off, whatever it was before. What SQLite raises if it
    refuses the extension names the reason.
    """
    if hasattr(connection, "run_async") and hasattr(connection, "driver_connection"):
        # SQLAlchemy's adapter, which runs a coroutine from its own, synchronous side.
        connection.run_async(_load_async)
        return None
    if inspect.iscoroutinefunction(getattr(connection, "enable_load_extension", None)):
        return _load_async(connection)
    if not hasattr(connection, "enable_load_extension"):
        raise _refusal(connection)
    connection.enable_load_extension(True)
    try:
        connection.load_extension(loadable_path())
    finally:
        connection.enable_load_extension(False)
    return None


async def _load_async(connection: Any) -> None:
    if not hasattr(connection, "enable_load_extension"):
        raise _refusal(connection)
    try:
        await connection.enable_load_extension(True)
    except AttributeError:
        raise RuntimeError(_PYTHON) from None
    try:
        await connection.load_extension(loadable_path())
    finally:
        await connection.enable_load_extension(False)


_PYTHON = (
    "this Python's sqlite3 cannot load extensions: it was built without --enable-loadable-sqlite-extensions. "
    "Use another Python, or apsw"
)


def _refusal(connection: Any) -> RuntimeError:
    if isinstance(connection, sqlite3.Connection):
        return RuntimeError(_PYTHON)
    kind = type(connection)
    return RuntimeError(
        f"{kind.__module__}.{kind.__name__} cannot load extensions: load takes a connection of sqlite3, apsw or aiosqlite, "
        "or what SQLAlchemy's connect event gives"
    )
