"""A journal in rqlite: seal on one node, then insert the literal token. See rqlite.md.

    pip install rqdb
    python rqlite_journal.py write 7 localhost:4001 localhost:4011 < entry.txt
    python rqlite_journal.py read 7 localhost:4001 localhost:4011
"""

import sys
import time
import uuid

import rqdb


def run(cursor, sql, *parameters):
    # rqdb's own exception would quote the parameters, and with them the plaintext.
    result = cursor.execute(sql, parameters, raise_on_error=False)
    if result.error:
        sys.exit(result.error)
    return result


def write(cursor, user_id, text):
    # 1. The plaintext goes to one node (at weak: to the leader), and only a token comes back.
    [[key_uid, token]] = run(cursor, "SELECT key_uid, token FROM journal_seal(?, ?)", user_id, text).results
    # 2. The token goes to all nodes, if the key row is still there; sent twice, it is written once.
    uid = f"entry-{uuid.uuid4()}"
    inserted = run(
        cursor,
        "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
        " SELECT ?, user_id, uid, ?, ? FROM user_journal_master_keys WHERE user_id = ? AND uid = ?"
        " ON CONFLICT (uid) DO NOTHING",
        uid, token, time.time(), user_id, key_uid,
    )
    if not inserted.rows_affected and not run(cursor, "SELECT 1 FROM journal_entries WHERE uid = ?", uid).results:
        sys.exit("the key was deleted meanwhile: seal again")
    return uid


def read(cursor, user_id):
    sql = "SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries WHERE user_id = ? ORDER BY created_at"
    return [text for [text] in run(cursor, sql, user_id).results or []]


if __name__ == "__main__":
    action, user, *nodes = sys.argv[1:]
    # log=False: rqdb logs the parameters, and so the plaintext, at level DEBUG.
    journal = rqdb.connect(nodes, log=False).cursor(read_consistency="weak")
    if action == "write":
        print(write(journal, int(user), sys.stdin.read()))
    else:
        print(*read(journal, int(user)), sep="\n")
