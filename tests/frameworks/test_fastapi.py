"""docs/frameworks/fastapi.md: its application, asked by FastAPI's own client."""

from .pages import program, run

PAGE, SHOWN = program("fastapi.md")
APPLICATION = PAGE.partition("\n\nfrom fastapi.testclient")[0] + "\nfrom fastapi.testclient import TestClient\nclient = TestClient(app)\n"


def test_the_page_gives_what_it_shows(journal, package):
    folder, env = journal
    assert run(PAGE, folder, package, env, JOURNAL_REQUIRE_SCOPE="1") == SHOWN != []


def test_an_outage_is_a_503_and_an_entry_whose_key_is_gone_is_null(journal, package, key_store):
    folder, env = journal
    write = 'print(client.post("/entries", json={"text": "x"}, headers={"X-User": "1"}).status_code)\n'
    read = 'answer = client.get("/entries", headers={"X-User": "1"})\nprint(answer.status_code, answer.headers.get("Retry-After"), answer.json())\n'
    store = {"JOURNAL_KEY_STORE": f"file://{key_store.root}/absent"}
    assert run(APPLICATION + write, folder, package, env) == ["201"]
    assert run(APPLICATION + read, folder, package, env, **store) == ["503 5 {'error': 'store_unavailable'}"]
    next(key_store.root.rglob("oseh_ujmk_1")).unlink()
    [gone] = run(APPLICATION + read, folder, package, env)
    assert gone.startswith("200 None") and gone.endswith("'text': None}]")


def test_a_key_that_is_paused_is_a_423_and_comes_back(journal, package):
    folder, env = journal
    of_key = """
import sqlite3, sqlite_journal_crypt
connection = sqlite3.connect("journal.db")
sqlite_journal_crypt.load(connection)
connection.execute("SELECT journal_{}_key(1, 'oseh_ujmk_1')").fetchall()
"""
    ask = """
for call in (lambda: client.get("/entries", headers={"X-User": "1"}), lambda: client.post("/entries", json={"text": "x"}, headers={"X-User": "1"})):
    answer = call()
    print(answer.status_code, *(["error"] if "error" in answer.json() else []))
"""
    assert run(APPLICATION + ask, folder, package, env) == ["200", "201"]
    run(of_key.format("disable"), folder, package, env, JOURNAL_ADMIN="1")
    assert run(APPLICATION + ask, folder, package, env) == ["423 error"] * 2
    run(of_key.format("enable"), folder, package, env, JOURNAL_ADMIN="1")
    assert run(APPLICATION + ask, folder, package, env) == ["200", "201"]


def test_a_query_that_forgot_whose_entries_it_reads_meets_the_scope(journal, package):
    folder, env = journal
    write = "".join(f'client.post("/entries", json={{"text": "x"}}, headers={{"X-User": "{user}"}})\n' for user in (1, 2))
    read = 'print(client.get("/entries", headers={"X-User": "1"}).json())'
    source = (APPLICATION + write + read).replace("WHERE user_id = ? ORDER BY id", "WHERE ? ORDER BY id")
    assert run(source, folder, package, env) == ["{'error': 'out_of_scope'}"]
