//! # journal_crypt: field-level encryption for SQLite
//!
//! ```text
//! journal_encrypt(user_id, plaintext)            -> TEXT token, under the user's current key
//! journal_encrypt(user_id, plaintext, key_uid)   -> the same under a named key of that user
//! journal_encrypt(user_id, plaintext, key_uid, context) -> bound to a context; with key_uid NULL under the current key
//! journal_decrypt(user_id, key_uid, token[, context]) -> TEXT
//! journal_decrypt_blob(user_id, key_uid, token[, context]) -> BLOB
//! journal_try_decrypt(user_id, key_uid, token[, context]) -> TEXT, or NULL where it is lost or does not open
//! journal_check(user_id, key_uid, token[, context]) -> TEXT: ok, or the word of the error
//! journal_key_uid(user_id)                       -> TEXT uid of the current key, or NULL
//! journal_rewrap(user_id, key_uid, token[, context]) -> TEXT token under the current key, its time kept
//! journal_bind(user_id, key_uid, token, context) -> the same of an unbound token, now bound to the context
//! journal_token_time(token)                      -> INTEGER unix seconds, not authenticated
//! journal_encrypt_item(user_id, json[, context]) -> TEXT token of the JSON, gzip-compressed
//! journal_decrypt_item(user_id, key_uid, token[, context]) -> that JSON, TEXT with SQLite's JSON subtype
//! journal_try_decrypt_item(user_id, key_uid, token[, context]) -> the same, or NULL as journal_try_decrypt
//! journal_seal(user_id, plaintext[, context])    -> one row (key_id, key_uid, token)
//! journal_scope(user_id[, nonce])                -> TEXT nonce: this connection uses that user's keys alone, until
//!                                                   journal_scope(NULL, nonce)
//! journal_prefetch(user_ids)                     -> JSON {"ready": n, "failed": {word: n}}
//! journal_seal_item(user_id, json[, context])    -> the same of an item
//! journal_evict() · journal_evict(key_uid)       -> INTEGER keys dropped from the cache
//! journal_cache                                  -> rows (key_uid, object, age, stale)
//! journal_stats                                  -> rows (name, value)
//! journal_metrics()                              -> TEXT the same in the form of OpenMetrics
//! journal_doctor                                 -> rows (name, status, detail)
//! journal_config() · journal_version()           -> JSON · TEXT
//! ```
//!
//! With `JOURNAL_ADMIN=1`, and never on a replicated host, also these; with `JOURNAL_ADMIN=create` the first three
//!
//! ```text
//! journal_create_key(user_id)                    -> JSON of the two rows that a new object needs
//! journal_rotate_key(user_id[, min_age_seconds]) -> TEXT uid of the current key, new unless too young
//! journal_discard_key(key_uid)                   -> INTEGER 1: the object of a new key that nobody used is gone
//! journal_disable_key(user_id, key_uid)          -> JSON: its object is hidden, and can be brought back
//! journal_enable_key(user_id, key_uid)           -> JSON: it is there again
//! journal_wrap_key(user_id, key_uid)             -> JSON: its object is kept under the wrapping key
//! journal_shred_key(user_id, key_uid)            -> JSON receipt of an object that is gone
//! journal_objects                                -> rows (name, bytes, modified_at, disabled) of all that the store has
//! ```
//!
//! `user_id` is an INTEGER or TEXT of 1 to 255 bytes, compared exactly: `7` and `'7'` are two users.
//!
//! A NULL plaintext or token gives NULL, whatever the other arguments (`journal_seal`: one row of
//! NULLs). Nothing else does, but `journal_key_uid` of a user without a key: a NULL `user_id` is an
//! error, and so is a NULL `key_uid` where it does not mean "try all the user's keys", or a NULL context.
//!
//! ```text
//! SQL call -> key row in this connection -> process-wide key cache -> key store -> Fernet -> result
//! (sqlite)         (keys)                        (cache)               (store)     (cipher)
//! ```
//!
//! The row is the authority and the cache only saves a fetch: a key whose row is gone cannot be used,
//! however warm its bytes are. Every fault is an SQL error whose text is `<function>: <word>:
//! <sentence>` ([`error`]).
//!
//! The product is the file that SQLite loads. What can be linked is for this package's own tests: it brings the
//! bindings' SQLite 3.39.4, and an allocator for the whole program.

pub mod cache;
pub mod cipher;
pub mod config;
mod entry;
pub mod error;
pub mod functions;
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod item;
pub mod keys;
pub mod secret;
pub mod sqlite;
pub mod stats;
pub mod store;
pub mod system;
mod threads;
