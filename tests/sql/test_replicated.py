"""The guard of a replicated host, as far as it needs no node; tests/rqlite is about real ones."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import LIBRARY, SQLITE3, run_shell

from .script import errors_by_line

SENTENCE = (
    "replicated: every node would run this statement again; SELECT the value on a read-only connection "
    "(rqlite: a query at level none or weak), then write it as a literal"
)

TOKEN = "(SELECT token FROM token)"
# A statement for each function that uses a key, and whether its argument is NULL makes no difference.
USE_A_KEY = {
    "journal_encrypt": [
        "SELECT journal_encrypt(1, 'x')", "SELECT journal_encrypt(1, 'x', 'oseh_ujmk_1')", "SELECT journal_encrypt(1, NULL)",
    ],
    "journal_decrypt": [f"SELECT journal_decrypt(1, 'oseh_ujmk_1', {TOKEN})", "SELECT journal_decrypt(1, NULL, NULL)"],
    "journal_decrypt_blob": [f"SELECT journal_decrypt_blob(1, NULL, {TOKEN})"],
    "journal_try_decrypt": [f"SELECT journal_try_decrypt(1, NULL, {TOKEN})"],
    "journal_check": [f"SELECT journal_check(1, NULL, {TOKEN})"],
    "journal_rewrap": [f"SELECT journal_rewrap(1, NULL, {TOKEN})"],
    "journal_bind": [f"SELECT journal_bind(1, NULL, {TOKEN}, 'c')", "SELECT journal_bind(1, NULL, NULL, 'c')"],
    "journal_encrypt_item": ["SELECT journal_encrypt_item(1, '{}')"],
    "journal_decrypt_item": ["SELECT journal_decrypt_item(1, NULL, (SELECT item FROM token))"],
    "journal_try_decrypt_item": ["SELECT journal_try_decrypt_item(1, NULL, (SELECT item FROM token))"],
    "journal_seal": ["SELECT token FROM journal_seal(1, 'x')", "SELECT token FROM journal_seal(1, NULL)"],
    "journal_seal_item": ["SELECT token FROM journal_seal_item(1, '{}')"],
    "journal_prefetch": ["SELECT journal_prefetch(1)", "SELECT journal_prefetch('[1]')"],
}
# These use none: what they say on a connection that can write, they say on every other.
USE_NO_KEY = {
    "journal_key_uid": ["SELECT journal_key_uid(1)"],
    "journal_token_time": [f"SELECT journal_token_time({TOKEN})"],
    "journal_version": ["SELECT journal_version()"],
    "journal_config": ["SELECT journal_config()"],
    "journal_evict": ["SELECT journal_evict()", "SELECT journal_evict('oseh_ujmk_1')"],
    "journal_cache": ["SELECT * FROM journal_cache"],
    "journal_stats": ["SELECT * FROM journal_stats"],
    "journal_metrics": ["SELECT journal_metrics()"],
    "journal_doctor": ["SELECT * FROM journal_doctor"],
}
# These make or destroy keys: one node may not, and a statement in the log would have all do it.
MANAGE_KEYS = {
    "journal_create_key": ["SELECT journal_create_key(1)"],
    "journal_rotate_key": ["SELECT journal_rotate_key(1)", "SELECT journal_rotate_key(1, 60)"],
    "journal_discard_key": ["SELECT journal_discard_key('oseh_ujmk_1')"],
    "journal_disable_key": ["SELECT journal_disable_key(1, 'oseh_ujmk_1')"],
    "journal_enable_key": ["SELECT journal_enable_key(1, 'oseh_ujmk_1')"],
    "journal_wrap_key": ["SELECT journal_wrap_key(1, 'oseh_ujmk_1')"],
    "journal_shred_key": ["SELECT journal_shred_key(1, 'oseh_ujmk_1')"],
    "journal_objects": ["SELECT * FROM journal_objects"],
}
MANAGE_SENTENCE = (
    "replicated: every node would do this, and again at every replay of the log; do it from outside, with journal-crypt, "
    "as docs/rqlite.md says"
)
# A scope on a connection that everybody is served by would be everybody's.
SCOPE = {"journal_scope": ["SELECT journal_scope(1)", "SELECT journal_scope(NULL, 'x')"]}
SCOPE_SENTENCE = "replicated: the host shares its connections among its callers, so that a scope would be everybody's"
READ_ONLY, READ_WRITE = ["-readonly"], []


@pytest.fixture
def journal(database, key_store):
    """A database with one user, a key and a token of each kind, written where nothing is replicated."""
    database.add_user(1)
    database.add_key(1, "oseh_ujmk_1")
    key_store.write("oseh_ujmk_1")
    run("CREATE TABLE token AS SELECT journal_encrypt(1, 'x') AS token, journal_encrypt_item(1, '{}') AS item",
        database.path, key_store.env)
    return database.path, key_store.env


def run(statement, path, env, options=()):
    """The output of one statement, and the text of its error or None."""
    shell = run_shell(statement + ";\n", path, env, options)
    errors = [text for _, text in errors_by_line(shell.stderr)]
    assert len(errors) <= 1, shell.stderr
    return shell.stdout.rstrip("\n"), errors[0] if errors else None


def on(env, value="on"):
    return {**env, "JOURNAL_REPLICATED": value}


@pytest.mark.parametrize("name, statement", [(name, s) for name, found in USE_A_KEY.items() for s in found])
def test_a_function_that_uses_a_key_works_only_where_nothing_can_be_written(name, statement, journal):
    path, env = journal
    assert run(statement, path, on(env), READ_WRITE) == ("", f"{name}: {SENTENCE}")
    assert run(f"PRAGMA query_only = ON; {statement}", path, on(env), READ_WRITE) == ("", f"{name}: {SENTENCE}")
    assert run(statement, path, on(env), READ_ONLY)[1] is None
    assert run(statement, path, on(env, "off"), READ_WRITE)[1] is None


@pytest.mark.parametrize("statement", [s for found in USE_NO_KEY.values() for s in found])
def test_a_function_that_uses_no_key_works_everywhere(statement, journal):
    path, env = journal
    for options in (READ_ONLY, READ_WRITE):
        assert run(statement, path, on(env), options)[1] is None


@pytest.mark.parametrize("name, statement", [(name, s) for name, found in MANAGE_KEYS.items() for s in found])
def test_a_function_that_manages_keys_is_refused_on_every_connection(name, statement, journal):
    path, env = journal
    admin = {**env, "JOURNAL_ADMIN": "1"}
    for options in (READ_ONLY, READ_WRITE):
        assert run(statement, path, on(admin), options) == ("", f"{name}: {MANAGE_SENTENCE}")
    # There, the one that takes a key back says that it made none, and another that it has nothing to wrap with.
    unmade = f"{name}: bad_argument: " if name in ("journal_discard_key", "journal_wrap_key") else None
    error = run(statement, path, on(admin, "off"), READ_WRITE)[1]
    assert error is None if unmade is None else error.startswith(unmade)


@pytest.mark.parametrize("statement", SCOPE["journal_scope"])
def test_a_scope_is_refused_on_every_connection(statement, journal):
    path, env = journal
    for options in (READ_ONLY, READ_WRITE):
        assert run(statement, path, on(env), options) == ("", f"journal_scope: {SCOPE_SENTENCE}")


def test_where_a_scope_is_required_a_replicated_host_uses_no_key_and_the_doctor_says_why(journal):
    path, env = journal
    env = on({**env, "JOURNAL_REQUIRE_SCOPE": "1"})
    assert "journal_encrypt: out_of_scope: " in run("SELECT journal_encrypt(1, 'x')", path, env, READ_ONLY)[1]
    doctor = "SELECT status, detail FROM journal_doctor WHERE name = 'scope'"
    assert run(doctor, path, env, READ_ONLY) == (
        "failed|JOURNAL_REQUIRE_SCOPE is set on a replicated host, where no connection can have one: no key is used", None,
    )  # fmt: skip


def test_every_function_is_known_to_use_a_key_or_not(journal):
    path, env = journal
    env = {**env, "JOURNAL_ADMIN": "1"}
    registered = "SELECT name FROM pragma_function_list UNION SELECT name FROM pragma_module_list"
    output, _ = run(f"SELECT * FROM ({registered}) WHERE name GLOB 'journal_*'", path, env)
    assert set(output.split()) == USE_A_KEY.keys() | USE_NO_KEY.keys() | MANAGE_KEYS.keys() | SCOPE.keys()


def test_a_write_is_refused_whatever_its_form(journal):
    path, env = journal
    for statement in (
        "INSERT INTO token (token) VALUES (journal_encrypt(1, 'x'))",
        "INSERT INTO token (token) SELECT journal_encrypt(1, 'x')",
        "INSERT INTO token (token) VALUES (journal_encrypt(1, 'x')) RETURNING token",
        "UPDATE token SET token = journal_encrypt(1, 'x')",
        "DELETE FROM token WHERE journal_encrypt(1, 'x') <> ''",
    ):
        assert run(statement, path, on(env)) == ("", f"journal_encrypt: {SENTENCE}")
    assert run("SELECT count(*) FROM token", path, on(env)) == ("1", None)


def test_doctor_and_config_say_what_the_guard_does(journal):
    path, env = journal
    doctor = "SELECT status, detail FROM journal_doctor WHERE name = 'replicated'"
    config = "SELECT json_extract(journal_config(), '$.replicated')"
    for value, options, told, status in [
        ("on", READ_ONLY, "1", "ok|yes, and this connection only reads: keys can be used"),
        ("on", READ_WRITE, "1", "warning|yes, and this connection can write: functions that use a key refuse here"),
        ("off", READ_WRITE, "0", "ok|no"),
    ]:
        assert run(config, path, on(env, value), options) == (told, None)
        assert run(doctor, path, on(env, value), options) == (status, None)


@pytest.mark.parametrize("name, value, guarded", [
    ("rqlited", None, True), ("rqlited", "auto", True), ("rqlited", "off", False), ("rqlited-v9.4", None, True),
    ("sqlite3", None, False), ("sqlite3", "auto", False), ("sqlite3", "on", True), ("rqlite", None, False),
])
def test_auto_recognises_rqlited_by_its_program(name, value, guarded, journal, tmp_path):
    path, env = journal
    host = tmp_path / name
    shutil.copy(SQLITE3, host)
    env = {**os.environ, **env, **({"JOURNAL_REPLICATED": value} if value else {})}

    def ask(statement, *options):
        return subprocess.run(
            [host, "-init", os.devnull, "-batch", *options, "-cmd", f'.load "{LIBRARY}"', path, statement],
            env=env, capture_output=True, text=True, timeout=60,
        )

    assert json.loads(ask("SELECT journal_config()").stdout)["replicated"] is guarded
    write = ask("UPDATE token SET token = journal_encrypt(1, 'y')")
    assert (write.returncode != 0, SENTENCE in write.stderr) == (guarded, guarded)
    assert ask("SELECT journal_decrypt(1, NULL, token) FROM token", "-readonly").stdout == ("x\n" if guarded else "y\n")


def test_a_value_that_is_none_of_the_three_is_refused_at_load(journal):
    path, env = journal
    shell = run_shell("SELECT 1;", path, on(env, "yes"))
    assert "JOURNAL_REPLICATED: neither auto, on nor off" in shell.stderr
