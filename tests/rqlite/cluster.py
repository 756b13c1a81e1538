"""Nodes of rqlite on loopback, and the HTTP API as an application uses it."""

import hashlib
import json
import os
import re
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

from conftest import LIBRARY
from servers.daemon import Daemon
from servers.port import LOOPBACK, Port
from servers.proxy import FaultProxy

#: Seconds that anything here may take; a machine shared with others needs them, and nothing waits without a reason.
PATIENCE = 60


class Refused(Exception):
    """A statement failed; the text is SQLite's, or rqlite's own."""


class Unreachable(Exception):
    """The node, or the cluster behind it, gave no answer that says what became of the request."""


def eventually(check, *, seconds=PATIENCE):
    """What `check` returns once it neither raises nor returns something false; its last failure if time runs out."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
            failure = AssertionError(f"{check.__name__} did not come true within {seconds} s")
        except (AssertionError, Refused, Unreachable) as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(0.05)


class Node:
    """One rqlited with its data below `folder`, its two ports, and a proxy of its own before the S3 server."""

    def __init__(self, program, name, folder, scene):
        self.program, self.name, self.folder = program, name, folder
        self.data, self.log = folder / "data", folder / "log"
        folder.mkdir()
        with ExitStack() as stack:
            self._http, self._raft = Port(), Port()
            stack.callback(self._http.close)
            stack.callback(self._raft.close)
            self.store = FaultProxy(scene.server.host, scene.server.port)
            stack.callback(self.store.close)
            self.env = {
                "PATH": os.defpath,
                "JOURNAL_KEY_STORE": f"s3://{scene.bucket}",
                "JOURNAL_CACHE_TTL": "1",
                "AWS_ENDPOINT_URL_S3": self.store.endpoint,
                "AWS_REGION": scene.server.region,
                "AWS_ACCESS_KEY_ID": scene.reader.access_key,
                "AWS_SECRET_ACCESS_KEY": scene.reader.secret_key,
            }
            self._daemon = None
            stack.callback(self.kill)
            self.close = stack.pop_all().close

    @property
    def address(self):
        """Where an application finds it."""
        return f"{LOOPBACK}:{self._http.number}"

    @property
    def raft(self):
        """Where other nodes find it."""
        return f"{LOOPBACK}:{self._raft.number}"

    def start(self, join=(), **changed):
        """Starts it on the data it has; `changed` are variables of its environment. `ready` tells when it serves."""
        options = [
            "-node-id", self.name, "-http-addr", f"{LOOPBACK}:{self._http.number}", "-http-adv-addr", self.address,
            "-raft-addr", f"{LOOPBACK}:{self._raft.number}", "-raft-adv-addr", self.raft,
            "-extensions-path", LIBRARY, "-fk", *(("-join", ",".join(join)) if join else ()),
        ]
        self._daemon = Daemon([self.program, *options, self.data], log=self.log, env={**self.env, **changed})

    def kill(self):
        """Ends it as a power cut would."""
        if self._daemon:
            self._daemon.stop()
        self._daemon = None

    @property
    def is_running(self):
        return self._daemon is not None

    def wait_until_ready(self):
        """Until it serves and has applied what was in the log when it was asked."""
        self._daemon.wait_until(self._is_ready, seconds=PATIENCE)

    def _is_ready(self):
        try:
            return self._ask("GET", "/readyz?sync&timeout=5s")[0] == 200
        except Unreachable:
            return False

    def query(self, sql, *parameters, level="none", redirect=False):
        """The rows of a SELECT at a read level of rqlite."""
        options = {"level": level, **({"redirect": "true"} if redirect else {})}
        return self._statements("/db/query?" + urlencode(options), [[sql, *parameters]])[0].get("values", [])

    def value(self, sql, *parameters, level="none"):
        """The one value of the one row of a SELECT."""
        [[value]] = self.query(sql, *parameters, level=level)
        return value

    def error(self, sql, *parameters, level="none"):
        """The text of the error that a SELECT raises; it must raise one."""
        try:
            rows = self.query(sql, *parameters, level=level)
        except Refused as refused:
            return str(refused)
        raise AssertionError(f"no error but {rows}")

    def execute(self, *statements):
        """Writes in one transaction, each `[sql, parameter…]`; how many rows each changed."""
        results = self._statements("/db/execute?transaction", statements)
        return [result.get("rows_affected", 0) for result in results]

    def request(self, *statements):
        """Reads and writes together, through rqlite's unified endpoint; the results as they come."""
        return self._statements("/db/request", statements)

    def _statements(self, path, statements):
        body = json.dumps([list(statement) for statement in statements]).encode()
        status, answer = self._ask("POST", path, body, "application/json")
        if status != 200:
            raise Unreachable(f"{self.name}: {status} {answer.decode(errors='replace').strip()}")
        answer = json.loads(answer)
        for error in (answer.get("error"), *(result.get("error") for result in answer.get("results", []))):
            if error:
                # What the leader says while it is not one any more; the statement may or may not be in the log.
                lost = re.search("leader|not open|timeout|raft|shutdown", error)
                raise (Unreachable if lost else Refused)(error)
        return answer["results"]

    def backup(self):
        """This node's own database, as one file without a write-ahead log."""
        status, answer = self._ask("GET", "/db/backup?fmt=delete&noleader")
        if status != 200:
            raise Unreachable(f"{self.name}: backup: {status} {answer.decode(errors='replace')}")
        return answer

    def load(self, backup):
        """Replaces the cluster's database."""
        status, answer = self._ask("POST", "/db/load", backup, "application/octet-stream")
        assert status == 200 and b"error" not in answer, answer

    def snapshot(self):
        """Makes a snapshot and forgets the log before it."""
        status, answer = self._ask("POST", "/snapshot?trailing_logs=1")
        assert status == 200, answer

    def remove(self, name):
        """Takes a node out of the cluster."""
        status, answer = self._ask("DELETE", "/remove", json.dumps({"id": name}).encode(), "application/json")
        assert status == 200, answer

    def status(self):
        """rqlite's own account of the node."""
        return json.loads(self._ask("GET", "/status")[1])

    def counted(self, group, name):
        """A counter of rqlite's since the node was started."""
        return json.loads(self._ask("GET", "/debug/vars")[1])[group][name]

    def holds(self, text):
        """The files below its folder, its log among them, in which the bytes of `text` stand."""
        found = []
        for path in self.folder.rglob("*"):
            try:
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(path.relative_to(self.folder).as_posix())
            except FileNotFoundError:  # a snapshot's temporary file
                pass
        return found

    def _ask(self, method, path, body=None, content_type=None):
        connection = HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{self.name}: {error!r}") from error
        finally:
            connection.close()


class Cluster:
    """Nodes that started together; more may join."""

    def __init__(self, program, folder, scene, nodes=3, kind=Node, **env):
        self._program, self._folder, self._scene, self._env, self._kind = program, folder, scene, env, kind
        self.nodes = []
        with ExitStack() as stack:
            stack.callback(self._close_nodes)
            for _ in range(nodes):
                self.add()
            self.close = stack.pop_all().close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add(self):
        """Starts one more node, which joins those that run; the node, ready."""
        node = self._kind(self._program, f"n{len(self.nodes) + 1}", self._folder / f"n{len(self.nodes) + 1}", self._scene)
        self.nodes.append(node)
        node.env.update(self._env)
        node.start(join=[other.raft for other in self.running if other is not node])
        node.wait_until_ready()
        return node

    def drop(self, node):
        """Takes a node out for good."""
        self.leader().remove(node.name)
        self.nodes.remove(node)
        node.close()

    @property
    def running(self):
        return [node for node in self.nodes if node.is_running]

    def leader(self):
        """The node that leads; waits for the election."""
        def elected():
            for node in self.running:
                if node.status()["store"]["raft"]["state"] == "Leader":
                    return node

        return eventually(elected)

    def followers(self):
        leader = self.leader()
        return [node for node in self.running if node is not leader]

    def same_everywhere(self):
        """Waits until all nodes' databases are the same bytes, and gives their hash.

        Nobody may be writing. A follower may lag; a node that holds another value never catches up.
        """
        def agreed():
            found = {node.name: digest(node.backup()) for node in self.running}
            assert len(set(found.values())) == 1, f"the nodes differ: {found}"
            return found

        return next(iter(eventually(agreed).values()))

    def _close_nodes(self):
        for node in self.nodes:
            node.close()


def digest(backup):
    """A hash of a database file, but for its header's change counter and the copy of it (bytes 24 and 92 of
    https://www.sqlite.org/fileformat.html): on rqlite 8 a node that was killed may count one change more.
    """
    header = bytearray(backup[:100])
    header[24:28] = header[92:96] = bytes(4)
    return hashlib.sha256(header + backup[100:]).hexdigest()
