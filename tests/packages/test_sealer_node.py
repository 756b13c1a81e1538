"""The sealer of the npm package: the same shape as the wheel's, and an event loop that does not wait."""

import os
import shutil
import subprocess

import pytest

from conftest import LIBRARY, PREFIX, ROOT
from hosts.drivers import BUILT, NODE, build
from servers.faults import BlackHole
from stores import opened

OLD, NEW = "oseh_ujmk_old", "oseh_ujmk_new"
HEAD = f"""
const assert = require("node:assert/strict");
const journal = require("./npm");
const {{ Sealer }} = journal;
const P = {PREFIX!r};
const OLD = ["{OLD}", 1, P + "{OLD}"], NEW = ["{NEW}", 2, P + "{NEW}"];
const driver = process.env.DRIVER;
const fails = (promise, name) => assert.rejects(promise, (error) => {{
  assert.ok(error instanceof journal.JournalError && error.name === name && error.constructor === journal[name], error);
  assert.ok(!error.stack.includes("dear diary"));
  return true;
}});
"""


@pytest.fixture(params=["node:sqlite", "better-sqlite3"])
def application(request, tmp_path):
    """Runs a script in Node, with the package as it is installed."""
    if request.param == "better-sqlite3":
        build("node")
    package = tmp_path / "npm"
    shutil.copytree(ROOT / "packaging" / "npm", package)
    (package / "linux-x64").mkdir()
    shutil.copy(LIBRARY, package / "linux-x64" / "journal_crypt.so")

    def run(script, store, **env):
        (tmp_path / "main.js").write_text(f"{HEAD}(async () => {{{script}}})();")
        env = {**os.environ, **store.env, "DRIVER": request.param, "NODE_PATH": str(BUILT / "node" / "node_modules"), **env}
        done = subprocess.run([NODE, "main.js"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def keys(key_store):
    for uid in (OLD, NEW):
        key_store.write(uid)
    return key_store


def test_what_is_sealed_opens_with_the_rows_and_not_without_however_warm_its_key_is(application, keys):
    application(
        """
        const sealer = new Sealer({ driver });
        const objects = [OLD, NEW].map(([uid, created_at, key]) => ({ uid, created_at, key, more: 1 }));
        for (const rows of [[NEW, OLD], objects, [NEW, [null, null, null]]]) {
          const sealed = await sealer.seal(rows, "dear diary");
          assert.equal(sealed.keyUid, NEW[0]);
          assert.deepEqual(await sealer.open(rows, [sealed, [null, sealed.token], [NEW[0], null]]), ["dear diary", "dear diary", null]);
          assert.deepEqual(await sealer.open([OLD], [sealed]), [null]);
          assert.deepEqual(await sealer.check([OLD], [sealed]), ["key_not_found"]);
          assert.ok(sealer.isWarm([NEW]));
        }
        const item = await sealer.sealItem([NEW], { mood: 7 });
        assert.deepEqual(await sealer.openItems([NEW], [item]), [{ mood: 7 }]);
        assert.deepEqual(await sealer.open([NEW], [await sealer.seal([NEW], Buffer.from("bytes"))]), ["bytes"]);
        assert.ok(sealer.evict(NEW[0]) && !sealer.isWarm([NEW]));
        // No close: the process ends all the same.
        """,
        keys,
    )


def test_a_required_scope_is_that_of_the_one_user_of_a_sealer(application, keys):
    application(
        """
        const sealer = new Sealer({ driver });
        for (const round of [1, 2]) {  // in a worker, and here
          assert.deepEqual(await sealer.open([NEW], [await sealer.seal([NEW], "dear diary")]), ["dear diary"]);
        }
        await sealer.seal([OLD], "dear diary");
        assert.ok(sealer.isWarm([OLD]) && sealer.isWarm([NEW]) && sealer.isWarm([OLD, NEW]));
        assert.ok(sealer.evict(NEW[0]) && !sealer.evict(NEW[0]));
        assert.ok(sealer.isWarm([OLD]) && !sealer.isWarm([NEW]));
        await sealer.discard(await sealer.newKey("a-uuid"));
        """,
        keys, JOURNAL_REQUIRE_SCOPE="1", JOURNAL_ADMIN="create",
    )  # fmt: skip


def test_each_error_word_has_a_class(application, keys):
    table = (ROOT / "docs" / "errors.md").read_text()
    words = sorted(line.split("`")[1] for line in table.splitlines() if line.startswith("| `"))
    application(
        f"assert.deepEqual(Object.values(journal).map((value) => value?.word).filter(Boolean).sort(), {words});"
        """
        const sealer = new Sealer({ driver });
        const lost = ["oseh_ujmk_lost", 3, P + "oseh_ujmk_lost"];
        for (const round of [1, 2]) {  // cold, in a worker, and warm, here
          await fails(sealer.seal([], "dear diary"), "NoKey");
          await fails(sealer.seal([lost], "dear diary"), "KeyLost");
          assert.deepEqual(await sealer.open([lost], [[lost[0], (await sealer.seal([NEW], "x")).token]]), [null]);
          await fails(sealer.open([NEW], [await sealer.seal([NEW], Buffer.from([255]))]), "NotUtf8");
          await fails(sealer.openItems([NEW], [await sealer.seal([NEW], "dear diary")]), "NotItem");
        }
        for (const text of [null, 7, { text: "dear diary" }, "dear diary\\ud800"]) await fails(sealer.seal([NEW], text), "BadArgument");
        for (const row of [["x"], [1, 2, "x"], ["x", "soon", "dear diary"]]) await fails(sealer.seal([row], "x"), "BadArgument");
        // Found by name from a module too.
        const named = await import("./npm/index.js");
        for (const name of Object.keys(journal)) assert.equal(named[name], journal[name]);
        """,
        keys,
    )


def test_of_racing_writers_without_a_key_one_keeps_its_key(application, key_store):
    [uid] = application(
        f"""
        const {{ DatabaseSync }} = require("node:sqlite");
        const database = new DatabaseSync("app.db");
        database.exec(require("node:fs").readFileSync({str(ROOT / "sql" / "schema.sql")!r}, "utf8"));
        database.exec("INSERT INTO users VALUES (7, 'oseh_u_7', 0)");
        const rows = () => database.prepare(Sealer.KEYS_SQL).all(7);
        const sealer = new Sealer({{ driver }});
        const kept = [];
        await Promise.all(Array.from({{ length: 20 }}, async () => {{
          const made = await sealer.newKey(7);
          const write = () => made.statements.map(([sql, values]) => Number(database.prepare(sql).run(...values).changes));
          const changed = write();
          assert.deepEqual(write(), changed);  // sent again, it says the same
          if (changed[1]) kept.push(made);
          else await sealer.discard(made, rows());
        }}));
        assert.equal(kept.length, 1);
        await fails(sealer.discard(kept[0], rows()), "BadArgument");
        assert.deepEqual(await sealer.open(rows(), [await sealer.seal(rows(), "dear diary")]), ["dear diary"]);
        console.log(kept[0].uid);
        """,
        key_store, JOURNAL_ADMIN="create",
    )  # fmt: skip
    assert [path.name for path in key_store.root.rglob("oseh_*")] == [uid]


def test_the_event_loop_goes_on_while_the_store_is_silent(application, request):
    with opened("rclone", request) as bucket:
        bucket.write(NEW)
        bucket.proxy.faults = lambda request: BlackHole() if request.target.endswith("silent") else None
        application(
            """
            const sealer = new Sealer({ driver });
            const sealed = await sealer.seal([NEW], "dear diary");
            let done = 0;
            const silent = Array.from({ length: 4 }, (_, n) => {
              const uid = `oseh_ujmk_${n}_silent`;
              return fails(sealer.seal([[uid, 1, P + uid]], "x"), "StoreUnavailable").then(() => done++);
            });
            for (let turn = 0; turn < 200; turn++) {
              assert.deepEqual(await sealer.open([NEW], [sealed]), ["dear diary"]);
              await new Promise(setImmediate);
            }
            assert.equal(done, 0);
            await Promise.all(silent);
            await sealer.close();
            """,
            bucket, JOURNAL_FETCH_TIMEOUT="5",
        )  # fmt: skip
