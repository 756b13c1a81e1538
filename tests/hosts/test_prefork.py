"""A preforking web server (gunicorn with preload): no worker uses a socket, a lock or an IV of its parent's."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import LIBRARY, ROOT, new_key
from cryptography.fernet import Fernet
from scene import Scene
from servers.port import LOOPBACK, Port

WORKERS = 4
USERS = range(1, 41)


@pytest.fixture
def scene(rclone, tmp_path):
    with Scene(rclone, tmp_path) as scene:
        for user in USERS:
            uid, key = f"oseh_ujmk_{user}", new_key()
            if user > 1:
                scene.database.add_user(user)
            scene.database.add_key(user, uid)
            scene.put(key, uid)
            with scene.database.writing() as connection:
                token = Fernet(key).encrypt(f"the entry of user {user}".encode()).decode()
                connection.execute(
                    "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) VALUES (?, ?, ?, ?, 0)",
                    (f"oseh_je_{user}", user, uid, token),
                )
        yield scene


@pytest.fixture
def gunicorn(scene, tmp_path):
    """The address of a running server."""
    port = Port()
    env = {**os.environ, **scene.env, "DATABASE": str(scene.database.path), "LIBRARY": str(LIBRARY)}
    address = f"{LOOPBACK}:{port.number}"
    with open(tmp_path / "gunicorn.log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "-w", str(WORKERS), "-b", address, "hosts.prefork_app:app"],
            cwd=ROOT / "tests", env=env, stdout=log, stderr=log,
        )
        try:
            deadline = time.monotonic() + 30
            while True:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "gunicorn.log").read_text()
                try:
                    get(address, 1)
                    break
                except OSError:
                    time.sleep(0.05)
            yield address
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0, (tmp_path / "gunicorn.log").read_text()
            port.close()


def get(address, user):
    with urllib.request.urlopen(f"http://{address}/{user}", timeout=30) as answer:
        return json.load(answer)


def test_every_worker_reads_its_own_answers(gunicorn, scene):
    with ThreadPoolExecutor(8) as pool:
        asked = [user for _ in range(10) for user in USERS]
        answers = list(pool.map(lambda user: get(gunicorn, user), asked))
    for user, answer in zip(asked, answers, strict=True):
        assert answer["entries"] == [f"the entry of user {user}"]
    workers = {answer["pid"] for answer in answers}
    assert len(workers) > 1
    # One connection to the store is the parent's; each worker that fetched made its own.
    assert scene.proxy.connections >= 1 + len(workers)
    ivs = [base64.urlsafe_b64decode(answer["token"])[9:25] for answer in answers]
    assert len(set(ivs)) == len(ivs)
