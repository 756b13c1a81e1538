// As frameworks.py, in Node: `frameworks.mjs DATABASE ROUNDS` prints microseconds a row in the clear and sealed, of better-sqlite3
// and of Kysely over it.
import Database from "better-sqlite3";
import { Kysely, SqliteDialect, sql } from "kysely";
import { load } from "sqlite-journal-crypt";

const [path, rounds] = process.argv.slice(2);
const database = new Database(path);
load(database);
const db = new Kysely({ dialect: new SqliteDialect({ database }) });
const SEALED = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)";

const plainly = (column) => {
  const statement = database.prepare(`SELECT id, ${column} AS text FROM journal_entries WHERE user_id = ?`);
  return () => statement.all(1);
};
const built = (column) => () =>
  db.selectFrom("journal_entries").select(["id", sql.raw(column).as("text")]).where("user_id", "=", 1).execute();

for (const reads of [[plainly("plain"), plainly(SEALED)], [built("plain"), built(SEALED)]]) {
  const least = [Infinity, Infinity];
  for (let round = 0; round < Number(rounds); round++) {
    for (const [index, read] of reads.entries()) {
      const begun = performance.now();
      const rows = await read();
      least[index] = Math.min(least[index], ((performance.now() - begun) / rows.length) * 1000);
      if (rows.length !== 1000 || rows[999].text.length !== 101) throw new Error("not what was written");
    }
  }
  console.log(...least);
}
await db.destroy();
