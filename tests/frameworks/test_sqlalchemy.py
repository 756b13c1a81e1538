"""docs/frameworks/sqlalchemy.md, and what the wheel's module for SQLAlchemy does beside it."""

from .pages import SEALED, program, run, tokens

PAGE, SHOWN = program("sqlalchemy.md")
#: The models alone.
MODELS = PAGE.partition("\n\nwith Session")[0] + """
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, StatementError
def raised(call):
    try: call()
    except Exception as error: return str(getattr(error, "orig", error))
"""

#: What a flush ends with whose entries are not what was sealed.
LATE = (
    "Entry.text, or what it is sealed for, was assigned after the seal: a before_flush that does so listens on Session with insert=True"
)


def test_the_page_gives_what_it_shows(journal, package):
    folder, env = journal
    assert run(PAGE, folder, package, env) == SHOWN != []
    assert tokens(folder) == [SEALED[0], SEALED[0]]


def test_each_connection_has_the_extension_and_both_pragmas_and_no_error_quotes_what_is_bound(ran):
    assert ran("""
with engine.connect() as one, engine.connect() as two:
    for connection in (one, two):
        print(*(connection.scalar(text(f"PRAGMA {name}")) for name in ("foreign_keys", "temp_store")))
    try: one.execute(text("SELECT journal_seal(:user, :text)"), {"user": 1, "text": "Slept well."})
    except StatementError as error: print("Slept well." in str(error))
    try: one.connection.driver_connection.load_extension("anything")
    except sqlite3.OperationalError as error: print(error)
""".replace("with engine", "import sqlite3\nwith engine", 1)) == ["1 2", "1 2", "False", "not authorized"]


def test_a_connection_that_is_opened_in_a_transaction_is_refused_and_not_left_without_foreign_keys(ran):
    assert ran("""
other = create_engine("sqlite:///journal.db")
event.listen(other, "connect", lambda connection, _: connection.execute("BEGIN"))
install(other)
print(raised(other.connect))
""") == ["foreign_keys stays off where a connection is opened in a transaction: begin it afterwards"]


def test_an_assigned_text_is_sealed_once_and_anew_only_where_it_changed(ran):
    assert ran("""
with Session(engine) as session:
    session.add(entry := new_entry(user_id=1, text="first")); session.commit()
    token = entry.token
    entry.created_at = 1.0; session.commit()
    print(entry.token == token, entry.text)
    entry.text = "second"; session.commit()
    print(entry.token == token, entry.text)
    entry.text = "second"; token = entry.token; session.expire_all()
    print(session.scalar(select(Entry.text)), session.scalars(select(Entry.uid).where(Entry.text.contains("eco"))).all() == [entry.uid])
""") == ["True first", "False second", "second True"]


def test_a_text_is_mapped_by_a_mixin_a_table_and_a_dataclass_too(ran):
    assert ran("""
from sqlalchemy import MetaData, Table
from sqlalchemy.orm import MappedAsDataclass, declared_attr, registry
class Journaled:
    __tablename__ = "journal_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("uid")
    owner: Mapped[int] = mapped_column("user_id")
    key_uid: Mapped[str] = mapped_column()
    sealed_text: Mapped[str] = mapped_column("token")
    created_at: Mapped[float] = mapped_column()
    @declared_attr
    def text(cls) -> Mapped[str | None]: return sealed(cls.owner, cls.key_uid, cls.sealed_text, context=("entry:", cls.name))
class Mixed(Journaled, type("Other", (DeclarativeBase,), {})): pass
table = Table("journal_entries", MetaData(), autoload_with=engine).c
class OfTable:
    def __init__(self, **values):
        for name, value in values.items(): setattr(self, name, value)
registry().map_imperatively(
    OfTable, table.id.table, properties={"text": sealed(table.user_id, table.key_uid, table.token, context=("entry:", table.uid))}
)
class Data(MappedAsDataclass, type("Another", (DeclarativeBase,), {})):
    __tablename__ = "journal_entries"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    uid: Mapped[str] = mapped_column()
    user_id: Mapped[int] = mapped_column()
    key_uid: Mapped[str] = mapped_column(init=False)
    token: Mapped[str] = mapped_column(init=False)
    created_at: Mapped[float] = mapped_column()
    text: Mapped[str | None] = sealed(user_id, key_uid, token, context=("entry:", uid), init=True, default=None)
with Session(engine) as session:
    session.add(Mixed(name="m", owner=1, created_at=1.0, text="mixed"))
    session.add(OfTable(uid="t", user_id=1, created_at=2.0, text="of a table"))
    session.add(Data(uid="d", user_id=1, created_at=3.0, text="data"))
    session.commit()
for kind in (Mixed, OfTable, Data):
    with Session(engine) as session: print(*session.scalars(select(kind.text).order_by(kind.created_at)))
""") == ["mixed of a table data"] * 3


def test_a_token_that_was_moved_to_another_row_is_not_read_there(ran):
    assert ran("""
with Session(engine) as session:
    session.add_all([one := new_entry(user_id=1, text="one"), two := new_entry(user_id=1, text="two")]); session.commit()
    session.execute(text("UPDATE journal_entries SET token = :token WHERE id = :id"), {"token": one.token, "id": two.id}); session.commit()
    print(one.text, two.text)
""") == ["one None"]


def test_what_binds_a_token_must_be_there_and_may_not_change_without_its_text(ran):
    assert ran("""
with Session(engine) as session:
    session.add(Entry(user_id=1, text="x"))
    print(raised(session.commit)); session.rollback()
    session.add(new_entry(text="x"))
    print(raised(session.commit)); session.rollback()
    session.add(entry := new_entry(user_id=1, text="x")); session.commit()
    # Not loaded since the commit, so that the old value is not known.
    entry.user_id = 2
    print(raised(session.commit)); session.rollback()
    entry.user_id, entry.text = 2, "x"; session.commit()
    print(entry.text, entry.key_uid)
""") == [
        *["Entry.text is sealed before the INSERT: user_id and uid must be set by then, not by the database or a default"] * 2,
        "Entry.text is sealed for its user_id and uid: assign it anew where one of these changes", "x oseh_ujmk_2",
    ]  # fmt: skip


def test_a_text_that_is_assigned_after_the_seal_ends_the_flush_and_one_before_it_is_sealed(ran):
    assert ran("""
def late(session, *_):
    for entry in [*session.new, *session.dirty]:
        for name, value in session.info.items(): setattr(entry, name, value)
def flushed(**late):
    with Session(engine, info=late) as session:
        session.add(new_entry(user_id=1, text="first"))
        print(raised(session.commit)); session.rollback()
        entry = session.scalars(select(Entry)).first()
        entry.created_at = 1.0
        print(raised(session.commit)); session.rollback()
        print(entry.user_id, entry.text)
with Session(engine) as session: session.add(new_entry(user_id=1, text="before")); session.commit()
event.listen(Session, "before_flush", late)
flushed(text="late"), flushed(user_id=2)
event.remove(Session, "before_flush", late)
event.listen(Session, "before_flush", late, insert=True)
flushed(text="early")
event.listen(Entry, "before_update", lambda _, __, entry: setattr(entry, "text", "later still"))
flushed()
""") == [
        *[LATE, LATE, "1 before"],
        *[LATE, "Entry.text is sealed for its user_id and uid: assign it anew where one of these changes", "1 before"],
        *["None", "None", "1 early"],
        *["None", LATE, "1 early"],
    ]  # fmt: skip


def test_what_passes_the_flush_by_stores_no_text(ran):
    assert ran("""
from sqlalchemy import insert, update
with Session(engine) as session:
    session.add(entry := new_entry(user_id=1, text="first")); session.commit()
    values = {"uid": "x", "user_id": 1, "key_uid": "", "token": "", "text": "second"}
    session.execute(insert(Entry), [values])
    session.execute(update(Entry), [{"id": entry.id, "text": "second"}])
    print(raised(lambda: session.execute(update(Entry).values(text="second"))))
    print(*session.scalars(select(Entry.text)), "second" in str(session.execute(text("SELECT * FROM journal_entries")).all()))
""") == ["Unconsumed column names: text", "first None False"]


def test_an_entry_that_is_added_after_the_seal_is_refused_with_its_text_and_taken_with_a_token(ran):
    assert ran("""
@event.listens_for(Session, "before_flush")
def late(session, *_): session.add_all(session.info.pop("late", []))
def flushed(entry):
    with Session(engine, info={"late": [entry]}) as session:
        session.add(new_entry(user_id=1, text="first"))
        print(raised(session.commit))
flushed(new_entry(user_id=1, key_uid="", token="", text="late")), flushed(new_entry(user_id=1, key_uid="", token=""))
with Session(engine) as session: print(*session.scalars(select(Entry.text)))
""") == [LATE, "None", "first None"]


def test_an_entry_that_is_given_to_another_user_by_a_relationship_needs_its_text_anew(ran):
    assert ran("""
with Session(engine) as session:
    session.add(new_entry(user_id=1, user=session.get(User, 2), text="x"))
    print(raised(session.commit)); session.rollback()
    session.add(entry := new_entry(user_id=1, text="x")); session.commit()
    entry.user = session.get(User, 2)
    print(raised(session.commit)); session.rollback()
    entry.user_id, entry.user, entry.text = 2, session.get(User, 2), "x"
    print(raised(session.commit), entry.text, entry.key_uid)
""") == [LATE, "Entry.text is sealed for its user_id and uid: assign it anew where one of these changes", "None x oseh_ujmk_2"]


def test_a_key_that_is_gone_makes_the_text_none_and_an_outage_raises(ran, key_store):
    write = "\nwith Session(engine) as session: session.add(new_entry(user_id=1, text='x')); session.commit()\n"
    read = "\nwith Session(engine) as session: print(session.scalar(select(Entry.text)))\n"
    assert ran(write + read) == ["x"]
    outage = "\nwith Session(engine) as session: print(raised(lambda: session.scalar(select(Entry.text))).split(': ')[1])\n"
    store = {"JOURNAL_KEY_STORE": f"file://{key_store.root}/absent"}
    assert ran(outage, **store) == ["store_unavailable"]
    next(key_store.root.rglob("oseh_ujmk_1")).unlink()
    assert ran(read) == ["None"]


def test_a_deferred_text_is_opened_where_it_is_asked_for(ran, key_store):
    deferred = """
class Deferred(type("Other", (DeclarativeBase,), {})):
    __table__ = Entry.__table__
    text = sealed(__table__.c.user_id, __table__.c.key_uid, __table__.c.token, deferred=True)
with Session(engine) as session:
    [read] = session.scalars(select(Deferred))
    print(read.user_id, raised(lambda: read.text).split(": ")[1])
"""
    assert ran("with Session(engine) as session: session.add(new_entry(user_id=1, text='x')); session.commit()") == []
    assert ran(deferred, JOURNAL_KEY_STORE=f"file://{key_store.root}/absent") == ["1 store_unavailable"]


def test_a_session_for_one_user_reads_no_others_and_its_connection_serves_the_next(ran):
    assert ran("""
def read(user):
    with Session(engine) as session:
        use_scope(session, user)
        print(raised(lambda: session.scalars(select(Entry.text)).all()))
        # A savepoint, and a connection taken anew.
        session.rollback()
        with session.begin_nested():
            print(session.scalar(select(Entry.text).where(Entry.user_id == user)))
        print(raised(lambda: use_scope(session, 2)))
for user in (1, 2):
    with Session(engine) as session:
        use_scope(session, user); session.add(new_entry(user_id=user, text=f"of {user}")); session.commit()
read(1), read(2)
with Session(engine) as session:
    print(raised(lambda: session.scalars(select(Entry.text)).all()))
""", JOURNAL_REQUIRE_SCOPE="1") == [
        *["journal_try_decrypt: out_of_scope: the scope of this connection is another user's", "of 1",
          "a session is given its scope once, before its first statement"],
        *["journal_try_decrypt: out_of_scope: the scope of this connection is another user's", "of 2",
          "a session is given its scope once, before its first statement"],
        "journal_try_decrypt: out_of_scope: JOURNAL_REQUIRE_SCOPE is set, and this connection has no scope: begin one with journal_scope",
    ]  # fmt: skip


def test_a_session_that_is_given_a_connection_in_another_users_scope_is_refused(ran):
    assert ran("""
for user in (1, 2):
    with Session(engine) as session: session.add(new_entry(user_id=user, text=f"of {user}")); session.commit()
def read(connection, user, of):
    with Session(connection) as session:
        use_scope(session, user)
        return raised(lambda: print(session.scalar(select(Entry.text).where(Entry.user_id == of))))
with engine.connect() as connection:
    read(connection, 1, 1), read(connection, 1, 1)
    print(read(connection, 2, 1))
with engine.connect() as connection: read(connection, 2, 2)
""") == ["of 1", "of 1", "this connection is in another user's scope until it goes back to the pool", "of 2"]


def test_a_text_that_was_rolled_back_is_not_there_and_one_that_was_refused_can_be_tried_again(ran):
    assert ran("""
with Session(engine) as session:
    session.add(entry := new_entry(user_id=1, text="first")); session.commit()
    entry.text = "second"; session.flush(); session.rollback()
    print(entry.text)
    with session.begin_nested() as savepoint: entry.text = "third"; session.flush(); savepoint.rollback()
    print(entry.text)
    session.add(entry := new_entry(user_id=3, text="fourth"))
    print(raised(session.commit)); session.rollback()
    entry.user_id = 1; session.add(entry); session.commit()
    print(*session.scalars(select(Entry.text).order_by(Entry.id)))
""") == ["first", "first", "journal_seal: no_key: user 3 has no key", "first fourth"]


def test_async_sessions_seal_open_and_have_scopes_too(ran):
    assert ran("""
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
async def main():
    engine = create_async_engine("sqlite+aiosqlite:///journal.db", pool_size=1, max_overflow=0)
    install(engine)
    for user in (1, 2):
        async with AsyncSession(engine) as session:
            use_scope(session, user)
            session.add(new_entry(user_id=user, text=f"of {user}"))
            await session.commit()
            print(*(await session.scalars(select(Entry.text).where(Entry.user_id == user))).all())
    async with AsyncSession(engine) as session:
        print(*(await session.scalars(select(Entry.text))).all())
    await engine.dispose()
asyncio.run(main())
""") == ["of 1", "of 2", "of 1 of 2"]
