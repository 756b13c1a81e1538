"""Keys from S3: real servers that verify signatures, and every way in which they or the network can fail.

Times are bounds, far above what is usual, not measurements.
"""

import re
import time
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from conftest import PREFIX
from cryptography.fernet import Fernet
from relay import Authority, ConnectProxy, TlsFront
from scene import KEY_UID, Scene
from servers import faults
from servers.ceph import Ceph
from servers.message import Response
from servers.proxy import RedirectTarget

#: What a call may take beyond its timeout on a machine that is busy.
MARGIN = 2.0

ENCRYPT = "SELECT journal_encrypt(1, 'text')"
NAMED = "SELECT journal_encrypt(1, 'text', ?)"


@pytest.fixture(scope="module")
def ceph_with_session_tokens():
    with Ceph(session_tokens=True) as server:
        yield server


@pytest.fixture(scope="module")
def reader(ceph):
    """A user who has no rights but those of a bucket's policy."""
    return ceph.create_user("reader")


@pytest.fixture
def scene(ceph, tmp_path):
    with Scene(ceph, tmp_path) as scene:
        yield scene


@pytest.fixture
def warm(scene):
    """A function that gives a process which has used the key once, and forgets the requests so far."""
    scene.add_key()

    def open_child(**env):
        child = scene.child(**env)
        assert child.run(ENCRYPT)
        scene.proxy.forget()
        return child

    return open_child


def unavailable(reason, uid=KEY_UID):
    return f'journal_encrypt: store_unavailable: key "{uid}" could not be fetched: {reason}'


def denied(reason, uid=KEY_UID):
    return f'journal_encrypt: store_denied: key "{uid}" may not be fetched: {reason}'


def lost(uid=KEY_UID):
    return f'journal_encrypt: key_lost: key "{uid}": its object is not in the key store'


def invalid(reason, uid=KEY_UID):
    return f'journal_encrypt: key_invalid: key "{uid}": {reason}'


def wait_for(what, seconds=15):
    """Asks until it is so."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
    return found


# ---- Found, absent, refused -------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Raw(faults.Fault):
    """An answer of the test's own making."""

    status: int
    body: bytes

    def act(self, exchange, upstream):
        exchange.send(Response(self.status, body=self.body))


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


def test_the_owner_of_the_bucket_is_sent_signed(scene):
    scene.add_key()
    assert scene.child(JOURNAL_BUCKET_OWNER="111122223333").run(ENCRYPT)
    [asked] = scene.proxy.requests
    assert asked.headers["x-amz-expected-bucket-owner"] == "111122223333"
    assert "x-amz-expected-bucket-owner" in asked.headers["Authorization"]


# ---- Names of objects -------------------------------------------------------------------------------------------

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


# ---- What is found is no key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "its object is not a Fernet key"),
        ("x", "its object is not a Fernet key"),
        ("not the content of a key, though 44 letters.", "its object is not a Fernet key"),
        ("A" * 4096, "its object is not a Fernet key"),
        ("A" * 4097, "its object is too large for a Fernet key"),
        ("A" * 1_000_000, "its object is too large for a Fernet key"),
    ],
    ids=["empty", "a letter", "44 letters", "4096 letters", "4097 letters", "a million letters"],
)
def test_an_object_that_is_no_key(content, reason, scene):
    scene.add_rows()
    scene.put(content)
    assert scene.child().error(ENCRYPT) == invalid(reason)
    assert scene.proxy.count() == 1


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_huge_body_is_not_read(declared, scene):
    scene.add_key()
    child = scene.child()
    scene.proxy.faults = faults.always(faults.HugeBody(1 << 40, declared=declared))
    assert child.error(ENCRYPT) == invalid("its object is too large for a Fernet key")
    assert child.seconds < MARGIN
    scene.proxy.faults = []
    assert child.run(ENCRYPT)


def test_a_huge_error_document_is_not_read(scene):
    @dataclass(frozen=True)
    class Endless(faults.HugeBody):
        def act(self, exchange, upstream):
            exchange.write(Response(500).head(content_length=self.size))
            while True:
                exchange.write(b"<Error>" * 1000)

    scene.add_key()
    scene.proxy.faults = faults.always(Endless(1 << 40))
    child = scene.child()
    assert "store_unavailable" in child.error(ENCRYPT)
    assert child.seconds < 4 + MARGIN


def test_one_good_key_is_found_behind_a_lost_and_a_broken_one(scene):
    token = Fernet(scene.add_key("oseh_ujmk_good", created_at=1.0)).encrypt(b"found").decode()
    scene.add_rows("oseh_ujmk_broken", created_at=2.0)
    scene.put("no key", "oseh_ujmk_broken")
    scene.add_rows("oseh_ujmk_lost", created_at=3.0)
    child = scene.child()
    assert child.value("SELECT journal_decrypt(1, NULL, ?)", token) == "found"
    assert child.value("SELECT journal_check(1, NULL, 'x')") == "key_invalid"


# ---- Slow, silent, dead -----------------------------------------------------------------------------------------


def test_a_slow_answer_is_waited_for(scene):
    scene.add_key()
    scene.proxy.faults = [faults.Latency(delay=0.6)]
    child = scene.child()
    assert child.run(ENCRYPT)
    assert 0.6 <= child.seconds < 4
    assert scene.proxy.count() == 1


@pytest.mark.parametrize(
    "fault",
    [faults.BlackHole(), faults.Latency(delay=30), faults.Drip(interval=0.2), faults.WrongLength(by=5)],
    ids=["black hole", "late", "drip", "less than it announces"],
)
def test_a_fetch_that_does_not_end_is_ended_by_its_timeout(fault, scene):
    scene.add_key()
    scene.proxy.faults = faults.always(fault)
    child = scene.child(JOURNAL_FETCH_TIMEOUT="1")
    assert child.error(ENCRYPT) == unavailable("no answer in time")
    assert child.seconds < 1 + MARGIN


def test_a_silent_store_is_not_asked_again_at_once_and_is_found_when_it_is_back(scene):
    for number in range(50):
        scene.add_key(f"oseh_ujmk_{number}")
    scene.proxy.faults = faults.always(faults.BlackHole())
    child = scene.child(JOURNAL_FETCH_TIMEOUT="1")
    every = "SELECT journal_check(1, uid, 'x') FROM user_journal_master_keys"
    assert child.run(every) == [["store_unavailable"]] * 50
    assert child.seconds < 3 + MARGIN  # and not 50 times as long
    asked = {request.path for request in scene.proxy.requests}
    assert len(asked) == 3  # one alone may be its object's fault
    scene.proxy.faults = []
    wait_for(lambda: child.run(every) == [["token_invalid"]] * 50)


def test_a_dead_store_refuses_and_is_found_when_it_is_back(scene):
    scene.add_key()
    scene.proxy.refuse()
    child = scene.child()
    assert child.error(ENCRYPT) == unavailable("connection refused")
    assert child.seconds < 4 + MARGIN
    assert child.error(ENCRYPT) in (unavailable("the store gave no answer a moment ago"), unavailable("connection refused"))
    assert "store_unavailable" in child.error("SELECT journal_try_decrypt(1, NULL, 'x')")
    scene.proxy.listen()
    wait_for(lambda: child.value("SELECT journal_check(1, NULL, 'x')") == "token_invalid")
    assert child.run(ENCRYPT)


def test_a_host_without_an_address_is_an_outage(scene):
    scene.add_key()
    child = scene.child(AWS_ENDPOINT_URL_S3="https://no-such-host.invalid", JOURNAL_FETCH_TIMEOUT="2")
    # A resolver may say so at once, or not at all.
    assert child.error(ENCRYPT) in (unavailable("its host has no address"), unavailable("no answer in time"))
    assert child.seconds < 2 + MARGIN


# ---- Faults and retries -----------------------------------------------------------------------------------------

PASSING = [
    faults.Status(429, "TooManyRequests"), faults.Status(500, "InternalError"), faults.Status(502, "BadGateway"),
    faults.Status(503, "SlowDown"), faults.Status(504, "GatewayTimeout"), faults.HalfBody(), faults.HalfBody(reset=True),
    faults.Close(), faults.Close(served=True), faults.Reset(), faults.Reset(served=True), faults.EndByClose(short=10),
]
LASTING = {
    faults.ACCESS_DENIED: denied("the store answered 403 (AccessDenied)"),
    faults.Status(403, "RequestTimeTooSkewed"): denied(
        "the store answered 403 (RequestTimeTooSkewed): this machine's clock differs too much from the store's"
    ),
    faults.Status(401, "Unauthorized"): denied("the store answered 401 (Unauthorized)"),
    faults.EXPIRED_TOKEN: denied("the store answered 400 (ExpiredToken)"),
    faults.Status(400, "InvalidToken"): denied("the store answered 400 (InvalidToken)"),
    faults.NO_SUCH_KEY: lost(),
    faults.NO_SUCH_BUCKET: unavailable("the store answered 404 (NoSuchBucket)"),
    faults.Status(400, "AuthorizationHeaderMalformed"): unavailable(
        "the store answered 400 (AuthorizationHeaderMalformed)"
    ),
    faults.Status(405, "MethodNotAllowed"): unavailable("the store answered 405 (MethodNotAllowed)"),
    faults.Status(304, "NotModified"): unavailable("the store answered 304 (no code)"),
    faults.Status(206, "Partial"): unavailable("the store answered 206 (Partial)"),
    faults.Status(204, "NoContent"): unavailable("the store answered 204 (no code)"),
}


def describe(fault):
    return fault if isinstance(fault, str) else re.sub(r"delay=\d+|, message=.*", "", repr(fault))


@pytest.mark.parametrize("fault", PASSING, ids=describe)
def test_a_passing_fault_is_tried_again(fault, scene):
    fernet = Fernet(scene.add_key())
    scene.proxy.faults = [fault, fault]
    assert fernet.decrypt(scene.child().value(ENCRYPT)) == b"text"
    assert scene.proxy.count("GET", scene.path()) == 3


@pytest.mark.parametrize("fault", PASSING, ids=describe)
def test_a_passing_fault_that_stays_is_an_outage_within_the_timeout(fault, scene):
    scene.add_key()
    scene.proxy.faults = faults.always(fault)
    child = scene.child()
    reason = {
        faults.Status: lambda: f"the store answered {fault.status} ({fault.code})",
        faults.HalfBody: lambda: "its answer was cut short",
        faults.EndByClose: lambda: "its answer was cut short",
        faults.Close: lambda: "the connection was closed before the answer",
        faults.Reset: lambda: "the connection was closed before the answer",
    }[type(fault)]
    assert child.error(ENCRYPT) == unavailable(reason())
    assert child.seconds < 4 + MARGIN
    assert 2 <= scene.proxy.count() <= 4
    # One key's bad answers are not everyone's outage: another call asks.
    asked = scene.proxy.count()
    assert child.error(ENCRYPT) == unavailable(reason())
    assert scene.proxy.count() > asked


@pytest.mark.parametrize("fault, text", LASTING.items(), ids=describe)
def test_what_no_retry_mends_is_asked_once(fault, text, scene):
    scene.add_key()
    scene.proxy.faults = [fault]
    assert scene.child().error(ENCRYPT) == text
    assert scene.proxy.count() == 1


def test_a_kept_connection_that_the_server_closes_costs_one_more_request(scene):
    scene.add_key("oseh_ujmk_a")
    scene.add_key("oseh_ujmk_b")
    child = scene.child()
    assert child.run(NAMED, "oseh_ujmk_a")
    for fault in [faults.CloseKept(), faults.CloseKept(reset=True)]:
        scene.proxy.faults = [fault, None]
        assert child.run(NAMED, "oseh_ujmk_b")
        assert child.value("SELECT journal_evict('oseh_ujmk_b')") == 1


def test_an_answer_that_is_not_http_is_an_outage(scene):
    scene.add_key()
    scene.proxy.faults = faults.always(faults.Garbage())
    child = scene.child()
    assert "store_unavailable" in child.error(ENCRYPT)
    assert child.seconds < 4 + MARGIN
    scene.proxy.faults = []
    wait_for(lambda: child.value("SELECT journal_check(1, NULL, 'x')") == "token_invalid")


def test_a_body_that_ends_with_its_connection_is_not_trusted_to_be_whole(scene):
    scene.add_key()
    scene.proxy.faults = faults.always(faults.EndByClose())
    assert scene.child().error(ENCRYPT) == unavailable("its answer was cut short")


@dataclass(frozen=True)
class Chunked(faults.Fault):
    """The right answer in chunks; `whole`: with the last one."""

    whole: bool = True

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        exchange.write(response.head(content_length=None, transfer_encoding="chunked"))
        for start in range(0, len(response.body), 20):
            block = response.body[start : start + 20]
            exchange.write(b"%x\r\n%b\r\n" % (len(block), block))
        if self.whole:
            exchange.write(b"0\r\n\r\n", last=True)
        else:
            exchange.close()


def test_a_chunked_body_is_read_to_its_end(scene):
    fernet = Fernet(scene.add_key())
    scene.proxy.faults = [Chunked(whole=False), Chunked()]
    assert fernet.decrypt(scene.child().value(ENCRYPT)) == b"text"
    assert scene.proxy.count() == 2


def test_what_lies_behind_an_answer_is_never_taken_for_the_next_one(scene):
    """The server announces less than it sends: the rest, here a whole answer with another key, stays on the connection."""

    @dataclass(frozen=True)
    class Smuggled(faults.Fault):
        rest: bytes = field(repr=False)

        def act(self, exchange, upstream):
            response = upstream.fetch(exchange.request)
            exchange.write(response.head(content_length=len(response.body)) + response.body + self.rest, last=True)

    contents = [scene.add_key("oseh_ujmk_a"), scene.add_key("oseh_ujmk_b")]
    foreign = Fernet.generate_key()
    rest = Response(200, body=foreign).head(content_length=len(foreign)) + foreign
    scene.proxy.faults = [Smuggled(rest)]
    child = scene.child()
    for uid, content in zip(["oseh_ujmk_a", "oseh_ujmk_b"], contents, strict=True):
        assert Fernet(content).decrypt(child.value(NAMED, uid)) == b"text"


def test_a_body_longer_than_announced_is_no_key_and_spoils_nothing(scene):
    scene.add_key("oseh_ujmk_a")
    scene.add_key("oseh_ujmk_b")
    child = scene.child()
    scene.proxy.faults = [faults.WrongLength(by=-5)]
    assert child.error(NAMED, "oseh_ujmk_a") == invalid("its object is not a Fernet key", "oseh_ujmk_a")
    assert child.run(NAMED, "oseh_ujmk_b")
    assert child.run(NAMED, "oseh_ujmk_a")


# ---- Redirects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status, scene):
    scene.add_key()
    with RedirectTarget() as target:
        location = target.endpoint + scene.path()
        scene.proxy.faults = faults.always(faults.redirect(status, location, region="eu-west-1"))
        code = "PermanentRedirect" if status in (301, 308) else "TemporaryRedirect"
        child = scene.child(AWS_SESSION_TOKEN="a-session-token")
        assert child.error(ENCRYPT) == unavailable(f"the store answered {status} ({code})")
        assert (target.connections, target.was_sent_credentials) == (0, False)
    # A custom endpoint is not left for another region either.
    assert scene.proxy.count() == 1


def test_a_redirect_in_an_error_document_is_not_followed(scene):
    scene.add_key()
    with RedirectTarget() as target:
        body = f"<Error><Code>PermanentRedirect</Code><Endpoint>{target.host}:{target.port}</Endpoint><Region>eu-west-1</Region></Error>"
        scene.proxy.faults = faults.always(Raw(301, body.encode()))
        assert scene.child().error(ENCRYPT) == unavailable("the store answered 301 (PermanentRedirect)")
        assert target.connections == 0


# ---- After the TTL ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched(faults.Fault):
    """The server's own answer, whose status goes into a list."""

    statuses: list

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        self.statuses.append(response.status)
        exchange.send(response)


def test_a_key_past_its_ttl_is_checked_by_its_etag(scene, warm):
    child, statuses = warm(JOURNAL_CACHE_TTL="0"), []
    scene.proxy.faults = faults.always(Watched(statuses))
    token = child.value(ENCRYPT)
    assert child.value("SELECT journal_decrypt(1, NULL, ?)", token) == "text"
    assert statuses == [304, 304]
    [etag] = {request.headers["If-None-Match"] for request in scene.proxy.requests}
    assert etag == scene.s3.get(scene.bucket, scene.name()).headers["ETag"]


def test_an_object_that_was_replaced_is_used_after_the_check(scene, warm):
    child, statuses = warm(JOURNAL_CACHE_TTL="0"), []
    content = Fernet.generate_key().decode()
    scene.put(content)
    scene.proxy.faults = faults.always(Watched(statuses))
    assert Fernet(content).decrypt(child.value(ENCRYPT)) == b"text"
    assert statuses == [200]


def test_a_key_in_use_is_checked_before_its_ttl_ends_and_nobody_is_refused(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="1")
    wait_for(lambda: child.run(ENCRYPT) and scene.proxy.count() >= 2)
    assert all("If-None-Match" in request.headers for request in scene.proxy.requests)


def test_a_key_within_its_ttl_is_not_checked(scene, warm):
    child = warm()
    scene.delete()
    for _ in range(50):
        assert child.run(ENCRYPT)
    assert scene.proxy.count() == 0


# Not those that spoil a body: the answer of a check has none.
STALE = [fault for fault in PASSING if not isinstance(fault, (faults.HalfBody, faults.EndByClose))] + [faults.BlackHole()]


@pytest.mark.parametrize("fault", STALE, ids=describe)
def test_a_key_that_cannot_be_checked_serves_on(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0", JOURNAL_FETCH_TIMEOUT="1")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.run(ENCRYPT)
    assert scene.proxy.count() >= 1


def test_a_key_serves_on_while_its_store_is_dead(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.refuse()
    for _ in range(3):
        assert child.run(ENCRYPT)


@pytest.mark.parametrize("fault", [*STALE[:-1], faults.NO_SUCH_BUCKET], ids=describe)
def test_a_key_past_its_stale_time_never_serves(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0", JOURNAL_CACHE_STALE="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):  # however soon it is asked for again
        assert "store_unavailable" in child.error(ENCRYPT)
    scene.proxy.faults = []
    assert child.run(ENCRYPT)


# What is wrong with what we sign with: not the store's word on the key.
UNSIGNED = [faults.EXPIRED_TOKEN, faults.Status(403, "RequestTimeTooSkewed")]


@pytest.mark.parametrize("fault", UNSIGNED, ids=describe)
def test_a_clock_that_is_off_or_credentials_that_ended_drop_no_key(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.run(ENCRYPT)
    assert child.value("SELECT value FROM journal_stats WHERE name = 'failed_store_denied'") >= 1
    [[status, detail]] = child.run("SELECT status, detail FROM journal_doctor WHERE name = 'credentials'")
    assert status == "failed" and fault.code in detail


# Of a check, 304 is the good answer.
@pytest.mark.parametrize("fault, text", [c for c in LASTING.items() if c[0].status != 304 and c[0] not in UNSIGNED], ids=describe)
def test_an_answer_that_is_no_passing_fault_ends_a_key_at_once(fault, text, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.error(ENCRYPT) == text


def test_a_deleted_object_ends_its_key_at_the_next_check(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    token = child.value(ENCRYPT)
    scene.delete()
    assert child.error(ENCRYPT) == lost()
    assert child.value("SELECT journal_try_decrypt(1, NULL, ?)", token) is None


def test_a_denial_ends_a_key_at_the_next_check_and_forgets_it(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = [faults.ACCESS_DENIED]
    assert child.error(ENCRYPT) == denied("the store answered 403 (AccessDenied)")
    assert child.run(ENCRYPT)
    assert "If-None-Match" not in scene.proxy.requests[-1].headers


def test_an_evicted_key_is_fetched_anew(scene, warm):
    child = warm()
    assert child.value("SELECT journal_evict(?)", KEY_UID) == 1
    assert child.value("SELECT journal_evict()") == 0
    assert child.run(ENCRYPT)
    [asked] = scene.proxy.requests
    assert "If-None-Match" not in asked.headers


# ---- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


def tls(scene, context):
    return TlsFront((scene.proxy.host, scene.proxy.port), context)


def https(front, host="localhost"):
    return {"AWS_ENDPOINT_URL_S3": f"https://{host}:{front.port}"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_https_with_an_authority_that_is_trusted(variable, host, scene, authority):
    # SSL_CERT_FILE stands for the platform's own roots.
    fernet = Fernet(scene.add_key())
    with tls(scene, authority.server("localhost", "127.0.0.1")) as front:
        child = scene.child(**https(front, host), **{variable: str(authority.bundle)})
        assert fernet.decrypt(child.value(ENCRYPT)) == b"text"
        assert (front.handshakes, front.refusals) == (1, 0)


def test_the_bundle_is_the_only_trust(scene, authority, tmp_path):
    scene.add_key()
    other = Authority(tmp_path / "other")
    with tls(scene, authority.server("localhost")) as front:
        child = scene.child(**https(front), AWS_CA_BUNDLE=str(other.bundle), SSL_CERT_FILE=str(authority.bundle))
        assert child.error(ENCRYPT) == unavailable("no trusted TLS connection")
    assert scene.proxy.count() == 0


@pytest.mark.parametrize("fault", ["no bundle", "no roots at all", "another name", "ended", "another authority of that name"])
def test_https_that_is_not_trusted_is_an_outage_and_no_request_is_sent(fault, scene, authority, tmp_path):
    scene.add_key()
    bundle, context = authority.bundle, authority.server("localhost")
    env = {}
    match fault:
        case "no bundle":
            bundle = None
        case "no roots at all":
            (tmp_path / "empty.pem").write_text("")
            bundle, env = None, {"SSL_CERT_FILE": str(tmp_path / "empty.pem")}
        case "another name":
            context = authority.server("s3.example.org", "127.0.0.2")
        case "ended":
            context = authority.server("localhost", ended=True)
        case "another authority of that name":
            context = Authority(tmp_path / "other").server("localhost")
    with tls(scene, context) as front:
        child = scene.child(**https(front), **env, AWS_CA_BUNDLE=bundle and str(bundle))
        assert child.error(ENCRYPT) == unavailable("no trusted TLS connection")
        assert child.seconds < 4 + MARGIN
        assert front.handshakes == 0
    assert scene.proxy.count() == 0


def test_a_server_without_tls_is_not_talked_to_over_https(scene):
    scene.add_key()
    child = scene.child(AWS_ENDPOINT_URL_S3=f"https://127.0.0.1:{scene.proxy.port}")
    # The server may leave, or go on waiting for a line of HTTP, before it is found out.
    reasons = ["no trusted TLS connection", "the connection was closed before the answer", "no answer in time"]
    assert child.error(ENCRYPT) in map(unavailable, reasons)
    # A TLS greeting that happens to hold a line feed counts as a request of some nameless method.
    assert scene.proxy.count("GET") == 0


@pytest.mark.parametrize(
    "variable, value, reason",
    [
        ("AWS_ENDPOINT_URL_S3", "http://s3.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL", "http://192.0.2.1:9000", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://localhost.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://[2001:db8::1]", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1@s3.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "https://user:a-password@127.0.0.1", "holds a user or a password"),
        ("AWS_ENDPOINT_URL_S3", "127.0.0.1:9000", "not a URL"),
        ("AWS_ENDPOINT_URL_S3", "ftp://127.0.0.1", "neither https:// nor http://"),
        ("AWS_ENDPOINT_URL_S3", "https://127.0.0.1/path", "has a path or a query"),
        ("AWS_CA_BUNDLE", "/nonexistent/bundle.pem", "cannot be read"),
        ("AWS_CA_BUNDLE", "/dev/null", "holds no certificate"),
        ("HTTPS_PROXY", "socks5://user:a-password@127.0.0.1:1080", "not an http:// or https:// proxy"),
        ("HTTPS_PROXY", "http://user:a-password@:x:y", "not a proxy's URL"),
        ("AWS_SECRET_ACCESS_KEY", "", "missing beside AWS_ACCESS_KEY_ID"),
        ("AWS_REGION", "eu-west-1/../evil", "not a region's name"),
        ("JOURNAL_KEY_STORE", "s3://bucket/and/path", "not a bucket's name after s3://"),
        ("JOURNAL_BUCKET_OWNER", "me, myself", "not an account's id"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_load(variable, value, reason, scene):
    scene.secrets.append("a-password")
    endpoint = None if variable == "AWS_ENDPOINT_URL" else scene.env["AWS_ENDPOINT_URL_S3"]
    if variable == "HTTPS_PROXY":
        endpoint = "https://127.0.0.1"
    child = scene.child(**{"AWS_ENDPOINT_URL_S3": endpoint, variable: value})
    # The words before ours are SQLite's.
    assert child.error("SELECT 1") == f"error during initialization: journal_crypt: {variable}: {reason}"
    assert scene.proxy.connections == 0


def test_http_to_another_machine_may_be_allowed(scene):
    child = scene.child(AWS_ENDPOINT_URL_S3="http://s3.example.org", JOURNAL_ALLOW_HTTP="1")
    assert child.value("SELECT journal_version()")


# ---- Proxies ----------------------------------------------------------------------------------------------------

#: A name that only the proxy knows.
BEHIND = "s3.journal.test"
PASSWORD = "the-proxy-s-password"


@pytest.fixture
def behind(scene, authority):
    """A TLS server that goes by `BEHIND`, and the environment that makes it the endpoint."""
    scene.secrets += [PASSWORD]
    with tls(scene, authority.server(BEHIND, "localhost", "127.0.0.1")) as front:
        front.env = {"AWS_ENDPOINT_URL_S3": f"https://{BEHIND}", "AWS_CA_BUNDLE": str(authority.bundle)}
        yield front


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_the_proxy(variable, scene, behind):
    fernet = Fernet(scene.add_key())
    with ConnectProxy((behind.host, behind.port)) as proxy:
        child = scene.child(**behind.env, **{variable: f"http://127.0.0.1:{proxy.port}"})
        assert fernet.decrypt(child.value(ENCRYPT)) == b"text"
        assert [request[0] for request in proxy.requests] == [f"CONNECT {BEHIND}:443 HTTP/1.1"]
        told = "\n".join(proxy.requests[0]).lower()
        assert "aws4" not in told and "x-amz" not in told
    assert scene.proxy.requests[0].headers["Host"] == BEHIND


def test_the_proxy_is_given_its_password_and_nobody_else_is(scene, behind):
    scene.add_key()
    with ConnectProxy((behind.host, behind.port), credentials=f"user:{PASSWORD}") as proxy:
        child = scene.child(**behind.env, HTTPS_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        assert child.run(ENCRYPT)
    assert "Proxy-Authorization" not in scene.proxy.requests[0].headers


def test_a_password_with_escapes_is_given_as_it_is(scene, behind):
    scene.add_key()
    with ConnectProxy((behind.host, behind.port), credentials="user@corp:p@ss:w/rd%") as proxy:
        child = scene.child(**behind.env, HTTPS_PROXY=f"http://user%40corp:p%40ss%3Aw%2Frd%25@127.0.0.1:{proxy.port}")
        assert child.run(ENCRYPT)


def test_a_proxy_that_wants_other_credentials_is_told_from_an_outage(scene, behind):
    scene.add_key()
    with ConnectProxy((behind.host, behind.port), credentials="user:another") as proxy:
        child = scene.child(**behind.env, HTTPS_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        assert child.error(ENCRYPT) == denied("the proxy wants other credentials (407)")
        assert child.seconds < 4 + MARGIN
    assert scene.proxy.count() == 0


def test_a_proxy_that_is_dead_is_an_outage_and_is_not_gone_around(scene, behind):
    scene.add_key()
    with ConnectProxy((behind.host, behind.port)) as proxy:
        port = proxy.port
    # By an address that could be reached without the proxy.
    env = {**behind.env, "AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{behind.port}"}
    child = scene.child(**env, HTTPS_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{port}")
    assert child.error(ENCRYPT) == unavailable("connection refused")
    assert scene.proxy.count() == 0


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", ["127.0.0.1", "example.org, 127.0.0.1", "*", "example.org 127.0.0.0/8"])
def test_no_proxy_names_who_is_reached_without_it(variable, value, scene, behind):
    scene.add_key()
    env = {**behind.env, "AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{behind.port}", variable: value}
    with ConnectProxy((behind.host, behind.port)) as proxy:
        assert scene.child(**env, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}").run(ENCRYPT)
        assert proxy.requests == []


def test_no_proxy_that_names_others_changes_nothing(scene, behind):
    scene.add_key()
    with ConnectProxy((behind.host, behind.port)) as proxy:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "example.org,ournal.test,127.0.0.2"}
        assert scene.child(**behind.env, **env).run(ENCRYPT)
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_http_on_this_machine_goes_through_no_proxy(variable, scene):
    scene.add_key()
    with ConnectProxy((scene.proxy.host, scene.proxy.port)) as proxy:
        assert scene.child(**{variable: f"http://127.0.0.1:{proxy.port}"}).run(ENCRYPT)
        assert proxy.requests == []


# ---- Secrets ----------------------------------------------------------------------------------------------------


def test_no_secret_stands_in_any_error_or_log(scene, behind):
    """`Scene` and `Child` look after every test; this one makes them look at what SQLite logs for every fault."""
    fernet = Fernet(scene.add_key())
    scene.secrets.append(token := fernet.encrypt(b"a most private text").decode())
    scene.secrets.append("a most private text")
    every = [*PASSING, *LASTING, faults.Garbage(), faults.WrongLength(by=-5), faults.HugeBody(1 << 20)]
    with ConnectProxy((behind.host, behind.port), credentials=f"user:{PASSWORD}") as proxy:
        child = scene.child(
            "apsw", **behind.env, AWS_SESSION_TOKEN="the-session-token", JOURNAL_FETCH_TIMEOUT="2",
            HTTPS_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}",
        )
        # Ceph as it is here takes no session token, so that the answers below come from the faults alone.
        for fault in every:
            scene.proxy.faults = faults.always(fault)
            child.run("SELECT journal_evict()")
            wait_for(lambda: scene.proxy.forget() or child.error("SELECT journal_decrypt(1, NULL, ?)", token) and scene.proxy.count())
            child.error("SELECT journal_decrypt(1, ?, 'x')", "a most private text")
            child.error("SELECT journal_decrypt(?, ?, 'x')", "a most private text", KEY_UID)
        # By parameters all along: SQLite itself logs the text of a statement that fails.
        child.run("SELECT journal_evict()")
        scene.proxy.faults = faults.always(faults.INTERNAL_ERROR)
        child.error("SELECT journal_encrypt(1, ?)", "a most private text")
    logged = child.stderr()
    assert "fetch tried again" in logged and f'fetch of key "{KEY_UID}" failed' in logged
