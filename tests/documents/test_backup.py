"""docs/backup.md: what a backup holds after keys were rotated, rewrapped and shredded."""

import os
import re
import sqlite3
import subprocess

from conftest import LIBRARY, ROOT
from stores import Folder, admin
from tool import tool

from .recipes import write


def proofs(backup, store):
    """What docs/backup.md's own commands say of a backup: of everybody, and of user 2."""
    commands = re.findall(r"```sh\n(.*?)\n# ", (ROOT / "docs" / "backup.md").read_text(), re.S)
    assert len(commands) == 2
    return [
        subprocess.run(["bash", "-euc", command], cwd=backup.parent, env={**os.environ, **store.env}, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
        for command in commands
    ]


def test_a_backup_opens_until_the_old_key_is_shredded_and_a_users_erasure_shows_in_it(users, tmp_path):
    store = Folder(tmp_path / "keys")
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / f"journal_crypt{LIBRARY.suffix}").symlink_to(LIBRARY)
    backup = folder / "backup.db"
    with admin(users, store) as host:
        old = {user: host.value("SELECT journal_rotate_key(?)", user) for user in (1, 2)}
        write(host, 1, ["first", "second"])
        write(host, 2, ["another's"])
        with sqlite3.connect(users.path) as source, sqlite3.connect(backup) as copy:
            source.backup(copy)
        assert proofs(backup, store) == [["ok|3"], ["ok|1"]]
        host.run("SELECT journal_rotate_key(1)")
        assert tool(users.path, store.env, "rewrap") == "4 rows rewrapped\nnothing is left under an old key\n"
        assert proofs(backup, store) == [["ok|3"], ["ok|1"]]
        # Nothing is lost in the live database, and two entries of the backup are.
        tool(users.path, store.env, "erase", "--user", 1, "--key", old[1], "--yes")
        assert proofs(backup, store) == [["key_lost|2", "ok|1"], ["ok|1"]]
        tool(users.path, store.env, "erase", "--user", 2, "--yes")
        assert proofs(backup, store) == [["key_lost|3"], ["key_lost|1"]]
