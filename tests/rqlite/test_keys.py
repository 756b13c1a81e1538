"""Key management beside a cluster: a sqlite3 shell of the operator's does what no node may."""

import json

import pytest

from conftest import ROOT, run_shell

from .cluster import eventually
from .journal import READ, SEAL

REWRAP = "SELECT journal_rewrap(user_id, key_uid, token), journal_key_uid(user_id) FROM journal_entries WHERE uid = ?"


@pytest.fixture
def operator(journal, tmp_path):
    """A shell of the operator's, with rights to write the bucket, over a database file: what a statement gives."""
    server = journal.bucket.server
    env = {
        "JOURNAL_KEY_STORE": f"s3://{journal.bucket.bucket}", "AWS_ENDPOINT_URL_S3": server.endpoint,
        "AWS_REGION": server.region, "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "JOURNAL_ADMIN": "1",
    }

    def ask(script, backup=None, options=()):
        path = tmp_path / "backup.db"
        if backup:
            path.write_bytes(backup)
        shell = run_shell(script, path if backup else ":memory:", env, options)
        assert shell.stderr == ""
        return json.loads(shell.stdout)

    return ask


def rotate(journal, operator, user):
    """A new current key of `user`, by the recipe: the object from a shell beside the cluster, two literal rows."""
    request = operator((ROOT / "sql" / "rqlite_key.sql").read_text(), options=["-cmd", f".parameter set :user_id {user}"])
    assert journal.cluster.leader().execute(*request) == [1, 1]
    return request[1][1]


def test_a_key_made_beside_the_cluster_is_the_current_one_on_every_node(journal, user, operator):
    before = journal.write(user)
    uid = rotate(journal, operator, user)
    for node in journal.cluster.nodes:
        eventually(lambda: node.value("SELECT journal_key_uid(?)", user) == uid)
        journal.write(user, via=[node])
        [[key_uid, _]] = node.query(SEAL, user, "under the new key")
        assert key_uid == uid
    journal.check()
    assert before in journal.entries


def test_a_users_journal_is_rewrapped_over_http(journal, user, operator):
    """Read, rewrap by SELECT, write where the token is still the old one."""
    uids = [journal.write(user) for _ in range(5)]
    old = journal.cluster.leader().value("SELECT journal_key_uid(?)", user)
    new = rotate(journal, operator, user)
    journal.check()
    node, update = journal.cluster.followers()[0], "UPDATE journal_entries SET token = ?, key_uid = ? WHERE uid = ? AND token = ?"
    for number, uid in enumerate(uids):
        [[token, time]] = node.query("SELECT token, journal_token_time(token) FROM journal_entries WHERE uid = ?", uid)
        [[rewrapped, key_uid]] = node.query(REWRAP, uid)
        assert (key_uid, node.value("SELECT journal_token_time(?)", rewrapped)) == (new, time)
        if number == 0:
            # Meanwhile the user rewrote this one: it stays as the user left it.
            [[_, token_of_user]] = node.query(SEAL, user, "rewritten")
            node.execute([update, token_of_user, new, uid, token])
            journal.entries[uid] = (user, "rewritten")
        assert node.execute([update, rewrapped, key_uid, uid, token]) == [int(number > 0)]
    journal.check()
    # Nothing is under the old key any more: its row can go.
    assert node.value("SELECT count(*) FROM journal_entries WHERE key_uid = ?", old, level="weak") == 0
    node.execute(["DELETE FROM user_journal_master_keys WHERE uid = ?", old])
    journal.check()


def test_a_key_shredded_over_a_backup_is_lost_on_every_node(journal, user, operator):
    uid = journal.write(user)
    journal.check()  # every node has the key in its cache
    leader = journal.cluster.leader()
    key_uid = leader.value("SELECT journal_key_uid(?)", user)

    receipt = operator(f"SELECT journal_shred_key({user}, '{key_uid}');", backup=leader.backup())

    assert (receipt["key_uid"], receipt["gone"], receipt["versions_deleted"]) == (key_uid, True, 1)
    for node in journal.cluster.nodes:
        def lost():
            error = node.error(READ, uid)
            assert error.startswith(f'journal_decrypt: key_lost: key "{key_uid}": '), error
            return True

        eventually(lost, seconds=10)  # JOURNAL_CACHE_TTL is 1
        assert node.value("SELECT journal_try_decrypt(user_id, key_uid, token) FROM journal_entries WHERE uid = ?", uid) is None
    journal.forget([uid])
    journal.check()


def test_a_strong_read_evicts_a_key_on_every_node(journal, user):
    """What is at no other level: a strong read runs on every node. This one has nothing to hide."""
    journal.write(user)
    journal.check()
    leader = journal.cluster.leader()
    key_uid = leader.value("SELECT journal_key_uid(?)", user)
    cached = "SELECT count(*) FROM journal_cache WHERE key_uid = ?"
    assert [node.value(cached, key_uid) for node in journal.cluster.nodes] == [1, 1, 1]
    leader.query("SELECT journal_evict(?)", key_uid, level="strong")
    for node in journal.cluster.nodes:
        eventually(lambda: node.value(cached, key_uid) == 0)


def test_the_nodes_refuse_to_manage_keys(journal, user):
    node = journal.cluster.followers()[0]
    node.kill()
    node.start(JOURNAL_ADMIN="1")
    node.wait_until_ready()
    try:
        key_uid = node.value("SELECT journal_key_uid(?)", user)
        for call in ("journal_create_key(?)", "journal_rotate_key(?)", f"journal_shred_key(?, '{key_uid}')"):
            error = node.error(f"SELECT {call}", user)
            assert error.startswith(f"{call.split('(')[0]}: replicated: every node would do this, and again at every replay"), error
    finally:
        node.kill()
        node.start()
        node.wait_until_ready()
    journal.write(user)
    journal.check()
