"""Keys that are shredded on both stores: that they are gone, and what is said where they are not."""

import json
from datetime import UTC, datetime, timedelta
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

from conftest import LIBRARY, PREFIX, native
from host import Host
from servers.faults import ACCESS_DENIED, Held, Status
from servers.message import Response, headers
from stores import ADMIN, Bucket, admin, rows


def test_a_shredded_key_is_gone_and_its_neighbour_stays(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        neighbour = uid + "2"
        store.write(neighbour)
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert (receipt["gone"], receipt["versions_deleted"], receipt["delete_markers_deleted"]) == (True, 1, 0)
        assert (receipt["user_id"], receipt["key_uid"], receipt["object"], receipt["evicted"]) == (1, uid, PREFIX + uid, 1)
        age = datetime.now(UTC) - datetime.fromisoformat(receipt["shredded_at"])
        assert receipt["shredded_at"].endswith("Z") and abs(age) < timedelta(minutes=2)
        assert receipt["unreadable"] == "all that is under this key, in the database and in every backup of it"
        assert receipt["replication_status"] is None and len(receipt["not_looked_at"]) == 3
        assert store.read(uid) is None and store.read(neighbour) is not None
        assert host.error("SELECT journal_decrypt(1, ?, ?)", uid, token) == (
            f'journal_decrypt: key_lost: key "{uid}": its object is not in the key store'
        )
        # Again, and the row is still there.
        again = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert (again["gone"], again["versions_deleted"]) == (True, 0)
        assert [row[0] for row in rows(users)] == [uid]


def test_every_version_and_marker_goes_over_many_pages(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        for number in range(40):
            bucket.write(uid)
            if number % 3 == 0:
                bucket.client.delete(bucket.name, PREFIX + uid)
        for neighbour in (uid + "-", uid + "0", uid + "/x"):
            for _ in range(3):
                bucket.write(neighbour)
            bucket.client.delete(bucket.name, PREFIX + neighbour)
        assert bucket.versions(uid) == (41, 14)
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert (receipt["versions_deleted"], receipt["delete_markers_deleted"]) == (41, 14)
        assert bucket.versions(uid) == (0, 0)
        for neighbour in (uid + "-", uid + "0", uid + "/x"):
            assert bucket.versions(neighbour) == (3, 1)
        pages = [r for r in bucket.proxy.requests if r.method == "GET" and "versions" in r.query]
        assert len(pages) > 3


def test_a_key_that_was_only_marked_as_deleted_is_shredded(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        bucket.client.delete(bucket.name, PREFIX + uid)
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert (receipt["versions_deleted"], receipt["delete_markers_deleted"]) == (1, 1)
        assert bucket.versions(uid) == (0, 0)


def test_an_object_that_another_row_names_is_kept(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        with users.writing() as connection:
            connection.execute(
                "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)"
                " SELECT 'oseh_ujmk_second', 2, id, 0 FROM s3_files"
            )
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == (
            f'journal_shred_key: bad_argument: the row of another key names the object of key "{uid}"'
        )
        assert store.read(uid) is not None
        with users.writing() as connection:
            connection.execute("UPDATE s3_files SET key = 'elsewhere/' || uid")
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == (
            f'journal_shred_key: key_invalid: key "{uid}": its object\'s name lies outside JOURNAL_KEY_PREFIX'
        )


def test_a_warm_cache_of_another_process_ends_with_its_ttl(users, bucket):
    with admin(users, bucket) as host, Host(users.path, {**bucket.env, "JOURNAL_CACHE_TTL": "1"}) as other:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        for _ in range(2):
            bucket.write(uid, bucket.read(uid))
        assert other.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
        assert json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))["versions_deleted"] == 3
        while other.value("SELECT age FROM journal_cache") <= 1:
            pass
        assert other.error("SELECT journal_decrypt(1, ?, ?)", uid, token) == (
            f'journal_decrypt: key_lost: key "{uid}": its object is not in the key store'
        )
        assert bucket.versions(uid) == (0, 0)


KEPT = 'journal_shred_key: {}: key "{}" could not be deleted: {}'


def test_it_says_plainly_that_the_bucket_keeps_the_key(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        bucket.write(uid)
        # The older one of two versions may not be deleted.
        old = next(v.version_id for v in bucket.client.list_versions(bucket.name) if not v.is_latest)
        bucket.proxy.faults = lambda r: ACCESS_DENIED if r.method == "DELETE" and r.query["versionId"] == [old] else None
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == KEPT.format(
            "store_denied", uid, "the bucket keeps it: 1 deleted, 1 still listed, found by a fetch (AccessDenied)"
        )
        assert bucket.versions(uid) == (1, 0)
        # Versions that may not be listed cannot be known to be gone: nothing is done.
        bucket.proxy.faults = lambda r: ACCESS_DENIED if "versions" in r.query else None
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == KEPT.format(
            "store_denied", uid,
            "its versions may not be listed (s3:ListBucketVersions): the store answered 403 (AccessDenied)",
        )
        assert bucket.versions(uid) == (1, 0)
        # A store that acknowledges and keeps.
        bucket.proxy.faults = lambda r: Status(204, "") if r.method == "DELETE" else None
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == KEPT.format(
            "store_denied", uid,
            "the bucket keeps it: 1 deleted, 1 still listed, found by a fetch (all deletions were acknowledged)",
        )
        bucket.proxy.faults = []
        assert json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))["versions_deleted"] == 1


def test_object_lock_keeps_a_key_and_is_named(users, ceph):
    bucket = Bucket(ceph, versioned=False)
    try:
        name = bucket.name + "-locked"
        made = bucket.client.request("PUT", name, headers={"x-amz-bucket-object-lock-enabled": "true"})
        assert made.status == 200
        bucket.name, bucket.env["JOURNAL_KEY_STORE"] = name, f"s3://{name}"
        with admin(users, bucket) as host:
            uid = host.value("SELECT journal_rotate_key(1)")
            body = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2037-01-01T00:00:00Z</RetainUntilDate></Retention>"
            assert bucket.client.request("PUT", name, PREFIX + uid, query={"retention": ""}, body=body).status == 200
            error = host.error("SELECT journal_shred_key(1, ?)", uid)
            assert error.startswith(KEPT.format("store_denied", uid, "the bucket keeps it: 0 deleted, 1 still listed, found by a fetch ("))
            assert "object lock: GOVERNANCE until 2037-01-01" in error
    finally:
        bucket.close()


def test_a_replicated_object_is_said_to_have_a_copy(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        content = bucket.read(uid).encode()

        def replicated(request):
            if request.method == "GET" and "versionId" in request.query:
                return Replicated(content)

        bucket.proxy.faults = replicated
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert receipt["replication_status"] == "COMPLETED"
        assert receipt["not_looked_at"][0] == "the replica that the replication status tells of: it keeps the key"


class Replicated:
    """What S3 answers of a version that it has copied to another bucket."""

    delay = 0

    def __init__(self, content):
        self._content = content

    def act(self, exchange, upstream):
        exchange.send(Response(200, headers(("x-amz-replication-status", "COMPLETED")), self._content))


def test_an_outage_is_told_and_the_same_call_completes_later(users, bucket):
    with admin(users, bucket, JOURNAL_FETCH_TIMEOUT="2") as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        bucket.proxy.refuse()
        assert host.error("SELECT journal_shred_key(1, ?)", uid) == KEPT.format("store_unavailable", uid, "connection refused")
        bucket.proxy.listen()
        assert json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))["gone"]


@native
def test_a_key_is_not_served_on_where_its_shredding_was_interrupted(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
    script = """
        import sqlite3, sys, threading, time
        _, database, library, uid, token = sys.argv

        def connect():
            connection = sqlite3.connect(database, check_same_thread=False)
            connection.enable_load_extension(True)
            connection.load_extension(library)
            return connection

        def decrypt():
            return other.execute("SELECT journal_decrypt(1, ?, ?)", (uid, token)).fetchone()[0]

        def shred():
            try:
                shredding.execute("SELECT journal_shred_key(1, ?)", (uid,)).fetchone()
            except sqlite3.Error as error:
                print(error, flush=True)

        shredding, other = connect(), connect()
        thread = threading.Thread(target=shred)
        thread.start()
        sys.stdin.readline()  # until the deletion is on its way
        while thread.is_alive():
            shredding.interrupt()
            thread.join(0.01)
        print(decrypt(), flush=True)
        sys.stdin.readline()  # until the object may go
        end = time.monotonic() + 30
        try:
            while time.monotonic() < end:
                decrypt()
        except sqlite3.Error as error:
            print(error, flush=True)
    """
    go = threading.Event()
    bucket.proxy.forget()
    bucket.proxy.faults = lambda request: Held(go) if request.method == "DELETE" else None
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), users.path, LIBRARY, uid, token],
        env={"PATH": os.defpath, **bucket.env, **ADMIN}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )

    def end():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(60, end)
    watchdog.start()
    try:
        while not any(r.method == "DELETE" for r in bucket.proxy.requests) and process.poll() is None:
            time.sleep(0.01)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "journal_shred_key: interrupted\n"
        # Cached again, while the object is still there.
        assert process.stdout.readline() == "dear diary\n"
        go.set()
        said, _ = process.communicate("\n")
    finally:
        watchdog.cancel()
        go.set()
        end()
        process.communicate()
    assert said.startswith("journal_decrypt: key_lost: ")
    assert bucket.versions(uid) == (0, 0)
