"""Rotations, shreddings and changes of keys whose process is killed between any two steps: the same call completes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LIBRARY, PREFIX, new_key
from cryptography.fernet import Fernet
from host import Host
from stores import ADMIN, Folder, admin, rows

KILLED_AT = Path(__file__).with_name("killed_at.c")


@pytest.fixture
def killing(tmp_path):
    """What a process's environment holds that is killed at its step `number` below a store's root."""
    shim = tmp_path / "killed_at.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, KILLED_AT, "-ldl"], check=True)
    return lambda store, number: {"LD_PRELOAD": str(shim), "KILLED_BELOW": str(store.root), "KILLED_AT": str(number)}


@pytest.fixture
def wrapping(tmp_path):
    """The environment of one wrapping key."""
    file = tmp_path / "wrapping"
    file.write_text(new_key())
    return {"JOURNAL_WRAPPING_KEY_FILE": str(file)}


def killed_at(bucket, host, number, served):
    """From now on the host is killed at its request `number`, before the server sees it or after."""
    count = iter(range(1, 1000))

    class Kill:
        delay = 0

        def act(self, exchange, upstream):
            if served:
                upstream.fetch(exchange.request)
            host.kill()
            exchange.close()

    bucket.proxy.forget()
    bucket.proxy.faults = lambda request: Kill() if next(count) == number else None


def kill_everywhere(bucket, database, call, check):
    """Kills `call` at each of its requests, before and after it is served; then makes it once more."""
    number, ended = 1, False
    while not ended:
        for served in (False, True):
            with admin(database, bucket) as host:
                arguments = check.before(host)
                killed_at(bucket, host, number, served)
                try:
                    host.run(call, *arguments)
                    ended = True
                except RuntimeError:
                    pass
            bucket.proxy.faults = []
            check.after_kill(ended)
            with admin(database, bucket) as host:
                check.again(host, host.value(call, *arguments))
        number += 1
    return number - 2


def test_a_rotation_killed_anywhere_leaves_the_old_key_and_completes_when_called_again(users, bucket):
    class Check:
        current, objects = None, set()

        def before(self, host):
            if Check.current is None:
                Check.current = host.value("SELECT journal_rotate_key(1)")
                Check.token = host.value("SELECT journal_encrypt(1, 'dear diary')")
                Check.first = Check.current
            Check.named = {row[0] for row in rows(users)}
            return ()

        def after_kill(self, ended):
            assert ended or {row[0] for row in rows(users)} == Check.named

        def again(self, host, uid):
            assert host.value("SELECT journal_key_uid(1)") == uid != Check.current
            assert host.value("SELECT journal_decrypt(1, ?, ?)", Check.first, Check.token) == "dear diary"
            Check.current = uid
            # Every row's key is there; what else there is was left behind by a kill, and no row names it.
            assert {row[0] for row in rows(users)} <= bucket.uids()

    requests = kill_everywhere(bucket, users, "SELECT journal_rotate_key(1)", Check())
    assert requests == 2  # PUT, GET
    assert bucket.uids() - {row[0] for row in rows(users)}


def test_a_shredding_killed_anywhere_completes_when_called_again(users, bucket):
    class Check:
        def before(self, host):
            Check.uid = host.value("SELECT journal_rotate_key(1)")
            bucket.write(Check.uid)
            bucket.client.delete(bucket.name, PREFIX + Check.uid)
            Check.neighbour = Check.uid + "2"
            bucket.write(Check.neighbour)
            Check.seen = False
            return (Check.uid,)

        def after_kill(self, ended):
            # A reader never sees again what a delete marker hid.
            assert bucket.read(Check.uid) is None
            assert Check.uid in {row[0] for row in rows(users)}

        def again(self, host, receipt):
            assert json.loads(receipt)["gone"] and bucket.versions(Check.uid) == (0, 0)
            assert bucket.read(Check.neighbour) is not None

    requests = kill_everywhere(bucket, users, "SELECT journal_shred_key(1, ?)", Check())
    assert requests == 9  # list; look at and delete two versions; delete the marker; list; fetch; list what is beside


def test_a_key_whose_disabling_or_enabling_is_killed_anywhere_is_one_or_the_other_and_no_lost_one(users, bucket):
    class Check:
        """Disables a key, and enables one."""

        def __init__(self, disables):
            self.disables = disables

        def before(self, host):
            self.uid = host.value("SELECT journal_rotate_key(1)")
            self.token = host.value("SELECT journal_encrypt(1, 'dear diary')")
            self.content = bucket.read(self.uid)
            if not self.disables:
                # As a call leaves it whose answer was lost, and that was made again.
                bucket.mark_twice(self.uid)
            return (self.uid,)

        def after_kill(self, ended):
            assert bucket.versions(self.uid)[0] == 1 and bucket.read(self.uid) in (self.content, None)
            with Host(users.path, bucket.env) as reader:
                word = reader.value("SELECT journal_check(1, ?, ?)", self.uid, self.token)
                assert word == ("key_disabled" if bucket.read(self.uid) is None else "ok")

        def again(self, host, receipt):
            assert json.loads(receipt)["disabled"] == self.disables
            assert bucket.read(self.uid) == (None if self.disables else self.content)

    assert kill_everywhere(bucket, users, "SELECT journal_disable_key(1, ?)", Check(True)) == 4  # versioning? list; mark; list
    assert kill_everywhere(bucket, users, "SELECT journal_enable_key(1, ?)", Check(False)) == 5  # list; two times delete and list


def test_a_key_whose_wrapping_is_killed_anywhere_stays_readable_and_no_raw_version_is_left(users, bucket, wrapping):
    bucket.env.update(wrapping)

    class Check:
        def before(self, host):
            Check.uid = "oseh_ujmk_" + new_key()[:8].replace("=", "_")
            users.add_key(1, Check.uid)
            raw = bucket.write(Check.uid)
            bucket.write(Check.uid, raw)
            Check.token = Fernet(raw).encrypt(b"dear diary").decode()
            return (Check.uid,)

        def readable(self, **env):
            with Host(users.path, {**bucket.env, **env}) as reader:
                return reader.value("SELECT journal_check(1, ?, ?)", Check.uid, Check.token) == "ok"

        def after_kill(self, ended):
            assert self.readable()

        def again(self, host, receipt):
            assert self.readable(JOURNAL_REQUIRE_WRAPPED="1")
            assert bucket.versions(Check.uid) == (1, 0) and bucket.versions(Check.uid + ".replacement") == (0, 0)

    # Fetch; list; put and get beside; put and get in place; shred what is beside (list, look, delete, list, fetch); list; look
    # at the newest; look at and delete two raw versions.
    assert kill_everywhere(bucket, users, "SELECT journal_wrap_key(1, ?)", Check()) == 17


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
def test_a_file_whose_wrapping_is_killed_anywhere_stays_readable(users, tmp_path, killing, wrapping):
    store, call = Folder(tmp_path / "keys"), "SELECT journal_wrap_key(1, ?)"
    uid, number, ended, lengths = "oseh_ujmk_1", 0, False, []
    users.add_key(1, uid)
    raw = store.write(uid)
    token = Fernet(raw).encrypt(b"dear diary").decode()
    while not ended:
        number += 1
        store.write(uid, raw)
        with admin(users, store, **wrapping, **killing(store, number)) as host:
            try:
                host.run(call, uid)
                ended = True
            except RuntimeError:
                host.kill()
        lengths.append(len(store.read(uid)))
        with admin(users, store, **wrapping) as host:
            assert host.value("SELECT journal_check(1, ?, ?)", uid, token) == "ok"
            assert json.loads(host.value(call, uid))["wrapped"] and len(store.read(uid)) == 140
            assert host.value("SELECT journal_check(1, ?, ?)", uid, token) == "ok" and store.uids() == {uid}
    # Raw or wrapped, nothing between; some are killed before it is renamed, some after.
    assert lengths == sorted(lengths) and lengths.count(44) >= 4 and lengths.count(140) >= 3 and set(lengths) == {44, 140}


def shredded_after_kills(users, store, wrapping, killed):
    """Wraps a key, killed at each step by `killed`, and shreds it; what was left beside its object each time."""
    left, ended = [], False
    while not ended:
        uid = f"oseh_ujmk_{len(left) + 1}"
        users.add_key(1, uid)
        store.write(uid)
        ended = killed(len(left) + 1, uid)
        left.append(store.read(uid + ".replacement"))
        with admin(users, store, **wrapping) as host:
            assert json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))["gone"]
        assert store.uids() == set()
    return left


def test_a_shredded_key_leaves_nothing_of_a_wrapping_that_was_killed_anywhere_in_a_bucket(users, bucket, wrapping):
    def killed(number, uid):
        with admin(users, bucket, **wrapping) as host:
            killed_at(bucket, host, number, served=True)
            try:
                host.run("SELECT journal_wrap_key(1, ?)", uid)
                return True
            except RuntimeError:
                return False
            finally:
                bucket.proxy.faults = []

    left = shredded_after_kills(users, bucket, wrapping, killed)
    # It is written at the third request, and deleted at the ninth.
    assert [content is not None for content in left[:9]] == [False] * 2 + [True] * 6 + [False]
    assert all(bucket.versions(f"oseh_ujmk_{key + 1}.replacement") == (0, 0) for key in range(len(left)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
def test_a_shredded_key_leaves_nothing_of_a_wrapping_that_was_killed_anywhere_in_a_directory(users, tmp_path, killing, wrapping):
    store = Folder(tmp_path / "keys")

    def killed(number, uid):
        with admin(users, store, **wrapping, **killing(store, number)) as host:
            try:
                host.run("SELECT journal_wrap_key(1, ?)", uid)
                return True
            except RuntimeError:
                host.kill()
                return False

    left = shredded_after_kills(users, store, wrapping, killed)
    assert left[0] is None and left[-1] is None and sum(content is not None for content in left) >= 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
@pytest.mark.parametrize("call, other", [("disable", "enable"), ("enable", "disable")])
def test_a_file_whose_renaming_is_killed_anywhere_has_one_name_or_the_other(call, other, users, tmp_path, killing):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token, content = host.value("SELECT journal_encrypt(1, 'dear diary')"), store.read(uid)
    call, other = (f"SELECT journal_{verb}_key(1, ?)" for verb in (call, other))
    number, ended, words = 0, False, []
    while not ended:
        number += 1
        with admin(users, store) as host:
            host.run(other, uid)
        with admin(users, store, **killing(store, number)) as host:
            try:
                host.run(call, uid)
                ended = True
            except RuntimeError:
                host.kill()
        assert len(store.uids()) == 1
        with admin(users, store) as host:
            words.append(host.value("SELECT journal_check(1, ?, ?)", uid, token))
            disabled = json.loads(host.value(call, uid))["disabled"]
            assert host.value("SELECT journal_check(1, ?, ?)", uid, token) == ("key_disabled" if disabled else "ok")
            assert store.read(uid) == (None if disabled else content)
    # Some are killed before it is renamed, some after: it is renamed, synced.
    before, after = ("ok", "key_disabled") if disabled else ("key_disabled", "ok")
    assert words.count(before) >= 2 and words.count(after) >= 3 and words == sorted(words, key=[before, after].index)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
def test_a_shredding_of_a_file_killed_anywhere_completes_when_called_again(users, tmp_path, killing):
    call = "SELECT journal_shred_key(1, ?)"
    store = Folder(tmp_path / "keys")
    number, ended, found_after = 0, False, []
    while not ended:
        number += 1
        with admin(users, store) as host:
            uid = host.value("SELECT journal_rotate_key(1)")
        neighbour = store.write(uid + "2")
        with admin(users, store, **killing(store, number)) as host:
            try:
                host.run(call, uid)
                ended = True
            except RuntimeError:
                host.kill()
        found_after.append(store.read(uid) is not None)
        assert uid in {row[0] for row in rows(users)} and store.read(uid + "2") == neighbour
        with admin(users, store) as host:
            receipt = json.loads(host.value(call, uid))
            assert (receipt["gone"], receipt["versions_deleted"]) == (True, int(found_after[-1]))
            assert "key_lost" in host.error("SELECT journal_encrypt(1, 'x', ?)", uid)
        assert store.read(uid) is None and store.read(uid + "2") == neighbour
    # Two at the least are killed before the file is gone, and two after it: it is opened, synced, looked at again.
    assert found_after == sorted(found_after, reverse=True)
    assert found_after.count(True) >= 2 and found_after.count(False) >= 3


def test_a_rotation_killed_between_its_rows_leaves_neither(users, tmp_path):
    """A host that is killed inside the savepoint, by a trigger's function, between the two inserts."""
    store = Folder(tmp_path / "keys")
    with users.writing() as connection:
        connection.execute("CREATE TABLE step (n)")
    program = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.enable_load_extension(True)
db.load_extension(sys.argv[2])
db.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
db.execute(f"CREATE TEMP TRIGGER die {sys.argv[3]} BEGIN SELECT die(); END")
db.execute("SELECT journal_rotate_key(1)").fetchall()
"""
    for moment in (
        "AFTER INSERT ON main.s3_files", "BEFORE INSERT ON main.user_journal_master_keys", "AFTER INSERT ON main.user_journal_master_keys",
    ):
        with admin(users, store) as host:
            before = host.value("SELECT journal_rotate_key(1)")
        dead = subprocess.run(
            [sys.executable, "-c", program, users.path, LIBRARY.with_suffix(""), moment], env={**os.environ, **store.env, **ADMIN},
        )
        assert dead.returncode == -9
        with admin(users, store) as host:
            assert host.value("SELECT journal_key_uid(1)") == before
            assert host.value("SELECT count(*) FROM s3_files") == len(rows(users))
            assert host.value("SELECT journal_rotate_key(1)") != before
