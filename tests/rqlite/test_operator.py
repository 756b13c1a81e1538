"""The operator's tool on a cluster whose nodes have no use for it: everything happens in its own process."""

import json
import os
import subprocess

import pytest

from conftest import LIBRARY, PREFIX
from documents.recipes import recipe
from tool import PROGRAM

from .cluster import Cluster, eventually
from .journal import READ, SEAL, Journal


class Operator:
    """Who runs the tool, with rights to write the bucket."""

    #: How many of the nodes the tool is told of; all of them.
    named = None

    def __init__(self, journal, folder):
        self.journal, self.folder, bucket = journal, folder, journal.bucket
        self.env = {
            **os.environ, "JOURNAL_ADMIN": "1", "JOURNAL_KEY_STORE": f"s3://{bucket.bucket}", "AWS_REGION": bucket.server.region,
            "AWS_ENDPOINT_URL_S3": bucket.server.endpoint, "AWS_ACCESS_KEY_ID": bucket.server.access_key,
            "AWS_SECRET_ACCESS_KEY": bucket.server.secret_key,
        }  # fmt: skip

    def refused(self, *arguments):
        assert self.run(*arguments, status=1) is None

    def run(self, *arguments, status=0):
        nodes = ",".join(node.address for node in self.journal.cluster.nodes[: self.named])
        done = subprocess.run(
            [PROGRAM, "--extension", LIBRARY, "--rqlite", nodes, "--json", *map(str, arguments)], env=self.env, cwd=self.folder,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout else None


@pytest.fixture(scope="module")
def own(program, bucket, tmp_path_factory):
    """A cluster that nothing else writes to, so that all counts are these tests'."""
    with Cluster(program, tmp_path_factory.mktemp("operator"), bucket) as cluster:
        journal = Journal(cluster, bucket)
        journal.create_tables()
        yield journal


@pytest.fixture
def operator(own, tmp_path):
    return Operator(own, tmp_path)


def test_a_users_keys_are_rotated_rewrapped_audited_and_searched_and_no_node_sees_a_text(own, operator):
    user = own.add_user()
    entries = [own.write(user) for _ in range(5)]
    own.write_item(entries[0], "item", '{"text": "a rare word"}')
    assert {check["status"] for check in operator.run("doctor")["checks"]} <= {"ok", "warning"}
    assert operator.run("rotate", "--user", user)["rotated"] == 1
    assert operator.run("status")["due"]["rewrap"] == 6
    assert operator.run("rewrap") == {"rewrapped": 6, "left": {}, "dry_run": False}
    assert operator.run("status")["due"] == {"rotate": 0, "rewrap": 0}
    assert operator.run("audit", "--user", user)["tokens"] == {"readable": 6}
    [found] = operator.run("search", "--user", user, "rare")["found"]
    assert found["snippet"] == "a [rare] word"
    own.check()
    for node in own.cluster.nodes:
        assert node.holds("a rare word") == []


def test_a_key_made_beside_the_cluster_is_the_current_one_on_every_node(own, operator):
    user = own.add_user()
    before = own.write(user)
    old = own.cluster.leader().value("SELECT journal_key_uid(?)", user)
    assert operator.run("rotate", "--older-than", "0", "--user", user)["rotated"] == 1
    new = own.cluster.leader().value("SELECT journal_key_uid(?)", user)
    assert new != old
    for node in own.cluster.nodes:
        eventually(lambda: node.value("SELECT journal_key_uid(?)", user) == new)
        own.write(user, via=[node])
        [[key_uid, _]] = node.query(SEAL, user, "under the new key")
        assert key_uid == new
    own.check()
    # The old one goes once nothing is under it.
    operator.refused("erase", "--user", user, "--key", old, "--yes")
    assert operator.run("rewrap", "--user", user)["rewrapped"] == 1
    assert operator.run("erase", "--user", user, "--key", old, "--yes")["gone"] is True
    own.check()
    assert before in own.entries


def test_a_lost_key_is_lost_on_every_node_and_once_it_is_erased_unknown_there(own, operator):
    user = own.add_user()
    entry = own.write(user)
    own.check()  # every node has the key in its cache
    uid = own.cluster.leader().value("SELECT journal_key_uid(?)", user)
    bucket = own.bucket
    for version in bucket.s3.list_versions(bucket.bucket, PREFIX + uid):
        assert bucket.s3.delete(bucket.bucket, version.key, version.version_id).status == 204
    for node in own.cluster.nodes:
        def is_lost():
            error = node.error(READ, entry)
            assert error.startswith(f'journal_decrypt: key_lost: key "{uid}": '), error
            return True

        eventually(is_lost, seconds=10)  # JOURNAL_CACHE_TTL is 1
        assert node.value("SELECT journal_try_decrypt(user_id, key_uid, token) FROM journal_entries WHERE uid = ?", entry) is None
    assert operator.run("erase", "--user", user, "--yes")["complete"] is True
    own.cluster.same_everywhere()
    for node in own.cluster.nodes:
        assert node.error(READ, entry) == f'journal_decrypt: key_not_found: user {user} has no key "{uid}"'
    own.forget([entry])
    own.check()


def test_audit_and_search_of_the_shell_run_over_a_backup(own, operator, tmp_path):
    user = own.add_user()
    entry = own.write(user)
    own.check()
    operator.path = tmp_path / "backup.db"
    operator.path.write_bytes(own.cluster.followers()[0].backup())
    assert "(all)|entry|1|1|0|0|0|0" in recipe("audit", operator, operator, user_id=user)
    [found] = recipe("search", operator, operator, user_id=user, words="of the journal")
    assert own.entries[entry][1][:30] in found.replace("[", "").replace("]", "")


def test_an_erasure_that_names_two_of_three_nodes_is_not_complete(own, operator):
    user = own.add_user()
    operator.named = 2
    found = operator.run("erase", "--user", user, "--yes", status=1)
    assert (found["complete"], found["nodes"]["others"]) == (False, "1 not asked: --rqlite must name every node")
    operator.named = None
    assert operator.run("erase", "--user", user, "--yes")["complete"] is True


def test_an_erasure_with_a_node_down_says_so_and_completes_when_it_is_back(own, operator):
    user = own.add_user()
    entry = own.write(user)
    own.cluster.same_everywhere()
    down = own.cluster.followers()[0]
    down.kill()
    found = operator.run("erase", "--user", user, "--yes", status=1)
    assert found["complete"] is False and len(found["destroyed"]) == 1
    assert [said.split(":")[0] for said in found["nodes"].values()].count("not reached") == 1
    assert found["nodes"][f"http://{down.address}"].startswith("not reached: ")
    down.start()
    down.wait_until_ready()
    found = operator.run("erase", "--user", user, "--yes")
    assert found["complete"] is True and len(found["destroyed"]) == 1
    assert set(found["nodes"].values()) == {"no key row"}
    own.forget([entry])
    own.check()
    uid = found["destroyed"][0]["key_uid"]
    assert [v for v in own.bucket.s3.list_versions(own.bucket.bucket, PREFIX + uid)] == []


def test_while_a_leader_is_elected_the_tool_waits_for_it(own, operator):
    user = own.add_user()
    own.write(user)
    leader = own.cluster.leader()
    leader.kill()
    assert operator.run("rotate", "--older-than", "0", "--user", user)["rotated"] == 1
    assert operator.run("rewrap", "--user", user)["rewrapped"] == 1
    leader.start()
    leader.wait_until_ready()
    own.check()


def test_without_any_node_it_is_not_reached(tmp_path, own, operator):
    done = subprocess.run(
        [PROGRAM, "--extension", LIBRARY, "--rqlite", "http://operator:hidden@127.0.0.1:1", "doctor"], env=operator.env,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "hidden" not in done.stdout + done.stderr
    assert "http://127.0.0.1:1" in done.stdout
