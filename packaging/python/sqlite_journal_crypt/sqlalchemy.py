"""SQLAlchemy 2: the extension on every connection of an engine, attributes that are sealed on flush and opened on load, and
sessions for one user."""

from typing import Any, Iterator, List, Optional, Tuple

from sqlalchemy import String, event, func, literal
from sqlalchemy.orm import MANYTOONE, Mapper, Session, column_property

from ._loading import load

_SEALED = "sqlite_journal_crypt.sealed"
_USER = "sqlite_journal_crypt.user"
_SCOPE = "sqlite_journal_crypt.scope"


def install(engine: Any) -> None:
    """Loads the extension on every connection that `engine` opens from now on, and sets both pragmas. An async engine too.

    It switches `hide_parameters` on, or exceptions and the log would quote the plaintext of a statement that fails.
    """
    engine = getattr(engine, "sync_engine", engine)
    engine.hide_parameters = True
    event.listen(engine, "connect", _connect)
    event.listen(engine, "reset", _end_scope)


def sealed(user_id: Any, key_uid: Any, token: Any, *, context: Optional[Tuple[str, Any]] = None, **options: Any) -> Any:
    """A mapped attribute: the text whose key and token are in these columns.

    A SELECT opens it with its row; None is a text that can never be read again. What is assigned is sealed at the next
    flush, before its first INSERT, under the user's newest key. `context` is a prefix and a column, which together bind the
    token to its row: `("journal_entries.token:", uid)`. The options are those of `column_property`, such as `deferred`.
    """
    arguments = [user_id, key_uid, token]
    if context is not None:
        arguments.append(literal(context[0], String).concat(context[1]))
    info = {_SEALED: (user_id, key_uid, token, context)}
    return column_property(func.journal_try_decrypt(*arguments, type_=String()), info=info, **options)


def use_scope(session: Any, user_id: Any) -> None:
    """From now on the connections of this session use this user's keys alone; any other user is `out_of_scope`.

    It holds for the session's life. A connection leaves the scope when it goes back to the pool. Refused where the session
    has begun, or is another user's.
    """
    session = getattr(session, "sync_session", session)
    if session.in_transaction() or session.info.get(_USER, user_id) != user_id:
        raise RuntimeError("a session is given its scope once, before its first statement")
    session.info[_USER] = user_id


def _connect(connection: Any, _: Any) -> None:
    load(connection)
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.execute("PRAGMA foreign_keys")
    [is_on] = cursor.fetchone()
    cursor.close()
    if not is_on:
        raise RuntimeError("foreign_keys stays off where a connection is opened in a transaction: begin it afterwards")


@event.listens_for(Session, "after_begin")
def _begin_scope(session: Session, _: Any, connection: Any) -> None:
    if _USER not in session.info:
        return
    user_id = session.info[_USER]
    if _SCOPE not in connection.info:
        given = connection.exec_driver_sql("SELECT journal_scope(?)", (user_id,))
        connection.info[_SCOPE] = (user_id, given.scalar_one())
    # A savepoint begins on a connection that has its scope; so does a session that was given a connection.
    elif connection.info[_SCOPE][0] != user_id:
        raise RuntimeError("this connection is in another user's scope until it goes back to the pool")


def _end_scope(connection: Any, record: Any, state: Any) -> None:
    _, nonce = record.info.pop(_SCOPE, (None, None))
    # One that cannot be awaited any more is closed, and not used again.
    if nonce is None or not state.asyncio_safe:
        return
    cursor = connection.cursor()
    cursor.execute("SELECT journal_scope(NULL, ?)", (nonce,))
    cursor.close()


@event.listens_for(Session, "before_flush")
def _seal(session: Session, _: Any, __: Any) -> None:
    for entry in [*session.new, *session.dirty]:
        mapper: Mapper = entry.__mapper__
        for name, columns in _sealed_of(mapper):
            _seal_one(session, mapper, entry, name, *columns)


def _sealed_of(mapper: Mapper) -> Iterator[Tuple[str, Tuple[Any, ...]]]:
    for attribute in mapper.column_attrs:
        if _SEALED in attribute.info:
            yield attribute.key, attribute.info[_SEALED]


def _seal_one(
    session: Session, mapper: Mapper, entry: Any, name: str, user_id: Any, key_uid: Any, token: Any, context: Any
) -> None:
    state = entry._sa_instance_state
    named = f"{mapper.class_.__name__}.{name}"
    user = _key(mapper, user_id)
    bound = [user] + ([] if context is None else [_key(mapper, context[1])])
    if not state.attrs[name].history.added:
        # Where the old value was not loaded, the new one is all that tells of a change.
        if state.persistent and any(state.attrs[key].history.added for key in bound):
            raise ValueError(f"{named} is sealed for its {' and '.join(bound)}: assign it anew where one of these changes")
        return
    text = getattr(entry, name)
    if text is None:
        setattr(entry, _key(mapper, key_uid), None)
        setattr(entry, _key(mapper, token), None)
        return
    values: List[Any] = [_user_of(mapper, entry, user), text]
    if context is not None:
        row = getattr(entry, bound[1])
        values.append(None if row is None else f"{context[0]}{row}")
    if None in values:
        raise ValueError(f"{named} is sealed before the INSERT: {' and '.join(bound)} must be set by then, not by the database or a default")
    marks = ", ".join("?" * len(values))
    connection = session.connection(bind_arguments={"mapper": mapper})
    row = connection.exec_driver_sql(f"SELECT key_uid, token FROM journal_seal({marks})", tuple(values)).one()
    setattr(entry, _key(mapper, key_uid), row[0])
    setattr(entry, _key(mapper, token), row[1])


def _key(mapper: Mapper, column: Any) -> str:
    """The attribute that a column is mapped to."""
    return mapper.get_property_by_column(column.__clause_element__()).key


def _user_of(mapper: Mapper, entry: Any, user: str) -> Any:
    """The user's id, also where a relationship alone says who it is and the flush is still to copy the id."""
    found = getattr(entry, user)
    if found is not None:
        return found
    column = mapper.columns[user]
    for relation in mapper.relationships:
        for local, remote in relation.local_remote_pairs:
            other = getattr(entry, relation.key) if relation.direction is MANYTOONE and local is column else None
            if other is not None:
                return getattr(other, relation.mapper.get_property_by_column(remote).key)
    return None
