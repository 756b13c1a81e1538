"""docs/rqlite_journal.py, as an application runs it."""

import os
import subprocess
import sys

import pytest
import rqdb

from conftest import ROOT, native

from .journal import SEAL, marker

SCRIPT = ROOT / "docs" / "rqlite_journal.py"


@pytest.fixture
def script(journal, package):
    """Runs it with the rights to make keys; the process that ended."""
    bucket = journal.bucket
    env = {
        **os.environ, "PYTHONPATH": str(package), "JOURNAL_ADMIN": "create", "JOURNAL_KEY_STORE": f"s3://{bucket.bucket}",
        "AWS_ENDPOINT_URL_S3": bucket.server.endpoint, "AWS_REGION": bucket.server.region,
        "AWS_ACCESS_KEY_ID": bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": bucket.server.secret_key,
    }  # fmt: skip

    def run(action, user, nodes, text="", **changed):
        command = [sys.executable, SCRIPT, action, str(user), *(node.address for node in nodes)]
        return subprocess.run(command, input=text, env={**env, **changed}, capture_output=True, text=True, timeout=60)

    return run


@native
def test_what_it_writes_through_any_node_it_reads_through_every_other(journal, user, script):
    texts, nodes = [], journal.cluster.nodes
    for node in nodes:
        texts.append(marker())
        wrote = script("write", user, [node], texts[-1])
        assert (wrote.returncode, wrote.stderr) == (0, "")
        journal.entries[wrote.stdout.strip()] = (user, texts[-1])
    # What the application sealed, functions on the nodes read too.
    journal.check()
    for node in nodes:
        assert script("read", user, [node]).stdout.splitlines() == texts
        assert [node.holds(text) for text in texts] == [[], [], []]


@native
def test_its_errors_do_not_tell_the_plaintext(journal, user, script):
    plaintext, nodes = marker(), journal.cluster.nodes
    failed = script("write", user, nodes, plaintext, AWS_SECRET_ACCESS_KEY="wrong")
    assert failed.returncode == 1 and failed.stderr.startswith("journal_seal: store_denied: "), failed.stderr
    # rqdb's own exception quotes the parameters.
    stranger = script("write", 987654, nodes, plaintext)
    assert stranger.returncode == 1 and "FOREIGN KEY" in stranger.stderr
    assert plaintext not in failed.stderr + stranger.stderr


def test_rqdbs_own_exception_tells_the_plaintext_that_a_node_is_to_seal(journal, user):
    """Why the application seals."""
    plaintext, node = marker(), journal.cluster.leader()
    with pytest.raises(rqdb.errors.DBError) as raised:
        rqdb.connect([node.address]).cursor().execute(SEAL, (987654, plaintext))
    assert plaintext in str(raised.value)
