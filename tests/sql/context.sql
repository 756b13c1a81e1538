-- The context that a token is bound to, and journal_bind.

CREATE TABLE note (uid, title, text);
INSERT INTO note SELECT uid, journal_encrypt(2, 'about ' || uid, NULL, 'note.title:' || uid), token
FROM (SELECT 'a' AS uid UNION ALL SELECT 'b') JOIN journal_seal(2, 'text of ' || uid, 'note.text:' || uid);
SELECT journal_decrypt(2, NULL, title, 'note.title:' || uid), journal_decrypt_blob(2, NULL, text, 'note.text:' || uid),
  journal_try_decrypt(2, journal_key_uid(2), text, CAST('note.text:' || uid AS BLOB)) FROM note ORDER BY uid;
--> about a|text of a|text of a
--> about b|text of b|text of b

-- In another row, in another column, without its context.
SELECT journal_check(2, NULL, text, 'note.text:b'), journal_check(2, NULL, title, 'note.text:a'), journal_check(2, NULL, text),
  journal_try_decrypt(2, NULL, text, 'note.text:') FROM note WHERE uid = 'a';
--> token_invalid|token_invalid|token_invalid|NULL
SELECT journal_decrypt(2, journal_key_uid(2), text, 'note.text:b') FROM note WHERE uid = 'a';
--! journal_decrypt: token_invalid: not a Fernet token under key "oseh_ujmk_2_tie_a"
SELECT journal_decrypt(2, NULL, text, 'note.text:b') FROM note WHERE uid = 'a';
--! journal_decrypt: token_invalid: not a Fernet token under any key of user 2
-- Nor is an unbound one read with a context.
SELECT journal_decrypt(2, NULL, journal_encrypt(2, 'x'), 'note.text:a');
--! journal_decrypt: token_invalid: not a Fernet token under any key of user 2

-- A look-up that found nothing never unbinds.
SELECT journal_encrypt(2, 'x', NULL, (SELECT 'note.text:' || uid FROM note WHERE uid = 'c'));
--! journal_encrypt: bad_argument: context must be TEXT or BLOB of 1 to 1024 bytes, this is NULL
SELECT journal_decrypt(2, NULL, journal_encrypt(2, 'x'), NULL);
--! journal_decrypt: bad_argument: context must be TEXT or BLOB of 1 to 1024 bytes, this is NULL
SELECT journal_check(2, NULL, 'x', '');
--! journal_check: bad_argument: context must be TEXT or BLOB of 1 to 1024 bytes, this is TEXT of 0 bytes
SELECT token FROM journal_seal(2, 'x', NULL);
--! journal_seal: bad_argument: context must be TEXT or BLOB of 1 to 1024 bytes, this is NULL
SELECT journal_bind(2, NULL, 'x', zeroblob(1025));
--! journal_bind: bad_argument: context must be TEXT or BLOB of 1 to 1024 bytes, this is BLOB of 1025 bytes
SELECT journal_decrypt(2, NULL, journal_encrypt(2, 'x', NULL, zeroblob(1024)), zeroblob(1024));
--> x
-- A NULL text is NULL all the same.
SELECT journal_encrypt(2, NULL, NULL, NULL), journal_decrypt(2, NULL, NULL, NULL), journal_bind(2, NULL, NULL, NULL);
--> NULL|NULL|NULL
-- Without a context a key that is not named is a mistake, as ever.
SELECT journal_encrypt(2, 'x', NULL);
--! journal_encrypt: bad_argument: key_uid must be TEXT, this is NULL

-- Items.
SELECT json_object('item', journal_decrypt_item(1, NULL, journal_encrypt_item(1, '[1,2]', 'note.item:a'), 'note.item:a'));
--> {"item":[1,2]}
SELECT journal_decrypt_item(1, key_uid, token, 'note.item:a'), journal_try_decrypt_item(1, key_uid, token, 'note.item:b'),
  journal_try_decrypt_item(1, key_uid, token) FROM journal_seal_item(1, '[1,2]', 'note.item:a');
--> [1,2]|NULL|NULL

-- An unbound token is bound, its time kept; it is put under the current key.
CREATE TABLE old (token);
INSERT INTO old VALUES (journal_encrypt(2, 'dear diary', 'oseh_ujmk_2_old'));
SELECT journal_decrypt(2, journal_key_uid(2), bound, 'old:1'), journal_token_time(bound) = journal_token_time(token),
  journal_check(2, NULL, bound) FROM (SELECT token, journal_bind(2, 'oseh_ujmk_2_old', token, 'old:1') AS bound FROM old);
--> dear diary|1|token_invalid
SELECT journal_bind(2, NULL, journal_bind(2, NULL, token, 'old:1'), 'old:1') FROM old;
--! journal_bind: token_invalid: not a Fernet token under any key of user 2
SELECT journal_bind(1, NULL, token, 'old:1') FROM old;
--! journal_bind: token_invalid: not a Fernet token under any key of user 1

-- From an old key to the current one, the context kept; the same token if it is there.
CREATE TABLE bound (old, new);
INSERT INTO bound (old) VALUES (journal_encrypt(2, 'dear diary', 'oseh_ujmk_2_old', 'bound:1'));
UPDATE bound SET new = journal_rewrap(2, 'oseh_ujmk_2_old', old, 'bound:1');
SELECT journal_decrypt(2, journal_key_uid(2), new, 'bound:1'), journal_rewrap(2, NULL, new, 'bound:1') = new,
  journal_token_time(new) = journal_token_time(old), journal_check(2, NULL, new) FROM bound;
--> dear diary|1|1|token_invalid
SELECT journal_rewrap(2, NULL, old) FROM bound;
--! journal_rewrap: token_invalid: not a Fernet token under any key of user 2

CREATE VIEW spy AS SELECT journal_bind(2, NULL, token, 'x') FROM old;
SELECT * FROM spy;
--! unsafe use of journal_bind()
