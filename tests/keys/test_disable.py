"""Keys that are disabled and enabled again on both stores: nobody uses one meanwhile, and nobody takes it for lost."""

import json

import pytest
from conftest import PREFIX
from host import Host
from servers.faults import ACCESS_DENIED, Status
from stores import ADMIN, admin, opened, rows

DISABLE, ENABLE = "SELECT journal_disable_key(1, ?)", "SELECT journal_enable_key(1, ?)"
SAID = 'key_disabled: key "{}": its object is disabled; journal_enable_key brings it back'


@pytest.fixture(params=["directory", "ceph versioned"])
def store(request):
    """A store that can disable a key."""
    with opened(request.param, request) as store:
        yield store


def assert_unusable(host, uid, token, item):
    """No function uses the key, and none takes a pause for the end."""
    for name, sql in [
        ("journal_encrypt", "SELECT journal_encrypt(1, 'x')"),
        ("journal_encrypt", f"SELECT journal_encrypt(1, 'x', '{uid}')"),
        ("journal_encrypt_item", "SELECT journal_encrypt_item(1, '{}')"),
        ("journal_seal", "SELECT token FROM journal_seal(1, 'x')"),
        ("journal_seal_item", "SELECT token FROM journal_seal_item(1, '{}')"),
    ]:
        assert host.error(sql) == f"{name}: {SAID.format(uid)}"
    for named in (f"'{uid}'", "NULL"):
        for name, argument in [
            ("journal_decrypt", token), ("journal_decrypt_blob", token), ("journal_try_decrypt", token), ("journal_rewrap", token),
            ("journal_decrypt_item", item), ("journal_try_decrypt_item", item),
        ]:
            assert host.error(f"SELECT {name}(1, {named}, ?)", argument) == f"{name}: {SAID.format(uid)}"
        assert host.value(f"SELECT journal_check(1, {named}, ?)", token) == "key_disabled"
    assert json.loads(host.value("SELECT journal_prefetch(1)")) == {"ready": 0, "failed": {"key_disabled": 1}}
    assert host.value("SELECT count(*) FROM journal_cache") == 0


def test_a_disabled_key_is_of_no_use_until_it_is_enabled_cache_warm_and_cold(users, store):
    with admin(users, store) as host, Host(users.path, {**store.env, "JOURNAL_CACHE_TTL": "0"}) as other:
        uid = host.value("SELECT journal_rotate_key(1)")
        content, token = store.read(uid), host.value("SELECT journal_encrypt(1, 'dear diary')")
        item = host.value("SELECT journal_encrypt_item(1, '[1]')")
        assert other.value("SELECT journal_decrypt(1, NULL, ?)", token) == "dear diary"
        receipt = json.loads(host.value(DISABLE, uid))
        assert (receipt["user_id"], receipt["key_uid"], receipt["object"]) == (1, uid, PREFIX + uid)
        assert (receipt["disabled"], receipt["changed"], receipt["evicted"]) == (True, True, 1)
        assert receipt["at"].endswith("Z") and len(receipt["not_looked_at"]) == 2
        assert store.read(uid) is None and uid in {row[0] for row in rows(users)}
        # Here it was in the cache; there it is past its TTL; a third process never had it.
        for reader in (host, other):
            assert_unusable(reader, uid, token, item)
        with Host(users.path, store.env) as cold:
            assert_unusable(cold, uid, token, item)
            detail = "SELECT status, detail FROM journal_doctor WHERE name = 'newest_key'"
            assert cold.run(detail) == [["warning", "the current key of user 1 is disabled; journal_enable_key brings it back"]]
            assert cold.value("SELECT value FROM journal_stats WHERE name = 'failed_key_disabled'") > 0
        assert json.loads(host.value(DISABLE, uid))["changed"] is False
        receipt = json.loads(host.value(ENABLE, uid))
        assert (receipt["disabled"], receipt["changed"], receipt["key_uid"]) == (False, True, uid)
        assert store.read(uid) == content
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
        assert json.loads(host.value(ENABLE, uid))["changed"] is False
        with Host(users.path, store.env) as cold:
            assert cold.value("SELECT journal_decrypt_item(1, NULL, ?)", item) == "[1]"


def test_other_keys_of_the_user_serve_on_and_the_gravest_word_is_told(users, store):
    with admin(users, store) as host:
        old = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'under the old key')")
        new = host.value("SELECT journal_rotate_key(1)")
        host.run(DISABLE, new)
        assert host.value("SELECT journal_decrypt(1, NULL, ?)", token) == "under the old key"
        # A broken key, and a lost one, weigh less than a paused one: it may be the one.
        store.write("oseh_ujmk_broken", "no key")
        for uid in ("oseh_ujmk_broken", "oseh_ujmk_lost"):
            users.add_key(1, uid)
        host.run(DISABLE, old)
        assert host.value("SELECT journal_check(1, NULL, ?)", token) == "key_disabled"
        host.run(ENABLE, old)
        assert host.value("SELECT journal_check(1, NULL, ?)", token) == "ok"
        assert host.value("SELECT journal_check(1, NULL, 'gAAAAA')") == "key_disabled"


def test_a_disabled_key_is_shredded_for_good(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        host.run(DISABLE, uid)
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert (receipt["gone"], receipt["versions_deleted"]) == (True, 1)
        assert store.uids() == set()
        gone = f'key_lost: key "{uid}": its object is not in the key store'
        assert host.error("SELECT journal_encrypt(1, 'x')") == f"journal_encrypt: {gone}"
        assert host.error(ENABLE, uid) == f"journal_enable_key: {gone}"
        assert host.error(DISABLE, uid) == f"journal_disable_key: {gone}"


def test_an_object_that_another_row_names_is_not_disabled(users, store):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        with users.writing() as connection:
            connection.execute(
                "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at) SELECT 'oseh_ujmk_second', 2, id, 0 FROM s3_files"
            )
        assert host.error(DISABLE, uid) == (
            f'journal_disable_key: bad_argument: the row of another key names the object of key "{uid}"'
        )
        assert store.read(uid) is not None
        assert host.error(DISABLE, "oseh_ujmk_other") == (
            'journal_disable_key: key_not_found: user 1 has no key "oseh_ujmk_other"'
        )


def test_they_are_there_for_an_administrator_alone(users, store):
    for env in ({}, {"JOURNAL_ADMIN": "create"}):
        with Host(users.path, {**store.env, **env}) as host:
            for call in (DISABLE, ENABLE):
                assert "no such function" in host.error(call, "oseh_ujmk_1")


@pytest.mark.parametrize("kind", ["ceph", "ceph suspended", "rclone"])
def test_where_nothing_would_bring_it_back_a_key_is_not_disabled(kind, users, request):
    with opened("ceph versioned" if "suspended" in kind else kind, request) as bucket, admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        content = bucket.read(uid)
        if "suspended" in kind:
            body = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
            assert bucket.client.request("PUT", bucket.name, query={"versioning": ""}, body=body).status == 200
        assert host.error(DISABLE, uid) == (
            f'journal_disable_key: store_denied: key "{uid}" could not be disabled: the bucket keeps no versions, so that nothing'
            " would bring it back; turn them on first: aws s3api put-bucket-versioning"
            f" --bucket {bucket.name} --versioning-configuration Status=Enabled"
        )
        assert bucket.read(uid) == content


def test_what_a_plain_deletion_hid_is_enabled_whatever_number_of_markers_it_left(users, bucket):
    with admin(users, bucket) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        bucket.mark_twice(uid)
        assert bucket.versions(uid) == (1, 2)
        assert json.loads(host.value(DISABLE, uid))["changed"] is False
        assert json.loads(host.value(ENABLE, uid))["changed"] is True
        assert bucket.versions(uid) == (1, 0)
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"


def test_it_says_what_the_store_refuses(users, bucket):
    with admin(users, bucket, JOURNAL_FETCH_TIMEOUT="1") as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        said = f'key "{uid}" could not be disabled'
        bucket.proxy.faults = lambda r: ACCESS_DENIED if "versioning" in r.query else None
        assert host.error(DISABLE, uid) == (
            f"journal_disable_key: store_denied: {said}: whether the bucket keeps versions may not be asked"
            " (s3:GetBucketVersioning): the store answered 403 (AccessDenied)"
        )
        bucket.proxy.faults = lambda r: ACCESS_DENIED if r.method == "DELETE" else None
        assert host.error(DISABLE, uid) == f"journal_disable_key: store_denied: {said}: the store refuses (AccessDenied)"
        # A store that acknowledges and does nothing.
        bucket.proxy.faults = lambda r: Status(204, "") if r.method == "DELETE" else None
        assert host.error(DISABLE, uid) == f"journal_disable_key: store_unavailable: {said}: it is still seen after it was disabled"
        bucket.proxy.faults = []
        assert bucket.versions(uid) == (1, 0)
        bucket.proxy.refuse()
        assert host.error(DISABLE, uid) == f"journal_disable_key: store_unavailable: {said}: connection refused"


def test_a_row_cannot_name_the_file_of_a_disabled_key(users, tmp_path, request):
    with opened("directory", request) as folder, admin(users, folder) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        host.run(DISABLE, uid)
        with users.writing() as connection:
            connection.execute("UPDATE s3_files SET key = key || '.disabled'")
        assert host.error("SELECT journal_decrypt(1, ?, ?)", uid, token) == (
            f'journal_decrypt: key_invalid: key "{uid}": its object\'s name is that of a disabled key'
        )


def test_a_bucket_whose_lifecycle_took_the_bytes_says_that_they_are_gone(users, bucket):
    with admin(users, bucket, **ADMIN) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        host.run(DISABLE, uid)
        # What NoncurrentVersionExpiration does at its time.
        for version in bucket.client.list_versions(bucket.name, PREFIX + uid):
            if not version.is_delete_marker:
                assert bucket.client.delete(bucket.name, PREFIX + uid, version.version_id).status == 204
        gone = f'key_lost: key "{uid}": its object is not in the key store'
        assert host.error(ENABLE, uid) == f"journal_enable_key: {gone}"
        with Host(users.path, bucket.env) as reader:
            assert reader.error("SELECT journal_encrypt(1, 'x')") == f"journal_encrypt: {gone}"
