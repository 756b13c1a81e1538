"""The first way: the application seals, and nothing that the cluster sees, stores or logs holds a text, a key or a credential."""

import base64
import json
import os
import subprocess
import sys
import uuid

import pytest

from conftest import PREFIX, ROOT

from .cluster import Cluster, eventually
from .journal import SEAL, Journal, marker
from .recorder import RecordedNode, holds

SCRIPT = ROOT / "docs" / "rqlite_journal.py"


class Application:
    """A process that seals, and logs all that its client can log."""

    def __init__(self, cluster, bucket, package, folder):
        self.log = folder / "application.log"
        self.secret = bucket.server.secret_key
        env = {
            **os.environ, "PYTHONPATH": str(package), "JOURNAL_ADMIN": "create", "JOURNAL_KEY_STORE": f"s3://{bucket.bucket}",
            "JOURNAL_FETCH_TIMEOUT": "30", "AWS_ENDPOINT_URL_S3": bucket.server.endpoint, "AWS_REGION": bucket.server.region,
            "AWS_ACCESS_KEY_ID": bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": self.secret,
        }  # fmt: skip
        command = [sys.executable, ROOT / "tests" / "rqlite" / "sealing.py", SCRIPT, *(node.address for node in cluster.nodes)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=log, env=env, text=True)

    def ask(self, action, user, *arguments):
        self._process.stdin.write(json.dumps([action, user, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def do(self, action, user, *arguments):
        """Asks until it is done: while no leader is known, it is an error."""
        def done():
            said = self.ask(action, user, *arguments)
            assert "answer" in said, said
            return said

        return eventually(done)["answer"]

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def recorded(program, bucket, tmp_path_factory):
    with Cluster(program, tmp_path_factory.mktemp("recorded"), bucket, kind=RecordedNode) as cluster:
        Journal(cluster, bucket).create_tables()
        cluster.leader().execute(*(["INSERT INTO users VALUES (?, ?, 0.0)", user, f"oseh_u_{user}"] for user in (7, 8, 9)))
        yield cluster


@pytest.fixture
def application(recorded, bucket, package, tmp_path):
    application = Application(recorded, bucket, package, tmp_path)
    try:
        yield application
    finally:
        application.close()


def objects(bucket):
    """The names of all versions of all key objects."""
    return [version.key for version in bucket.s3.list_versions(bucket.bucket, PREFIX)]


def everything(cluster, application):
    """All bytes that passed between application and nodes and between nodes, all logs, and all files of the nodes."""
    for node in cluster.nodes:
        yield from node.recorded
        yield from (path.read_bytes() for path in node.folder.rglob("*") if path.is_file())
    yield application.log.read_bytes()


def test_no_text_no_key_and_no_credential_leaves_the_application(recorded, application, bucket):
    before = set(objects(bucket))
    kept = {}

    def write(text):
        kept[application.do("write", 7, text)] = text

    def read(*where):
        """Each entry that was acknowledged is there. One that was not may be, as after a leader's death."""
        found = dict(application.do("read_at" if where else "read", 7, *where))
        assert kept.items() <= found.items()
        return found

    # One with what JSON escapes, one that rqlite would pack.
    texts = [marker(), f"Fög <& \"quoted\"> {uuid.uuid4().hex}", f"long {uuid.uuid4().hex} " * 200]
    for text in texts:
        write(text)
    read()
    edited = next(iter(kept))
    kept[edited] = f"edited {uuid.uuid4().hex}"
    assert application.do("edit", 7, edited, kept[edited]) is True
    first = {row[0] for row in recorded.leader().query("SELECT uid FROM user_journal_master_keys WHERE user_id = 7")}
    assert application.do("rotate", 7, 0) not in first
    write(marker())
    # A request that fails, with all that the exception says.
    stranger = marker()
    assert "FOREIGN KEY" in application.ask("write", 999, stranger)["error"]

    leader = recorded.leader()
    leader.kill()
    write(marker())
    read()
    leader.start()
    leader.wait_until_ready()
    recorded.same_everywhere()
    for node in recorded.nodes:
        read(node.address)

    made = set(objects(bucket)) - before
    contents = [bucket.s3.get(bucket.bucket, name).body for name in made]
    assert len(contents) >= 2
    raw = [base64.urlsafe_b64decode(content) for content in contents]
    keys = [*contents, *raw, *(half for key in raw for half in (key[:16], key[16:]))]
    secrets = [*texts, *kept.values(), stranger, *keys, application.secret, bucket.reader.secret_key]
    seen = list(everything(recorded, application))
    assert [secrets.index(secret) for secret in secrets if holds(seen, secret)] == []

    # The same search finds what is there: a token, in every place; and a text that a node sealed.
    [[token]] = recorded.leader().query("SELECT token FROM journal_entries WHERE uid = ?", edited)
    for node in recorded.nodes:
        assert holds([path.read_bytes() for path in node.folder.rglob("*") if path.is_file()], token)
        assert holds(node.recorded, token)
    assert holds([application.log.read_bytes()], token)
    second = marker()
    recorded.followers()[0].query(SEAL, 7, second, level="weak")
    assert holds([stream for node in recorded.nodes for stream in node.recorded], second)


def test_a_deleted_key_row_ends_reading_at_the_next_call(recorded, application):
    uid = application.do("write", 8, marker())
    assert [entry for entry, text in application.do("read", 8) if text] == [uid]
    recorded.leader().execute(["DELETE FROM user_journal_master_keys WHERE user_id = 8"])
    assert application.do("read", 8) == [[uid, None]]


def test_fifty_writers_without_a_key_end_with_one(recorded, application, bucket):
    before = objects(bucket)
    assert application.ask("race", 9, 50) == {"answer": []}
    rows = recorded.leader().query("SELECT uid FROM user_journal_master_keys WHERE user_id = 9", level="weak")
    assert len(rows) == 1
    assert sorted(objects(bucket)) == sorted([*before, PREFIX + rows[0][0]])
    assert len(application.do("read", 9)) == 50
