"""A bucket on Ceph behind a proxy, unless a file says otherwise; a process with a warm key; HTTPS in front."""

from contextlib import ExitStack

import pytest
from scene import Scene
from servers.relay import Authority

from .answers import ENCRYPT
from .https import BEHIND, PASSWORD, tls


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


@pytest.fixture
def start():
    """Starts a server for the length of the test."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture
def behind(scene, authority):
    """A TLS server that goes by `BEHIND`, and the environment that makes it the endpoint."""
    scene.secrets += [PASSWORD]
    with tls(scene, authority.server(BEHIND, "localhost", "127.0.0.1")) as front:
        front.env = {"AWS_ENDPOINT_URL_S3": f"https://{BEHIND}", "AWS_CA_BUNDLE": str(authority.bundle)}
        yield front
