"""A journal for the programs of the pages, and what runs one after a page's models."""

import pytest

from .pages import run


@pytest.fixture
def journal(database, key_store):
    """Users 1 and 2, each with a key, and user 3 without one; `journal.db` in a folder, and the variables of the key store."""
    for user in (1, 2, 3):
        database.add_user(user)
    for user in (1, 2):
        database.add_key(user, f"oseh_ujmk_{user}")
        key_store.write(f"oseh_ujmk_{user}")
    return database.path.parent, key_store.env


@pytest.fixture
def ran(request, journal, package):
    """Runs a program after `MODELS` of the test's module; what it printed."""
    folder, env = journal
    return lambda source, **more: run(request.module.MODELS + source, folder, package, env, **more)
