"use strict";

/** What the extension raised. Its text is the extension's, which never holds a plaintext, a token or a key. */
class JournalError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }

  /** The error word; undefined where SQLite itself failed. */
  get word() {
    return this.constructor.word;
  }
}

const WORDS = {
  no_key: class NoKey extends JournalError {},
  key_not_found: class KeyNotFound extends JournalError {},
  key_lost: class KeyLost extends JournalError {},
  key_disabled: class KeyDisabled extends JournalError {},
  key_invalid: class KeyInvalid extends JournalError {},
  token_invalid: class TokenInvalid extends JournalError {},
  not_utf8: class NotUtf8 extends JournalError {},
  not_item: class NotItem extends JournalError {},
  store_unavailable: class StoreUnavailable extends JournalError {},
  store_denied: class StoreDenied extends JournalError {},
  not_configured: class NotConfigured extends JournalError {},
  bad_argument: class BadArgument extends JournalError {},
  out_of_scope: class OutOfScope extends JournalError {},
  replicated: class Replicated extends JournalError {},
};
for (const [word, cls] of Object.entries(WORDS)) cls.word = word;

/** The error for a text of the extension, or of SQLite. */
function errorOf(text) {
  const [, word] = /^journal_[a-z_]+: ([a-z0-9_]+): /.exec(text) ?? [];
  return new (Object.hasOwn(WORDS, word ?? "") ? WORDS[word] : JournalError)(text);
}

const classes = Object.fromEntries(Object.values(WORDS).map((cls) => [cls.name, cls]));
module.exports = { JournalError, errorOf, ...classes };
