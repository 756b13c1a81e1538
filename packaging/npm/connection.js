"use strict";

// A private in-memory database with the extension, and calls in a transaction that is rolled back. It knows neither
// promises nor threads: the sealer's own thread and its workers each have one.

const { BadArgument, JournalError, errorOf } = require("./errors.js");
const { load } = require("./load.js");

// All rows of one call are one user's: the query said so. The id is ours, theirs may be of any type.
const USER = 1;

/** An in-memory database of a driver. */
function database(driver) {
  if (driver === "better-sqlite3") return new (require(driver))(":memory:");
  return new (require("node:sqlite").DatabaseSync)(":memory:", { allowExtension: true });
}

class Connection {
  constructor(driver) {
    this.database = database(driver);
    load(this.database);
    this.statements = new Map();
    const config = JSON.parse(this.value("SELECT journal_config()"));
    this.ttl = config.cache_ttl * 1000;
    this.isScoped = config.require_scope;
    const schema = `"${config.schema.replaceAll('"', '""')}"`;
    if (config.schema.toLowerCase() !== "main") this.database.exec(`ATTACH ':memory:' AS ${schema}`);
    this.database.exec(`
      PRAGMA temp_store = MEMORY;
      CREATE TABLE ${schema}.s3_files (id INTEGER PRIMARY KEY, key TEXT);
      CREATE TABLE ${schema}.user_journal_master_keys (
        id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL, s3_file_id INTEGER, created_at REAL
      );`);
    this.insertFile = `INSERT INTO ${schema}.s3_files (id, key) VALUES (?, ?)`;
    this.insertKey = `INSERT INTO ${schema}.user_journal_master_keys (id, uid, user_id, s3_file_id, created_at)
      VALUES (?, ?, ${USER}, ?, ?)`;
    // All keys that are ever given are this one's.
    if (this.isScoped) this.value(`SELECT journal_scope(${USER})`);
  }

  /** Runs one of the calls below with the rows in place. */
  call(name, rows, ...given) {
    this.database.exec("BEGIN");
    try {
      rows.forEach(({ uid, created_at, key }, index) => {
        if (key !== null) this.all(this.insertFile, index + 1, key);
        this.all(this.insertKey, index + 1, uid, index + 1, created_at);
      });
      return this[name](...given);
    } finally {
      this.database.exec("ROLLBACK");
    }
  }

  seal(table, plaintext) {
    const [{ key_uid, token }] = this.all(`SELECT key_uid, token FROM ${table}(${USER}, ?)`, plaintext);
    return { keyUid: key_uid, token };
  }

  each(name, sealed) {
    const sql = `SELECT ${name}(${USER}, ?, ?) AS value`;
    return sealed.map(({ keyUid, token }) => this.value(sql, keyUid, token));
  }

  createKey() {
    return JSON.parse(this.value(`SELECT journal_create_key(${USER}) AS value`));
  }

  discardKey(uid) {
    this.value("SELECT journal_discard_key(?) AS value", uid);
  }

  evict(uid) {
    return this.value("SELECT journal_evict(?) AS value", uid);
  }

  /**
   * Of the keys in the cache that serve unchecked, under a scope of the rows' alone: name, and for how many milliseconds
   * more. Walks the whole cache.
   */
  ready() {
    const cached = this.all("SELECT key_uid, object, age FROM journal_cache WHERE stale = 0");
    return cached.map(({ key_uid, object, age }) => [nameOf({ uid: key_uid, key: object }), this.ttl - age * 1000]);
  }

  value(sql, ...values) {
    return Object.values(this.all(sql, ...values)[0])[0];
  }

  all(sql, ...values) {
    try {
      let statement = this.statements.get(sql);
      if (!statement) this.statements.set(sql, (statement = this.database.prepare(sql)));
      // better-sqlite3 tells apart what gives rows.
      return statement.reader === false ? (statement.run(...values), []) : statement.all(...values);
    } catch (error) {
      if (error instanceof JournalError) throw error;
      // What a driver says of a value that it cannot bind may quote it.
      throw error instanceof TypeError || error instanceof RangeError
        ? new BadArgument("a value of this type cannot be bound")
        : errorOf(String(error.message));
    }
  }
}

/** What the cache knows a key by. */
function nameOf({ uid, key }) {
  return JSON.stringify([uid, key]);
}

module.exports = { Connection, nameOf };
