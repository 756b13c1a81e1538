"""A journal for the programs of the pages."""

import pytest


@pytest.fixture
def journal(database, key_store):
    """Users 1 and 2, each with a key, and user 3 without one; `journal.db` in a folder, and the variables of the key store."""
    for user in (1, 2, 3):
        database.add_user(user)
    for user in (1, 2):
        database.add_key(user, f"oseh_ujmk_{user}")
        key_store.write(f"oseh_ujmk_{user}")
    return database.path.parent, key_store.env
