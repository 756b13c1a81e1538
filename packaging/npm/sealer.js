"use strict";

// Sealing in the application: the extension on a private in-memory database, over key rows that came from elsewhere.

const path = require("node:path");
const { Worker } = require("node:worker_threads");
const { BadArgument, errorOf } = require("./errors.js");
const { Connection, nameOf } = require("./connection.js");

const KEYS_SQL =
  "SELECT k.uid, k.created_at, f.key FROM user_journal_master_keys AS k" +
  " LEFT JOIN s3_files AS f ON f.id = k.s3_file_id WHERE k.user_id = ?";

class Sealer {
  static KEYS_SQL = KEYS_SQL;

  #driver;
  #connection;
  #workers = [];
  #most;
  #calls = new Map();
  #count = 0;
  #ready = new Map();

  constructor({ driver = "node:sqlite", workers = 4 } = {}) {
    this.#driver = driver;
    this.#most = workers;
    this.#connection = new Connection(driver);
  }

  async seal(rows, plaintext) {
    return this.#seal("journal_seal", read(rows), bytes(plaintext));
  }

  async sealItem(rows, value) {
    return this.#seal("journal_seal_item", read(rows), bytes(JSON.stringify(value)));
  }

  async open(rows, sealed) {
    return this.#each("journal_try_decrypt", rows, sealed);
  }

  async openItems(rows, sealed) {
    const texts = await this.#each("journal_try_decrypt_item", rows, sealed);
    return texts.map((text) => (text === null ? null : JSON.parse(text)));
  }

  async check(rows, sealed) {
    return this.#each("journal_check", rows, sealed);
  }

  isWarm(rows, keyUids) {
    const given = read(rows);
    const names = namesOf(given, keyUids);
    if (this.#areReady(names)) return true;
    this.#remember(this.#connection.call("ready", given));
    return this.#areReady(names);
  }

  evict(keyUid) {
    for (const name of this.#ready.keys()) if (JSON.parse(name)[0] === keyUid) this.#ready.delete(name);
    // Under a scope only keys are dropped that are in its user's rows.
    return this.#connection.call("evict", [{ uid: keyUid, created_at: 0, key: null }], keyUid) > 0;
  }

  async newKey(userId, rows = [], { maxAge = null } = {}) {
    const newest = read(rows).reduce((most, row) => Math.max(most, row.created_at), 0);
    const made = await this.#elsewhere("createKey", []);
    const keyRow = { ...made.user_journal_master_keys, user_id: userId };
    keyRow.created_at = Math.max(keyRow.created_at, newest + 0.001);
    const fileRow = made.s3_files;
    return { uid: keyRow.uid, fileRow, keyRow, statements: inserts(fileRow, keyRow, maxAge) };
  }

  async discard(newKey, rows = []) {
    await this.#elsewhere("discardKey", read(rows), newKey.uid);
  }

  async close() {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    this.#connection.statements.clear();
    this.#connection.database.close();
  }

  #seal(table, rows, plaintext) {
    const [newest] = [...rows].sort((a, b) => b.created_at - a.created_at || Buffer.compare(Buffer.from(a.uid), Buffer.from(b.uid)));
    return this.#where(namesOf(rows, newest ? [newest.uid] : []), "seal", rows, table, plaintext);
  }

  #each(name, rows, sealed) {
    const [given, pairs] = [read(rows), [...sealed].map(pair)];
    return this.#where(namesOf(given, pairs.map(({ keyUid }) => keyUid)), "each", given, name, pairs);
  }

  /** Here if it does not wait, else in a worker. */
  #where(names, ...call) {
    return this.#areReady(names) ? this.#connection.call(...call) : this.#elsewhere(...call);
  }

  #elsewhere(...call) {
    const idle = this.#workers.find((worker) => worker.waiting === 0);
    const worker = idle ?? (this.#workers.length < this.#most ? this.#hire() : this.#leastBusy());
    return new Promise((resolve, reject) => {
      const id = ++this.#count;
      this.#calls.set(id, { worker, resolve, reject });
      // The process stays for a call that is under way, and for nothing else.
      if (worker.waiting++ === 0) worker.ref();
      worker.postMessage({ id, call });
    });
  }

  #leastBusy() {
    return this.#workers.reduce((least, worker) => (worker.waiting < least.waiting ? worker : least));
  }

  #hire() {
    const worker = new Worker(path.join(__dirname, "worker.js"), { workerData: { driver: this.#driver } });
    worker.waiting = 0;
    worker.unref();
    worker.on("message", ({ id, value, error, ready }) => {
      const { resolve, reject } = this.#calls.get(id);
      this.#calls.delete(id);
      if (--worker.waiting === 0) worker.unref();
      this.#remember(ready);
      if (error === undefined) resolve(value);
      else reject(errorOf(error));
    });
    worker.on("error", () => {});
    worker.on("exit", () => {
      this.#workers = this.#workers.filter((other) => other !== worker);
      for (const [id, call] of this.#calls) {
        if (call.worker !== worker) continue;
        this.#calls.delete(id);
        call.reject(errorOf("the sealer's thread has ended"));
      }
    });
    this.#workers.push(worker);
    return worker;
  }

  #areReady(names) {
    const now = performance.now();
    return names.every((name) => this.#ready.get(name) > now);
  }

  #remember(ready) {
    const now = performance.now();
    const known = this.#connection.isScoped ? [...this.#ready].filter(([, until]) => until > now) : [];
    this.#ready = new Map([...known, ...ready.map(([name, left]) => [name, now + left])]);
  }
}

/** The key rows, each once: a join gives them again for every entry, and NULLs for an entry whose key row is gone. */
function read(rows) {
  const found = new Map();
  for (const row of rows) {
    const [uid, created_at, key] = Array.isArray(row) ? row : [row.uid, row.created_at, row.key];
    if (uid === null || uid === undefined) continue;
    const seconds = created_at instanceof Date ? created_at.getTime() / 1000 : Number(created_at);
    if (typeof uid !== "string" || !Number.isFinite(seconds) || !(typeof key === "string" || key === null)) {
      throw new BadArgument("a key row is not uid, created_at, key");
    }
    found.set(uid, { uid, created_at: seconds, key });
  }
  return [...found.values()];
}

/** The keys that a call will use: those named, or all where one of the names is null. */
function namesOf(rows, keyUids) {
  const wanted = new Set(keyUids ?? [null]);
  return rows.filter(({ uid }) => wanted.has(null) || wanted.has(uid)).map(nameOf);
}

function pair(sealed) {
  const [keyUid, token] = Array.isArray(sealed) ? sealed : [sealed.keyUid, sealed.token];
  return { keyUid: keyUid ?? null, token: token ?? null };
}

/** A plaintext that reaches the extension as it is. */
function bytes(plaintext) {
  if (typeof plaintext === "string" && (plaintext.isWellFormed?.() ?? true)) return plaintext;
  if (plaintext instanceof Uint8Array) return plaintext;
  throw new BadArgument("a plaintext is a well-formed string or a Uint8Array");
}

function inserts(fileRow, keyRow, maxAge) {
  const keys = "SELECT 1 FROM user_journal_master_keys";
  // Any key, or one that is younger. A time far ahead is no youth: a clock that once ran ahead would pin the key.
  const now = Date.now() / 1000;
  const [other, bounds] =
    maxAge === null
      ? ["user_id = ?", [keyRow.user_id]]
      : ["user_id = ? AND created_at > ? AND created_at < ?", [keyRow.user_id, now - maxAge, now + maxAge]];
  const guard = `(EXISTS (${keys} WHERE uid = ?) OR NOT EXISTS (${keys} WHERE ${other}))`;
  const again = " ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid";
  const { uid, key, file_size, content_type, created_at } = fileRow;
  return [
    [
      `INSERT INTO s3_files (uid, key, file_size, content_type, created_at) SELECT ?, ?, ?, ?, ? WHERE ${guard}${again}`,
      [uid, key, file_size, content_type, created_at, keyRow.uid, ...bounds],
    ],
    [
      "INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)" +
        ` SELECT ?, ?, f.id, ? FROM s3_files AS f WHERE f.uid = ? AND ${guard}${again}`,
      [keyRow.uid, keyRow.user_id, keyRow.created_at, uid, keyRow.uid, ...bounds],
    ],
  ];
}

module.exports = { Sealer };
