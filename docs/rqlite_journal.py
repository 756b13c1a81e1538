"""A journal in rqlite that is sealed in this process: the cluster sees tokens and key rows alone. See rqlite.md.

    pip install rqdb ./sqlite_journal_crypt-*.whl
    export JOURNAL_KEY_STORE=s3://… JOURNAL_ADMIN=create    and credentials that may read and write the bucket
    python rqlite_journal.py write 7 localhost:4001 localhost:4011 < entry.txt
    python rqlite_journal.py read 7 localhost:4001 localhost:4011
"""

import sys
import time
import uuid

import rqdb
from sqlite_journal_crypt import JournalError, NoKey, Sealer

INSERT = (
    "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
    " SELECT ?, user_id, uid, ?, ? FROM user_journal_master_keys WHERE user_id = ? AND uid = ?"
    " ON CONFLICT (uid) DO NOTHING"
)
UPDATE = (
    "UPDATE journal_entries SET token = ?, key_uid = k.uid FROM user_journal_master_keys AS k"
    " WHERE journal_entries.uid = ? AND token = ? AND k.uid = ? AND k.user_id = journal_entries.user_id"
)
# The key columns first: the sealer takes the rows as they come.
READ = (
    "SELECT k.uid, k.created_at, f.key, e.uid AS entry, e.key_uid, e.token FROM journal_entries AS e"
    " LEFT JOIN user_journal_master_keys AS k ON k.uid = e.key_uid AND k.user_id = e.user_id"
    " LEFT JOIN s3_files AS f ON f.id = k.s3_file_id WHERE e.user_id = ? ORDER BY e.created_at"
)


class Journal:
    """One user's journal through one client; `freshness` is how old what a node answers by itself may be."""

    def __init__(self, client, user_id, freshness="5m"):
        self._client, self._user, self._freshness = client, user_id, freshness
        self._sealer = Sealer()

    def write(self, text):
        """A new entry; its uid, which is made here, so that a write whose answer was lost is there once."""
        uid = f"entry-{uuid.uuid4()}"
        for _ in range(3):
            sealed = self._seal(text)
            values = uid, sealed.token, time.time(), self._user, sealed.key_uid
            # No row: it is there, since it was sent before, or the key was deleted meanwhile.
            if self._execute(INSERT, *values) or self._query("SELECT 1 FROM journal_entries WHERE uid = ?", uid):
                return uid
        raise RuntimeError("the user's keys are deleted faster than an entry is written")

    def edit(self, uid, text):
        """Another text for an entry; whether the entry was there, unchanged meanwhile."""
        old = [token for *_, entry, _, token in self._query(READ, self._user) if entry == uid]
        sealed = self._seal(text)
        return bool(old and self._execute(UPDATE, sealed.token, uid, old[0], sealed.key_uid))

    def read(self, level="weak"):
        """Pairs of an entry's uid and its text, None for what is lost or does not open."""
        rows = self._query(READ, self._user, level=level)
        texts = self._sealer.open(rows, [(key_uid, token) for *_, key_uid, token in rows])
        return [(row[3], text) for row, text in zip(rows, texts)]

    def rotate(self, max_age=None):
        """Gives the user a key: if there is none, or with `max_age` none that is younger. The uid of the current one."""
        made = self._sealer.new_key(self._user, self._keys(), max_age=max_age)
        changed = [item.rows_affected for item in self._client.executemany3(made.statements).items]
        rows = self._keys()
        if not changed[-1]:
            # Another process was faster.
            self._sealer.discard(made, rows)
        return min(rows, key=lambda row: (-row[1], row[0]))[0]

    def _seal(self, text):
        try:
            return self._sealer.seal(self._keys(), text)
        except NoKey:
            self.rotate()
            return self._sealer.seal(self._keys(), text)

    def _keys(self):
        return self._query(Sealer.KEYS_SQL, self._user)

    def _query(self, sql, *parameters, level="weak"):
        return self._client.execute(sql, parameters, read_consistency=level, freshness=self._freshness).results or []

    def _execute(self, sql, *parameters):
        return self._client.execute(sql, parameters).rows_affected


if __name__ == "__main__":
    action, user, *nodes = sys.argv[1:]
    journal = Journal(rqdb.connect(nodes).cursor(), int(user))
    try:
        if action == "write":
            print(journal.write(sys.stdin.read()))
        else:
            print(*(text for _, text in journal.read()), sep="\n")
    except JournalError as error:
        sys.exit(str(error))
