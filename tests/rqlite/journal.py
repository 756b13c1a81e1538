"""The application: it seals on one node, writes the literal token, and remembers what it was told is written."""

import itertools
import json
import os
import subprocess
import uuid
from dataclasses import dataclass

from conftest import PREFIX, ROOT, SQLITE3, new_key
from documents.book import blocks, section
from servers.s3 import S3Client

from .cluster import eventually

SEAL = "SELECT key_uid, token FROM journal_seal(?, ?)"
# One statement, so that the key row is looked for where and when the token is written. The uid is the
# application's: a write that gave no answer is sent again and cannot be there twice.
INSERT = """
    INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
    SELECT ?, user_id, uid, ?, ? FROM user_journal_master_keys WHERE user_id = ? AND uid = ?
    ON CONFLICT (uid) DO NOTHING
"""
SEAL_ITEM = "SELECT key_id, token FROM journal_seal_item(?, ?)"
INSERT_ITEM = """
    INSERT INTO journal_entry_items (uid, journal_entry_id, ordinal, master_key_id, master_encrypted_data, created_at)
    SELECT ?, e.id, ?, k.id, ?, ? FROM journal_entries AS e JOIN user_journal_master_keys AS k USING (user_id)
    WHERE e.uid = ? AND k.id = ?
    ON CONFLICT (uid) DO NOTHING
"""
READ = "SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE uid = ?"
READ_ALL = "SELECT uid, journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ?"


class Bucket:
    """The keys' bucket on a real server, and the user that nodes read it as: GetObject, ListBucket and, on a server that
    is not Amazon's, ListBucketVersions, no more."""

    def __init__(self, server):
        self.server, self.bucket = server, f"journal-{uuid.uuid4().hex}"
        self.s3 = S3Client(server.endpoint, server.access_key, server.secret_key, server.region)
        self.reader = server.create_user(f"reader-{uuid.uuid4().hex}")
        assert self.s3.create_bucket(self.bucket).status == 200
        assert self.s3.enable_versioning(self.bucket).status == 200
        allow = {"Effect": "Allow", "Principal": {"AWS": [self.reader.arn]}}
        policy = {"Version": "2012-10-17", "Statement": [
            {**allow, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{self.bucket}/*"},
            {**allow, "Action": ["s3:ListBucket", "s3:ListBucketVersions"], "Resource": f"arn:aws:s3:::{self.bucket}"},
        ]}
        response = self.s3.put_bucket_policy(self.bucket, policy)
        assert response.status < 300, response


@dataclass
class Counts:
    """What the run came to."""

    written: int = 0
    read_back: int = 0
    lost: int = 0
    diverged: int = 0
    joined: int = 0


class Journal:
    """The journal of a cluster's users, and what should be in it."""

    counts = Counts()

    def __init__(self, cluster, bucket):
        self.cluster, self.bucket = cluster, bucket
        self.entries = {}  # uid -> (user, plaintext), once the cluster acknowledged it
        self._numbers = itertools.count(1)
        self._users = itertools.count(1)

    def create_tables(self):
        """The tables and indexes of the shipped schema, by the command of docs/rqlite.md."""
        page = (ROOT / "docs" / "rqlite.md").read_text()
        [(_, _, lines)] = blocks(section(page, "Make the tables"))
        command = "\n".join(lines).replace("localhost:4001", self.cluster.leader().address)
        env = {"PATH": f"{os.path.dirname(SQLITE3)}:{os.defpath}"}
        done = subprocess.run(["bash", "-euc", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
        assert done.stdout, done.stderr
        results = json.loads(done.stdout)["results"]
        assert results and not any("error" in result for result in results), done.stdout

    def add_user(self):
        """A user with one key; the user's id."""
        user = next(self._users)
        self.cluster.leader().execute(["INSERT INTO users VALUES (?, ?, 0.0)", user, f"oseh_u_{user}"])
        self.add_key(user)
        return user

    def add_key(self, user, created_at=0.0):
        """A key of the user whose object is written past the extension; its uid."""
        random = uuid.uuid4().hex[:22]
        uid, name = f"oseh_ujmk_{random}", f"{PREFIX}oseh_ujmk_{random}"
        assert self.bucket.s3.put(self.bucket.bucket, name, new_key().encode()).status == 200
        self.add_rows(user, f"oseh_s3f_{random}", name, uid, created_at)
        return uid

    def add_rows(self, user, file_uid, name, uid, created_at):
        """The two literal rows of a key."""
        self.cluster.leader().execute(
            ["INSERT INTO s3_files (uid, key, file_size, content_type, created_at) VALUES (?, ?, 44, 'text/plain', ?)",
             file_uid, name, created_at],
            ["INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)"
             " SELECT ?, ?, id, ? FROM s3_files WHERE uid = ?", uid, user, created_at, file_uid],
        )

    def write(self, user, via=None, level="none"):
        """One entry, sealed on a node of `via` and inserted through the same node; its uid.

        What gives no answer is sent again, to the next of them, until it is acknowledged.
        """
        number = next(self._numbers)
        uid, plaintext = f"entry-{number}", f"{user}: entry {number} of the journal, {uuid.uuid4().hex}"
        turn = itertools.cycle(via or self.cluster.nodes)

        def written():
            node = next(turn)
            [[key_uid, token]] = node.query(SEAL, user, plaintext, level=level)
            [inserted] = node.execute([INSERT, uid, token, float(number), user, key_uid])
            # 0: the key row has gone since, or an earlier attempt came through.
            return inserted or node.query("SELECT 1 FROM journal_entries WHERE uid = ?", uid, level="weak")

        eventually(written)
        self.entries[uid] = (user, plaintext)
        self.counts.written += 1
        return uid

    def write_item(self, entry, uid, item):
        """An item of an entry, sealed on the leader."""
        node = self.cluster.leader()
        [[key_id, token]] = node.query(SEAL_ITEM, self.entries[entry][0], item)
        assert node.execute([INSERT_ITEM, uid, 1, token, 0.0, entry, key_id]) == [1]

    def forget(self, uids):
        """Entries that shall not be there any more, or cannot be read any more."""
        for uid in uids:
            del self.entries[uid]

    def check(self):
        """All nodes hold the same bytes, and each reads back every entry and no other that it can read."""
        try:
            self.cluster.same_everywhere()
        except AssertionError:
            self.counts.diverged += 1
            raise
        for node in self.cluster.running:
            for user in {user for user, _ in self.entries.values()}:
                wanted = {uid: text for uid, (owner, text) in self.entries.items() if owner == user}
                found = {uid: text for uid, text in eventually(lambda: node.query(READ_ALL, user))}
                self.counts.read_back += sum(found.get(uid) == text for uid, text in wanted.items())
                self.counts.lost += sum(found.get(uid) != text for uid, text in wanted.items())
                assert found == wanted, f"{node.name}, user {user}"


def marker():
    """A plaintext that stands nowhere by chance; short, since rqlite packs statements of 4096 bytes or more."""
    return f"plaintext {uuid.uuid4().hex}"
