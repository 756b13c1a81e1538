"""A pause before the end: disable, enable."""

import random
import signal
import subprocess
import time


def test_a_disabled_users_tokens_are_neither_read_nor_lost_until_they_are_enabled(journal):
    for user in (1, 2):
        for number in range(3):
            journal.add(user, f"oseh_ujmk_{user}{number}", float(number))
            journal.write(user, f"oseh_ujmk_{user}{number}", f"user {user}, text {number}")
    assert journal.json("disable", "--user", 1, "--dry-run")["changed"] == 0
    assert journal.json("disable", "--user", 1) == {"user": 1, "keys": 3, "changed": 3, "dry_run": False}
    assert journal.json("disable", "--user", 1)["changed"] == 0
    found = journal.json("audit", status=1)
    assert found["tokens"] == {"readable": 3, "disabled": 3}
    assert found["objects_without_row"] == found["keys_without_object"] == []
    assert journal.json("enable", "--user", 1) == {"user": 1, "keys": 3, "changed": 3, "dry_run": False}
    assert journal.json("audit")["tokens"] == {"readable": 6}
    # What is disabled can be erased at once.
    journal.run("disable", "--user", 1)
    assert journal.json("erase", "--user", 1, "--yes")["complete"] is True
    assert journal.run("disable", "--user", 1, status=1) == "journal-crypt: user 1 has no key\n"
    assert journal.json("audit", "--user", 2)["tokens"] == {"readable": 3}


def test_killed_at_any_moment_and_run_again_every_key_is_hidden_and_comes_back(journal):
    for number in range(40):
        journal.add(1, f"oseh_ujmk_{number:02}", float(number))
        journal.write(1, f"oseh_ujmk_{number:02}", f"text {number}")
    choose, before = random.Random(3), time.monotonic()
    subprocess.run(journal.command("status"), env=journal.environment(), check=True, capture_output=True)
    least = time.monotonic() - before
    for turn in range(20):
        command = "disable" if turn % 2 == 0 else "enable"
        process = subprocess.Popen(
            journal.command(command, "--user", 1), env=journal.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=least + choose.random() * 0.1)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        # Each object is there under one of its two names.
        assert sorted(path.name[:12] for path in journal.store.root.rglob("oseh_*")) == [f"oseh_ujmk_{n:02}" for n in range(40)]
        assert journal.json(command, "--user", 1)["keys"] == 40
        hidden = {path.suffix for path in journal.store.root.rglob("oseh_*")}
        assert hidden == ({".disabled"} if command == "disable" else {""})
    assert journal.read() == journal.texts
