"""What can be read: audit, drill."""

import shutil
import subprocess

from conftest import PREFIX
from stores import opened

from .conftest import Journal


def test_audit_of_a_sound_journal_finds_nothing(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.write(1, "oseh_ujmk_a", "one", "two")
    journal.write_item(1, "oseh_ujmk_a", {"a": 1})
    assert journal.json("audit") == {
        "tokens": {"readable": 3}, "findings": [], "objects_without_row": [], "keys_without_object": [],
    }  # fmt: skip
    assert "           3  tokens that can be read\n" in journal.run("audit")


def test_audit_tells_lost_orphaned_broken_misrecorded_and_what_does_not_belong_together(journal):
    for uid in ("oseh_ujmk_a", "oseh_ujmk_b", "oseh_ujmk_lost"):
        journal.add(1, uid)
    journal.write(1, "oseh_ujmk_a", "readable", "misrecorded", "broken", "orphaned")
    journal.write(1, "oseh_ujmk_lost", "lost")
    journal.write_item(1, "oseh_ujmk_b", {"item": "orphaned"})
    [path] = journal.store.root.rglob("oseh_ujmk_lost")
    path.unlink()
    journal.store.write("oseh_ujmk_stray")
    with journal.writing() as connection:
        connection.execute("UPDATE journal_entries SET key_uid = 'oseh_ujmk_b' WHERE id = 2")
        connection.execute("UPDATE journal_entries SET token = 'gAAAAA' WHERE id = 3")
        connection.execute("UPDATE journal_entries SET key_uid = 'oseh_ujmk_gone', token = 'x' WHERE id = 4")
        connection.execute("UPDATE journal_entry_items SET master_key_id = NULL, master_encrypted_data = 'x'")
    found = journal.json("audit", status=1)
    assert found["tokens"] == {"readable": 1, "misrecorded": 1, "broken": 1, "orphaned": 2, "lost": 1}
    assert found["objects_without_row"] == [PREFIX + "oseh_ujmk_stray"]
    assert found["keys_without_object"] == ["oseh_ujmk_lost"]
    told = [(f["table"], f["rowid"], f["word"], f["opens_with"]) for f in found["findings"]]
    assert told == [
        ("journal_entries", 2, "token_invalid", "oseh_ujmk_a"), ("journal_entries", 3, "token_invalid", None),
        ("journal_entries", 4, "key_not_found", None), ("journal_entries", 5, "key_lost", None),
        ("journal_entry_items", 1, "key_not_found", None),
    ]  # fmt: skip
    text = journal.run("audit", status=1)
    assert "journal_entries.token row 2, user 1, key oseh_ujmk_b: token_invalid, opens with oseh_ujmk_a\n" in text


def test_a_bucket_is_listed_itself_and_a_disabled_object_is_there(tmp_path, request):
    with opened("ceph versioned", request) as bucket:
        journal = Journal(tmp_path)
        journal.store = bucket
        for user, uid in [(1, "oseh_ujmk_a"), (1, "oseh_ujmk_b"), (2, "oseh_ujmk_lost")]:
            journal.add(user, uid)
            bucket.write(uid, journal.keys[uid])
        bucket.client.delete(bucket.name, PREFIX + "oseh_ujmk_b")
        bucket.destroy("oseh_ujmk_lost")
        bucket.write("oseh_ujmk_stray")
        bucket.write("something else")
        found = journal.json("audit", status=1)
        assert found["objects_without_row"] == [PREFIX + "oseh_ujmk_stray"]
        assert found["keys_without_object"] == ["oseh_ujmk_lost"]


def test_of_one_user_no_others_objects_are_told(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.add(2, "oseh_ujmk_lost")
    journal.store.write("oseh_ujmk_stray")
    for path in journal.store.root.rglob("oseh_ujmk_lost"):
        path.unlink()
    found = journal.json("audit", "--user", 1)
    assert (found["objects_without_row"], found["keys_without_object"]) == (None, [])
    found = journal.json("audit", "--user", 2, status=1)
    assert (found["objects_without_row"], found["keys_without_object"]) == (None, ["oseh_ujmk_lost"])
    assert "objects that no row names" not in journal.run("audit", "--user", 1)


def test_without_the_permission_tokens_alone_are_looked_at(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.store.write("oseh_ujmk_stray")
    assert journal.run("audit", admin="create").endswith("objects were not listed: that needs JOURNAL_ADMIN=1\n")
    assert journal.json("audit", admin="0")["objects_without_row"] is None


def test_an_outage_is_unknown_and_never_lost(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.write(1, "oseh_ujmk_a", "one")
    shutil.rmtree(journal.store.root)
    journal.store.root.write_text("")
    text = journal.run("audit", status=3)
    assert "lost" not in text


def test_a_backup_could_be_restored_until_a_key_of_it_is_gone(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.write(1, "oseh_ujmk_a", "one")
    backup = journal.folder / "backup.db"
    shutil.copy(journal.path, backup)
    assert journal.json("drill", backup)["restorable"] is True
    journal.keys["oseh_ujmk_a"] = journal.store.write("oseh_ujmk_a")
    assert journal.json("drill", backup, status=1)["restorable"] is False
    backup.write_bytes(backup.read_bytes()[:5000])
    journal.run("drill", backup, status=3)


def test_a_table_with_two_tokens_a_row_and_keys_by_id_is_served_whole(journal):
    """As the journal's origin has it."""
    journal.add(1, "oseh_ujmk_old", 1.0)
    with journal.writing() as connection:
        connection.execute(
            "CREATE TABLE user_llm_context (id INTEGER PRIMARY KEY, user_id INTEGER, user_journal_master_key_id INTEGER,"
            " structured TEXT, unstructured TEXT)"
        )
        [key] = connection.execute("SELECT id FROM user_journal_master_keys").fetchone()
        for number in range(5):
            tokens = [journal.seal("oseh_ujmk_old", f"{kind} {number}") for kind in ("structured", "unstructured")]
            tokens[1] = tokens[1] if number else None
            connection.execute("INSERT INTO user_llm_context VALUES (?, 1, ?, ?, ?)", (number, key, *tokens))
    journal.add(1, "oseh_ujmk_new", 2.0)
    journal.columns = journal.folder / "columns.toml"
    journal.columns.write_text(
        '[[table]]\nname = "user_llm_context"\ntexts = ["structured", "unstructured"]\n'
        'key_id = "user_journal_master_key_id"\nuser = "user_id"\n'
    )
    assert journal.json("audit")["tokens"] == {"readable": 9}
    assert journal.json("rewrap") == {"rewrapped": 5, "left": {}, "dry_run": False}
    assert journal.json("audit")["tokens"] == {"readable": 9}
    assert journal.json("status")["tables"] == {"user_llm_context": {"current": 5, "older": 0, "gone": 0}}


def test_a_required_scope_is_for_others(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.write(1, "oseh_ujmk_a", "one")
    done = subprocess.run(
        journal.command("audit"), env={**journal.environment(), "JOURNAL_REQUIRE_SCOPE": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        2, "journal-crypt: JOURNAL_REQUIRE_SCOPE is for connections that serve one user; this serves all: run it without\n"
    )


def test_how_it_was_asked_and_what_was_not_there_have_their_own_statuses(journal):
    journal.run("status", "--no-such-option", status=2)
    journal.path.unlink()
    assert journal.run("status", status=3).startswith(f"journal-crypt: {journal.path}: unable to open database file")
    journal.path.write_text("no database " * 100)
    assert "file is not a database" in journal.run("status", status=3)
