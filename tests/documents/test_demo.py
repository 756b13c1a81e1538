"""The demo shows what it says, and fails when what it claims does not hold."""

import html
import os
import re
import shutil
import subprocess

import pytest

from conftest import LIBRARY, ROOT, SQLITE3


def run_demo(tmp_path, correct="", wrong=""):
    """Run a copy of the demo, with the first `correct` in it replaced by `wrong`."""
    shutil.copytree(ROOT / "sql", tmp_path / "sql")
    shutil.copy(LIBRARY, tmp_path / f"journal_crypt{LIBRARY.suffix}")
    (tmp_path / "target" / "demo").mkdir(parents=True)
    script = (tmp_path / "sql" / "demo.sql").read_text()
    assert correct in script
    return subprocess.run(
        [SQLITE3, "-init", os.devnull, "-batch", "-bail", "target/demo/journal.db"],
        input=script.replace(correct, wrong, 1), cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "JOURNAL_KEY_STORE": (tmp_path / "target/demo/keys").as_uri()},
    )


def test_the_demo_is_short_and_ends_with_its_claims(tmp_path):
    demo = run_demo(tmp_path)
    lines = demo.stdout.splitlines()
    assert (demo.returncode, demo.stderr) == (0, "")
    assert len(lines) < 60
    assert [line[0] for line in lines[-4:]] == ["✓"] * 4
    for key in (tmp_path / "target/demo/keys").rglob("oseh_ujmk_*"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_the_recording_shows_what_the_demo_does(tmp_path):
    recorded = (ROOT / "docs" / "demo.svg").read_text()
    shown = [html.unescape(line) for line in re.findall(r"<text [^>]*>(.*)</text>", recorded)]

    def steady(lines):
        """The lines without what is new each time."""
        return [re.sub(r"oseh_ujmk_\w+|gAAAAA[\w-]*", "…", line.rstrip()) for line in lines]

    assert shown[0] == "$ make demo" and steady(shown[1:]) == steady(run_demo(tmp_path).stdout.splitlines())
    assert "<script" not in recorded


@pytest.mark.parametrize(
    "correct, wrong, error",
    [
        ("sh sql/demo-keys.sh target/demo/keys", "mkdir target/demo/keys", "key_lost"),
        ("journal_seal(user_id, entry)", "journal_seal(user_id, trim(entry, '.'))", "a claim of the demo does not hold"),
        ("VACUUM INTO", "CREATE TABLE leak AS SELECT entry FROM written; VACUUM INTO", "a claim of the demo does not hold"),
        ("DELETE FROM user_journal_master_keys", "SELECT 1 FROM user_journal_master_keys", "a claim of the demo does not hold"),
        ("WHERE user_id = 2;", "WHERE user_id <> 1;", "a claim of the demo does not hold"),
    ],
)
def test_the_demo_fails_where_its_claims_do_not_hold(correct, wrong, error, tmp_path):
    demo = run_demo(tmp_path, correct, wrong)
    assert demo.returncode != 0
    assert error in demo.stderr
    assert "✓" not in demo.stdout
