"""The sealer of the wheel: sealing in a process of its own, over key rows that some database gave."""

import os
import subprocess
import sys
import textwrap

import pytest

from conftest import PREFIX, ROOT
from servers.faults import BlackHole, always
from stores import opened

OLD, NEW = "oseh_ujmk_old", "oseh_ujmk_new"
HEAD = f"""
import asyncio, datetime, json, os, sqlite3, sys, threading, time, uuid
import sqlite_journal_crypt as journal
from sqlite_journal_crypt import *
P = {PREFIX!r}
OLD, NEW = (({OLD!r}, 1.0, P + {OLD!r}), ({NEW!r}, 2.0, P + {NEW!r}))
def raised(call, *arguments, **named):
    try: call(*arguments, **named)
    except JournalError as error: return error
    raise AssertionError("no error")
class Rows:
    "The two tables in a database of the application's own, and the statements of a NewKey run there."
    def __init__(self):
        self.database = sqlite3.connect("app.db", timeout=30, check_same_thread=False, isolation_level=None)
    def write(self, new_key):
        self.database.execute("BEGIN IMMEDIATE")
        changed = [self.database.execute(*statement).rowcount for statement in new_key.statements]
        self.database.execute("COMMIT")
        return changed
    def read(self, user):
        return self.database.execute(Sealer.KEYS_SQL, (user,)).fetchall()
"""


@pytest.fixture
def application(package, tmp_path):
    """Runs a script as an application's process; what it printed, by line."""

    def run(script, store, **env):
        env = {**os.environ, **store.env, "PYTHONPATH": str(package), **env}
        script = HEAD + textwrap.dedent(script)
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def keys(key_store):
    for uid in (OLD, NEW):
        key_store.write(uid)
    return key_store


def app_database(folder):
    with sqlite_of(folder / "app.db") as connection:
        connection.executescript((ROOT / "sql" / "schema.sql").read_text())
        connection.execute("INSERT INTO users VALUES (7, 'oseh_u_7', 0)")


def sqlite_of(path):
    import sqlite3

    return sqlite3.connect(path)


def test_what_is_sealed_under_the_newest_key_opens_with_the_same_rows_in_any_form(application, keys):
    application(
        """
        sealer = Sealer()
        mappings = [dict(zip(("uid", "created_at", "key", "more"), (*row, 3))) for row in (OLD, NEW)]
        times = [(uid, datetime.datetime.fromtimestamp(at), key) for uid, at, key in (OLD, NEW)]
        for rows in ([OLD, NEW], [NEW, OLD], (OLD, NEW, OLD, (None, None, None)), iter(mappings), times):
            sealed = sealer.seal(rows, "dear diary")
            assert sealed.key_uid == "oseh_ujmk_new" and sealed == (sealed.key_uid, sealed.token)
            assert sealer.open([OLD, NEW], [sealed, (None, sealed.token), (NEW[0], None)]) == ["dear diary"] * 2 + [None]
            assert sealer.check([OLD, NEW], [sealed, (OLD[0], sealed.token)]) == ["ok", "token_invalid"]
        item = sealer.seal_item([NEW], {"mood": 7, "text": "F\\u00f6g"})
        assert sealer.open_items([OLD, NEW], [item, (OLD[0], item.token)]) == [{"mood": 7, "text": "F\\u00f6g"}, None]
        assert sealer.seal([OLD], b"bytes").key_uid == OLD[0]
        """,
        keys,
    )


def test_a_row_that_is_not_given_ends_reading_however_warm_its_key_is(application, keys):
    application(
        """
        sealer = Sealer()
        sealed = sealer.seal([NEW], "dear diary")
        assert sealer.is_warm([NEW])
        assert sealer.open([OLD], [sealed]) == [None] and sealer.open([], [sealed]) == [None]
        assert sealer.check([OLD], [sealed]) == ["key_not_found"] and sealer.check([], [sealed]) == ["key_not_found"]
        assert sealer.is_warm([NEW])
        assert sealer.open([NEW], [sealed]) == ["dear diary"]
        """,
        keys,
    )


def test_each_error_word_is_a_class_and_none_tells_a_secret(application, keys):
    keys.write("oseh_ujmk_bad", "no key at all")
    application(
        """
        sealer, secret = Sealer(), "dear diary"
        sealed = sealer.seal([NEW], secret)
        lost, bad = ("oseh_ujmk_lost", 3.0, P + "oseh_ujmk_lost"), ("oseh_ujmk_bad", 3.0, P + "oseh_ujmk_bad")
        no_file = ("oseh_ujmk_nofile", 3.0, None)
        for row in (lost, no_file):
            assert sealer.open([row], [(row[0], sealed.token)]) == [None]
        raised_here = [
            (raised(sealer.seal, [], secret), NoKey), (raised(sealer.seal, [lost], secret), KeyLost),
            (raised(sealer.seal, [no_file], secret), KeyLost),
            (raised(sealer.seal, [bad], secret), KeyInvalid), (raised(sealer.seal, [NEW], None), BadArgument),
            (raised(sealer.seal, [NEW], {secret: secret}), BadArgument),
            (raised(sealer.seal, [NEW], secret + "\\ud800"), BadArgument),
            (raised(sealer.seal, [("x",)], secret), BadArgument), (raised(sealer.seal, [(1, 2, 3)], secret), BadArgument),
            (raised(sealer.seal, [(NEW[0], "soon", secret)], secret), BadArgument),
            (raised(sealer.open, [NEW], [sealer.seal([NEW], b"\\xff")]), NotUtf8),
            (raised(sealer.open_items, [NEW], [sealed]), NotItem),
            (raised(sealer.new_key, 7), JournalError),
        ]
        for error, cls in raised_here:
            assert type(error) is cls and isinstance(error, JournalError), (error, cls)
            assert secret not in repr(error) and sealed.token not in repr(error)
            assert error.__context__ is None or secret not in repr(error.__context__)
        assert {cls.word for cls in JournalError.__subclasses__()} == set(journal.errors.WORDS)
        # Nothing is left open by what failed.
        assert sealer.open([NEW], [sealed]) == [secret]
        """,
        keys,
    )


def test_the_classes_are_the_words_of_the_reference():
    page = (ROOT / "docs" / "errors.md").read_text()
    documented = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    source = (ROOT / "packaging" / "python" / "sqlite_journal_crypt" / "errors.py").read_text()
    assert {line.split('"')[1] for line in source.splitlines() if line.startswith("    word = ")} == documented


def test_a_required_scope_is_that_of_the_one_user_of_a_sealer(application, keys):
    application(
        """
        sealer = Sealer()
        sealed = sealer.seal([NEW], "dear diary")
        assert sealer.open([NEW], [sealed]) == ["dear diary"] and sealer.check([OLD], [sealed]) == ["key_not_found"]
        sealer.discard(sealer.new_key("a-uuid"))
        other = sealer.seal([OLD], "dear diary")
        assert sealer.is_warm([OLD]) and sealer.is_warm([NEW]) and sealer.is_warm([OLD, NEW])
        assert sealer.evict(NEW[0]) and not sealer.evict(NEW[0])
        assert sealer.is_warm([OLD]) and not sealer.is_warm([NEW])
        """,
        keys, JOURNAL_REQUIRE_SCOPE="1", JOURNAL_ADMIN="create",
    )  # fmt: skip


def test_an_outage_raises_and_is_never_a_none(application, request):
    with opened("rclone", request) as bucket:
        bucket.write(NEW)
        bucket.proxy.faults = always(BlackHole())
        application(
            """
            sealer = Sealer()
            assert type(raised(sealer.open, [NEW], [(NEW[0], sys.argv[0] or "x")])) in (TokenInvalid, StoreUnavailable)
            error = raised(sealer.seal, [NEW], "dear diary")
            assert type(error) is StoreUnavailable and not sealer.is_warm([NEW]), error
            """,
            bucket, JOURNAL_FETCH_TIMEOUT="1",
        )  # fmt: skip


def test_threads_share_a_sealer(application, keys):
    application(
        """
        sealer, failed = Sealer(), []
        def work(number):
            rows = [OLD] if number % 2 else [OLD, NEW]
            try:
                for turn in range(200):
                    sealed = sealer.seal(rows, f"{number} {turn}")
                    assert sealed.key_uid == rows[-1][0]
                    assert sealer.open(rows, [sealed]) == [f"{number} {turn}"]
            except BaseException as error: failed.append(error)
        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failed, failed
        """,
        keys,
    )


def test_the_key_tables_may_be_of_another_schema(application, keys):
    application(
        'assert Sealer().open([NEW], [Sealer().seal([NEW], "dear diary")]) == ["dear diary"]', keys, JOURNAL_SCHEMA="app's \"keys\""
    )


@pytest.mark.parametrize("kind", ["directory", "rclone", "ceph versioned"])
def test_of_racing_writers_without_a_key_one_keeps_its_key_and_the_others_leave_no_object(kind, application, request, tmp_path):
    app_database(tmp_path)
    with opened(kind, request) as store:
        [uid] = application(
            """
            sealer, rows, kept, lock, failed = Sealer(), Rows(), [], threading.Lock(), []
            together = threading.Barrier(50)
            def write():
                try:
                    made = sealer.new_key(7)
                    together.wait()
                    with lock: changed = rows.write(made)
                    if changed == [1, 1]: kept.append(made.uid)
                    else:
                        assert changed == [0, 0], changed
                        with lock: now = rows.read(7)
                        sealer.discard(made, now)
                    with lock: now = rows.read(7)
                    assert sealer.open(now, [sealer.seal(now, "dear diary")]) == ["dear diary"]
                except BaseException as error: failed.append(error); together.abort()
            threads = [threading.Thread(target=write) for _ in range(50)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert not failed, failed
            assert len(kept) == 1 and [row[0] for row in rows.read(7)] == kept
            print(*kept)
            """,
            store, JOURNAL_ADMIN="create", JOURNAL_FETCH_TIMEOUT="60",
        )  # fmt: skip
        assert store.uids() == {uid}
        if store.versioned:
            assert store.versions(uid) == (1, 0)


def test_a_key_that_is_in_use_is_not_discarded_though_its_insert_was_sent_twice(application, key_store, tmp_path):
    app_database(tmp_path)
    application(
        """
        sealer, rows = Sealer(), Rows()
        made = sealer.new_key(7)
        # The answer to the first was lost: sent again, it says the same.
        assert rows.write(made) == [1, 1] and rows.write(made) == [1, 1]
        assert len(rows.read(7)) == 1
        refused = f'journal_discard_key: bad_argument: key "{made.uid}" is not discarded: '
        assert str(raised(sealer.discard, made, rows.read(7))) == refused + "there is a row for it"
        # With a younger one there as well, sent again, it still tells that its row is there.
        other = sealer.new_key(7, rows.read(7), max_age=0)
        assert rows.write(other) == [1, 1] and rows.write(made) == [1, 1]
        assert max(rows.read(7), key=lambda row: row[1])[0] == other.uid
        sealed = sealer.seal([row for row in rows.read(7) if row[0] == made.uid], "dear diary")
        error = str(raised(sealer.discard, made))
        assert error.startswith(refused + "this process did not make it"), error
        assert sealer.open(rows.read(7), [sealed]) == ["dear diary"]
        # A key that this process did not make.
        stranger = NewKey({}, {"uid": "oseh_ujmk_stranger"}, ())
        assert type(raised(sealer.discard, stranger)) is BadArgument
        """,
        key_store, JOURNAL_ADMIN="create",
    )  # fmt: skip
    assert len([path for path in key_store.root.rglob("oseh_*")]) == 2


def test_a_key_is_made_where_the_newest_is_older_than_the_age_and_comes_after_it(application, key_store, tmp_path):
    app_database(tmp_path)
    application(
        """
        sealer, rows = Sealer(), Rows()
        first = sealer.new_key(7)
        assert rows.write(first) == [1, 1]
        for age in (None, 3600):
            made = sealer.new_key(7, rows.read(7), max_age=age)
            assert rows.write(made) == [0, 0]
            sealer.discard(made, rows.read(7))
        # A clock ran a year ahead: that key is no young one, and the next comes after it.
        rows.database.execute("UPDATE user_journal_master_keys SET created_at = created_at + 31536000")
        made = sealer.new_key(7, rows.read(7), max_age=3600)
        assert rows.write(made) == [1, 1]
        assert sealer.seal(rows.read(7), "dear diary").key_uid == made.uid
        assert rows.database.execute("SELECT count(*) FROM s3_files").fetchone() == (2,)
        """,
        key_store, JOURNAL_ADMIN="create",
    )  # fmt: skip
    assert len([path for path in key_store.root.rglob("oseh_*")]) == 2


def test_who_may_make_keys_cannot_shred_one_and_the_configuration_tells(application, keys):
    application(
        """
        connection = sqlite3.connect(":memory:")
        load(connection)
        [[config]] = connection.execute("SELECT journal_config()")
        assert json.loads(config)["admin"] == "create", config
        names = {name for [name] in connection.execute("SELECT name FROM pragma_function_list WHERE name LIKE 'journal%key'")}
        assert names == {"journal_create_key", "journal_rotate_key", "journal_discard_key"}, names
        """,
        keys, JOURNAL_ADMIN="create",
    )  # fmt: skip


def test_the_user_may_be_of_any_type(application, key_store):
    application(
        """
        user = uuid.uuid4()
        made = Sealer().new_key(user)
        assert made.key_row["user_id"] is user and user in made.statements[1][1]
        """,
        key_store, JOURNAL_ADMIN="create",
    )  # fmt: skip


def test_tasks_of_warm_users_go_on_while_the_store_is_silent_for_the_others(application, request):
    """The silence lasts until the warm have done their work: were one of them to wait for it, none would end it."""
    with opened("rclone", request) as bucket:
        for uid in (OLD, NEW):
            bucket.write(uid)
        bucket.proxy.faults = lambda request: BlackHole() if request.target.endswith("silent") else None
        [warm] = application(
            """
            async def main():
                sealer = AsyncSealer()
                sealed = await sealer.seal([NEW], "dear diary")
                assert sealer.is_warm([NEW]) and not sealer.is_warm([OLD])
                cold = [(f"oseh_ujmk_{n}_silent", 1.0, P + f"oseh_ujmk_{n}_silent") for n in range(50)]
                waiting = [asyncio.create_task(sealer.seal([row], "x")) for row in cold]
                await asyncio.sleep(0)
                done = 0
                async def user():
                    nonlocal done
                    for _ in range(20):
                        assert await sealer.open([NEW], [sealed]) == ["dear diary"]
                        assert (await sealer.seal([OLD, NEW], "x")).key_uid == NEW[0]
                        done += 1
                        await asyncio.sleep(0)
                await asyncio.gather(*[user() for _ in range(50)])
                assert not any(task.done() for task in waiting)
                outcomes = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}, outcomes
                assert sealer.evict(NEW[0]) and not sealer.is_warm([NEW])
                sealer.close()
                print(done)
            asyncio.run(main())
            """,
            bucket, JOURNAL_FETCH_TIMEOUT="5",
        )  # fmt: skip
        assert warm == "1000"
