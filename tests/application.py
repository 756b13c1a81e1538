"""The example application as its users run it: installed from the wheel, under gunicorn."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

from conftest import ROOT, TARGET
from servers.port import LOOPBACK, Port

FOLDER = ROOT / "examples" / "flask"
VENV = TARGET / "examples" / "venv"


def python():
    """The Python of a virtual environment with the example's requirements, the extension's wheel from dist/ among them."""
    dist, requirements = ROOT / "dist", FOLDER / "requirements.txt"
    wheels = sorted(dist.glob("*.whl"))
    assert wheels, "there is no wheel in dist/: run make dist"
    wanted = "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in [*wheels, requirements])
    installed, program = VENV / "installed", VENV / "bin" / "python"
    if not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        install = [program, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", VENV],
            # First, and from there alone: no other's package of this name may stand in for it.
            [*install, "--no-index", "-f", dist, "sqlite-journal-crypt"],
            [*install, "-r", requirements],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
        installed.write_text(wanted)
    return program


def environment(database, home, **more):
    """All that a process of the example gets."""
    return {"PATH": os.defpath, "DATABASE": str(database), "HOME": str(home), **more}


class Answer:
    """An answer's status, headers and JSON."""

    def __init__(self, answer):
        self.status, self.headers, self.json = answer.status, answer.headers, json.load(answer)


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
            return self.get("/stats").status == 200
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
