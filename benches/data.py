"""What is measured: keys in a directory, and databases of entries under them."""

import base64
import os
import sqlite3
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "s3_files/journals/keys/master/"
# As people write: mostly ASCII, with what a phone's keyboard adds.
SENTENCES = (
    "Slept badly, got up before six and went for a walk along the river. ",
    "It’s the third day without coffee and I don’t miss it… much. ",
    "Mum called; we talked about the café in Málaga and laughed a lot. ",
    "Work was fine, I said no to one thing and the world did not end. ",
    "Grateful for: the rain, Jonas – who listened –, and a quiet evening 🙂. ",
)


class Keys:
    """One key for each of the users 1 … `users`, as files of the directory store."""

    def __init__(self, root, users):
        self.root = root
        self.folder = root / PREFIX
        self.folder.mkdir(mode=0o700, parents=True)
        self.objects = {}
        for user in range(1, users + 1):
            key = base64.urlsafe_b64encode(os.urandom(32))
            path = self.folder / self.uid(user)
            path.write_bytes(key)
            path.chmod(0o600)
            self.objects[user] = key

    @staticmethod
    def uid(user):
        """The uid of a user's key."""
        return f"oseh_ujmk_{user:022}"

    def fernets(self):
        """What an application keeps: a `Fernet` for each user."""
        return {user: Fernet(key) for user, key in self.objects.items()}


def write_database(path, keys, rows, length):
    """Tables of the shipped schema: `rows` entries of about `length` bytes, and `drafts`, their plaintexts.

    Neighbouring rows are of different users.
    """
    fernets = list(keys.fernets().items())
    connection = sqlite3.connect(path)
    connection.executescript((ROOT / "sql" / "schema.sql").read_text())
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE drafts (id INTEGER PRIMARY KEY, user_id INTEGER, body TEXT)")
    for user, _ in fernets:
        uid = keys.uid(user)
        connection.execute("INSERT INTO users VALUES (?, ?, 0)", (user, f"oseh_u_{user}"))
        connection.execute(
            "INSERT INTO s3_files VALUES (?, ?, ?, 44, 'text/plain', 0)", (user, uid.replace("ujmk", "s3f"), PREFIX + uid)
        )
        connection.execute("INSERT INTO user_journal_master_keys VALUES (?, ?, ?, ?, 0)", (user, uid, user, user))
    for row in range(1, rows + 1):
        # A step that has no factor in common with the usual numbers of users visits them all.
        user, fernet = fernets[row * 389 % len(fernets)]
        body = _text(row, length)
        token = fernet.encrypt(body.encode()).decode()
        connection.execute("INSERT INTO drafts VALUES (?, ?, ?)", (row, user, body))
        connection.execute(
            "INSERT INTO journal_entries VALUES (?, ?, ?, ?, ?, 0)", (row, f"oseh_je_{row}", user, keys.uid(user), token)
        )
    connection.commit()
    connection.close()


def write_bound(path, keys):
    """A table `bound` beside the entries of a database: the same under the context of each row's id, by docs/guards.md."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bound (id INTEGER PRIMARY KEY, uid TEXT, user_id INTEGER, key_uid TEXT, token TEXT)")
        for row, user, body in connection.execute("SELECT id, user_id, body FROM drafts").fetchall():
            hkdf = HKDF(SHA256(), 32, None, b"journal_crypt context 1\0drafts.body:%d" % row)
            subkey = base64.urlsafe_b64encode(hkdf.derive(base64.urlsafe_b64decode(keys.objects[user])))
            token = Fernet(subkey).encrypt(body.encode()).decode()
            connection.execute("INSERT INTO bound VALUES (?, ?, ?, ?, ?)", (row, f"oseh_je_{row}", user, keys.uid(user), token))
    connection.close()


def _text(row, length):
    text, turn = f"{row}: ".encode(), row
    while len(text) < length:
        text += SENTENCES[turn % len(SENTENCES)].encode()
        turn += 1
    return text[:length].decode(errors="ignore")
