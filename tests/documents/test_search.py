"""docs/search.md: its functions, on a journal."""

import os
import re
import shutil
import subprocess
import sys

from conftest import LIBRARY, ROOT
from stores import Folder, admin


def test_the_page_s_search_ranks_limits_and_passes_over_case_and_accents(users, tmp_path):
    store = Folder(tmp_path / "keys")
    with admin(users, store) as host:
        host.run("SELECT journal_rotate_key(1)")
        host.run("SELECT journal_rotate_key(2)")
        for user, text in [(1, "ÖPEN the window, open the door"), (1, "a walk before anything was open"), (1, "rain"), (2, "open")]:
            host.run(
                "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
                " SELECT hex(randomblob(8)), ?1, key_uid, token, 0 FROM journal_seal(?1, ?2)", user, text,
            )
    package = tmp_path / "package" / "sqlite_journal_crypt"
    shutil.copytree(ROOT / "packaging" / "python" / "sqlite_journal_crypt", package)
    shutil.copy(LIBRARY, package / f"journal_crypt{LIBRARY.suffix}")
    [page] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "search.md").read_text(), re.S)
    asks = """
journal = open_journal(sys.argv[1]); index(journal, 1)
print(search(journal, "öp"), search(journal, "OPEN", most=1), search(journal, 'wind" OR rain'), search(journal, ""))
index(journal, 1); index(journal, 2); print(search(journal, "open"))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{page}\n{asks}", users.path], capture_output=True, text=True, timeout=60,
        env={"PATH": os.defpath, "PYTHONPATH": str(package.parent), **store.env},
    )
    assert done.stderr == ""
    best = "(1, '[ÖPEN] the window, [open] the door')"
    assert done.stdout.splitlines() == [
        f"[{best}, (2, 'a walk before anything was [open]')] [{best}] [] []", "[(4, '[open]')]",
    ]
