"""An object that is not there is a lost key; every other 404 is an outage."""

import re

import pytest
from cryptography.fernet import Fernet
from scene import KEY_UID, Scene
from servers import faults

from .answers import ENCRYPT, Raw, lost, unavailable, wait_for


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_an_absent_object_is_a_lost_key(server, tmp_path, request):
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        token = Fernet(scene.add_key()).encrypt(b"gone").decode()
        scene.delete()
        child = scene.child()
        assert child.error(ENCRYPT) == lost()
        assert child.value("SELECT journal_try_decrypt(1, ?, ?)", KEY_UID, token) is None
        assert child.value("SELECT journal_check(1, NULL, ?)", token) == "key_lost"
        # Not tried again, and remembered for a moment.
        assert scene.proxy.count() == 1


def test_an_object_that_comes_back_is_found_though_it_was_absent(scene):
    scene.add_key()
    scene.delete()
    child = scene.child()
    assert child.error(ENCRYPT) == lost()
    scene.put(scene.secrets[0])
    wait_for(lambda: child.value("SELECT journal_check(1, NULL, 'x')") == "token_invalid")
    assert child.run(ENCRYPT)


def test_a_delete_marker_is_a_lost_key(scene):
    assert scene.s3.enable_versioning(scene.bucket).status == 200
    scene.add_key()
    child = scene.child(JOURNAL_CACHE_TTL="0")
    assert child.run(ENCRYPT)
    scene.delete()
    markers = [version.is_delete_marker for version in scene.s3.list_versions(scene.bucket)]
    assert sorted(markers) == [False, True]
    assert child.error(ENCRYPT) == lost()
    assert scene.child().error(ENCRYPT) == lost()


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
