"""What a cluster must come through with the same bytes on all nodes and every acknowledged entry readable."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from servers.faults import Close, always

from .cluster import eventually
from .journal import READ, SEAL, marker

pytestmark = pytest.mark.usefixtures("fault")

CLOCK_BEHIND = Path(__file__).with_name("clock_behind.c")


def restart(*nodes, **changed):
    """Starts nodes that were killed, on the data they have."""
    for node in nodes:
        node.start(**changed)
    for node in nodes:
        node.wait_until_ready()


def test_the_leader_is_killed_in_the_middle_of_a_stream_of_writes(journal, user):
    cluster, stop = journal.cluster, Event()

    def stream():
        count = 0
        while not stop.is_set():
            journal.write(user, via=cluster.running)
            count += 1
        return count

    def progress():
        return len(journal.entries) > before + 50

    with ThreadPoolExecutor(4) as writers:
        streams = [writers.submit(stream) for _ in range(4)]
        try:
            before = len(journal.entries)
            eventually(progress)
            leader = cluster.leader()
            leader.kill()
            before = len(journal.entries)
            eventually(progress)  # the two that are left go on
            assert cluster.leader() is not leader
        finally:
            stop.set()
    assert all(stream.result() > 0 for stream in streams)
    journal.check()
    restart(leader)


def test_s3_is_down_for_one_node_only(journal, user):
    uid = journal.write(user)
    journal.check()
    fresh = journal.add_user()
    cut_off, *others = journal.cluster.followers() + [journal.cluster.leader()]
    cut_off.store.faults = always(Close())
    try:
        for node in others:
            journal.write(fresh, via=[node])
        # An entry that was read lately stays readable: its key is past its time and cannot be checked.
        for node in [cut_off, *others]:
            eventually(lambda: node.value(READ, uid) == journal.entries[uid][1])
        error = cut_off.error(SEAL, fresh, "not here")
        assert error.startswith("journal_seal: store_unavailable: key "), error
        # It applies what others sealed, and hands it out as it is.
        journal.cluster.same_everywhere()
        # What it cannot seal itself, it can write; a weak read is the leader's work.
        if cut_off is not journal.cluster.leader():
            journal.write(fresh, via=[cut_off], level="weak")
    finally:
        cut_off.store.faults = []


def test_all_nodes_are_killed_and_replay_their_logs(journal, user):
    cluster = journal.cluster
    for _ in range(5):
        journal.write(user)
    leader = cluster.leader()
    # In the log for every node and every replay: a read at level strong that seals, and a write that is refused.
    leader.query(SEAL, user, "strong", level="strong")
    with pytest.raises(Exception, match="replicated: "):
        leader.execute(["UPDATE journal_entries SET token = journal_encrypt(user_id, 'refused')"])
    before = cluster.same_everywhere()
    for node in cluster.nodes:
        node.kill()
    # One of them finds no S3 while it replays.
    cluster.nodes[0].store.faults = always(Close())
    try:
        restart(*cluster.nodes)
        assert cluster.same_everywhere() == before
    finally:
        cluster.nodes[0].store.faults = []


def test_the_database_is_restored_from_a_backup(journal, user):
    cluster = journal.cluster
    kept = journal.write(user)
    cluster.same_everywhere()
    backup, before = cluster.leader().backup(), cluster.same_everywhere()
    later = [journal.write(user) for _ in range(3)]
    assert cluster.same_everywhere() != before

    cluster.leader().load(backup)

    assert cluster.same_everywhere() == before
    journal.forget(later)
    journal.check()
    assert kept in journal.entries
    journal.write(user)


def test_a_fourth_node_joins_from_a_snapshot(journal, user):
    cluster = journal.cluster
    spilt = marker()
    cluster.leader().query(SEAL, user, spilt, level="strong")
    for _ in range(5):
        journal.write(user)
    cluster.same_everywhere()
    for node in cluster.nodes:
        node.snapshot()
    last = journal.write(user)
    fourth = cluster.add()
    try:
        assert fourth.counted("store", "num_restores") > 0
        # A snapshot holds the database alone. So a plaintext that was spilt into the log is not on this node's disk.
        assert (bool(cluster.leader().holds(spilt)), fourth.holds(spilt)) == (True, [])
        journal.write(user, via=[fourth])
        journal.check()
        assert fourth.value(READ, last) == journal.entries[last][1]
        journal.counts.joined += 1
    finally:
        cluster.drop(fourth)


def test_a_node_whose_clock_is_five_minutes_behind(journal, user, tmp_path):
    shim = tmp_path / "clock_behind.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, CLOCK_BEHIND, "-ldl"], check=True)
    cluster = journal.cluster
    slow = cluster.followers()[0]
    slow.kill()
    restart(slow, LD_PRELOAD=str(shim), CLOCK_BEHIND="300")
    try:
        behind = time.time() - slow.value("SELECT journal_token_time(token) FROM journal_seal(?, 'now')", user)
        assert 295 < behind < 330, f"the extension's clock in {slow.program} is {behind:.0f} s behind, not 300"
        status, detail = slow.query("SELECT status, detail FROM journal_doctor WHERE name = 'clock'")[0]
        assert (status, detail.endswith("behind the store's")) == ("ok", True)
        # Its own entries are read by the others, and theirs, written in its future, by it.
        for node in cluster.nodes:
            journal.write(user, via=[node])
        journal.check()
    finally:
        slow.kill()
        restart(slow)
