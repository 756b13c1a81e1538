"""Keys that are created and rotated on both stores: what comes of it and what is refused."""

import json
import os
import re
import signal
import stat
import subprocess
from contextlib import ExitStack
from threading import Event

import pytest

from conftest import LIBRARY, PREFIX, SQLITE3, native, run_shell, unix
from host import Host
from servers.faults import ACCESS_DENIED, INTERNAL_ERROR, NO_SUCH_KEY, BlackHole, Close, always
from stores import ADMIN, Folder, admin, rows


def test_the_functions_are_there_only_for_an_administrator(users, key_store):
    with Host(users.path, key_store.env) as host:
        for call in ("journal_create_key(1)", "journal_rotate_key(1)", "journal_rotate_key(1, 0)", "journal_shred_key(1, 'x')"):
            assert host.error(f"SELECT {call}").startswith("no such function: journal_")


def test_a_rotated_key_is_the_current_one_and_its_rows_name_its_object(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        assert re.fullmatch(r"oseh_ujmk_[A-Za-z0-9_-]{22}", uid)
        assert host.value("SELECT journal_key_uid(1)") == uid
        [[key_uid, user, created_at, file_uid, name, size, kind, file_created_at]] = rows(users)
        assert (key_uid, user, name, size, kind) == (uid, 1, PREFIX + uid, 44, "text/plain")
        assert re.fullmatch(r"oseh_s3f_[A-Za-z0-9_-]{22}", file_uid)
        assert created_at == file_created_at and abs(created_at - host.value("SELECT unixepoch('now')")) < 60
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}=", store.read(uid))
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        newer = host.value("SELECT journal_rotate_key(1)")
        assert newer != uid and store.read(newer) != store.read(uid)
        assert host.value("SELECT journal_key_uid(1)") == newer
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
        # From one SELECT, a key for every user.
        assert len(host.run("SELECT journal_rotate_key(id) FROM users")) == 3
        assert len(rows(users)) == 5 and store.uids() == {row[0] for row in rows(users)}


@native
def test_the_newest_sqlite_rotates_and_shreds_too(users, bucket):
    with Host(users.path, {**bucket.env, **ADMIN}, module="apsw") as host:
        assert len(host.run("SELECT journal_rotate_key(id) FROM users")) == 3
        uid = host.value("SELECT journal_rotate_key(1)")
        assert host.value("SELECT journal_key_uid(1)") == uid
        for sql, error in REFUSED.items():
            assert error in host.error(sql)
        assert host.value("SELECT json_extract(json_object('x', journal_shred_key(1, ?)), '$.x.gone')", uid) == 1
    assert len(rows(users)) == 4 and bucket.versions(uid) == (0, 0)


@native
def test_a_rotation_can_be_interrupted_while_the_store_is_silent(users, bucket):
    bucket.proxy.faults = always(BlackHole())
    shell = subprocess.Popen(
        [SQLITE3, "-init", os.devnull, "-batch", "-cmd", f'.load "{LIBRARY.with_suffix("")}"', users.path, "SELECT journal_rotate_key(1)"],
        env={**os.environ, **bucket.env, **ADMIN, "JOURNAL_FETCH_TIMEOUT": "600"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    while not bucket.proxy.in_flight:
        assert shell.poll() is None
    shell.send_signal(signal.SIGINT)
    assert "interrupt" in shell.communicate(timeout=30)[1]
    assert rows(users) == []


@unix
def test_a_new_file_is_its_owner_s_alone(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
    assert stat.S_IMODE((store.root / (PREFIX + uid)).stat().st_mode) == 0o600


def test_what_create_gives_makes_two_rows_and_it_writes_none(users, store):
    with admin(users, store) as host:
        made = json.loads(host.value("SELECT journal_create_key(2)"))
        assert rows(users) == []
        key, file = made["user_journal_master_keys"], made["s3_files"]
        with users.writing() as connection:
            connection.execute(
                "INSERT INTO s3_files (uid, key, file_size, content_type, created_at)"
                " VALUES (:uid, :key, :file_size, :content_type, :created_at)", file,
            )
            connection.execute(
                "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)"
                " SELECT :uid, :user_id, id, :created_at FROM s3_files WHERE uid = :file", {**key, "file": file["uid"]},
            )
        assert host.value("SELECT journal_decrypt(2, ?, journal_encrypt(2, 'dear diary'))", key["uid"]) == "dear diary"
        assert store.read(key["uid"]) not in json.dumps(made)
        assert host.value("SELECT json_type(json_object('x', journal_create_key(2)), '$.x')") == "object"


def test_a_young_key_stays(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1, 2592000)")
        assert host.value("SELECT journal_rotate_key(1, 2592000)") == uid
        with users.writing() as connection:
            connection.execute("UPDATE user_journal_master_keys SET created_at = created_at - 2592001")
        assert host.value("SELECT journal_rotate_key(1, 2592000)") != uid
        assert store.uids() == {row[0] for row in rows(users)}


def test_a_clock_that_ran_ahead_does_not_keep_an_old_key_in_front(users, store):
    with admin(users, store) as host:
        old = host.value("SELECT journal_rotate_key(1)")
        with users.writing() as connection:
            connection.execute("UPDATE user_journal_master_keys SET created_at = 4e9")
        # Nor does asking for an age: a key from a far future is not young.
        new = host.value("SELECT journal_rotate_key(1, 30 * 86400)")
        assert host.value("SELECT journal_key_uid(1)") == new
        assert [row[0] for row in rows(users)] == [old, new] and rows(users)[1][2] == pytest.approx(4e9 + 0.001, abs=1e-4)
        # A time that nothing comes after: an error, and no object stays.
        with users.writing() as connection:
            connection.execute("UPDATE user_journal_master_keys SET created_at = 9e999, uid = '!' || uid")
        assert host.error("SELECT journal_rotate_key(1)") == (
            "journal_rotate_key: bad_argument: a key of user 1 has a created_at so late that no newer key can be made"
        )
        assert len(rows(users)) == 2 and len(store.uids()) == 2


REFUSED = {
    "SELECT journal_rotate_key(9)": "journal_rotate_key: bad_argument: there is no user 9",
    "SELECT journal_rotate_key(NULL)": "journal_rotate_key: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL",
    "SELECT journal_create_key(x'01')":
        "journal_create_key: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is BLOB of 1 byte",
    "SELECT journal_rotate_key('1')": "journal_rotate_key: bad_argument: there is no user (TEXT of 1 byte)",
    "SELECT journal_rotate_key(1, -1)":
        "journal_rotate_key: bad_argument: min_age_seconds must be a number that is not negative, this is INTEGER",
    "SELECT journal_rotate_key(1, NULL)":
        "journal_rotate_key: bad_argument: min_age_seconds must be a number that is not negative, this is NULL",
    "INSERT INTO s3_files (uid) SELECT journal_rotate_key(1)":
        "journal_rotate_key: bad_argument: it writes rows itself: call it in a SELECT of its own, not in a statement that writes",
    "SELECT journal_shred_key(1, NULL)": "journal_shred_key: bad_argument: key_uid must be TEXT, this is NULL",
    "SELECT journal_shred_key(1, 'oseh_ujmk_none')": 'journal_shred_key: key_not_found: user 1 has no key "oseh_ujmk_none"',
}


def test_what_is_refused_is_refused_before_the_upload(users, store):
    with admin(users, store) as host:
        for sql, error in REFUSED.items():
            assert host.error(sql) == error
    with admin(users, store, JOURNAL_REPLICATED="on") as host:
        for call in ("journal_create_key(1)", "journal_rotate_key(1)", "journal_shred_key(1, 'oseh_ujmk_1')"):
            assert host.error(f"SELECT {call}").startswith(f"{call.partition('(')[0]}: replicated: ")
    assert store.uids() == set() and rows(users) == []


@native
def test_a_database_that_is_only_read_is_refused_before_the_upload(users, store):
    read_only = run_shell("SELECT journal_rotate_key(1);", users.path, {**store.env, **ADMIN}, ["-readonly"])
    assert "journal_rotate_key: attempt to write a readonly database" in read_only.stderr
    assert store.uids() == set() and rows(users) == []


def test_without_a_key_store_there_is_no_key(users):
    with Host(users.path, ADMIN) as host:
        assert host.error("SELECT journal_rotate_key(1)") == "journal_rotate_key: not_configured: JOURNAL_KEY_STORE is not set"


def test_a_failed_insert_deletes_the_object_again(users, store):
    with users.writing() as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON user_journal_master_keys BEGIN SELECT raise(ABORT, 'refused'); END"
        )
    with admin(users, store) as host:
        assert host.error("SELECT journal_rotate_key(1)") == "journal_rotate_key: refused"
        assert host.value("SELECT count(*) FROM s3_files") == 0
    assert store.uids() == set()
    if store.versioned:
        assert store.client.list_versions(store.name) == []


def test_a_rollback_leaves_an_object_and_no_row(users, store):
    with admin(users, store) as host:
        host.run("BEGIN")
        uid = host.value("SELECT journal_rotate_key(1)")
        assert host.value("SELECT journal_key_uid(1)") == uid
        host.run("ROLLBACK")
        assert rows(users) == [] and store.uids() == {uid}
        host.run("BEGIN")
        uid = host.value("SELECT journal_rotate_key(1)")
        host.run("COMMIT")
        assert [row[0] for row in rows(users)] == [uid]


def test_a_failed_upload_leaves_no_row(users, bucket):
    with admin(users, bucket) as host:
        bucket.proxy.faults = lambda request: ACCESS_DENIED if request.method == "PUT" else None
        error = host.error("SELECT journal_rotate_key(1)")
        assert re.fullmatch(
            r'journal_rotate_key: store_denied: key "oseh_ujmk_[\w-]{22}" could not be written: '
            r"the store answered 403 \(AccessDenied\)", error,
        )
        bucket.proxy.refuse()
        assert "could not be written: connection refused" in host.error("SELECT journal_rotate_key(1)")
        bucket.proxy.listen()
        assert rows(users) == [] and bucket.uids() == set()


def test_an_answer_that_is_lost_does_not_lose_the_key(users, s3):
    with admin(users, s3) as host:
        s3.proxy.faults = [Close(served=True), INTERNAL_ERROR]
        uid = host.value("SELECT journal_rotate_key(1)")
        assert host.value("SELECT journal_decrypt(1, ?, journal_encrypt(1, 'x'))", uid) == "x"
        assert all("If-None-Match" in r.headers for r in s3.proxy.requests if r.method == "PUT")
        assert len(s3.uids()) == 1


def test_what_cannot_be_read_back_is_no_key(users, bucket):
    """The PUT is acknowledged, and the GET finds nothing, something else, or nothing that may be read."""
    with admin(users, bucket) as host:
        for fault, word in [
            (NO_SUCH_KEY, "store_unavailable: .* it is not found after it was written"),
            (ACCESS_DENIED, "store_denied: .* the store answered 403"),
        ]:
            faults = [fault]
            bucket.proxy.faults = lambda request: faults.pop() if request.method == "GET" and faults else None
            assert re.match(f"journal_rotate_key: {word}", host.error("SELECT journal_rotate_key(1)"))
            assert rows(users) == [] and bucket.client.list_versions(bucket.name) == []


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_two_processes_that_rotate_at_once_both_have_their_way(journal_mode, users, store):
    with ExitStack() as stack:
        with admin(users, store) as host:
            host.run(f"PRAGMA journal_mode = {journal_mode}")
        hosts = [stack.enter_context(admin(users, store)) for _ in range(2)]
        for _ in range(3):
            waits = [host.start("SELECT journal_rotate_key(1)") for host in hosts]
            for wait in waits:
                assert len(wait()) == 1
        assert len(rows(users)) == 6 and store.uids() == {row[0] for row in rows(users)}
        current = {host.value("SELECT journal_key_uid(1)") for host in hosts}
        assert current == {rows(users)[-1][0]}
        assert len({row[2] for row in rows(users)}) == 6
        # With an age, one of them rotates and the other one takes its key.
        with users.writing() as connection:
            connection.execute("UPDATE user_journal_master_keys SET created_at = created_at - 5000")
        waits = [host.start("SELECT journal_rotate_key(1, 2000)") for host in hosts]
        assert len({wait()[0][0] for wait in waits}) == 1
        assert len(rows(users)) == 7 and store.uids() == {row[0] for row in rows(users)}


def test_the_one_who_comes_second_gives_its_key_up(users, bucket):
    """Both see an old key; the first has written its rows when the second's upload ends."""
    with admin(users, bucket) as first, admin(users, bucket) as second:
        arrived, go_on = Event(), Event()

        def hold(request):
            if request.method == "PUT" and not arrived.is_set():
                arrived.set()
                assert go_on.wait(3)

        bucket.proxy.faults = hold
        waiting = second.start("SELECT journal_rotate_key(1, 1000)")
        assert arrived.wait(10)
        uid = first.value("SELECT journal_rotate_key(1, 1000)")
        go_on.set()
        assert waiting() == [[uid]]
        assert [row[0] for row in rows(users)] == [uid] == list(bucket.uids())
