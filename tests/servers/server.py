"""What the S3 servers have in common: a folder, a port and daemons of their own, and an end that leaves nothing behind."""

import shutil
import tempfile
import uuid
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from .daemon import Daemon
from .port import LOOPBACK, Port


class Server:
    """A running server until `close`. `_start` of a subclass starts what it is made of; if that fails, all ends."""

    host = LOOPBACK
    region = "us-east-1"

    def __init__(self):
        self._daemons = []
        with ExitStack() as self._stack:
            self.state = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
            self._stack.callback(shutil.rmtree, self.state, ignore_errors=True)
            self.port = self._free_port()
            self._start()
            self.close = self._stack.pop_all().close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def endpoint(self):
        """URL of the S3 service."""
        return f"http://{self.host}:{self.port}"

    @property
    def pids(self):
        """Process ids of the daemons."""
        return [daemon.pid for daemon in self._daemons]

    def _free_port(self):
        """The number of a port that is this server's until its end."""
        port = Port()
        self._stack.callback(port.close)
        return port.number

    def _start_daemon(self, argv, log, env):
        """Starts a process that ends with this server; its log is a file of `state`."""
        daemon = Daemon(argv, log=self.state / log, env=env)
        self._stack.callback(daemon.stop)
        self._daemons.append(daemon)
        return daemon

    def _status(self):
        """What the service answers to an unsigned `GET /`; None while it does not answer."""
        connection = HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()


def new_credentials():
    """A new access key and secret key."""
    return f"AK{uuid.uuid4().hex[:18].upper()}", uuid.uuid4().hex
