"""Amazon's own endpoints, played by a server of the tests behind a CONNECT proxy: which host is asked, for which
region a request is signed, and how a wrong region is mended. Signatures are verified by the servers of test_s3.py.
"""

import re

import pytest
from child import Child
from conftest import LIBRARY, PREFIX, Database, new_key
from cryptography.fernet import Fernet
from servers.listener import Listener
from servers.message import Response
from servers.relay import Authority, ConnectProxy, TlsFront

BUCKET, UID = "journal", "oseh_ujmk_1"
ENCRYPT = "SELECT journal_encrypt(1, 'text')"


class Amazon(Listener):
    """Holds one key in the bucket of `home`, and sends whoever asks in another region away with `status`."""

    def __init__(self, home, status, header=True):
        self.home, self.status, self.header, self.key = home, status, header, new_key()
        super().__init__()

    def respond(self, request):
        signed_for = re.search(r"/(\S+?)/s3/aws4_request", request.headers["Authorization"])[1].split("/")[-1]
        if request.headers["Host"] == f"{BUCKET}.s3.{self.home}.amazonaws.com" and signed_for == self.home:
            return Response(200, {"ETag": '"1"'}, self.key.encode())
        body = f"<Error><Code>PermanentRedirect</Code><Region>{self.home}</Region></Error>".encode()
        headers = {"Location": "https://elsewhere.example/"}
        if self.header:
            headers["x-amz-bucket-region"] = self.home
        return Response(self.status, headers, body)


@pytest.fixture
def ask(tmp_path):
    """A function that gives a process whose Amazon is the one given, and the hosts it connected to."""
    database = Database(tmp_path / "journal.db")
    database.add_user(1)
    database.add_key(1, UID)
    authority = Authority(tmp_path / "authority")
    names = [f"{BUCKET}.s3.{region}.amazonaws.com" for region in ("us-east-1", "eu-central-1", "elsewhere")]
    opened = []

    def start(amazon, **env):
        front = TlsFront((amazon.host, amazon.port), authority.server(*names))
        proxy = ConnectProxy((front.host, front.port))
        child = Child(
            database.path, LIBRARY,
            {
                "JOURNAL_KEY_STORE": f"s3://{BUCKET}", "AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "planted",
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "AWS_CA_BUNDLE": str(authority.bundle), **env,
            },
            ["planted", amazon.key],
        )  # fmt: skip
        opened.extend([front, proxy, child])
        return child, lambda: [request[0].split()[1] for request in proxy.requests]

    yield start
    for one in reversed(opened):
        one.__exit__(None)


def host(region):
    return f"{BUCKET}.s3.{region}.amazonaws.com:443"


def test_amazon_is_asked_by_host_in_the_region_that_is_set(ask):
    with Amazon("eu-central-1", 301) as amazon:
        child, connected = ask(amazon, AWS_REGION="eu-central-1")
        assert Fernet(amazon.key).decrypt(child.value(ENCRYPT)) == b"text"
        assert connected() == [host("eu-central-1")]
        assert [request.path for request in amazon.requests] == [f"/{PREFIX}{UID}"]


@pytest.mark.parametrize("status", [301, 307, 400])
@pytest.mark.parametrize("header", [True, False])
def test_a_wrong_region_is_mended_once_and_remembered(status, header, ask):
    with Amazon("eu-central-1", status, header) as amazon:
        child, connected = ask(amazon)
        assert Fernet(amazon.key).decrypt(child.value(ENCRYPT)) == b"text"
        assert connected() == [host("us-east-1"), host("eu-central-1")]
        child.run("SELECT journal_evict()")
        assert child.run(ENCRYPT)
        # The host in Location was never asked.
        assert set(connected()) == {host("us-east-1"), host("eu-central-1")}
        assert len(amazon.requests) == 3


def test_a_server_that_always_names_another_region_is_asked_twice(ask):
    class Fickle(Amazon):
        def respond(self, request):
            self.home = "elsewhere" if self.home == "eu-central-1" else "eu-central-1"
            return super().respond(request)

    with Fickle("elsewhere", 301) as amazon:
        child, connected = ask(amazon)
        error = child.error(ENCRYPT)
        assert error == (
            f'journal_encrypt: store_unavailable: key "{UID}" could not be fetched: '
            "the store answered 301 (PermanentRedirect)"
        )
        assert len(connected()) == len(amazon.requests) == 2
