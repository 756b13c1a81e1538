-- journal_encrypt, journal_decrypt, journal_decrypt_blob: what goes in comes out, whatever its type and size.

CREATE TABLE entry (plaintext);
INSERT INTO entry VALUES ('Dear diary'), (''), ('a'), ('fifteen letters'), ('sixteen letters!'), ('seventeen letters'),
  ('Phở 🍜 in Kraków, 木漏れ日'), ('two
lines'), ('a' || char(0) || 'b'), (x''), (x'00ff'), (x'f09f8d9c'), (7), (-9223372036854775808), (2.5), (1e300), (NULL);

SELECT count(*), sum(journal_decrypt_blob(1, 'oseh_ujmk_1', journal_encrypt(1, plaintext)) IS CAST(plaintext AS BLOB)) FROM entry;
--> 17|17

SELECT count(*), sum(journal_decrypt(1, 'oseh_ujmk_1', journal_encrypt(1, plaintext)) IS CAST(plaintext AS TEXT))
FROM entry WHERE plaintext IS NOT x'00ff';
--> 16|16

SELECT journal_decrypt(1, 'oseh_ujmk_1', journal_encrypt(1, x'00ff'));
--! journal_decrypt: not_utf8: the plaintext is not UTF-8; journal_decrypt_blob gives its bytes
SELECT journal_try_decrypt(1, 'oseh_ujmk_1', journal_encrypt(1, x'00ff'));
--! journal_try_decrypt: not_utf8: the plaintext is not UTF-8; journal_decrypt_blob gives its bytes
SELECT journal_check(1, 'oseh_ujmk_1', journal_encrypt(1, x'00ff'));
--> ok

SELECT typeof(journal_encrypt(1, 'a')), typeof(journal_encrypt(1, x'61')), typeof(journal_encrypt(1, 'a', 'oseh_ujmk_1')),
  typeof(journal_decrypt(1, NULL, journal_encrypt(1, x'61'))), typeof(journal_decrypt_blob(1, NULL, journal_encrypt(1, 'a')));
--> text|text|text|text|blob

-- 1 MiB, in TEXT and in BLOB.
SELECT length(journal_encrypt(1, zeroblob(1048576))),
  journal_decrypt_blob(1, NULL, journal_encrypt(1, zeroblob(1048576))) = zeroblob(1048576),
  journal_decrypt(1, NULL, journal_encrypt(1, hex(zeroblob(524288)))) = hex(zeroblob(524288));
--> 1398200|1|1

-- An entry is never encrypted the same way twice.
SELECT journal_encrypt(1, 'a') = journal_encrypt(1, 'a'), length(journal_encrypt(1, 'a')), substr(journal_encrypt(1, 'a'), 1, 5);
--> 0|100|gAAAA

-- The user's id as drivers with one number type bind it.
SELECT journal_decrypt(1.0, 'oseh_ujmk_1', journal_encrypt(1.0, 'hello')), journal_key_uid(1.0);
--> hello|oseh_ujmk_1

-- A NULL plaintext or token gives NULL, whatever the other arguments.
SELECT journal_encrypt(1, NULL), journal_encrypt(NULL, NULL), journal_encrypt('x', NULL, 7), journal_encrypt(4, NULL),
  journal_decrypt(1, 'oseh_ujmk_1', NULL), journal_decrypt(NULL, NULL, NULL), journal_decrypt_blob(x'', 1, NULL),
  journal_try_decrypt(4, NULL, NULL), journal_check('x', 'x', NULL);
--> NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL

-- Nothing else does.
SELECT journal_encrypt(NULL, 'Dear diary');
--! journal_encrypt: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
SELECT journal_encrypt(1, 'Dear diary', NULL);
--! journal_encrypt: bad_argument: key_uid must be TEXT, this is NULL
SELECT journal_decrypt(NULL, 'oseh_ujmk_1', 'gAAAAA');
--! journal_decrypt: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
SELECT journal_key_uid(NULL);
--! journal_key_uid: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
