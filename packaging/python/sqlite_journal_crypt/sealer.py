"""Sealing in the application: the extension on a private in-memory database, over key rows that came from elsewhere."""

import json
import os
import sqlite3
import threading
import time
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from . import _loading
from .errors import BadArgument, error_of

#: A key row: `uid, created_at, key`, as a mapping with these names or a sequence that begins so.
KeyRow = Union[Mapping[str, Any], Sequence[Any]]
#: What a token is under, and the token; where the uid is None, all keys of the rows are tried.
Sealed = Tuple[Optional[str], Union[str, bytes, None]]
Statement = Tuple[str, Tuple[Any, ...]]

_COLUMNS = ("uid", "created_at", "key")
# All rows of one call are one user's: the query said so. The id is ours, theirs may be of any type.
_USER = 1
_FILE = "INSERT INTO {schema}.s3_files (id, key) VALUES (?, ?)"
_KEY = "INSERT INTO {schema}.user_journal_master_keys (id, uid, user_id, s3_file_id, created_at) VALUES (?, ?, ?, ?, ?)"
_TABLES = """
    CREATE TABLE {schema}.s3_files (id INTEGER PRIMARY KEY, key TEXT);
    CREATE TABLE {schema}.user_journal_master_keys (
      id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL, s3_file_id INTEGER, created_at REAL
    );
"""


class SealedToken(NamedTuple):
    """A token, and the uid of the key that it is under."""

    key_uid: str
    token: str


class NewKey(NamedTuple):
    """A key whose object is written, and whose rows are not yet."""

    #: The row of `s3_files`.
    file_row: Dict[str, Any]
    #: The row of `user_journal_master_keys`, but for `s3_file_id`, which the database gives.
    key_row: Dict[str, Any]
    #: Two INSERTs, to run in this order in one transaction. Each changes no row where another key was faster; the second
    #: changes one exactly where this key's row is there afterwards, so that it may be sent again.
    statements: Tuple[Statement, Statement]

    @property
    def uid(self) -> str:
        """The key's uid."""
        return self.key_row["uid"]


class Sealer:
    """Seals and opens with the key rows that a call is given, and with the key store of this process's environment.

    It may be shared by threads: each has a connection of its own, and every call is a transaction that is rolled back.
    A key whose row is not among those given cannot be used, however warm the cache.
    """

    #: The key rows of one user. The one parameter is the user, of whatever type the column has.
    KEYS_SQL = (
        "SELECT k.uid, k.created_at, f.key FROM user_journal_master_keys AS k"
        " LEFT JOIN s3_files AS f ON f.id = k.s3_file_id WHERE k.user_id = ?"
    )

    def __init__(self) -> None:
        self._local = threading.local()
        self._ready: Dict[Tuple[str, Any], float] = {}

    def seal(self, rows: Iterable[KeyRow], plaintext: Union[str, bytes]) -> SealedToken:
        """The plaintext under the newest key of `rows`."""
        return self._seal("journal_seal", rows, plaintext)

    def seal_item(self, rows: Iterable[KeyRow], value: Any) -> SealedToken:
        """The JSON of `value`, compressed, under the newest key of `rows`."""
        return self._seal("journal_seal_item", rows, json.dumps(value, ensure_ascii=False))

    def open(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Optional[str]]:
        """The texts; None for what is lost or does not open, `check` says which. Raises for an outage."""
        return self._each("journal_try_decrypt", rows, sealed)

    def open_items(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Any]:
        """The values of items; None as for `open`. Raises for an outage."""
        found = self._each("journal_try_decrypt_item", rows, sealed)
        return [None if text is None else json.loads(text) for text in found]

    def check(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Optional[str]]:
        """`ok`, or the error word of what `open` would meet, for each."""
        return self._each("journal_check", rows, sealed)

    def is_warm(self, rows: Iterable[KeyRow], key_uids: Optional[Iterable[Optional[str]]] = None) -> bool:
        """Whether a call would answer without waiting for the key store.

        `key_uids` are the keys that the call will use, by default all of `rows`. A key that is evicted between this and
        the call makes the call wait after all.
        """
        given = _read(rows)
        names = self._names(given, key_uids)
        return self._are_ready(names) or self._look(given, names)

    def evict(self, key_uid: str) -> bool:
        """Drops a key from this process's cache: its object is gone. Whether it was there."""
        for name in [name for name in list(self._ready) if name[0] == key_uid]:
            self._ready.pop(name, None)
        # Under a scope only keys are dropped that are in its user's rows.
        with self._given([(key_uid, 0.0, None)]) as connection:
            return bool(_one(connection, "SELECT journal_evict(?)", key_uid))

    def new_key(self, user_id: Any, rows: Iterable[KeyRow] = (), *, max_age: Optional[float] = None) -> NewKey:
        """Writes the object of a new key, and gives the two rows and the two INSERTs that make it `user_id`'s.

        They do nothing where the user has a key by then: any, or with `max_age` one that is younger, in seconds. Where
        the second changed no row, another was faster: read the rows again, and `discard` this key. `rows` are the user's
        key rows as they were read, so that the new key is the newest whatever this clock says.

        Needs JOURNAL_ADMIN=create. Waits for the key store.
        """
        made = json.loads(self._value("SELECT journal_create_key(?)", _USER))
        file_row, key_row = made["s3_files"], {**made["user_journal_master_keys"], "user_id": user_id}
        newest = max((row[1] for row in _read(rows)), default=0)
        key_row["created_at"] = max(key_row["created_at"], newest + 0.001)
        return NewKey(file_row, key_row, _insert(file_row, key_row, max_age))

    def discard(self, new_key: NewKey, rows: Iterable[KeyRow] = ()) -> None:
        """Deletes the object of a new key whose INSERT changed no row, with all its versions.

        Refused (`BadArgument`) where this process did not make it within ten minutes, has used it, or where `rows`, the
        user's key rows as they are now, name it.
        """
        with self._given(_read(rows)) as connection:
            _one(connection, "SELECT journal_discard_key(?)", new_key.uid)

    def _seal(self, function: str, rows: Iterable[KeyRow], plaintext: Any) -> SealedToken:
        if plaintext is None:
            raise BadArgument(f"{function}: bad_argument: there is no plaintext")
        with self._given(_read(rows)) as connection:
            found = _row(connection, f"SELECT key_uid, token FROM {function}({_USER}, ?)", plaintext)
        return SealedToken(*found)

    def _each(self, function: str, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Any]:
        sql = f"SELECT {function}({_USER}, ?, ?)"
        with self._given(_read(rows)) as connection:
            return [_one(connection, sql, key_uid, token) for key_uid, token in sealed]

    def _value(self, sql: str, *values: Any) -> Any:
        return _one(self._connection(), sql, *values)

    def _given(self, rows: "List[Tuple[str, float, Any]]") -> "_Rows":
        return _Rows(self._connection(), self._local.sql, rows)

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "process", None) != os.getpid():
            self._local.connection, self._local.sql, self._local.config = _connect()
            self._local.process = os.getpid()
        return self._local.connection

    def _names(self, rows: List[Tuple[str, float, Any]], key_uids: Optional[Iterable[Optional[str]]]) -> set:
        if key_uids is None:
            return {(uid, key) for uid, _, key in rows}
        wanted = set(key_uids)
        return {(uid, key) for uid, _, key in rows if None in wanted or uid in wanted}

    def _are_ready(self, names: set) -> bool:
        now = time.monotonic()
        return all(self._ready.get(name, 0) > now for name in names)

    def _look(self, rows: List[Tuple[str, float, Any]], names: set) -> bool:
        """As `_are_ready`, of the cache itself; walks all of it, so that what it finds is remembered."""
        with self._given(rows) as connection:
            cached = _all(connection, "SELECT key_uid, object, age FROM journal_cache WHERE stale = 0")
        now, config = time.monotonic(), self._local.config
        found = {(uid, key): now + config["cache_ttl"] - age for uid, key, age in cached}
        # A scope shows the keys of the rows given alone.
        known = {name: until for name, until in list(self._ready.items()) if until > now} if config["require_scope"] else {}
        self._ready = {**known, **found}
        return self._are_ready(names)


class _Rows:
    """A transaction in which the key tables hold the rows given. A task may not be suspended while it is open."""

    def __init__(self, connection: sqlite3.Connection, sql: Tuple[str, str], rows: List[Tuple[str, float, Any]]) -> None:
        self._connection, self._sql, self._rows = connection, sql, rows

    def __enter__(self) -> sqlite3.Connection:
        connection, (file, key) = self._connection, self._sql
        connection.execute("BEGIN")
        try:
            for number, (uid, created_at, name) in enumerate(self._rows, 1):
                if name is not None:
                    connection.execute(file, (number, name))
                connection.execute(key, (number, uid, _USER, number, created_at))
        except (sqlite3.Error, UnicodeEncodeError, OverflowError):
            connection.execute("ROLLBACK")
            raise BadArgument("a key row is not uid, created_at, key") from None
        return connection

    def __exit__(self, *_: Any) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _connect() -> Tuple[sqlite3.Connection, Tuple[str, str], Dict[str, Any]]:
    """A connection of this thread, its INSERTs of key rows, and the configuration."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _loading.load(connection)
    config = json.loads(_one(connection, "SELECT journal_config()"))
    schema = '"' + config["schema"].replace('"', '""') + '"'
    if config["schema"].lower() != "main":
        connection.execute(f"ATTACH ':memory:' AS {schema}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.executescript(_TABLES.format(schema=schema))
    if config["require_scope"]:
        # All keys that are ever given are this one's.
        _one(connection, "SELECT journal_scope(?)", _USER)
    return connection, (_FILE.format(schema=schema), _KEY.format(schema=schema)), config


def _read(rows: Iterable[KeyRow]) -> List[Tuple[str, float, Any]]:
    """The key rows, each once: a join gives them again for every entry, and NULLs for an entry whose key row is gone."""
    found: Dict[str, Tuple[str, float, Any]] = {}
    for row in rows:
        # A row of sqlite3 is no Mapping, and begins with the columns if the query does.
        values = tuple(row[name] for name in _COLUMNS) if isinstance(row, Mapping) else tuple(row[:3])
        if len(values) != 3 or not isinstance(values[0], (str, type(None))):
            raise BadArgument("a key row is not uid, created_at, key")
        if values[0] is not None:
            uid, created_at, key = values
            found[uid] = (uid, _seconds(created_at), key)
    return list(found.values())


def _seconds(created_at: Any) -> float:
    """Unix seconds of what a database gave: a number, or a time."""
    try:
        return created_at.timestamp() if hasattr(created_at, "timestamp") else float(created_at)
    except (TypeError, ValueError):
        raise BadArgument("the created_at of a key row is no time") from None


def _insert(file_row: Dict[str, Any], key_row: Dict[str, Any], max_age: Optional[float]) -> Tuple[Statement, Statement]:
    uid, user, made = key_row["uid"], key_row["user_id"], key_row["created_at"]
    keys = "SELECT 1 FROM user_journal_master_keys"
    # Any key, or one that is younger. A time far ahead is no youth: a clock that once ran ahead would pin the key.
    other, bounds = ("user_id = ?", (user,))
    if max_age is not None:
        now = time.time()
        other, bounds = "user_id = ? AND created_at > ? AND created_at < ?", (user, now - max_age, now + max_age)
    guard = f"(EXISTS ({keys} WHERE uid = ?) OR NOT EXISTS ({keys} WHERE {other}))"
    file = (
        "INSERT INTO s3_files (uid, key, file_size, content_type, created_at)"
        f" SELECT ?, ?, ?, ?, ? WHERE {guard} ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid",
        (
            file_row["uid"], file_row["key"], file_row["file_size"], file_row["content_type"], file_row["created_at"],
            uid, *bounds,
        ),
    )  # fmt: skip
    key = (
        "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)"
        f" SELECT ?, ?, f.id, ? FROM s3_files AS f WHERE f.uid = ? AND {guard}"
        " ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid",
        (uid, user, made, file_row["uid"], uid, *bounds),
    )
    return file, key


def _one(connection: sqlite3.Connection, sql: str, *values: Any) -> Any:
    return _row(connection, sql, *values)[0]


def _row(connection: sqlite3.Connection, sql: str, *values: Any) -> Any:
    return _all(connection, sql, *values)[0]


def _all(connection: sqlite3.Connection, sql: str, *values: Any) -> List[Any]:
    try:
        return connection.execute(sql, values).fetchall()
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError, UnicodeEncodeError, OverflowError):
        # These quote the value, or its traceback shows it.
        failure = BadArgument("a value of this type cannot be bound")
    except sqlite3.Error as error:
        failure = error_of(str(error))
    raise failure from None
