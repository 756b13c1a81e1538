"""The extension as a file, and how to load it on a connection."""

import sys
from pathlib import Path
from typing import Any

_SUFFIX = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")


def loadable_path() -> str:
    """The path of the extension's file, for whatever else loads it."""
    return str(Path(__file__).parent / f"journal_crypt.{_SUFFIX}")


def load(connection: Any) -> None:
    """Load the extension on a connection of `sqlite3` or `apsw`.

    Extension loading is on for this one call; afterwards it is off, whatever it was before. What SQLite raises if it
    refuses the extension names the reason.
    """
    if not hasattr(connection, "enable_load_extension"):
        raise RuntimeError(
            f"{type(connection).__module__}.{type(connection).__name__} cannot load extensions: it takes a connection of "
            "apsw, or of sqlite3 in a Python that was built with --enable-loadable-sqlite-extensions"
        )
    connection.enable_load_extension(True)
    try:
        connection.load_extension(loadable_path())
    finally:
        connection.enable_load_extension(False)
