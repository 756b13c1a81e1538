"""docs/rqlite_journal.py, as an application runs it."""

import subprocess
import sys

import pytest
import rqdb

from conftest import ROOT

from .journal import SEAL, marker

SCRIPT = ROOT / "docs" / "rqlite_journal.py"


def script(action, user, nodes, text=""):
    command = [sys.executable, SCRIPT, action, str(user), *(node.address for node in nodes)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


def test_what_it_writes_through_any_node_it_reads_through_every_other(journal, user):
    texts, nodes = [], journal.cluster.nodes
    for node in nodes:
        texts.append(marker())
        wrote = script("write", user, [node], texts[-1])
        assert (wrote.returncode, wrote.stderr) == (0, "")
        journal.entries[wrote.stdout.strip()] = (user, texts[-1])
    journal.check()
    for node in nodes:
        assert script("read", user, [node]).stdout.splitlines() == texts
        assert [node.holds(text) for text in texts] == [[], [], []]


def test_its_errors_do_not_tell_the_plaintext(journal, user):
    plaintext, nodes = marker(), journal.cluster.nodes
    failed = script("write", 987654, nodes, plaintext)
    assert (failed.returncode, failed.stderr) == (1, "journal_seal: no_key: user 987654 has no key\n")


def test_rqdbs_own_exception_tells_the_plaintext(journal, user):
    """Why the script raises its own."""
    plaintext, node = marker(), journal.cluster.leader()
    with pytest.raises(rqdb.errors.DBError) as raised:
        rqdb.connect([node.address]).cursor().execute(SEAL, (987654, plaintext))
    assert plaintext in str(raised.value)
