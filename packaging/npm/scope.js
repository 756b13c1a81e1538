"use strict";

/** The nonce and the user of each database's scope. */
const SCOPES = new WeakMap();

function journalScope(db, userId, nonce) {
  const given = nonce === undefined ? [userId] : [userId, nonce];
  return db.prepare(`SELECT journal_scope(${given.map(() => "?").join(", ")}) AS nonce`).get(...given).nonce;
}

function scope(db, userId, body) {
  const outer = SCOPES.get(db);
  const nonce = journalScope(db, userId, outer?.nonce);
  SCOPES.set(db, { nonce, userId });
  let given;
  try {
    given = body();
    if (typeof given?.then === "function") {
      throw new TypeError("the function of a scope must not give a promise: other code would run under its scope");
    }
  } catch (error) {
    try {
      end(db, outer, nonce);
    } catch {
      // The body's error says what went wrong first.
    }
    throw error;
  }
  end(db, outer, nonce);
  return given;
}

/** Gives the database its outer scope back, or none. */
function end(db, outer, nonce) {
  try {
    journalScope(db, outer ? outer.userId : null, nonce);
  } finally {
    // Where the end failed, the connection keeps a scope that nobody can leave, and no other user's keys.
    if (outer) SCOPES.set(db, outer);
    else SCOPES.delete(db);
  }
}

module.exports = { scope };
