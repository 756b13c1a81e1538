"""Sources of AWS credentials, as variables and files; whose credentials signed a request shows in its session token."""

import time
from contextlib import contextmanager

from scene import Scene
from servers.credentials import Credentials
from servers.proxy import FaultProxy

READ = "SELECT journal_decrypt(1, NULL, journal_encrypt(1, 'dear diary'))"
ROLE = "arn:aws:iam::123456789012:role/journal-role"
EVERY_CALL_FETCHES = {"JOURNAL_CACHE_TTL": "0", "JOURNAL_CACHE_STALE": "0"}


@contextmanager
def without_keys(server, folder):
    """A scene whose processes have no credentials, and fetch their key at each call."""
    with Scene(server, folder) as scene:
        scene.add_key()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del scene.env[name]
        scene.secrets += [server.secret_key]
        scene.env.update(EVERY_CALL_FETCHES)
        yield scene


def given(scene, token, lifetime=3600.0):
    """Credentials that the scene's server accepts, to be known by their session token, which nobody may be told."""
    scene.secrets.append(token)
    return Credentials(scene.server.access_key, scene.server.secret_key, token, lifetime)


def tokens(scene):
    """The session token of each request that was signed, in order."""
    return [r.headers["X-Amz-Security-Token"] for r in scene.proxy.requests if "Authorization" in r.headers]


def keys(credentials):
    """Credentials as variables."""
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key, "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
    }  # fmt: skip


def profile(credentials, title="default"):
    """Credentials as a section of a file."""
    return f"[{title}]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys(credentials).items())


def write(path, text):
    path.write_text(text)
    return str(path)


def container(ecs):
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": ecs.full_uri}


def instance(imds):
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint}


def web_identity(sts, folder):
    return {
        "AWS_WEB_IDENTITY_TOKEN_FILE": write(folder / "identity", sts.token + "\n"),
        "AWS_ROLE_ARN": ROLE, "AWS_ENDPOINT_URL_STS": sts.endpoint,
    }  # fmt: skip


def harmful(start, upstream, variables):
    """A proxy before a service, and `variables` that lead to it instead."""
    proxy = start(FaultProxy(upstream.host, upstream.port))
    return proxy, {n: v.replace(upstream.endpoint, proxy.endpoint) for n, v in variables.items()}


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)
