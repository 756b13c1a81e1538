"""The servers do what tests of the extension rely on, and leave nothing behind."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from . import ceph as ceph_module
from .ceph import Ceph
from .credentials import Credentials
from .daemon import Daemon, ServerFailed
from .message import Response
from .metadata import EcsCredentials, Imds, Sts
from .proxy import FaultProxy
from .s3 import S3Client

ODD_KEYS = ["a b", "é/日本/😀", "x+y&z=1?#%25", "*'()!~-._@:,;$", "a//b", "a\tb"]


@pytest.fixture(params=["ceph", "rclone"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def bucket(request):
    return "b-" + request.node.name.lower().translate({ord(c): "-" for c in "_[]"})[:60].strip("-")


def owner(server, **changed):
    return S3Client(**{name: getattr(server, name) for name in ("endpoint", "access_key", "secret_key")} | changed)


def gone(pid):
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pids, seconds=10):
    deadline = time.monotonic() + seconds
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived the process that started it"
        time.sleep(0.02)


def test_objects_come_back_under_odd_names(server, bucket):
    s3 = owner(server)
    assert s3.create_bucket(bucket).status == 200
    # rclone keeps objects as files: no empty path segments
    for key in [key for key in ODD_KEYS if isinstance(server, Ceph) or "//" not in key]:
        assert s3.put(bucket, key, key.encode()).status == 200, key
        assert s3.get(bucket, key).body == key.encode()
        assert s3.delete(bucket, key).status == 204
        assert (s3.get(bucket, key).status, s3.get(bucket, key).code) == (404, "NoSuchKey")


def test_a_wrong_secret_is_refused(server, bucket):
    owner(server).create_bucket(bucket)
    owner(server).put(bucket, "key", b"bytes")
    response = owner(server, secret_key="wrong").get(bucket, "key")
    assert (response.status, response.code) == (403, "SignatureDoesNotMatch")
    response = owner(server, access_key="AKUNKNOWN").get(bucket, "key")
    assert (response.status, response.code) == (403, "InvalidAccessKeyId")


def test_a_signed_request_passes_through_the_proxy(server, bucket):
    with FaultProxy(server.host, server.port) as proxy:
        s3 = owner(server, endpoint=proxy.endpoint)
        s3.create_bucket(bucket)
        assert s3.put(bucket, "a b/é", b"bytes").status == 200
        assert s3.get(bucket, "a b/é").body == b"bytes"
        assert owner(server, endpoint=proxy.endpoint, secret_key="wrong").get(bucket, "a b/é").status == 403
        assert proxy.count("GET", f"/{bucket}/a%20b/%C3%A9") == 2


def test_a_versioned_delete_leaves_a_marker_until_every_version_is_deleted(ceph, bucket):
    s3 = owner(ceph)
    s3.create_bucket(bucket)
    assert s3.enable_versioning(bucket).status == 200
    version = s3.put(bucket, "k é", b"old").headers["x-amz-version-id"]
    s3.put(bucket, "k é", b"new")
    marker = s3.delete(bucket, "k é")
    assert (marker.status, marker.headers["x-amz-delete-marker"]) == (204, "true")
    response = s3.get(bucket, "k é")
    assert (response.status, response.code) == (404, "NoSuchKey")
    assert s3.get(bucket, "k é", version_id=version).body == b"old"
    versions = s3.list_versions(bucket, "k")
    assert [(v.key, v.is_latest, v.is_delete_marker) for v in versions] == [
        ("k é", True, True), ("k é", False, False), ("k é", False, False),
    ]
    for v in versions:
        assert s3.delete(bucket, v.key, version_id=v.version_id).status == 204
    assert s3.list_versions(bucket) == []


def test_a_long_version_list_comes_whole(ceph, bucket, monkeypatch):
    s3 = owner(ceph)
    s3.create_bucket(bucket)
    s3.enable_versioning(bucket)
    for key in "aabbb":
        s3.put(bucket, key, b"")
    signed = s3.request
    pages = []

    def two_at_a_time(method, bucket, key=None, query=None, **more):
        pages.append(query)
        return signed(method, bucket, key, query={**query, "max-keys": "2"}, **more)

    monkeypatch.setattr(s3, "request", two_at_a_time)
    versions = s3.list_versions(bucket)
    assert [v.key for v in versions] == list("aabbb")
    assert (len({v.version_id for v in versions}), len(pages)) == (5, 3)


def test_conditional_requests(ceph, bucket):
    s3 = owner(ceph)
    s3.create_bucket(bucket)
    etag = s3.put(bucket, "key", b"bytes", headers={"If-None-Match": "*"}).headers["etag"]
    assert s3.get(bucket, "key", headers={"If-None-Match": etag}).status == 304
    assert s3.put(bucket, "key", b"other", headers={"If-None-Match": "*"}).status == 412
    assert s3.get(bucket, "key").body == b"bytes"


def test_another_user_has_no_rights_but_those_of_a_bucket_policy(ceph, bucket):
    s3, user = owner(ceph), ceph.create_user("guest")
    reader = owner(ceph, access_key=user.access_key, secret_key=user.secret_key)
    s3.create_bucket(bucket)
    s3.put(bucket, "key", b"bytes")
    assert (reader.get(bucket, "key").status, reader.get(bucket, "key").code) == (403, "AccessDenied")
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": [user.arn]}, "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }]}
    assert s3.put_bucket_policy(bucket, policy).status in (200, 204)
    assert reader.get(bucket, "key").body == b"bytes"
    assert reader.get(bucket, "absent").code == "AccessDenied"  # for want of s3:ListBucket
    assert reader.put(bucket, "key", b"other").status == 403


def test_two_clusters_run_side_by_side_and_leave_nothing(ceph, bucket):
    owner(ceph).create_bucket(bucket)
    with Ceph() as other:
        assert owner(other, access_key=ceph.access_key).get(bucket, "key").code == "InvalidAccessKeyId"
        assert owner(other).get(bucket, "key").code == "NoSuchBucket"
        pids, state = other.pids, other.state
        assert len(pids) == 3 and not any(gone(pid) for pid in pids)
    assert all(gone(pid) for pid in pids) and not state.exists()
    assert owner(ceph).get(bucket, "key").code == "NoSuchKey"


def test_temporary_credentials_need_their_session_token(bucket):
    with Ceph(session_tokens=True) as ceph:
        owner(ceph).create_bucket(bucket)
        owner(ceph).put(bucket, "key", b"bytes")
        given = ceph.temporary_credentials()
        keys = {"access_key": given.access_key, "secret_key": given.secret_key}
        assert owner(ceph, **keys, session_token=given.session_token).get(bucket, "key").body == b"bytes"
        assert owner(ceph, **keys).get(bucket, "key").status == 403
        assert owner(ceph, secret_key="wrong").get(bucket, "key").status == 403


def test_a_server_that_does_not_start_fails_with_its_log(tmp_path, monkeypatch):
    with ExitStack() as stack:
        daemon = Daemon(["sh", "-c", "echo it is broken; exit 3"], log=tmp_path / "log")
        stack.callback(daemon.stop)
        with pytest.raises(ServerFailed, match="sh ended with 3\nit is broken"):
            daemon.wait_until(lambda: False, seconds=10)
    with ExitStack() as stack:
        daemon = Daemon(["sh", "-c", "echo it hangs; sleep 60"], log=tmp_path / "log")
        stack.callback(daemon.stop)
        with pytest.raises(ServerFailed, match="sh not ready after 0.2 s"):
            daemon.wait_until(lambda: False, seconds=0.2)
    assert gone(daemon.pid)

    state = tmp_path / "state"
    state.mkdir()
    broken = tmp_path / "ceph.conf"
    broken.write_text(ceph_module._CONFIG.read_text().replace("beast endpoint", "beast no_such_option"))
    monkeypatch.setattr(ceph_module, "_CONFIG", broken)
    monkeypatch.setattr("tempfile.tempdir", str(state))
    with pytest.raises(ServerFailed, match="radosgw ended with"):
        Ceph()
    assert list(state.iterdir()) == []


def test_servers_end_with_a_test_run_that_is_killed(tmp_path):
    # They are started on a thread that ends first, which must not end them.
    script = f"""if True:
        import json, sys, tempfile, threading
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        tempfile.tempdir = {str(tmp_path)!r}
        from servers.ceph import Ceph
        from servers.rclone import Rclone
        started = []
        thread = threading.Thread(target=lambda: started.extend([Rclone(), Ceph()]))
        thread.start()
        thread.join()
        print(json.dumps([pid for server in started for pid in server.pids]), flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        try:
            pids = json.loads(run.stdout.readline())
            assert len(pids) == 4 and not any(gone(pid) for pid in pids)
        finally:
            run.kill()
    wait_until_gone(pids)


def fetch(server, method, target, body=None, **fields):
    connection = HTTPConnection(server.host, server.port, timeout=5)
    connection.request(method, target, body, {name.replace("_", "-"): value for name, value in fields.items()})
    answer = connection.getresponse()
    response = Response(answer.status, answer.headers, answer.read())
    connection.close()
    return response


def test_imds_wants_a_session_token():
    roles = "/latest/meta-data/iam/security-credentials/"
    with Imds(Credentials(lifetime=600)) as imds:
        assert fetch(imds, "GET", roles).status == 401
        assert fetch(imds, "GET", roles, X_aws_ec2_metadata_token="made-up").status == 401
        assert fetch(imds, "PUT", "/latest/api/token").status == 400
        ttl = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
        assert fetch(imds, "PUT", "/latest/api/token", **ttl, X_Forwarded_For="1.2.3.4").status == 403
        token = {"X_aws_ec2_metadata_token": fetch(imds, "PUT", "/latest/api/token", **ttl).body.decode()}
        assert fetch(imds, "GET", roles, **token).body == b"journal-role"
        document = json.loads(fetch(imds, "GET", roles + "journal-role", **token).body)
        assert (document["Code"], document["Token"]) == ("Success", "test-session-token")
        assert document["LastUpdated"] < document["Expiration"] <= Credentials(lifetime=600).expiration
        imds.role = None
        assert fetch(imds, "GET", roles, **token).status == 404
        imds.forget_tokens()
        assert fetch(imds, "GET", roles, **token).status == 401
        assert imds.count("PUT", "/latest/api/token") == 3


def test_ecs_wants_its_path_and_authorization():
    with EcsCredentials(Credentials(access_key="AK", lifetime=-5), authorization="Basic abc") as ecs:
        assert ecs.full_uri == ecs.endpoint + ecs.relative_uri
        assert fetch(ecs, "GET", "/v2/credentials/other", Authorization="Basic abc").status == 404
        assert fetch(ecs, "GET", ecs.relative_uri).status == 401
        document = json.loads(fetch(ecs, "GET", ecs.relative_uri, Authorization="Basic abc").body)
        assert document["AccessKeyId"] == "AK"
        assert document["Expiration"] < Credentials(lifetime=0).expiration


def test_sts_tells_where_the_token_was():
    with Sts() as sts:
        parameters = {
            "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleSessionName": "session",
            "RoleArn": "arn:aws:iam::123456789012:role/journal-role", "WebIdentityToken": sts.token,
        }
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        answer = fetch(sts, "POST", "/", urlencode(parameters), **form)
        assert answer.status == 200 and b"<AccessKeyId>ASIATESTACCESSKEY</AccessKeyId>" in answer.body
        assert fetch(sts, "GET", "/?" + urlencode(parameters)).status == 200
        answer = fetch(sts, "POST", "/", urlencode(parameters | {"WebIdentityToken": "other"}), **form)
        assert (answer.status, answer.code) == (400, "InvalidIdentityToken")
        assert fetch(sts, "POST", "/", urlencode(parameters | {"Action": "Other"}), **form).code == "InvalidAction"
        assert sts.token_places == ["body", "url", "body", "body"]
