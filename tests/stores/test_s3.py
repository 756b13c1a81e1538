"""Keys from S3: what is asked, how it is signed, and under which names objects are found."""

import re
from urllib.parse import quote

import pytest
from conftest import PREFIX
from cryptography.fernet import Fernet
from scene import KEY_UID, Scene

from .answers import ENCRYPT, NAMED, invalid


@pytest.mark.parametrize("server", ["ceph", "rclone"])
@pytest.mark.parametrize("host", ["sqlite3", "apsw"])
def test_a_key_is_fetched_once_and_serves_both_ways(server, host, tmp_path, request):
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        fernet = Fernet(scene.add_key())
        child = scene.child(host)
        for number in range(20):
            token = child.value("SELECT journal_encrypt(1, ?)", f"entry {number}")
            assert fernet.decrypt(token) == f"entry {number}".encode()
            assert child.value("SELECT journal_decrypt(1, ?, ?)", KEY_UID, token) == f"entry {number}"
        [asked] = scene.proxy.requests
        assert (asked.method, asked.target, asked.body) == ("GET", scene.path(), b"")


def test_many_keys_come_over_one_kept_connection(scene):
    uids = [f"oseh_ujmk_{number}" for number in range(20)]
    for uid in uids:
        scene.add_key(uid)
    child = scene.child()
    for uid in uids:
        assert child.run(NAMED, uid)
    assert (scene.proxy.count("GET"), scene.proxy.connections) == (20, 1)


def test_a_request_is_signed_in_its_header_and_nowhere_else(scene):
    scene.add_key()
    assert scene.child(AWS_REGION="eu-north-1").run(ENCRYPT)
    [asked] = scene.proxy.requests
    assert asked.query == {}
    authorization = asked.headers["Authorization"]
    scope = rf"{scene.server.access_key}/\d{{8}}/eu-north-1/s3/aws4_request"
    signed = "host;x-amz-content-sha256;x-amz-date"
    assert re.fullmatch(
        f"AWS4-HMAC-SHA256 Credential={scope}, ?SignedHeaders={signed}, ?Signature=[0-9a-f]{{64}}", authorization
    )
    assert asked.headers["Host"] == f"{scene.proxy.host}:{scene.proxy.port}"


def test_the_owner_of_the_bucket_is_sent_signed(scene):
    scene.add_key()
    assert scene.child(JOURNAL_BUCKET_OWNER="111122223333").run(ENCRYPT)
    [asked] = scene.proxy.requests
    assert asked.headers["x-amz-expected-bucket-owner"] == "111122223333"
    assert "x-amz-expected-bucket-owner" in asked.headers["Authorization"]


ODD_NAMES = [
    "a/b/c", "a b", " begins and ends ", "a  b", "é", "e\N{COMBINING ACUTE ACCENT}", "日本/語", "😀", "+", "a+b", "%", "%20", "%2F", "%2e%2e/x",
    "100%", "~", "~user", "'", '"', "it's \"so\"", "`", "*", "(a)", "!", "?", "?versionId=1", "#", "#top", "&a=b", "=",
    ";", ":", ",", "$", "@", "[a]", "{a}", "|", "^", "\\", "a\\..\\b", "<a>", "-._", "..a", "a..", "...", ".a", "a.",
]
NOT_ON_RCLONE = ["a//b", "/a", "a/", "http://x/y", "x" * (1024 - len(PREFIX)), "é" * ((1024 - len(PREFIX)) // 2)]  # keeps them as files


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_objects_are_found_under_odd_names(server, tmp_path, request):
    names = ODD_NAMES if server == "rclone" else [*ODD_NAMES, *NOT_ON_RCLONE]
    with Scene(request.getfixturevalue(server), tmp_path) as scene:
        contents = {name: scene.add_key(f"oseh_ujmk_{number}", name) for number, name in enumerate(names)}
        child = scene.child()
        for number, (name, content) in enumerate(contents.items()):
            uid = f"oseh_ujmk_{number}"
            token = child.value(NAMED, uid)
            assert Fernet(content).decrypt(token) == b"text", name
            assert scene.proxy.requests[-1].target == f"/{scene.bucket}/{quote(PREFIX + name, safe='/')}", name


@pytest.mark.parametrize("name", ["..", "../x", "a/../b", "a/..", ".", "./a", "a/./b", "a\nb", "a\tb", "\x7f", "x" * 1024])
def test_a_name_that_could_lead_elsewhere_is_not_fetched(name, scene):
    scene.add_rows(name=name)
    assert scene.child().error(ENCRYPT).startswith(invalid("its object's name "))
    assert scene.proxy.connections == 0


def test_an_object_outside_the_prefix_is_not_fetched(scene):
    scene.add_key()
    child = scene.child(JOURNAL_KEY_PREFIX="s3_files/journals/keys/mister/")
    assert child.error(ENCRYPT) == invalid("its object's name lies outside JOURNAL_KEY_PREFIX")
    assert scene.proxy.connections == 0
