"""The recipes in sql/, run by the sqlite3 shell, and entries for them to work on."""

import os
import subprocess

from conftest import LIBRARY, ROOT, SQLITE3
from stores import ADMIN


def recipe(name, database, store, env=ADMIN, code=0, before=(), **parameters):
    """The lines that a recipe says; with a `code` above 0, the text of its error. `before` are what the shell is told before it."""
    commands = ["PRAGMA temp_store = MEMORY", f'.load "{LIBRARY.with_suffix("")}"', *before]
    for parameter, value in parameters.items():
        # An SQL string, within one of the shell's.
        quoted = "'" + value.replace("'", "''").replace('"', '\\"') + "'" if isinstance(value, str) else value
        commands.append(f'.param set :{parameter} "{quoted}"' if isinstance(value, str) else f".param set :{parameter} {value}")
    shell = subprocess.run(
        [SQLITE3, "-init", os.devnull, "-batch", *(word for command in commands for word in ("-cmd", command)), database.path],
        stdin=open(ROOT / "sql" / f"{name}.sql"), env={**os.environ, **store.env, **env}, capture_output=True, text=True, timeout=120,
    )
    assert shell.returncode == code, (shell.stdout, shell.stderr)
    if code:
        return shell.stderr
    assert shell.stderr == ""
    return shell.stdout.splitlines()


def write(host, user, texts, key_uid=None):
    """An entry for each text, with an item of the same text, under a key of the user's."""
    key_uid = key_uid or host.value("SELECT journal_key_uid(?)", user)
    for text in texts:
        [[entry]] = host.run(
            "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
            " SELECT 'oseh_je_' || hex(randomblob(8)), ?1, ?2, journal_encrypt(?1, ?3, ?2), 1767300000 RETURNING id", user, key_uid, text,
        )
        host.run(
            "INSERT INTO journal_entry_items (uid, journal_entry_id, ordinal, master_key_id, master_encrypted_data, created_at)"
            " SELECT 'oseh_jei_' || hex(randomblob(8)), ?1, 1, key_id, token, 0 FROM journal_seal_item(?2, json_object('text', ?3))",
            entry, user, text,
        )
