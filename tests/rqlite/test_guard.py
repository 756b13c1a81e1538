"""What the guard is for, what it says on real nodes, and what it cannot do: unsay what the Raft log holds."""

import uuid

import pytest

from .cluster import Cluster, Refused, eventually
from .journal import SEAL, Journal, marker

# Every way in which rqlite takes a write.
WRITES = {
    "VALUES": "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
              " VALUES ('{uid}', {user}, '', journal_encrypt({user}, '{plaintext}'), 0.0)",
    "SELECT": "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
              " SELECT '{uid}', {user}, key_uid, token, 0.0 FROM journal_seal({user}, '{plaintext}')",
    "RETURNING": "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
                 " VALUES ('{uid}', {user}, '', journal_encrypt({user}, '{plaintext}'), 0.0) RETURNING token",
}


def in_log(text, nodes):
    """The nodes whose Raft log holds the bytes of `text`."""
    return {node.name for node in nodes if "data/raft.db" in node.holds(text)}


@pytest.fixture(scope="module")
def unguarded(program, bucket, tmp_path_factory):
    """A cluster whose guard is off, for the harm it does."""
    with Cluster(program, tmp_path_factory.mktemp("off"), bucket, JOURNAL_REPLICATED="off") as cluster:
        journal = Journal(cluster, bucket)
        journal.create_tables()
        yield journal


@pytest.mark.parametrize("way", WRITES)
def test_without_the_guard_each_node_stores_another_token(unguarded, way):
    user, uid, plaintext, nodes = unguarded.add_user(), uuid.uuid4().hex, marker(), unguarded.cluster.nodes
    unguarded.cluster.leader().execute([WRITES[way].format(uid=uid, user=user, plaintext=plaintext)])

    def tokens():
        found = [node.value("SELECT max(token) FROM journal_entries WHERE uid = ?", uid) for node in nodes]
        return None not in found and found

    assert len(set(eventually(tokens))) == 3
    assert len({node.backup() for node in nodes}) == 3
    assert in_log(plaintext, nodes) == {"n1", "n2", "n3"}


@pytest.mark.parametrize("way", WRITES)
def test_with_the_guard_the_write_fails_the_same_on_every_node(journal, user, way):
    uid, plaintext, nodes = uuid.uuid4().hex, marker(), journal.cluster.nodes
    before, failed = journal.cluster.same_everywhere(), {node: node.counted("db", "execution_errors") for node in nodes}

    with pytest.raises(Refused) as refused:
        journal.cluster.leader().execute([WRITES[way].format(uid=uid, user=user, plaintext=plaintext)])

    name = "journal_seal" if way == "SELECT" else "journal_encrypt"
    assert str(refused.value).startswith(f"{name}: replicated: ")
    if way != "RETURNING":  # rqlite counts that one as a query
        eventually(lambda: all(node.counted("db", "execution_errors") > failed[node] for node in nodes))
    assert journal.cluster.same_everywhere() == before
    # The guard keeps the nodes from diverging. The statement itself was in the log before any node ran it.
    eventually(lambda: in_log(plaintext, nodes) == {"n1", "n2", "n3"})


def test_a_read_that_is_sent_together_with_a_write_is_refused_and_logged(journal, user):
    plaintext, nodes = marker(), journal.cluster.nodes
    with pytest.raises(Refused, match="^journal_seal: replicated: "):
        journal.cluster.leader().request([SEAL, user, plaintext], ["DELETE FROM journal_entries WHERE uid = 'none'"])
    eventually(lambda: in_log(plaintext, nodes) == {"n1", "n2", "n3"})


def test_a_transaction_with_a_refused_statement_leaves_nothing_on_any_node(journal, user):
    before = journal.cluster.same_everywhere()
    with pytest.raises(Refused, match="^journal_decrypt: replicated: "):
        journal.cluster.leader().execute(
            ["INSERT INTO users VALUES (999, 'oseh_u_999', 0.0)"],
            ["DELETE FROM users WHERE uid = journal_decrypt(?, NULL, 'gAAAAA==')", user],
        )
    assert journal.cluster.same_everywhere() == before


@pytest.mark.parametrize("level", ["none", "weak"])
def test_a_read_at_none_or_weak_leaves_no_plaintext_on_any_disk(journal, user, level):
    plaintext, nodes = marker(), journal.cluster.nodes
    for node in nodes:
        [[key_uid, token]] = node.query(SEAL, user, plaintext, level=level)
        assert node.value("SELECT journal_decrypt(?, ?, ?)", user, key_uid, token, level=level) == plaintext
    journal.write(user)
    journal.check()  # a later write has reached all logs
    assert [node.holds(plaintext) for node in nodes] == [[], [], []]


def test_a_strong_read_puts_the_plaintext_into_every_log(journal, user):
    plaintext, nodes = marker(), journal.cluster.nodes
    [[_, token]] = journal.cluster.leader().query(SEAL, user, plaintext, level="strong")
    assert token.startswith("gAAAA")  # the guard does not see it: it runs on a read-only connection
    eventually(lambda: in_log(plaintext, nodes) == {"n1", "n2", "n3"})


def test_the_first_linearizable_read_of_a_term_is_a_strong_one(journal, user):
    cluster, first, second = journal.cluster, marker(), marker()
    leader = cluster.leader()
    leader.kill()  # a new term
    cluster.leader()
    leader.start()
    leader.wait_until_ready()

    cluster.leader().query(SEAL, user, first, level="linearizable")
    eventually(lambda: in_log(first, cluster.nodes) == {"n1", "n2", "n3"})
    store = cluster.leader().status()["store"]
    cluster.leader().query(SEAL, user, second, level="linearizable")
    journal.write(user)
    journal.check()
    # rqlite before 8.38.1 wrote an index where it meant the term, and makes them all strong.
    is_mended = str(store["strong_read_term"]) == str(store["raft"]["term"])
    assert in_log(second, cluster.nodes) == (set() if is_mended else {"n1", "n2", "n3"})


def test_a_snapshot_does_not_wipe_the_plaintext_from_the_log_file(journal, user):
    plaintext, leader = marker(), journal.cluster.leader()
    leader.query(SEAL, user, plaintext, level="strong")
    journal.write(user)
    assert "data/raft.db" in leader.holds(plaintext)
    leader.snapshot()
    assert "data/raft.db" in leader.holds(plaintext)


def test_the_nodes_recognise_rqlited_and_say_so(journal):
    for node in journal.cluster.nodes:
        assert node.value("SELECT journal_config() ->> 'replicated'") == 1
        rows = {name: (status, detail) for name, status, detail in node.query("SELECT * FROM journal_doctor")}
        assert rows["replicated"] == ("ok", "yes, and this connection only reads: keys can be used")
        assert {name for name, (status, _) in rows.items() if status == "failed"} == set()


def test_the_log_of_the_program_holds_no_statement(journal, user):
    plaintext = marker()
    for node in journal.cluster.nodes:
        node.query(SEAL, user, plaintext)
        node.error("SELECT journal_decrypt(?, NULL, ?)", user, plaintext)
        assert plaintext not in node.log.read_text(errors="replace")
