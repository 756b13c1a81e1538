-- The error of each wrong call, and that it shows nothing of an entry when arguments were swapped.

SELECT journal_encrypt(4, 'Dear diary');
--! journal_encrypt: no_key: user 4 has no key
SELECT journal_encrypt(99, 'Dear diary');
--! journal_encrypt: no_key: user 99 has no key
SELECT journal_decrypt(4, NULL, 'gAAAAA');
--! journal_decrypt: no_key: user 4 has no key
SELECT journal_decrypt_blob(4, NULL, 'gAAAAA');
--! journal_decrypt_blob: no_key: user 4 has no key
SELECT journal_try_decrypt(4, NULL, 'gAAAAA'), journal_check(4, NULL, 'gAAAAA'), journal_key_uid(4);
--> NULL|no_key|NULL

SELECT journal_encrypt(1, 'Dear diary', 'oseh_ujmk_none');
--! journal_encrypt: key_not_found: user 1 has no key "oseh_ujmk_none"
SELECT journal_decrypt(1, 'oseh_ujmk_none', 'gAAAAA');
--! journal_decrypt: key_not_found: user 1 has no key "oseh_ujmk_none"
SELECT journal_try_decrypt(1, 'oseh_ujmk_none', 'gAAAAA'), journal_check(1, 'oseh_ujmk_none', 'gAAAAA');
--> NULL|key_not_found

-- Another user's key.
SELECT journal_encrypt(2, 'Dear diary', 'oseh_ujmk_1');
--! journal_encrypt: key_not_found: user 2 has no key "oseh_ujmk_1"
SELECT journal_decrypt(2, 'oseh_ujmk_1', journal_encrypt(1, 'Dear diary'));
--! journal_decrypt: key_not_found: user 2 has no key "oseh_ujmk_1"
SELECT journal_try_decrypt(2, 'oseh_ujmk_1', journal_encrypt(1, 'Dear diary')), journal_check(2, 'oseh_ujmk_1', journal_encrypt(1, 'Dear diary'));
--> NULL|key_not_found

SELECT journal_encrypt(5, 'Dear diary');
--! journal_encrypt: key_lost: key "oseh_ujmk_5_lost": its object is not in the key store
SELECT journal_decrypt(5, 'oseh_ujmk_5_lost', 'gAAAAA');
--! journal_decrypt: key_lost: key "oseh_ujmk_5_lost": its object is not in the key store
SELECT journal_try_decrypt(5, 'oseh_ujmk_5_lost', 'gAAAAA'), journal_check(5, 'oseh_ujmk_5_lost', 'gAAAAA'), journal_key_uid(5);
--> NULL|key_lost|oseh_ujmk_5_lost

-- A broken key can be mended: that is not final.
SELECT journal_decrypt(3, 'oseh_ujmk_3_broken', 'gAAAAA');
--! journal_decrypt: key_invalid: key "oseh_ujmk_3_broken": its object is not a Fernet key
SELECT journal_try_decrypt(3, 'oseh_ujmk_3_broken', 'gAAAAA');
--! journal_try_decrypt: key_invalid: key "oseh_ujmk_3_broken": its object is not a Fernet key
SELECT journal_check(3, 'oseh_ujmk_3_broken', 'gAAAAA');
--> key_invalid
SELECT journal_encrypt(6, 'Dear diary');
--! journal_encrypt: key_invalid: key "oseh_ujmk_6_elsewhere": its object's name lies outside JOURNAL_KEY_PREFIX

SELECT journal_decrypt(1, 'oseh_ujmk_1', 'gAAAAA');
--! journal_decrypt: token_invalid: not a Fernet token under key "oseh_ujmk_1"
SELECT journal_decrypt(1, 'oseh_ujmk_1', journal_encrypt(2, 'Dear diary'));
--! journal_decrypt: token_invalid: not a Fernet token under key "oseh_ujmk_1"
SELECT journal_try_decrypt(1, 'oseh_ujmk_1', 'Dear diary'), journal_check(1, 'oseh_ujmk_1', 'Dear diary');
--> NULL|token_invalid

-- Swapped arguments.
SELECT journal_encrypt('Dear diary', 1);
--! journal_encrypt: bad_argument: user_id must be an INTEGER, as in the key rows, this is TEXT of 10 bytes
SELECT journal_encrypt(1, 'oseh_ujmk_1', 'Dear diary');
--! journal_encrypt: key_not_found: user 1 has no key (TEXT of 10 bytes)
SELECT journal_encrypt('oseh_ujmk_1', 'Dear diary', 1);
--! journal_encrypt: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is TEXT of 11 bytes that looks like a key_uid
SELECT journal_encrypt(1, 'Dear diary', x'6f7365');
--! journal_encrypt: bad_argument: key_uid must be TEXT, this is BLOB of 3 bytes
SELECT journal_decrypt(1, journal_encrypt(1, 'Dear diary'), 'oseh_ujmk_1');
--! journal_decrypt: key_not_found: user 1 has no key (TEXT of 100 bytes)
SELECT journal_decrypt(1, 1, 'gAAAAA');
--! journal_decrypt: bad_argument: key_uid must be TEXT, this is INTEGER
SELECT journal_decrypt(1.5, NULL, 'gAAAAA');
--! journal_decrypt: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is REAL
SELECT journal_decrypt('1', NULL, 'gAAAAA');
--! journal_decrypt: bad_argument: user_id must be an INTEGER, as in the key rows, this is TEXT of 1 byte
SELECT journal_check(x'31', NULL, 'gAAAAA');
--! journal_check: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is BLOB of 1 byte
SELECT journal_decrypt(1, 'oseh_ujmk_1', 7);
--! journal_decrypt: bad_argument: token must be TEXT, this is INTEGER

-- SQLite's own errors are SQLite's.
DROP TABLE user_journal_master_keys;
SELECT journal_encrypt(1, 'Dear diary');
--! journal_encrypt: no such table: main.user_journal_master_keys
SELECT journal_check(1, NULL, 'gAAAAA');
--! journal_check: no such table: main.user_journal_master_keys
