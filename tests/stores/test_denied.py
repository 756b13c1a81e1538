"""Credentials that are wrong, missing, temporary or not allowed."""

import pytest
from scene import KEY_UID, Scene
from servers.ceph import Ceph

from .answers import ENCRYPT, NAMED, denied


@pytest.fixture(scope="module")
def ceph_with_session_tokens():
    with Ceph(session_tokens=True) as server:
        yield server


@pytest.fixture(scope="module")
def reader(ceph):
    """A user who has no rights but those of a bucket's policy."""
    return ceph.create_user("reader")


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_a_wrong_secret_is_denied_and_not_tried_again(server, tmp_path, request):
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        scene.add_key()
        child = scene.child(AWS_SECRET_ACCESS_KEY="wrong-secret-access-key")
        assert child.error(ENCRYPT) == denied("the store answered 403 (SignatureDoesNotMatch)")
        assert scene.proxy.count() == 1
        assert child.value("SELECT journal_check(1, NULL, 'x')") == "store_denied"
        assert "store_denied" in child.error("SELECT journal_try_decrypt(1, NULL, 'x')")


def test_an_unknown_access_key_is_denied(scene):
    scene.add_key()
    child = scene.child(AWS_ACCESS_KEY_ID="AKUNKNOWN")
    assert child.error(ENCRYPT) == denied("the store answered 403 (InvalidAccessKeyId)")


def test_a_user_without_rights_is_denied(scene, reader):
    scene.add_key()
    child = scene.child(AWS_ACCESS_KEY_ID=reader.access_key, AWS_SECRET_ACCESS_KEY=reader.secret_key)
    assert child.error(ENCRYPT) == denied("the store answered 403 (AccessDenied)")


def test_a_user_who_may_only_read_objects_reads_keys_and_cannot_tell_absent_ones(scene, reader):
    scene.add_key()
    scene.add_rows("oseh_ujmk_absent")
    statement = {
        "Effect": "Allow", "Principal": {"AWS": [reader.arn]}, "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{scene.bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    assert scene.s3.put_bucket_policy(scene.bucket, policy).status in (200, 204)
    child = scene.child(AWS_ACCESS_KEY_ID=reader.access_key, AWS_SECRET_ACCESS_KEY=reader.secret_key)
    assert child.run(NAMED, KEY_UID)
    assert child.error(NAMED, "oseh_ujmk_absent") == denied("the store answered 403 (AccessDenied)", "oseh_ujmk_absent")


def test_without_credentials_nothing_is_asked(scene):
    scene.add_key()
    child = scene.child(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="true")
    assert child.error(ENCRYPT) == denied(
        "there are no AWS credentials in the environment, a profile or a container, and AWS_EC2_METADATA_DISABLED is true"
    )
    assert scene.proxy.connections == 0


def test_temporary_credentials_bring_their_session_token_signed(ceph_with_session_tokens, tmp_path):
    with Scene(ceph_with_session_tokens, tmp_path) as scene:
        scene.add_key()
        given = scene.server.temporary_credentials()
        env = {"AWS_ACCESS_KEY_ID": given.access_key, "AWS_SECRET_ACCESS_KEY": given.secret_key}
        scene.secrets.append(given.session_token)
        assert scene.child(**env, AWS_SESSION_TOKEN=given.session_token).run(ENCRYPT)
        [asked] = scene.proxy.requests
        assert asked.headers["x-amz-security-token"] == given.session_token
        assert ";x-amz-security-token," in asked.headers["Authorization"]
        assert given.session_token not in asked.target
        # Without it the server refuses: it was not for nothing.
        for other in [None, ""]:
            assert "store_denied" in scene.child(**env, AWS_SESSION_TOKEN=other).error(ENCRYPT)
