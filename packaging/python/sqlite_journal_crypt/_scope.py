"""The scope of a connection, for the length of a `with` block."""

from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, Optional, Tuple

# The nonce and the user of each connection's scope, by the connection's id, which is its own while a block holds it.
_SCOPES: Dict[int, Tuple[str, Any]] = {}


@contextmanager
def scope(connection: Any, user_id: Any) -> Iterator[None]:
    """In the block the connection (of sqlite3 or apsw) uses this user's keys alone; any other user is `out_of_scope`.

    Blocks nest, also for another user. Take all rows of a statement inside, and await nothing there while other tasks use
    the connection: they would be under its scope.
    """
    outer = _SCOPES.get(id(connection))
    if outer is None:
        nonce = _value(connection, "SELECT journal_scope(?)", user_id)
    else:
        nonce = _value(connection, "SELECT journal_scope(?, ?)", user_id, outer[0])
    _SCOPES[id(connection)] = (nonce, user_id)
    try:
        yield
    except BaseException:
        # The block's error says what went wrong first.
        with suppress(Exception):
            _leave(connection, outer, nonce)
        raise
    _leave(connection, outer, nonce)


def _leave(connection: Any, outer: Optional[Tuple[str, Any]], nonce: str) -> None:
    try:
        _end(connection, outer, nonce)
    finally:
        # Where the end failed, the connection keeps a scope that nobody can leave, and no other user's keys.
        if outer is None:
            del _SCOPES[id(connection)]
        else:
            _SCOPES[id(connection)] = outer


def _end(connection: Any, outer: Optional[Tuple[str, Any]], nonce: str) -> None:
    """Gives the connection its outer scope back, or none; once more where it was interrupted at that."""
    user_id = None if outer is None else outer[1]
    try:
        _value(connection, "SELECT journal_scope(?, ?)", user_id, nonce)
    except Exception as error:
        if "interrupted" not in str(error).lower():
            raise
        _value(connection, "SELECT journal_scope(?, ?)", user_id, nonce)


def _value(connection: Any, sql: str, *parameters: Any) -> Any:
    cursor = connection.cursor()
    if hasattr(cursor, "row_factory"):
        # The connection's may make anything of a row.
        cursor.row_factory = None
    [value] = cursor.execute(sql, parameters).fetchone()
    return value.decode() if isinstance(value, bytes) else value
