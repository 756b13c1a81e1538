"""Which servers are trusted over HTTPS."""

import pytest
from cryptography.fernet import Fernet
from servers.relay import Authority

from .answers import ENCRYPT, MARGIN, unavailable
from .https import https, tls


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
