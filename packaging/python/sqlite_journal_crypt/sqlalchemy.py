"""SQLAlchemy 2: the extension on every connection of an engine, attributes that are sealed on flush and opened on load, and
sessions for one user."""

from typing import Any, Iterator, List, Optional, Tuple

from sqlalchemy import String, event, func, literal
from sqlalchemy.orm import MANYTOONE, InstanceState, Mapper, Session, column_property

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
def _seal(session: Session, flush: Any, _: Any) -> None:
    for attribute in _sealed_of(session):
        values = flush.attributes[attribute] = _assigned(*attribute)
        if values is not None:
            _seal_one(session, values, *attribute)


@event.listens_for(Session, "after_flush")
def _check(session: Session, flush: Any) -> None:
    """Ends a flush whose entries are not what was sealed: whoever listens after `_seal`, or a relationship, has changed them."""
    for attribute in _sealed_of(session):
        if flush.attributes.get(attribute) != _assigned(*attribute):
            raise ValueError(
                f"{_named(*attribute)}, or what it is sealed for, was assigned after the seal: a before_flush that does so"
                " listens on Session with insert=True"
            )


def _sealed_of(session: Session) -> Iterator[Tuple[InstanceState, str]]:
    """State and attribute of each text of an entry that a flush may write."""
    for entry in [*session.new, *session.dirty]:
        for attribute in entry.__mapper__.column_attrs:
            if _SEALED in attribute.info:
                yield entry._sa_instance_state, attribute.key


def _named(state: InstanceState, name: str) -> str:
    return f"{state.class_.__name__}.{name}"


def _assigned(state: InstanceState, name: str) -> Optional[Tuple[Any, ...]]:
    """What is sealed: user, text and, where there is one, the context; of no text nothing. None where none was assigned."""
    mapper, entry, named = state.mapper, state.obj(), _named(state, name)
    user_id, _, _, context = mapper.attrs[name].info[_SEALED]
    user = _key(mapper, user_id)
    bound = [user] + ([] if context is None else [_key(mapper, context[1])])
    if not state.attrs[name].history.added:
        # Where the old value was not loaded, the new one is all that tells of a change.
        if state.persistent and any(state.attrs[key].history.added for key in bound):
            raise ValueError(f"{named} is sealed for its {' and '.join(bound)}: assign it anew where one of these changes")
        return None
    text = getattr(entry, name)
    if text is None:
        return ()
    values: List[Any] = [_user_of(mapper, entry, user), text]
    if context is not None:
        row = getattr(entry, bound[1])
        values.append(None if row is None else f"{context[0]}{row}")
    if None in values:
        raise ValueError(f"{named} is sealed before the INSERT: {' and '.join(bound)} must be set by then, not by the database or a default")
    return tuple(values)


def _seal_one(session: Session, values: Tuple[Any, ...], state: InstanceState, name: str) -> None:
    mapper, entry = state.mapper, state.obj()
    _, key_uid, token, _ = mapper.attrs[name].info[_SEALED]
    sealed: Any = (None, None)
    if values:
        marks = ", ".join("?" * len(values))
        connection = session.connection(bind_arguments={"mapper": mapper})
        sealed = connection.exec_driver_sql(f"SELECT key_uid, token FROM journal_seal({marks})", values).one()
    setattr(entry, _key(mapper, key_uid), sealed[0])
    setattr(entry, _key(mapper, token), sealed[1])


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
