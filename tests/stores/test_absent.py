"""An object that is not there is a lost key; every other 404 is an outage."""

import re

import pytest
from cryptography.fernet import Fernet
from scene import KEY_UID, Scene
from servers import faults
from servers.message import Response, headers

from .answers import DISABLED, ENCRYPT, Raw, denied, lost, unavailable, wait_for


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_an_absent_object_is_a_lost_key(server, tmp_path, request):
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        token = Fernet(scene.add_key()).encrypt(b"gone").decode()
        scene.delete()
        child = scene.child()
        assert child.error(ENCRYPT) == lost()
        assert child.value("SELECT journal_try_decrypt(1, ?, ?)", KEY_UID, token) is None
        assert child.value("SELECT journal_check(1, NULL, ?)", token) == "key_lost"
        # Not tried again, and remembered for a moment. These servers say nothing of delete markers, so that they are listed.
        assert scene.proxy.count() == 2


def test_an_object_that_comes_back_is_found_though_it_was_absent(scene):
    scene.add_key()
    scene.delete()
    child = scene.child()
    assert child.error(ENCRYPT) == lost()
    scene.put(scene.secrets[0])
    wait_for(lambda: child.value("SELECT journal_check(1, NULL, 'x')") == "token_invalid")
    assert child.run(ENCRYPT)


def test_a_delete_marker_is_a_disabled_key(scene):
    assert scene.s3.enable_versioning(scene.bucket).status == 200
    scene.add_key()
    child = scene.child(JOURNAL_CACHE_TTL="0")
    assert child.run(ENCRYPT)
    scene.delete()
    markers = [version.is_delete_marker for version in scene.s3.list_versions(scene.bucket)]
    assert sorted(markers) == [False, True]
    assert child.error(ENCRYPT) == DISABLED
    assert scene.child().error(ENCRYPT) == DISABLED


def test_a_delete_marker_over_nothing_is_a_lost_key(scene):
    assert scene.s3.enable_versioning(scene.bucket).status == 200
    scene.add_rows()
    scene.delete()
    assert [version.is_delete_marker for version in scene.s3.list_versions(scene.bucket)] == [True]
    assert scene.child().error(ENCRYPT) == lost()


class Marked(Raw):
    """What Amazon's S3 answers where the latest version is a delete marker."""

    def __init__(self):
        super().__init__(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def act(self, exchange, upstream):
        exchange.send(Response(self.status, headers(("x-amz-delete-marker", "true")), self.body))


def test_where_the_answer_tells_of_a_delete_marker_nothing_is_listed(scene):
    scene.add_key()
    scene.proxy.faults = lambda request: Marked()
    child = scene.child()
    assert child.error(ENCRYPT) == DISABLED
    # Remembered for a moment, as an absent one is.
    assert child.error(ENCRYPT) == DISABLED
    assert scene.proxy.count() == 1


@pytest.mark.parametrize(
    "fault, said",
    [
        (faults.ACCESS_DENIED, denied(
            "its object is not found, and whether it is disabled is not known: its versions may not be listed"
            " (s3:ListBucketVersions): the store answered 403 (AccessDenied)"
        )),
        (faults.Status(503, "SlowDown"), unavailable("the store answered 503 (SlowDown)")),
    ],
    ids=["denied", "down"],
)  # fmt: skip
def test_while_nobody_knows_whether_it_is_disabled_it_is_not_called_lost(fault, said, scene):
    scene.add_key()
    scene.delete()
    scene.proxy.faults = lambda request: fault if "versions" in request.query else None
    child = scene.child(JOURNAL_FETCH_TIMEOUT="1")
    assert child.error(ENCRYPT) == said
    assert "store_" in child.error("SELECT journal_try_decrypt(1, NULL, 'x')")


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_a_missing_bucket_is_an_outage_and_no_lost_key(server, tmp_path, request):
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        scene.add_key()
        child = scene.child(JOURNAL_KEY_STORE="s3://another-bucket")
        assert child.error(ENCRYPT) == unavailable("the store answered 404 (NoSuchBucket)")
        assert child.value("SELECT journal_check(1, NULL, 'x')") == "store_unavailable"
        assert "store_unavailable" in child.error("SELECT journal_try_decrypt(1, NULL, 'x')")


@pytest.mark.parametrize("code", ["NoSuchVersion", "NoSuchUpload", "", "<b>no</b> such & thing"])
def test_any_other_404_is_an_outage_and_no_lost_key(code, scene):
    scene.add_key()
    scene.proxy.faults = faults.always(faults.Status(404, code))
    assert re.fullmatch(re.escape(unavailable("the store answered 404 (")) + r"\w+( \w+)?\)", scene.child().error(ENCRYPT))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"Not Found", b"<html><body>NoSuchKey</body></html>", b"<Error><Code>NoSuchKey", b"\xff\xfe",
        b"<Error><Inner><Code>NoSuchKey</Code></Inner></Error>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Error><Code>&b;</Code></Error>',
    ],
)
def test_a_404_that_is_not_s3_s_says_nothing_of_the_key(body, scene):
    scene.add_key()
    scene.proxy.faults = faults.always(Raw(404, body))
    assert scene.child().error(ENCRYPT) == unavailable("the store answered 404 (no code)")
