"""A page of a journal from a node of rqlite, asked by HTTP as an application asks."""

import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from types import SimpleNamespace

from data import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from rqlite.cluster import Node  # noqa: E402
from servers.port import LOOPBACK  # noqa: E402

ENTRIES = 50
TOKENS, TEXTS = (
    f"SELECT {column} FROM journal_entries WHERE user_id = ? ORDER BY id DESC LIMIT {ENTRIES}"
    for column in ("token", "journal_decrypt(user_id, key_uid, token)")
)


def rqlited():
    """The program of PATH, or of RQLITED; None if there is none."""
    return shutil.which(os.environ.get("RQLITED", "rqlited"))


@contextmanager
def journal(folder, store, database):
    """A node that holds `database`, with the extension loaded: what it answers to a page's statement."""
    nobody = SimpleNamespace(host=LOOPBACK, port=1, region="", access_key="", secret_key="")
    node = Node(rqlited(), "1", folder, SimpleNamespace(server=nobody, reader=nobody, bucket=""))
    try:
        node.env = {"PATH": os.defpath, **store}
        node.start()
        node.wait_until_ready()
        node.load(database.read_bytes())
        yield Page(node)
    finally:
        node.close()


class Page:
    """One connection to the node, kept as an application keeps it."""

    def __init__(self, node):
        self.version = node.status()["build"]["version"]
        self._connection = HTTPConnection(node.address, timeout=60)

    def __call__(self, sql, user):
        """The page's values, at the read level that leaves the node alone."""
        self._connection.request(
            "POST", "/db/query?level=none", json.dumps([[sql, user]]), {"Content-Type": "application/json"}
        )
        [result] = json.loads(self._connection.getresponse().read())["results"]
        return [value for [value] in result["values"]]

    def seconds(self, sql, users, after=lambda user, values: None):
        """How long a page of each of the users takes, and what `after` does with it."""
        begun = time.perf_counter()
        for user in users:
            after(user, self(sql, user))
        return time.perf_counter() - begun
