"""docs/tables.md: an app's own tables beside the extension's, users known by UUID, views, an attached file of keys."""

import json
import os
import re
import sqlite3
import subprocess
import sys

import pytest

from conftest import PREFIX, ROOT, SQLITE3
from host import Host
from stores import ADMIN, Folder
from tool import tool

from .recipes import recipe

UUID, OTHER = "0190f2a4-7c1e-7d3a-9b5f-1c2d3e4f5a6b", "0190f2a4-7c1e-7d3a-9b5f-000000000042"
PAGE = (ROOT / "docs" / "tables.md").read_text()
FIRST_USE, VIEWS, OWN_KEYS, OWN_USE, ATTACHED, OF_ENTRIES = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
[WITH_A_SEALER] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
[LAYOUT] = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
SCHEMA, TABLES = ((ROOT / "sql" / f"{name}.sql").read_text() for name in ("schema", "key_tables"))
NAMES = ["journal_entries", "journal_entry_items", "s3_files", "user_journal_master_keys", "users"]
ENTRIES = "\n".join(re.findall(r"^CREATE TABLE journal_entr.*?^\);", SCHEMA, re.M | re.S)).replace("user_id INTEGER", "user_id TEXT")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "keys")


class App:
    """A database of an app's own."""

    def __init__(self, path, script):
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.executescript(script)

    def tables(self):
        with sqlite3.connect(self.path) as connection:
            return sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"))


@pytest.fixture
def app(tmp_path):
    """An app whose users have a UUID, with the key tables of the page and the example's entries."""
    return App(tmp_path / "app.db", f"CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT); INSERT INTO users VALUES ('{UUID}', ''), ('{OTHER}', ''); {TABLES} {ENTRIES}")


def write(host, user, *texts):
    for text in texts:
        host.run(
            "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
            " SELECT hex(randomblob(8)), ?1, key_uid, token, 1767300000 FROM journal_seal(?1, ?2)", user, text,
        )


def doctor(host):
    return {name: (status, detail) for name, status, detail in host.run("SELECT * FROM journal_doctor")}


def renewed(app, env, old, *options):
    """The tool gives the user a new key, puts all tokens under it, and destroys the old one."""
    assert tool(app.path, env, *options, "rotate", "--older-than", 0, "--user", UUID).startswith("a new key was made for 1 user")
    assert tool(app.path, env, *options, "rewrap", "--user", UUID).endswith("nothing is left under an old key\n")
    assert tool(app.path, env, *options, "erase", "--user", UUID, "--key", old, "--yes").startswith("the key is destroyed")


def test_an_app_whose_users_have_uuids_does_all_that_one_with_numbers_does(app, folder):
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        for statement in FIRST_USE.strip().split("\n"):
            assert len(host.run(statement)) == 1
        host.value("SELECT journal_rotate_key(?)", OTHER)
        write(host, UUID, "the fog lifted", "rain")
        write(host, OTHER, "another's")
        assert [status for status, _ in (doctor(host)[name] for name in ("key_tables", "indexes", "newest_key"))] == ["ok"] * 3
        assert OTHER not in doctor(host)["newest_key"][1]
        receipt = host.value("SELECT json_extract(journal_create_key(?), '$.user_journal_master_keys.user_id')", UUID)
        assert receipt == UUID
        read = "SELECT group_concat(journal_decrypt(user_id, key_uid, token)) FROM journal_entries WHERE user_id = ?"
        assert host.value(read, UUID) == "the fog lifted,rain"
        old = host.value("SELECT journal_key_uid(?)", UUID)
    renewed(app, folder.env, old)
    assert recipe("search", app, folder, user_id=UUID, words="FOG") == ["2026-01-01|1|the [fog] lifted"]
    assert recipe("audit", app, folder, user_id=UUID)[1] == "(all)|entry|2|2|0|0|0|0"


def test_a_column_that_makes_a_number_of_an_id_hands_nobody_anothers_keys(tmp_path, folder):
    app = App(tmp_path / "app.db", f"CREATE TABLE users (id TEXT PRIMARY KEY); INSERT INTO users VALUES ('7'); {TABLES.replace('user_id NOT NULL', 'user_id INTEGER NOT NULL')}")
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        assert host.error("SELECT journal_rotate_key('7')") == (
            "journal_rotate_key: bad_argument: the column user_id of user_journal_master_keys changes the type of user "
            "(TEXT of 1 byte); declare it as users.id is"
        )
        assert host.value("SELECT count(*) FROM user_journal_master_keys") == 0
    assert folder.uids() == set()


def test_views_serve_as_key_tables_and_the_doctor_sees_their_indexes(tmp_path, folder):
    own = """
        CREATE TABLE app_file (file_id INTEGER PRIMARY KEY, path TEXT UNIQUE);
        CREATE TABLE app_key (key_id INTEGER PRIMARY KEY, name TEXT UNIQUE, owner TEXT, file_id INTEGER, made_at REAL);
        CREATE INDEX key_owner ON app_key (owner, made_at);
        CREATE INDEX key_file ON app_key (file_id);
    """
    app = App(tmp_path / "app.db", f"{own} {VIEWS}")
    with sqlite3.connect(app.path) as connection:
        for number, uid in enumerate(["oseh_ujmk_old", "oseh_ujmk_new"], 1):
            folder.write(uid)
            connection.execute("INSERT INTO app_file VALUES (?, ?)", (number, PREFIX + uid))
            connection.execute("INSERT INTO app_key VALUES (?, ?, ?, ?, ?)", (number, uid, UUID, number, number))
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        assert host.value("SELECT journal_decrypt(?1, key_uid, token) FROM journal_seal(?1, 'rain')", UUID) == "rain"
        assert host.value("SELECT journal_key_uid(?)", UUID) == "oseh_ujmk_new"
        found = doctor(host)
        assert (found["key_tables"][0], found["indexes"][0], found["newest_key"][0]) == ("ok", "ok", "ok")
        host.run("DROP INDEX key_owner")
        assert doctor(host)["indexes"] == (
            "warning", "none begins with user_journal_master_keys.user_id: every call reads the whole table; see sql/schema.sql",
        )
        # A view that takes no rows: no object stays without one.
        host.run("CREATE TABLE users (id TEXT PRIMARY KEY)")
        host.run("INSERT INTO users VALUES (?)", UUID)
        assert "because it is a view" in host.error("SELECT journal_rotate_key(?)", UUID)
    assert folder.uids() == {"oseh_ujmk_old", "oseh_ujmk_new"}


def test_one_table_of_the_apps_own_is_both_key_tables_of_users_with_a_number_beside_their_uuid(tmp_path, folder):
    app = App(tmp_path / "app.db", OWN_KEYS)
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        for uuid in (UUID, OTHER):
            host.run(f"INSERT INTO member VALUES (x'{uuid.replace('-', '')}', '')")
        host.run("INSERT INTO member_number (uuid) SELECT uuid FROM member ORDER BY uuid DESC")
        old, other, new = (host.value("SELECT journal_rotate_key(?)", number) for number in (1, 2, 1))
        assert folder.uids() == {old, other, new}
        assert [host.value("SELECT journal_key_uid(?)", number) for number in (1, 2)] == [new, other]
        assert host.run(OWN_USE)[0][0] == new
        host.run("CREATE TABLE note AS SELECT key_uid, token FROM journal_seal(1, 'rain', ?)", "note")
        assert host.value("SELECT journal_decrypt(1, key_uid, token, ?) FROM note", "note") == "rain"
        found = doctor(host)
        assert [found[name] for name in ("key_tables", "indexes")] == [("ok", "in schema 'main'"), ("ok", "each look-up has one")]
        # Half of a pair is no key, and nobody who is not there gets one.
        host.run("INSERT INTO s3_files (uid, key, created_at) VALUES ('half', 'half', 9e9)")
        assert host.value("SELECT count(*) FROM user_journal_master_keys") == 3
        assert "bad_argument" in host.error("SELECT journal_rotate_key(3)")
        assert json.loads(host.value("SELECT journal_shred_key(1, ?)", new))["gone"]
        assert host.value("SELECT journal_try_decrypt(1, key_uid, token, ?) FROM note", "note") is None


def test_a_sealer_needs_no_table_of_ours(tmp_path, folder, package):
    app = App(tmp_path / "app.db", OWN_KEYS.partition("CREATE VIEW")[0] + f"""
        INSERT INTO member VALUES (x'{UUID.replace("-", "")}', ''), (x'{OTHER.replace("-", "")}', '');
        INSERT INTO member_number (uuid) SELECT uuid FROM member ORDER BY uuid DESC;
        INSERT INTO member_key VALUES (1, 'oseh_ujmk_1', 1, 'one', '{PREFIX}oseh_ujmk_1', 1), (2, 'oseh_ujmk_2', 2, 'two', '{PREFIX}oseh_ujmk_2', 2);
    """)
    for uid in ("oseh_ujmk_1", "oseh_ujmk_2"):
        folder.write(uid)
    code = f"import sqlite3, uuid\nconnection = sqlite3.connect({str(app.path)!r})\nuser_uuid = uuid.UUID({UUID!r})\n{WITH_A_SEALER}\nprint(key_uid)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **folder.env, "PYTHONPATH": str(package)}, capture_output=True, text=True)
    shown = re.findall("^# (.*)", WITH_A_SEALER, re.M)
    assert (done.stdout.splitlines(), done.stderr) == ([*shown, "oseh_ujmk_1"], "")


def test_recipes_follow_the_schema_of_the_keys_and_refuse_where_two_could_be_meant(tmp_path, folder):
    app = App(tmp_path / "app.db", ENTRIES.replace(" REFERENCES user_journal_master_keys(id) ON DELETE SET NULL ON UPDATE RESTRICT", ""))
    keys = App(tmp_path / "keys.db", f"CREATE TABLE users (id TEXT PRIMARY KEY); INSERT INTO users VALUES ('{UUID}'); {TABLES}")
    env = {**ADMIN, "JOURNAL_SCHEMA": "keys"}
    attach = f"ATTACH '{keys.path}' AS keys"
    with Host(app.path, {**folder.env, **env}) as host:
        assert ATTACHED.splitlines()[0] == "ATTACH 'keys.db' AS keys;"
        host.run(attach)
        old = host.value("SELECT journal_rotate_key(?)", UUID)
        host.run("PRAGMA foreign_keys = OFF")
        write(host, UUID, "the fog lifted")
        assert host.value(ATTACHED.splitlines()[1]) == "the fog lifted"
        assert doctor(host)["key_tables"] == ("ok", "in schema 'keys'")

    def run(name, **more):
        return recipe(name, app, folder, env=env, before=[attach], **more)

    renewed(app, {**folder.env, **env}, old, "--keys", keys.path)
    assert json.loads(tool(app.path, {**folder.env, **env}, "--json", "--keys", keys.path, "doctor"))["checks"][1]["status"] == "ok"
    assert run("search", user_id=UUID, words="fog") == ["2026-01-01|1|the [fog] lifted"]
    assert run("audit")[1] == "(all)|entry|1|1|0|0|0|0"
    with sqlite3.connect(app.path) as connection:
        connection.executescript(f"CREATE TABLE users (id TEXT PRIMARY KEY); {TABLES}")
    for name, parameters in [("search", {"user_id": UUID, "words": "x"}), ("audit", {})]:
        assert "another schema than JOURNAL_SCHEMA has tables of these names too" in run(name, code=1, **parameters)
    said = tool(app.path, {**folder.env, **env}, "--keys", keys.path, "rewrap", status=2)
    assert said == "journal-crypt: the database has key tables of its own: leave --keys out\n"


def test_recipes_work_on_entries_in_a_table_of_another_name(tmp_path, folder):
    app = App(tmp_path / "app.db", f"""
        CREATE TABLE users (id TEXT PRIMARY KEY); INSERT INTO users VALUES ('{UUID}'); {TABLES}
        CREATE TABLE entries (id TEXT PRIMARY KEY, user_id TEXT, key_uid TEXT, token TEXT, created_at TEXT);
    """)
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        old = host.value("SELECT journal_rotate_key(?)", UUID)
        for text in ("the fog lifted", "rain"):
            host.run("INSERT INTO entries SELECT ?2, ?1, key_uid, token, '2026-01-01' FROM journal_seal(?1, ?2)", UUID, text)
    views = tmp_path / "views.sql"
    views.write_text(OF_ENTRIES)

    def run(name, **parameters):
        return recipe(name, app, folder, before=[f".read {views}"], **parameters)

    # The tool reads of them in a file of its own.
    (tmp_path / "journal-crypt.toml").write_text(LAYOUT)
    renewed(app, folder.env, old)
    assert run("search", user_id=UUID, words="fog") == ["2026-01-01|1|the [fog] lifted"]
    assert run("audit")[1] == "(all)|entry|2|2|0|0|0|0"


@pytest.mark.parametrize("before", ["CREATE TABLE users (email TEXT)", "CREATE VIEW Users AS SELECT 1 AS id", "CREATE TABLE journal_entries (id)"])
@pytest.mark.parametrize("bail", [[], ["-bail"]])
def test_the_schema_ends_where_a_table_is_in_its_way_and_leaves_nothing_behind(tmp_path, before, bail):
    app = App(tmp_path / "app.db", before)
    tables = app.tables()
    shell = subprocess.run([SQLITE3, "-init", os.devnull, "-batch", *bail, app.path], input=SCHEMA, capture_output=True, text=True)
    assert "users or another table of this schema is here already: see docs/tables.md" in shell.stderr
    assert app.tables() == tables
    with sqlite3.connect(app.path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="users or another table of this schema is here already"):
            connection.executescript(SCHEMA)
        connection.rollback()
    assert app.tables() == tables


def test_the_key_tables_end_where_one_of_them_is_there_and_leave_nothing_behind(tmp_path):
    app = App(tmp_path / "app.db", "CREATE TABLE s3_files (anything)")
    shell = subprocess.run([SQLITE3, "-init", os.devnull, "-batch", app.path], input=TABLES, capture_output=True, text=True)
    assert "s3_files or user_journal_master_keys is here already: see docs/tables.md" in shell.stderr
    assert app.tables() == ["s3_files"]


def test_the_key_tables_keep_a_number_and_its_text_apart(tmp_path, folder):
    app = App(tmp_path / "app.db", f"CREATE TABLE users (id PRIMARY KEY); INSERT INTO users VALUES (7), ('7'), ('0042'); {TABLES}")
    with Host(app.path, {**folder.env, **ADMIN}) as host:
        keys = [host.value(f"SELECT journal_rotate_key({user})") for user in ("7", "'7'", "'0042'")]
        assert [host.value(f"SELECT journal_key_uid({user})") for user in ("7", "'7'", "'0042'")] == keys
        assert host.value("SELECT journal_key_uid('42')") is None
        assert doctor(host)["indexes"][0] == "ok"


def test_the_schema_makes_all_of_its_tables_also_inside_a_transaction(tmp_path):
    app = App(tmp_path / "app.db", f"BEGIN; {SCHEMA} COMMIT;")
    assert app.tables() == NAMES
    done = subprocess.run([SQLITE3, "-init", os.devnull, tmp_path / "shell.db"], input=SCHEMA + "SELECT count(*) FROM temp.sqlite_master;", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_doctor_names_a_users_that_is_not_what_the_keys_refer_to(tmp_path, folder):
    app = App(tmp_path / "app.db", f"CREATE TABLE users (email TEXT PRIMARY KEY); {TABLES}")
    with Host(app.path, folder.env) as host:
        assert doctor(host)["key_tables"] == (
            "failed", "user_journal_master_keys refers to users.id, which schema 'main' does not have, and so no row can be inserted: see docs/tables.md",
        )
        host.run("ALTER TABLE users ADD COLUMN id TEXT")
        assert doctor(host)["key_tables"][0] == "ok"

