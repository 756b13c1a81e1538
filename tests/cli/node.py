"""What the operator's tool asks of a node of rqlite, answered from a database file."""

import json
import sqlite3
from contextlib import closing

from servers.listener import Listener
from servers.message import Response


class Node(Listener):
    """One node that is its whole cluster. The tests of `rqlite/` have real ones."""

    def __init__(self, path):
        self.path = path
        #: How many nodes it says the cluster has.
        self.nodes = 1
        super().__init__()

    def respond(self, request):
        if request.path == "/nodes":
            return Response(200, body=json.dumps({"nodes": [{"id": str(number)} for number in range(self.nodes)]}).encode())
        assert "blob_array" in request.query or request.path == "/db/execute"
        with closing(sqlite3.connect(self.path)) as connection, connection:
            results = [self._result(connection, sql, values) for sql, *values in json.loads(request.body)]
        return Response(200, body=json.dumps({"results": results}).encode())

    def _result(self, connection, sql, values):
        cursor = connection.execute(sql, [bytes(value) if isinstance(value, list) else value for value in values])
        if cursor.description is None:
            return {"rows_affected": cursor.rowcount}
        return {"values": [[list(value) if isinstance(value, bytes) else value for value in row] for row in cursor]}
