"""`journal_objects`: what a key store has, whether a row names it or not."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import PREFIX
from servers.faults import ACCESS_DENIED, Status
from stores import admin, opened

#: More than any store lists at once.
MANY = 1234
LIST = "SELECT name, bytes, disabled FROM journal_objects"


def test_every_object_below_the_prefix_is_listed_and_no_other(users, store):
    uids = [f"oseh_ujmk_{number:04}" for number in range(MANY)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.write, uids))
    with admin(users, store) as host:
        assert host.run(LIST) == [[PREFIX + uid, 44, 0] for uid in uids]
        [[oldest, newest]] = host.run("SELECT min(modified_at), max(modified_at) FROM journal_objects")
        assert time.time() - 600 < oldest <= newest < time.time() + 60
    with admin(users, store, JOURNAL_KEY_PREFIX=f"{PREFIX}oseh_ujmk_00") as host:
        assert host.run(LIST) == [[PREFIX + uid, 44, 0] for uid in uids[:100]]
    with admin(users, store, JOURNAL_KEY_PREFIX="elsewhere/") as host:
        assert host.run(LIST) == []


@pytest.mark.parametrize("kind", ["directory", "ceph versioned"])
def test_a_disabled_object_is_listed_once_under_the_name_that_rows_have(kind, users, request):
    with opened(kind, request) as store, admin(users, store) as host:
        kept, disabled = host.value("SELECT journal_rotate_key(1)"), host.value("SELECT journal_rotate_key(2)")
        host.value("SELECT journal_disable_key(2, ?)", disabled)
        if store.versioned:
            store.write(kept, "another version")
            store.client.delete(store.name, f"{PREFIX}oseh_ujmk_marker_over_nothing")
        told = {name.removeprefix(PREFIX): (size, hidden) for name, size, hidden in host.run(LIST)}
        assert told == {kept: (15 if store.versioned else 44, 0), disabled: (44, 1)}
        host.value("SELECT journal_shred_key(2, ?)", disabled)
        assert [name for name, *_ in host.run(LIST)] == [PREFIX + kept]


def test_a_bucket_that_may_not_be_listed_or_does_not_answer_is_an_error_and_no_empty_list(users, bucket):
    bucket.write("oseh_ujmk_1")
    said = "journal_objects: {}: the key store's objects could not be listed: "
    with admin(users, bucket, JOURNAL_FETCH_TIMEOUT="1") as host:
        bucket.proxy.faults = lambda r: ACCESS_DENIED if "versions" in r.query else None
        denied = host.error(LIST)
        assert denied.startswith(said.format("store_denied")) and "s3:ListBucketVersions" in denied
        bucket.proxy.faults = lambda r: Status(200, "<ListVersionsResult><Version>") if "versions" in r.query else None
        assert host.error(LIST) == said.format("store_unavailable") + "its listing cannot be read"
        bucket.proxy.faults = []
        bucket.proxy.refuse()
        assert host.error(LIST).startswith(said.format("store_unavailable"))


def test_a_directory_that_is_not_there_is_an_error_and_no_empty_list(users, key_store):
    with admin(users, key_store) as host:
        assert host.run(LIST) == []
        shutil.rmtree(key_store.root)
        assert host.error(LIST) == (
            "journal_objects: store_unavailable: the key store's objects could not be listed: "
            "the key store's directory is not there"
        )
