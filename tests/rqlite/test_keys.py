"""Key management beside a cluster: a sqlite3 shell of the operator's does what no node may.

The statements are those of docs/rqlite.md.
"""

import json

import pytest

from conftest import ROOT
from documents.recipes import recipe

from .cluster import eventually
from .journal import INSERT, INSERT_ITEM, READ, SEAL, SEAL_ITEM

REWRAP_ENTRIES = """
    SELECT uid, token, journal_rewrap(user_id, key_uid, token), journal_key_uid(user_id)
    FROM journal_entries
    WHERE user_id = ? AND key_uid <> journal_key_uid(user_id) AND journal_check(user_id, key_uid, token) = 'ok'
    LIMIT 100
"""
UPDATE_ENTRY = """
    UPDATE journal_entries SET token = ?, key_uid = k.uid FROM user_journal_master_keys AS k
    WHERE journal_entries.uid = ? AND token = ? AND k.uid = ? AND k.user_id = journal_entries.user_id
"""
REWRAP_ITEMS = """
    SELECT i.uid, i.master_encrypted_data, journal_rewrap(k.user_id, k.uid, i.master_encrypted_data),
      journal_key_uid(k.user_id)
    FROM journal_entry_items AS i JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
    WHERE k.user_id = ? AND k.uid <> journal_key_uid(k.user_id)
      AND journal_check(k.user_id, k.uid, i.master_encrypted_data) = 'ok'
    LIMIT 100
"""
UPDATE_ITEM = """
    UPDATE journal_entry_items SET master_encrypted_data = ?, master_key_id = k.id
    FROM user_journal_master_keys AS k, journal_entries AS e
    WHERE journal_entry_items.uid = ? AND master_encrypted_data = ? AND k.uid = ?
      AND e.id = journal_entry_id AND e.user_id = k.user_id
"""
DELETE_KEY = (
    "UPDATE journal_entry_items SET master_key_id = NULL"
    " WHERE master_key_id = (SELECT id FROM user_journal_master_keys WHERE uid = ?)",
    "DELETE FROM s3_files WHERE id = (SELECT s3_file_id FROM user_journal_master_keys WHERE uid = ?)",
    "DELETE FROM user_journal_master_keys WHERE uid = ?",
)


class Operator:
    """A sqlite3 shell beside the cluster, with rights to write the bucket, over an empty database or a backup."""

    def __init__(self, bucket, folder):
        self.path = folder / "backup.db"
        self.env = {
            "JOURNAL_KEY_STORE": f"s3://{bucket.bucket}", "AWS_ENDPOINT_URL_S3": bucket.server.endpoint,
            "AWS_REGION": bucket.server.region, "AWS_ACCESS_KEY_ID": bucket.server.access_key,
            "AWS_SECRET_ACCESS_KEY": bucket.server.secret_key,
        }

    def recipe(self, name, **parameters):
        """The lines that a recipe of sql/ says."""
        return recipe(name, self, self, **parameters)


@pytest.fixture
def operator(journal, tmp_path):
    return Operator(journal.bucket, tmp_path)


def rotate(journal, operator, user):
    """A new current key of `user`, by the recipe: the object from a shell beside the cluster, two literal rows."""
    [request] = operator.recipe("rqlite_key", user_id=user)
    request = json.loads(request)
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
    for number in range(5):
        uid = journal.write(user)
        journal.write_item(uid, f"item-{user}-{number}", json.dumps({"number": number}))
    old = journal.cluster.leader().value("SELECT journal_key_uid(?)", user)
    new = rotate(journal, operator, user)
    journal.check()
    node = journal.cluster.followers()[0]
    times = "SELECT uid, journal_token_time(token) FROM journal_entries WHERE user_id = ? ORDER BY uid"
    written = node.query(times, user)

    rewrapped = node.query(REWRAP_ENTRIES, user)
    assert (len(rewrapped), {key_uid for *_, key_uid in rewrapped}) == (5, {new})
    # Meanwhile the user rewrote one: it stays as the user left it.
    uid, token, *_ = rewrapped[0]
    [[key_uid, of_user]] = node.query(SEAL, user, "rewritten")
    assert node.execute([UPDATE_ENTRY, of_user, uid, token, key_uid]) == [1]
    journal.entries[uid] = (user, "rewritten")
    changed = [node.execute([UPDATE_ENTRY, new_token, uid, token, key]) for uid, token, new_token, key in rewrapped]
    assert changed == [[0], [1], [1], [1], [1]]

    rewrapped = node.query(REWRAP_ITEMS, user)
    assert [node.execute([UPDATE_ITEM, new_token, uid, token, key]) for uid, token, new_token, key in rewrapped] == [[1]] * 5

    journal.check()
    assert (node.query(REWRAP_ENTRIES, user), node.query(REWRAP_ITEMS, user)) == ([], [])
    assert [pair for pair in node.query(times, user) if pair[0] != uid] == [pair for pair in written if pair[0] != uid]
    # Nothing is under the old key any more: its rows can go.
    node.execute(*([statement, old] for statement in DELETE_KEY))
    journal.check()
    for node in journal.cluster.nodes:
        items = node.query("SELECT journal_decrypt_item(?, ?, master_encrypted_data) FROM journal_entry_items WHERE uid LIKE ?",
                           user, new, f"item-{user}-%")
        assert [json.loads(item) for [item] in items] == [{"number": number} for number in range(5)]


def test_a_rewrapped_token_is_not_written_once_its_key_has_gone(journal, user, operator):
    journal.write(user)
    new = rotate(journal, operator, user)
    journal.cluster.same_everywhere()
    leader = journal.cluster.leader()
    [[uid, token, rewrapped, key_uid]] = leader.query(REWRAP_ENTRIES, user)
    leader.execute(*([statement, new] for statement in DELETE_KEY))
    assert leader.execute([UPDATE_ENTRY, rewrapped, uid, token, key_uid]) == [0]
    journal.check()


def test_a_key_shredded_over_a_backup_is_lost_on_every_node(journal, user, operator):
    uid = journal.write(user)
    journal.check()  # every node has the key in its cache
    leader = journal.cluster.leader()
    key_uid = leader.value("SELECT journal_key_uid(?)", user)
    operator.path.write_bytes(leader.backup())

    lost, receipt, deleted = operator.recipe("shred", user_id=user, key_uid=key_uid, current=1, loses=1)

    receipt = json.loads(receipt)
    assert (receipt["key_uid"], receipt["gone"], receipt["versions_deleted"]) == (key_uid, True, 1)
    for node in journal.cluster.nodes:
        def is_lost():
            error = node.error(READ, uid)
            assert error.startswith(f'journal_decrypt: key_lost: key "{key_uid}": '), error
            return True

        eventually(is_lost, seconds=10)  # JOURNAL_CACHE_TTL is 1
        assert node.value("SELECT journal_try_decrypt(user_id, key_uid, token) FROM journal_entries WHERE uid = ?", uid) is None
    # Last the rows; in the backup the recipe did that.
    leader.execute(*([statement, key_uid] for statement in DELETE_KEY))
    journal.cluster.same_everywhere()
    for node in journal.cluster.nodes:
        assert node.error(READ, uid) == f'journal_decrypt: key_not_found: user {user} has no key "{key_uid}"'
    journal.forget([uid])
    journal.check()


def test_audit_and_search_run_over_a_backup(journal, user, operator):
    uid = journal.write(user)
    journal.check()
    operator.path.write_bytes(journal.cluster.followers()[0].backup())
    assert "(all)|entry|1|1|0|0|0|0" in operator.recipe("audit", user_id=user)
    [found] = operator.recipe("search", user_id=user, words="of the journal")
    assert journal.entries[uid][1][:30] in found.replace("[", "").replace("]", "")


@pytest.mark.parametrize("statement", [
    SEAL, INSERT, SEAL_ITEM, INSERT_ITEM, REWRAP_ENTRIES, UPDATE_ENTRY, REWRAP_ITEMS, UPDATE_ITEM, *DELETE_KEY,
])
def test_the_statements_of_the_documentation_are_those_of_the_tests(statement):
    documented = " ".join((ROOT / "docs" / "rqlite.md").read_text().split())
    assert " ".join(statement.split()) in documented


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
