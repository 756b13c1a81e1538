// The journal from Node 22.13 or later, in two functions. DATABASE names the file.
//
//   npm install ../../dist/sqlite-journal-crypt-*.tgz
//   node journal.mjs write USER_ID < entry.txt    prints the entry's uid
//   node journal.mjs read USER_ID                 prints the entries as JSON lines, the newest first

import { randomBytes } from "node:crypto";
import { text as all } from "node:stream/consumers";
import { DatabaseSync } from "node:sqlite";
import { load } from "sqlite-journal-crypt";

const journal = new DatabaseSync(process.env.DATABASE, { allowExtension: true, timeout: 5000 });
load(journal);
// foreign_keys is on from the start in node:sqlite.
journal.exec("PRAGMA journal_mode = WAL; PRAGMA temp_store = MEMORY");

const seal = journal.prepare("SELECT key_uid, token FROM journal_seal(?, ?)");
// Stores a token whose key is still there.
const store = journal.prepare(`
  INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) SELECT ?1, ?2, ?3, ?4, ?5
  WHERE EXISTS (SELECT 1 FROM user_journal_master_keys WHERE uid = ?3 AND user_id = ?2)`);
const newest = journal.prepare(`
  SELECT uid, created_at, journal_try_decrypt(user_id, key_uid, token) AS text FROM journal_entries
  WHERE user_id = ? ORDER BY created_at DESC, id DESC LIMIT 50`);

/** Stores an entry and gives its uid. */
function write(userId, text) {
  const uid = `oseh_je_${randomBytes(16).toString("base64url")}`;
  for (;;) {
    // Two steps: the first may wait for a key, the second holds the database's write lock.
    const { key_uid, token } = seal.get(userId, text);
    if (store.run(uid, userId, key_uid, token, Date.now() / 1000).changes) return uid;
    // The key's row was deleted in between: once more, under the next key, or there is none and this throws.
  }
}

/** The newest entries; the text of one that is lost, or whose token does not open, is null. An outage throws. */
function read(userId) {
  return newest.all(userId);
}

const [, , command, userId] = process.argv;
try {
  if (command === "write") {
    console.log(write(Number(userId), await all(process.stdin)));
  } else {
    for (const entry of read(Number(userId))) console.log(JSON.stringify(entry));
  }
} catch (error) {
  // Such as `journal_seal: store_unavailable: …`. It holds no plaintext.
  const [, word] = error.message.split(": ");
  console.error(error.message);
  process.exitCode = word === "store_unavailable" ? 75 : 1; // 75: try again later
}
