"""docs/frameworks/node.md: Kysely over better-sqlite3, with the npm package."""

import pytest
from hosts.drivers import NODE, build, node_modules

from .pages import block, execute

JOURNAL = block("node.md", "js")[0] + "\nexport { database };\n"
PROGRAM, SHOWN = block("node.md", "js", 1)


@pytest.fixture
def ran(journal):
    """Runs a program beside the page's `journal.mjs`; what it printed."""
    build("node")
    folder, env = journal
    node_modules(folder)
    (folder / "journal.mjs").write_text(JOURNAL)

    def run(program, **more):
        (folder / "main.mjs").write_text(program)
        return execute([NODE, "main.mjs"], folder, {**env, **more})

    return run


def test_the_page_gives_what_it_shows(ran):
    assert ran(PROGRAM) == SHOWN != []


def test_another_request_waits_for_the_end_of_a_scope_and_has_none(ran):
    program = """
import { entries, write, asUser } from "./journal.mjs";
const say = (error) => console.log(error.message.split(": ").slice(0, 2).join(": "));
let begun;
const one = asUser(1, async (journal) => { begun(); await new Promise(setImmediate); return write(journal, 1, "x"); });
await new Promise((resolve) => { begun = resolve; });
await Promise.all([one, asUser(2, (journal) => write(journal, 2, "x"))]);
await asUser(1, (journal) => { throw new Error("whatever: happens"); }).catch(say);
for (const user of [1, 2]) console.log(await asUser(user, (journal) => entries(journal).where("user_id", "=", user).execute().then((rows) => rows.length)));
await asUser(2, (journal) => write(journal, 1, "x")).catch(say);
"""
    assert ran(program, JOURNAL_REQUIRE_SCOPE="1") == ["whatever: happens", "1", "1", "journal_seal: out_of_scope"]


def test_inside_a_scope_the_outer_connection_raises_and_afterwards_it_serves(ran):
    program = """
import { db, entries, write, asUser } from "./journal.mjs";
const say = (error) => console.log(error.message);
let later, ended;
const end = new Promise((resolve) => { ended = resolve; });
await asUser(1, async (journal) => {
  await entries(db).execute().catch(say);
  await asUser(2, () => {}).catch(say);
  await journal.transaction().execute((transaction) => write(transaction, 1, "x"));
  later = end.then(() => entries(db).execute());
});
ended();
console.log((await later).length);
"""
    assert ran(program) == ["inside a scope, use the connection that asUser gives"] * 2 + ["1"]


def test_what_is_asked_of_the_database_itself_runs_under_the_scope(ran):
    program = """
import { database, asUser } from "./journal.mjs";
const uid = (user) => database.prepare("SELECT journal_key_uid(?)").pluck().get(user);
console.log(uid(2));
await asUser(1, () => uid(2)).catch((error) => console.log(error.message.split(": ")[1]));
"""
    assert ran(program) == ["oseh_ujmk_2", "out_of_scope"]


def test_an_end_that_fails_hides_no_error_of_the_body(ran):
    program = """
import { database, asUser } from "./journal.mjs";
await asUser(1, () => { database.close(); throw new Error("whatever happens"); }).catch((error) => console.log(error.message));
"""
    assert ran(program) == ["whatever happens"]


def test_a_token_that_was_moved_to_another_row_is_not_read_there(ran):
    program = """
import { db, entries, write } from "./journal.mjs";
const [one, two] = [await write(db, 1, "one"), await write(db, 1, "two")];
const { token } = await db.selectFrom("journal_entries").select("token").where("uid", "=", one).executeTakeFirst();
await db.updateTable("journal_entries").set({ token }).where("uid", "=", two).execute();
console.log((await entries(db).orderBy("id").execute()).map((row) => row.text).join());
"""
    assert ran(program) == ["one,"]
