"""HTTPS goes through the proxy that the environment names, and through no other."""

import pytest
from cryptography.fernet import Fernet
from servers.relay import ConnectProxy

from .answers import ENCRYPT, MARGIN, denied, unavailable
from .https import BEHIND, PASSWORD


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
