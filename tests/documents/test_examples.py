"""The example applications do what their users count on, installed from the packages as anyone installs them."""

import json
import os
import re
import shutil
import subprocess
import textwrap
import time
from pathlib import Path

import pytest
from conftest import ROOT, SQLITE3, new_key
from cryptography.fernet import Fernet
from scene import Scene
from servers import faults

from .application import FOLDER, Application, environment, node, python

MARK = "the-fog-lifted-at-ten"
#: Under these settings an outage shows within a second, and a key is never used unchecked for long.
QUICK = {"JOURNAL_FETCH_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def scene(rclone, tmp_path_factory):
    with Scene(rclone, tmp_path_factory.mktemp("examples")) as scene:
        scene.add_key()
        yield scene


@pytest.fixture(scope="module")
def journal(scene, tmp_path_factory):
    """The running application, whose log must never hold a text."""
    with Application(scene.database.path, tmp_path_factory.mktemp("log"), **scene.env, **QUICK) as journal:
        yield journal
        assert MARK not in journal.said()


@pytest.fixture
def user(scene):
    """A user with a key of their own, so that no worker has it yet."""
    number = add_user(scene)
    give_key(scene, number)
    return number


def add_user(scene):
    """A new user's id. The application makes users too, so the table knows which is free."""
    with scene.database.writing() as connection:
        [[last]] = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'users'")
    scene.database.add_user(last + 1)
    return last + 1


def give_key(scene, user, uid=None, created_at=0.0):
    uid = uid or f"oseh_ujmk_{user}"
    scene.database.add_key(user, uid, created_at)
    key = new_key()
    scene.put(key, uid)
    return key


def entry_under(scene, user, key_uid, key, text=MARK):
    """Stores an entry without the application; its uid."""
    uid = f"oseh_je_of_{key_uid}"
    token = Fernet(key).encrypt(text.encode()).decode()
    with scene.database.writing() as connection:
        connection.execute(
            "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) VALUES (?, ?, ?, ?, 0)",
            (uid, user, key_uid, token),
        )
    return uid


# ---- The application over HTTP ----------------------------------------------------------------------------------


def test_an_entry_goes_in_as_text_lies_as_a_token_and_comes_out_as_text(journal, scene):
    user = add_user(scene)
    key = give_key(scene, user)
    text = f"{MARK} café ☕ 日本 \0 the end"
    answer = journal.post(text, user)
    assert answer.status == 201
    uid = answer.json["uid"]
    one = journal.get(f"/entries/{uid}", user)
    assert (one.status, one.json["text"]) == (200, text)
    assert journal.get("/entries", user).json == [one.json]
    with scene.database.writing() as connection:
        sql = "SELECT key_uid, token FROM journal_entries WHERE uid = ?"
        [(key_uid, token)] = connection.execute(sql, (uid,))
        [[mode]] = connection.execute("PRAGMA journal_mode")
    assert key_uid == f"oseh_ujmk_{user}"
    assert Fernet(key).decrypt(token).decode() == text
    # Where readers block nobody: sealing holds a read lock while it waits for a key.
    assert mode == "wal"


def test_pages_lead_through_all_entries(journal, user):
    uids = [journal.post(f"{MARK} {number}", user).json["uid"] for number in range(53)]
    first = journal.get("/entries", user).json
    rest = journal.get(f"/entries?before={first[-1]['uid']}", user).json
    assert [entry["uid"] for entry in first + rest] == uids[::-1]
    assert [len(first), len(rest)] == [50, 3]
    assert journal.get(f"/entries?before={uids[0]}", user).json == []


def test_nobody_reads_the_entries_of_others(journal, user):
    uid = journal.post(MARK, user).json["uid"]
    assert journal.get(f"/entries/{uid}", 1).status == 404
    assert journal.get("/entries", 1).json == []
    assert journal.get(f"/entries?before={uid}", 1).json == []
    for nobody in (None, "", "x", "1.0", "-1", "9" * 19):
        assert journal.get(f"/entries/{uid}", nobody).status == 401
        assert journal.post(MARK, nobody).status == 401


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"{}", 400), (b'{"text": 7}', 400), (b'{"text": ""}', 400),
        (b'{"text": null}', 400), (rb'{"text": "\ud83d"}', 400), (json.dumps({"text": "x" * (1 << 20)}).encode(), 413),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused(body, status, journal, user):
    answer = journal.ask("/entries", user, body)
    assert (answer.status, set(answer.json)) == (status, {"error"})
    assert journal.get("/entries", user).json == []


def test_a_lost_entry_shows_as_gone_and_hides_no_other(journal, scene, user):
    readable = journal.post(MARK, user).json["uid"]
    scene.database.add_key(user, f"oseh_ujmk_lost{user}", created_at=-1.0)  # no object was ever there
    for key_uid, word in [
        (f"oseh_ujmk_lost{user}", "key_lost"), (f"oseh_ujmk_no{user}", "key_not_found"), (f"oseh_ujmk_{user}", "token_invalid"),
    ]:  # fmt: skip
        lost = entry_under(scene, user, key_uid, new_key())
        one = journal.get(f"/entries/{lost}", user)
        assert (one.status, one.json) == (410, {"error": word})
        texts = {entry["uid"]: entry["text"] for entry in journal.get("/entries", user).json}
        assert texts[lost] is None and texts[readable] == MARK


def test_a_user_without_a_usable_key_cannot_write_and_is_told_so(journal, scene):
    user = add_user(scene)
    answer = journal.post(MARK, user)
    assert (answer.status, answer.json) == (409, {"error": "no_key"})
    scene.database.add_key(user, f"oseh_ujmk_{user}")
    answer = journal.post(MARK, user)
    assert (answer.status, answer.json) == (409, {"error": "key_lost"})
    broken = add_user(scene)
    give_key(scene, broken)
    scene.put("no key", f"oseh_ujmk_{broken}")
    answer = journal.post(MARK, broken)
    assert (answer.status, answer.json) == (500, {"error": "key_invalid"})


def test_an_outage_is_a_503_that_says_when_to_come_back_and_stores_nothing(journal, scene, user):
    gone = entry_under(scene, user, f"oseh_ujmk_{user}", new_key())
    try:
        scene.proxy.faults = faults.always(faults.BlackHole())
        refused = [journal.post(MARK, user), journal.get(f"/entries/{gone}", user), journal.get("/entries", user)]
    finally:
        scene.proxy.faults = []
    for answer in refused:
        assert (answer.status, answer.json) == (503, {"error": "store_unavailable"})
    time.sleep(int(refused[-1].headers["Retry-After"]))
    assert journal.post(MARK, user).status == 201
    assert [entry["text"] for entry in journal.get("/entries", user).json] == [MARK, None]


def test_a_database_that_stays_locked_is_a_503(journal, scene, user):
    with scene.database.writing() as connection:
        connection.execute("BEGIN IMMEDIATE")
        answer = journal.post(MARK, user)
    assert (answer.status, answer.json, answer.headers["Retry-After"]) == (503, {"error": "busy"}, "2")
    assert journal.get("/entries", user).json == []


def test_a_deleted_user_leaves_no_entry_and_no_key_row(journal, scene, user):
    # The application's connections see to it, here through its own functions.
    journal.post(MARK, user)
    script = "import journal, sys; c = journal.connect(); c.execute('DELETE FROM users WHERE id = ?', sys.argv[1:]); c.commit()"
    run([python(), "-c", script, str(user)], scene)
    with scene.database.writing() as connection:
        for table in ("user_journal_master_keys", "journal_entries"):
            assert connection.execute(f"SELECT * FROM {table} WHERE user_id = ?", (user,)).fetchall() == []


def test_a_key_that_is_deleted_between_sealing_and_storing_gets_no_entry(journal, scene, user):
    give_key(scene, user, f"oseh_ujmk_new{user}", created_at=1.0)
    script = """
        import journal, sqlite3, sys
        user, text = int(sys.argv[1]), sys.argv[2]

        def delete(statement):
            # Before the first token is stored.
            if statement.lstrip().startswith("INSERT"):
                journal.connection().set_trace_callback(None)
                with sqlite3.connect(journal.os.environ["DATABASE"]) as other:
                    assert other.execute("DELETE FROM user_journal_master_keys WHERE user_id = ? AND created_at > 0", (user,)).rowcount

        journal.connection().set_trace_callback(delete)
        print(journal.write(user, text))
    """
    uid = run([python(), "-c", textwrap.dedent(script), str(user), MARK], scene).strip()
    assert journal.get(f"/entries/{uid}", user).json["text"] == MARK
    with scene.database.writing() as connection:
        found = connection.execute("SELECT key_uid FROM journal_entries WHERE user_id = ?", (user,)).fetchall()
    assert found == [(f"oseh_ujmk_{user}",)]


def test_the_doctor_has_nothing_to_say_about_its_connections(journal):
    journal.get("/metrics")
    assert "journal_doctor" not in journal.said()


def test_a_configuration_that_cannot_be_used_ends_the_server_at_once(scene, tmp_path):
    env = environment(scene.database.path, tmp_path, **scene.env, JOURNAL_CACHE_KEYS="many")
    done = subprocess.run(
        [python(), "-m", "gunicorn", "-b", "127.0.0.1:0", "app:app"], cwd=FOLDER, env=env, capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "journal_crypt: JOURNAL_CACHE_KEYS: not a number" in done.stderr
    assert "Booting worker" not in done.stderr


def test_a_new_user_can_write_at_once(journal, scene):
    said = run([python(), "new_user.py"], scene, JOURNAL_ADMIN="1")
    number = int(said.split()[1])
    assert said == f"user {number} has the key oseh_ujmk_{said.rstrip()[-22:]}\n"
    assert journal.post(MARK, number).status == 201
    assert [entry["text"] for entry in journal.get("/entries", number).json] == [MARK]


def test_the_first_steps_of_its_readme_lead_to_a_user_with_a_key(tmp_path):
    folder = tmp_path / "examples" / "flask"
    shutil.copytree(FOLDER, folder)
    shutil.copytree(ROOT / "sql", tmp_path / "sql")
    (folder / "venv").symlink_to(python().parent.parent)
    steps = re.findall("```sh\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    # The first makes the environment that is here already, the last two serve and ask.
    assert [step.split()[0] for step in steps] == ["python3", "mkdir", "venv/bin/python", "venv/bin/gunicorn", "curl"]
    env = {"PATH": f"{Path(SQLITE3).parent}:{os.defpath}", "HOME": str(tmp_path)}
    script = "set -euo pipefail\n" + "".join(steps[1:3])
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch("user 1 has the key oseh_ujmk_.*\nthere is no table plain_entries: nothing to do\n", done.stdout)


# ---- The script for Node ----------------------------------------------------------------------------------------


def run_node(scene, *arguments, text="", **env):
    return subprocess.run(
        [*node(), *map(str, arguments)], env={**environment(scene.database.path, "/nonexistent"), **scene.env, **env},
        input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_node_and_python_read_what_the_other_wrote(journal, scene, user):
    text = f"{MARK} café ☕ \0 the end"
    wrote = run_node(scene, "write", user, text=text)
    assert (wrote.returncode, wrote.stderr) == (0, "")
    theirs = journal.post(MARK, user).json["uid"]
    assert journal.get(f"/entries/{wrote.stdout.strip()}", user).json["text"] == text
    lost = entry_under(scene, user, f"oseh_ujmk_no{user}", new_key())
    read = run_node(scene, "read", user)
    assert (read.returncode, read.stderr) == (0, "")
    entries = [json.loads(line) for line in read.stdout.splitlines()]
    assert [(e["uid"], e["text"]) for e in entries] == [(theirs, MARK), (wrote.stdout.strip(), text), (lost, None)]


def test_node_tells_an_outage_from_what_is_final(scene, user):
    refused = run_node(scene, "write", 999_999, text=MARK)
    assert (refused.returncode, refused.stderr) == (1, "journal_seal: no_key: user 999999 has no key\n")
    try:
        scene.proxy.faults = faults.always(faults.SLOW_DOWN)
        refused = run_node(scene, "write", user, text=MARK, JOURNAL_FETCH_TIMEOUT="1")
    finally:
        scene.proxy.faults = []
    assert refused.returncode == 75
    assert refused.stderr.startswith("journal_seal: store_unavailable: ") and MARK not in refused.stderr
    assert run_node(scene, "read", user).stdout == ""


def run(command, scene, **env):
    """What a program of the example prints; it must end well."""
    done = subprocess.run(
        command, cwd=FOLDER, env=environment(scene.database.path, scene.database.path.parent, **scene.env, **env),
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
