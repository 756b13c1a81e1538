"""A journal as an application keeps it: seal on one node, insert the literal token, read on any."""

import pytest
from conftest import ROOT
from servers.daemon import ServerFailed

from .cluster import eventually
from .journal import INSERT, INSERT_ITEM, READ, SEAL, SEAL_ITEM


@pytest.mark.parametrize("statement", [SEAL, INSERT, SEAL_ITEM, INSERT_ITEM])
def test_the_statements_of_the_documentation_are_those_of_the_tests(statement):
    documented = " ".join((ROOT / "docs" / "rqlite.md").read_text().split())
    assert " ".join(statement.split()) in documented


@pytest.mark.parametrize("level", ["none", "weak"])
def test_an_entry_sealed_on_any_node_reads_back_on_every_node(journal, user, level):
    for node in journal.cluster.nodes:
        journal.write(user, via=[node], level=level)
    journal.check()


def test_a_deleted_key_row_stops_every_node_though_the_key_is_cached(journal, user):
    uid = journal.write(user)
    key_uid = journal.cluster.leader().value("SELECT key_uid FROM journal_entries WHERE uid = ?", uid)
    journal.check()
    for node in journal.cluster.nodes:
        assert key_uid in [row[0] for row in node.query("SELECT key_uid FROM journal_cache")]
    leader = journal.cluster.leader()
    [[_, token]] = leader.query(SEAL, user, "sealed before, written after")

    assert leader.execute(["DELETE FROM user_journal_master_keys WHERE uid = ?", key_uid]) == [1]

    for node in journal.cluster.nodes:
        def refused():
            error = node.error(READ, uid)
            assert error == f'journal_decrypt: key_not_found: user {user} has no key "{key_uid}"'
            return True

        eventually(refused)
        assert key_uid in [row[0] for row in node.query("SELECT key_uid FROM journal_cache")]
        assert node.error(SEAL, user, "more") == f"journal_seal: no_key: user {user} has no key"
    # A token that was sealed while the row was there is not written now that it has gone.
    assert leader.execute([INSERT, "late", token, 0.0, user, key_uid]) == [0]
    journal.forget([uid])
    journal.check()


def test_a_node_with_a_wrong_variable_does_not_start_and_says_why(journal):
    node = journal.cluster.followers()[0]
    node.kill()
    node.start(JOURNAL_CACHE_TTL="soon")
    with pytest.raises(ServerFailed, match="JOURNAL_CACHE_TTL: "):
        node.wait_until_ready()
    node.kill()
    node.start()
    node.wait_until_ready()
    journal.cluster.same_everywhere()
