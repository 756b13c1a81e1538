"""The example applications as their users run them: installed from the packages of dist/, the server under gunicorn."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from conftest import ROOT, TARGET
from servers.port import LOOPBACK, Port

DIST = ROOT / "dist"
FOLDER = ROOT / "examples" / "flask"
VENV = TARGET / "examples" / "venv"


def python():
    """The Python of a virtual environment with the example's requirements, the extension's wheel among them."""
    requirements, program = FOLDER / "requirements.txt", VENV / "bin" / "python"
    install = [program, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    installed(
        VENV, [*packages("whl"), requirements],
        [sys.executable, "-m", "venv", VENV],
        # First, and from there alone: no other's package of this name may stand in for it.
        [*install, "--no-index", "-f", DIST, "sqlite-journal-crypt"],
        [*install, "-r", requirements],
    )  # fmt: skip
    return program


def node():
    """The command that runs the example for Node, beside which the npm package is installed."""
    folder, programs = TARGET / "examples" / "node", Path(sys.executable).parent
    script = ROOT / "examples" / "node" / "journal.mjs"
    [package] = packages("tgz")
    installed(
        folder, [package, script],
        ["mkdir", folder], ["cp", script, folder],
        # npm is a script of its node's.
        ["env", f"PATH={programs}:{os.environ['PATH']}", programs / "npm", "install", "--prefix", folder, "--no-audit", "--no-fund", package],
    )  # fmt: skip
    return [programs / "node", folder / script.name]


def packages(kind):
    found = sorted(DIST.glob(f"*.{kind}"))
    assert found, f"there is no .{kind} in dist/: run make dist"
    return found


def installed(folder, sources, *commands):
    """Makes a folder anew by commands, unless it was made of the same files."""
    stamp, wanted = folder / "installed", "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in sources)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    stamp.write_text(wanted)


def environment(database, home, **more):
    """All that a process of the example gets."""
    return {"PATH": os.defpath, "DATABASE": str(database), "HOME": str(home), **more}


class Answer:
    """An answer's status, headers and text."""

    def __init__(self, answer):
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Application:
    """A running gunicorn. `close` ends it, and it must end well; so must all of its workers have."""

    def __init__(self, database, folder, **env):
        self.log = folder / "gunicorn.log"
        self._port = Port()
        self.address = f"{LOOPBACK}:{self._port.number}"
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                [python(), "-m", "gunicorn", "-b", self.address, "app:app"], cwd=FOLDER,
                env=environment(database, folder, **env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def __enter__(self):
        try:
            deadline = time.monotonic() + 60
            while not self._answers():
                assert self._process.poll() is None and time.monotonic() < deadline, self.said()
                time.sleep(0.05)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        status = self._end()
        assert kind or status == 0, self.said()

    def _answers(self):
        try:
            return self.get("/metrics").status == 200
        except OSError:
            return False

    def _end(self):
        self._process.terminate()
        try:
            return self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._port.close()

    def said(self):
        """Its log."""
        return self.log.read_text(errors="replace")

    def get(self, path, user=None):
        return self.ask(path, user)

    def post(self, text, user):
        """Sends an entry."""
        return self.ask("/entries", user, json.dumps({"text": text}).encode())

    def ask(self, path, user=None, body=None, content_type="application/json"):
        """Any request; with a body it is a POST."""
        headers = {"Content-Type": content_type} if body is not None else {}
        if user is not None:
            headers["X-User-Id"] = str(user)
        request = urllib.request.Request(f"http://{self.address}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return Answer(answer)
