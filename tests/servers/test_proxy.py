"""Each fault as a client sees it, before a server that always answers the same ten bytes."""

import socket
import threading
import time
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected

import pytest

from . import faults
from .listener import Listener
from .message import Response, headers
from .proxy import FaultProxy, RedirectTarget

BODY = b"0123456789"


class TenBytes(Listener):
    """The server behind the proxy."""

    def respond(self, request):
        return Response(200, headers(("ETag", '"ten"'), ("X-Amz-Meta-Note", "é")), BODY)


@pytest.fixture
def upstream():
    with TenBytes() as server:
        yield server


@pytest.fixture
def proxy(upstream):
    with FaultProxy(upstream.host, upstream.port) as server:
        yield server


@pytest.fixture
def client(proxy):
    connection = HTTPConnection(proxy.host, proxy.port, timeout=5)
    yield connection
    connection.close()


def get(client, method="GET", **fields):
    """Sends a request and returns the answer, its body not read yet."""
    client.request(method, "/bucket/a%20b?versionId=1", headers=fields)
    return client.getresponse()


def no_answer_within(client, seconds):
    client.timeout = seconds
    with pytest.raises(TimeoutError):
        get(client).read()
    return True


def test_without_a_fault_requests_pass_through_on_one_kept_connection(proxy, upstream, client):
    for _ in range(3):
        answer = get(client, Host="signed.example", X_Amz_Date="now")
        assert (answer.status, answer.read(), answer.headers["etag"]) == (200, BODY, '"ten"')
    assert (proxy.connections, proxy.count("GET", "/bucket/a%20b")) == (1, 3)
    assert [(r.connection, r.turn) for r in proxy.requests] == [(1, 1), (1, 2), (1, 3)]
    seen = upstream.requests[0]
    assert (seen.target, seen.headers["Host"]) == ("/bucket/a%20b?versionId=1", "signed.example")
    proxy.forget()
    assert (proxy.requests, proxy.connections, proxy.most_in_flight) == ([], 0, 0)


def test_a_request_body_passes_through_after_100_continue(proxy, upstream, client):
    client.request("PUT", "/bucket/key", body=b"body", headers={"Expect": "100-continue"})
    assert client.getresponse().read() == BODY
    assert (upstream.requests[0].method, upstream.requests[0].body) == ("PUT", b"body")


def test_head_and_304_have_no_body(proxy, client):
    assert (get(client, "HEAD").read(), get(client).read()) == (b"", BODY)
    proxy.faults = [faults.Status(304, "")]
    assert get(client).status == 304


def test_latency_and_requests_in_flight(proxy):
    proxy.faults = faults.always(faults.Latency(delay=0.2))
    clients = [HTTPConnection(proxy.host, proxy.port, timeout=5) for _ in range(4)]
    began = time.monotonic()
    threads = [threading.Thread(target=lambda c=c: get(c).read()) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.2
    assert (proxy.most_in_flight, proxy.in_flight) == (4, 0)
    for connection in clients:
        connection.close()


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("fault, error", [(faults.Close, RemoteDisconnected), (faults.Reset, ConnectionResetError)])
def test_the_connection_ends_before_or_after_the_request_is_served(proxy, upstream, client, fault, error, served):
    proxy.faults = [fault(served=served)]
    with pytest.raises(ConnectionResetError) as raised:
        get(client)
    assert raised.type is error  # RemoteDisconnected, http.client's word for FIN, is a ConnectionResetError too
    assert upstream.count() == served


@pytest.mark.parametrize("reset, error", [(False, RemoteDisconnected), (True, ConnectionResetError)])
def test_a_kept_connection_ends_at_its_next_request(proxy, client, reset, error):
    proxy.faults = faults.always(faults.CloseKept(reset=reset))
    assert get(client).read() == BODY
    with pytest.raises(ConnectionResetError) as raised:
        get(client)
    assert raised.type is error
    client.close()
    assert get(client).read() == BODY


def test_a_black_hole_never_answers(proxy, client):
    proxy.faults = [faults.BlackHole()]
    assert no_answer_within(client, 0.2)


def test_half_a_body(proxy, client):
    proxy.faults = [faults.HalfBody(), faults.HalfBody(reset=True)]
    with pytest.raises(IncompleteRead) as raised:
        get(client).read()
    assert raised.value.partial == BODY[:5]
    client.close()
    with pytest.raises(ConnectionResetError):
        get(client).read()


def test_a_content_length_that_is_too_long(proxy, client):
    proxy.faults = [faults.WrongLength(+3)]
    assert no_answer_within(client, 0.2)


def test_a_content_length_that_is_too_short(proxy):
    proxy.faults = [faults.WrongLength(-3)]
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b"Content-Length: 7\r\n\r\n0123456789HTTP/1.1 200 OK\r\n" in answers


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body(proxy, client, declared):
    proxy.faults = [faults.HugeBody(10_000_000, declared=declared)]
    answer = get(client)
    assert ("Content-Length" in answer.headers) == declared
    assert len(answer.read()) == 10_000_000
    assert get(client).read() == BODY  # the connection is still in order


def test_a_body_that_ends_with_the_connection(proxy, client):
    proxy.faults = [faults.EndByClose(), faults.EndByClose(short=4)]
    for expected in (BODY, BODY[:-4]):
        answer = get(client)
        assert "Content-Length" not in answer.headers
        assert answer.read() == expected


def test_a_body_drips(proxy, client):
    proxy.faults = [faults.Drip(0.02)]
    began = time.monotonic()
    assert get(client).read() == BODY
    assert time.monotonic() - began >= len(BODY) * 0.02


def test_garbage(proxy, client):
    proxy.faults = [faults.Garbage()]
    with pytest.raises(BadStatusLine):
        get(client)


@pytest.mark.parametrize("fault", [
    faults.INTERNAL_ERROR, faults.SLOW_DOWN, faults.TOO_MANY_REQUESTS, faults.ACCESS_DENIED,
    faults.EXPIRED_TOKEN, faults.NO_SUCH_KEY, faults.NO_SUCH_BUCKET,
], ids=lambda fault: fault.code)
def test_an_s3_error(proxy, upstream, client, fault):
    proxy.faults = lambda request: fault if request.method == "GET" else None
    answer = get(client)
    assert (answer.status, Response(answer.status, answer.headers, answer.read()).code) == (fault.status, fault.code)
    assert upstream.count() == 0
    assert get(client, "PUT").status == 200


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_names_the_place_and_the_region(proxy, client, status):
    with RedirectTarget() as target:
        proxy.faults = [faults.redirect(status, location=target.endpoint + "/bucket/key", region="eu-west-1")]
        answer = get(client)
        assert (answer.status, answer.headers["x-amz-bucket-region"]) == (status, "eu-west-1")
        answer.read()
        follower = HTTPConnection(target.host, target.port, timeout=5)
        get(follower).read()
        assert (target.count(), target.was_sent_credentials) == (1, False)
        get(follower, Authorization="AWS4-HMAC-SHA256 …".encode()).read()
        assert target.was_sent_credentials
        follower.close()


def test_a_server_that_is_down_comes_back_on_its_port(proxy, client):
    assert get(client).read() == BODY
    proxy.refuse()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        get(client)
    client.close()
    with pytest.raises(ConnectionRefusedError):
        get(client)
    client.close()
    proxy.listen()
    assert get(client).read() == BODY


def test_going_down_resets_a_request_that_waits(proxy, client):
    proxy.faults = [faults.Latency(delay=30)]
    client.request("GET", "/")
    while not proxy.in_flight:
        time.sleep(0.01)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.getresponse()


def test_closing_ends_what_waits_and_leaves_no_thread(upstream):
    before = threading.active_count()
    proxy = FaultProxy(upstream.host, upstream.port)
    proxy.faults = [faults.BlackHole(), faults.Latency(delay=30), faults.HugeBody(1 << 40)]
    socks = [socket.create_connection((proxy.host, proxy.port)) for _ in range(3)]
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    while proxy.in_flight < 3:
        time.sleep(0.01)
    proxy.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port))
    for sock in socks:
        sock.close()


def test_a_server_behind_that_is_down_is_a_502_and_an_error_in_a_test_is_not_lost(proxy, upstream, client):
    upstream.refuse()
    assert get(client).status == 502
    client.close()
    proxy.faults = lambda request: 1 / 0
    with pytest.raises(RemoteDisconnected):
        get(client)
    with pytest.raises(ZeroDivisionError):
        proxy.close()
