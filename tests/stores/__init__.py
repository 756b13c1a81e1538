"""Key stores of both kinds that a test can look into, and administrators' hosts on them."""

import os
from contextlib import contextmanager
from xml.etree import ElementTree

import pytest

from conftest import PREFIX, KeyStore, new_key
from host import Host
from servers.ceph import Ceph
from servers.proxy import FaultProxy
from servers.rclone import Rclone
from servers.s3 import S3Client

ADMIN = {"JOURNAL_ADMIN": "1"}


class Bucket:
    """A bucket behind a fault proxy, with the few things that the tests do to a `KeyStore` too."""

    def __init__(self, server, versioned):
        self.proxy = FaultProxy(server.host, server.port)
        self.client = S3Client(server.endpoint, server.access_key, server.secret_key, server.region)
        self.name, self.versioned = f"journal-{os.urandom(4).hex()}", versioned
        assert self.client.create_bucket(self.name).status == 200
        if versioned:
            assert self.client.enable_versioning(self.name).status == 200
        self.env = {
            "JOURNAL_KEY_STORE": f"s3://{self.name}", "AWS_ENDPOINT_URL_S3": self.proxy.endpoint,
            "AWS_REGION": server.region, "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }

    def close(self):
        self.proxy.close()

    def write(self, uid, content=None):
        content = new_key() if content is None else content
        assert self.client.put(self.name, PREFIX + uid, content.encode()).status == 200
        return content

    def destroy(self, uid):
        """Deletes all versions, as a shredding does."""
        for version in self.client.list_versions(self.name, PREFIX + uid):
            assert self.client.delete(self.name, version.key, version.version_id).status == 204

    def write_disabled(self, uid):
        self.write(uid)
        self.client.delete(self.name, PREFIX + uid)

    def read(self, uid):
        answer = self.client.get(self.name, PREFIX + uid)
        return answer.body.decode() if answer.status == 200 else None

    def mark_twice(self, uid):
        """Puts two delete markers over the one version of an object. Of deletions in a row Ceph keeps the first."""
        self.client.delete(self.name, PREFIX + uid)
        self.write(uid)
        between = next(v for v in self.client.list_versions(self.name, PREFIX + uid) if v.is_latest)
        self.client.delete(self.name, PREFIX + uid)
        assert self.client.delete(self.name, PREFIX + uid, between.version_id).status == 204

    def uids(self):
        """The names of the objects that readers can see, without the prefix."""
        answer = self.client.request("GET", self.name, query={"list-type": "2"})
        return {key.text.removeprefix(PREFIX) for key in ElementTree.fromstring(answer.body).findall(".//{*}Key")}

    def versions(self, uid):
        """(versions, delete markers) of exactly this name."""
        listed = [v for v in self.client.list_versions(self.name, PREFIX + uid) if v.key == PREFIX + uid]
        return sum(not v.is_delete_marker for v in listed), sum(v.is_delete_marker for v in listed)


class Folder(KeyStore):
    """The directory store."""

    versioned = False

    def write_disabled(self, uid):
        self.write(f"{uid}.disabled")

    def read(self, uid):
        path = self.root / (PREFIX + uid)
        return path.read_text() if path.exists() else None

    def uids(self):
        return {path.name for path in self.root.rglob("oseh_*")}

    def close(self):
        pass


@pytest.fixture(scope="session")
def ceph():
    with Ceph() as server:
        yield server


@pytest.fixture(scope="session")
def rclone():
    with Rclone() as server:
        yield server


@contextmanager
def opened(kind, request):
    if kind == "directory":
        store = Folder(request.getfixturevalue("tmp_path") / "keys")
    else:
        server, _, versioned = kind.partition(" ")
        store = Bucket(request.getfixturevalue(server), versioned=bool(versioned))
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def bucket(request):
    """A versioned bucket of the real server."""
    with opened("ceph versioned", request) as bucket:
        yield bucket


@pytest.fixture(params=["directory", "rclone", "ceph", "ceph versioned"])
def store(request):
    with opened(request.param, request) as store:
        yield store


@pytest.fixture(params=["rclone", "ceph", "ceph versioned"])
def s3(request):
    with opened(request.param, request) as store:
        yield store


@pytest.fixture
def users(database):
    for user in (1, 2, 3):
        database.add_user(user)
    return database


def admin(database, store, **env):
    return Host(database.path, {**store.env, **ADMIN, **env})


def rows(database):
    with database.writing() as connection:
        return connection.execute(
            "SELECT k.uid, k.user_id, k.created_at, f.uid, f.key, f.file_size, f.content_type, f.created_at"
            " FROM user_journal_master_keys AS k JOIN s3_files AS f ON f.id = k.s3_file_id"
            " ORDER BY user_id, k.created_at"
        ).fetchall()
