"""Keys whose objects are kept under a wrapping key: whoever copies them, with or without the database, can use none."""

import json

import pytest
from conftest import LIBRARY, PREFIX, new_key, unix
from cryptography.fernet import Fernet
from documents.book import defined
from host import Host
from servers.message import Response, headers
from stores import admin, opened, rows

WRAP = "SELECT journal_wrap_key(1, ?)"
NOT_SET = "its object is wrapped, and JOURNAL_WRAPPING_KEY_FILE is not set"
NOT_OPENED = "its object is wrapped under no key of JOURNAL_WRAPPING_KEY_FILE, or for another name"
NOT_WRAPPED = "its object is not wrapped, and JOURNAL_REQUIRE_WRAPPED is set"


def unwrapped(key, uid, content):
    """What a wrapped object holds, read as docs/guards.md reads it with another library."""
    return defined("guards.md", "unwrapped")(key, PREFIX + uid, content).decode()


@pytest.fixture
def wrapping(tmp_path):
    """Two wrapping keys, and the environment in which the first alone is used, both, or the second."""

    class Wrapping:
        first, second = new_key(), new_key()

        def env(self, *keys, **more):
            path = tmp_path / f"wrapping-{len(list(tmp_path.iterdir()))}"
            path.write_text("".join(key + "\n" for key in keys))
            return {"JOURNAL_WRAPPING_KEY_FILE": str(path), **more}

    return Wrapping()


def invalid(function, uid, reason):
    return f'{function}: key_invalid: key "{uid}": {reason}'


def test_a_new_key_is_wrapped_under_the_first_wrapping_key_and_all_are_read(users, store, wrapping):
    with admin(users, store, **wrapping.env(wrapping.first)) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        made = json.loads(host.value("SELECT journal_create_key(2)"))["s3_files"]
        assert made["file_size"] == len(store.read(made["key"].removeprefix(PREFIX))) == 140
    raw = unwrapped(wrapping.first, uid, store.read(uid))
    assert Fernet(raw).decrypt(token) == b"dear diary"
    assert raw not in store.read(uid) and [row[5] for row in rows(users)] == [140]
    # Rotated: the second writes now, the first is still read.
    with admin(users, store, **wrapping.env(wrapping.second, wrapping.first)) as host:
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
        newer = host.value("SELECT journal_rotate_key(1)")
        assert Fernet(unwrapped(wrapping.second, newer, store.read(newer)))
        [[status, detail]] = host.run("SELECT status, detail FROM journal_doctor WHERE name = 'wrapping'")
        assert (status, detail) == ("ok", "2 keys read, the first writes; objects that are not wrapped are read too")


def test_raw_objects_are_read_until_that_is_refused(users, store, wrapping):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
    with Host(users.path, {**store.env, **wrapping.env(wrapping.first)}) as host:
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
    with Host(users.path, {**store.env, **wrapping.env(wrapping.first, JOURNAL_REQUIRE_WRAPPED="1")}) as host:
        assert host.error("SELECT journal_decrypt(1, ?, ?)", uid, token) == invalid("journal_decrypt", uid, NOT_WRAPPED)
        assert host.error("SELECT journal_try_decrypt(1, ?, ?)", uid, token) == invalid("journal_try_decrypt", uid, NOT_WRAPPED)
        [[status, detail]] = host.run("SELECT status, detail FROM journal_doctor WHERE name = 'newest_key'")
        assert (status, detail) == ("failed", f"the current key of user 1: {NOT_WRAPPED}")


def test_in_a_copy_of_database_and_keys_no_key_can_be_used(users, store, wrapping):
    """The disk image: all that one backup takes, but for the wrapping key."""
    with admin(users, store, **wrapping.env(wrapping.first)) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
    for env, reason in ({}, NOT_SET), (wrapping.env(wrapping.second), NOT_OPENED):
        with Host(users.path, {**store.env, **env}) as thief:
            for function in ("journal_decrypt", "journal_try_decrypt", "journal_decrypt_blob", "journal_rewrap"):
                assert thief.error(f"SELECT {function}(1, ?, ?)", uid, token) == invalid(function, uid, reason)
            assert thief.error("SELECT journal_encrypt(1, 'x')") == invalid("journal_encrypt", uid, reason)
            assert json.loads(thief.value("SELECT journal_prefetch(1)")) == {"ready": 0, "failed": {"key_invalid": 1}}
    # Nor is the object itself a key to anything, for a thief with tools of their own.
    with pytest.raises(ValueError):
        Fernet(store.read(uid))


def test_key_objects_that_were_swapped_are_refused(users, store, wrapping):
    """Whoever can write the store gives a user another user's key, or an old one back."""
    with admin(users, store, **wrapping.env(wrapping.first)) as host:
        mine, other = host.value("SELECT journal_rotate_key(1)"), host.value("SELECT journal_rotate_key(2)")
        a, b = store.read(mine), store.read(other)
        store.write(mine, b)
        store.write(other, a)
        for user, uid in (1, mine), (2, other):
            assert host.error("SELECT journal_encrypt(?, 'x')", user) == invalid("journal_encrypt", uid, NOT_OPENED)
    # Without wrapping the same swap goes unseen.
    with admin(users, store) as host:
        mine, other = host.value("SELECT journal_rotate_key(1)"), host.value("SELECT journal_rotate_key(2)")
        store.write(mine, store.read(other))
        assert host.value("SELECT journal_encrypt(1, 'x')")


def test_a_key_is_wrapped_where_it_is_and_stays_what_it_was(users, store, wrapping):
    with admin(users, store) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        token, raw = host.value("SELECT journal_encrypt(1, 'dear diary')"), store.read(uid)
        assert host.error(WRAP, uid) == (
            "journal_wrap_key: bad_argument: there is no key to wrap with: JOURNAL_WRAPPING_KEY_FILE is not set"
        )
    for keys in [wrapping.first], [wrapping.second, wrapping.first]:
        with admin(users, store, **wrapping.env(*keys)) as host:
            receipt = json.loads(host.value(WRAP, uid))
            assert (receipt["wrapped"], receipt["key_uid"], receipt["object"]) == (True, uid, PREFIX + uid)
            assert receipt["versions_deleted"] == store.versioned and receipt["versions_kept"] == 0
            assert unwrapped(keys[0], uid, store.read(uid)) == raw
            assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
            assert store.uids() == {uid}
    required = wrapping.env(wrapping.second, JOURNAL_REQUIRE_WRAPPED="1")
    with Host(users.path, {**store.env, **required}) as host:
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"


def test_raw_versions_go_and_those_of_another_key_stay(users, bucket, wrapping):
    with admin(users, bucket, **wrapping.env(wrapping.first)) as host:
        uid = "oseh_ujmk_1"
        users.add_key(1, uid)
        other = bucket.write(uid)
        raw = bucket.write(uid)
        bucket.write(uid, raw + "\n")
        receipt = json.loads(host.value(WRAP, uid))
        assert (receipt["versions_deleted"], receipt["versions_kept"]) == (2, 1)
        contents = [
            bucket.client.get(bucket.name, PREFIX + uid, v.version_id).body.decode()
            for v in bucket.client.list_versions(bucket.name, PREFIX + uid) if v.key == PREFIX + uid
        ]
        assert len(contents) == 2 and contents[1] == other and unwrapped(wrapping.first, uid, contents[0]) == raw


def test_what_is_disabled_or_no_key_is_not_wrapped(users, bucket, wrapping):
    with admin(users, bucket, **wrapping.env(wrapping.first)) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        host.run("SELECT journal_disable_key(1, ?)", uid)
        assert host.error(WRAP, uid) == (
            f'journal_wrap_key: store_unavailable: key "{uid}" could not be wrapped: its object is disabled'
        )
        users.add_key(1, "oseh_ujmk_broken")
        bucket.write("oseh_ujmk_broken", "no key")
        assert "its object is not a Fernet key" in host.error(WRAP, "oseh_ujmk_broken")
        assert bucket.read("oseh_ujmk_broken") == "no key"


def test_a_raw_object_is_not_wrapped_where_raw_ones_are_refused(users, store, wrapping):
    """It may be one that somebody planted, which would then be a key like any other."""
    uid = "oseh_ujmk_1"
    users.add_key(1, uid)
    planted = store.write(uid)
    with admin(users, store, **wrapping.env(wrapping.first, JOURNAL_REQUIRE_WRAPPED="1")) as host:
        assert NOT_WRAPPED in host.error(WRAP, uid)
    assert store.read(uid) == planted


def test_a_shredded_key_leaves_nothing_of_a_wrap_that_was_stopped(users, store, wrapping):
    with admin(users, store, **wrapping.env(wrapping.first)) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        store.write(uid + ".replacement", store.read(uid))
        receipt = json.loads(host.value("SELECT journal_shred_key(1, ?)", uid))
        assert receipt["versions_deleted"] == 2
    assert store.uids() == set()
    if store.versioned:
        assert store.versions(uid) == store.versions(uid + ".replacement") == (0, 0)


def test_an_object_that_another_key_has_beside_it_is_not_taken_for_a_wrap_that_was_stopped(users, store, wrapping):
    users.add_key(1, "oseh_ujmk_1")
    users.add_key(2, "oseh_ujmk_1.replacement")
    contents = [store.write(name) for name in ("oseh_ujmk_1", "oseh_ujmk_1.replacement")]
    with admin(users, store, **wrapping.env(wrapping.first)) as host:
        for function in ("wrap", "shred"):
            assert host.error(f"SELECT journal_{function}_key(1, ?)", "oseh_ujmk_1") == (
                f"journal_{function}_key: bad_argument: the row of another key names what is written beside the object of key \"oseh_ujmk_1\""
            )
    assert contents == [store.read(name) for name in ("oseh_ujmk_1", "oseh_ujmk_1.replacement")]


@pytest.mark.parametrize("is_disabled", [True, False], ids=["disabled", "written"])
def test_what_somebody_does_to_an_object_while_it_is_wrapped_is_not_undone(is_disabled, users, bucket, wrapping):
    uid, listings = "oseh_ujmk_1", iter(range(100))
    users.add_key(1, uid)
    raw, other = bucket.write(uid), new_key()

    def meanwhile(request):
        """After the object was written, before its versions are listed."""
        if "versions" in request.query and "replacement" not in request.query and next(listings) == 1:
            bucket.client.delete(bucket.name, PREFIX + uid) if is_disabled else bucket.write(uid, other)

    with admin(users, bucket, **wrapping.env(wrapping.first)) as host:
        bucket.proxy.faults = meanwhile
        error = host.error(WRAP, uid)
        bucket.proxy.faults = []
        assert error == (
            f'journal_wrap_key: store_unavailable: key "{uid}" could not be wrapped: somebody else '
            + ("disabled it meanwhile, and it is disabled again" if is_disabled else "changed it meanwhile, so that nothing was deleted")
        )
        assert bucket.read(uid) == (None if is_disabled else other)
        assert bucket.versions(uid)[0] == (2 if is_disabled else 3)
        if is_disabled:
            host.run("SELECT journal_enable_key(1, ?)", uid)
            assert unwrapped(wrapping.first, uid, bucket.read(uid)) == raw


def test_a_key_that_is_disabled_between_a_wraps_first_requests_stays_so(users, bucket, wrapping):
    uid, listings = "oseh_ujmk_1", iter(range(100))
    users.add_key(1, uid)
    raw = bucket.write(uid)

    def meanwhile(request):
        if "versions" in request.query and next(listings) == 0:
            bucket.client.delete(bucket.name, PREFIX + uid)

    with admin(users, bucket, **wrapping.env(wrapping.first)) as host:
        bucket.proxy.faults = meanwhile
        assert host.error(WRAP, uid).endswith("somebody else hid or deleted it meanwhile")
        bucket.proxy.faults = []
        assert bucket.read(uid) is None and bucket.versions(uid) == (1, 1)
        host.run("SELECT journal_enable_key(1, ?)", uid)
        assert bucket.read(uid) == raw


@unix
def test_a_file_keeps_its_owner_and_its_rights_when_it_is_wrapped(users, request, wrapping):
    with opened("directory", request) as folder, admin(users, folder, **wrapping.env(wrapping.first)) as host:
        folder.write("oseh_ujmk_1")
        users.add_key(1, "oseh_ujmk_1")
        path = folder.root / (PREFIX + "oseh_ujmk_1")
        path.chmod(0o640)
        host.run(WRAP, "oseh_ujmk_1")
        assert path.stat().st_mode & 0o777 == 0o640 and len(path.read_text()) == 140


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "a file that is not there, cannot be read, or is too large"), ("\n", "a file without a key"),
        ("junk", "a file with a line that is not a Fernet key"),
    ],
)  # fmt: skip
def test_a_file_of_wrapping_keys_that_cannot_be_used_refuses_the_load(content, reason, database, key_store, tmp_path):
    path = tmp_path / "wrapping"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Exception, match=f"JOURNAL_WRAPPING_KEY_FILE: {reason}"):
        Host(database.path, {**key_store.env, "JOURNAL_WRAPPING_KEY_FILE": str(path)})
    assert LIBRARY.exists()


class Encrypted:
    """What Amazon's S3 answers of an object that it keeps under a KMS key."""

    delay = 0

    def act(self, exchange, upstream):
        answer = upstream.fetch(exchange.request)
        sse = ("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:eu-west-1:1:key/k")
        exchange.send(Response(answer.status, headers(*sse, ("ETag", answer.headers["ETag"])), answer.body))


def test_an_object_that_the_bucket_encrypts_is_read(users, bucket):
    """SSE is the bucket's own wrapping: nothing of it is ours to do."""
    users.add_key(1, "oseh_ujmk_1")
    sse = {"x-amz-server-side-encryption": "AES256"}
    content = new_key()
    assert bucket.client.put(bucket.name, PREFIX + "oseh_ujmk_1", content.encode(), headers=sse).status == 200
    for fault in (None, Encrypted()):
        bucket.proxy.faults = lambda request: fault
        with Host(users.path, bucket.env) as host:
            assert Fernet(content).decrypt(host.value("SELECT journal_encrypt(1, 'x')")) == b"x"
