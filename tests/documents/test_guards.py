"""docs/guards.md: its examples run on a journal that was there before, and give what it shows."""

import os
import shutil

from conftest import LIBRARY, PREFIX, ROOT

from .book import blocks
from .test_book import run_sql

GUARDS = (ROOT / "docs" / "guards.md").read_text()


def test_the_examples_of_the_page_run(database, key_store, tmp_path):
    database.add_user(1)
    key_store.write("oseh_ujmk_1", prefix=PREFIX)
    database.add_key(1, "oseh_ujmk_1")
    shutil.copy(LIBRARY, tmp_path / f"journal_crypt{LIBRARY.suffix}")
    # An entry of before contexts.
    before = """INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
        SELECT 'oseh_je_before', 1, key_uid, token, 0 FROM journal_seal(1, 'Rain.');""".splitlines()
    shown = [(first + len(before), lines) for language, first, lines in blocks(GUARDS) if language == "sql"]
    assert shown
    assert run_sql([(1, before), *shown], tmp_path, {**os.environ, **key_store.env}) == []
