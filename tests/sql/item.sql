-- Entry items: JSON, gzip-compressed, as the app stores them.

CREATE TABLE item (token);
INSERT INTO item SELECT journal_encrypt_item(1, '{"type": "textual", "data": {"markdown": "dear diary, it’s 3 °C"}}');
SELECT typeof(token), token GLOB 'gAAAA*', journal_decrypt_item(1, 'oseh_ujmk_1', token) FROM item;
--> text|1|{"type": "textual", "data": {"markdown": "dear diary, it’s 3 °C"}}
SELECT journal_try_decrypt_item(1, NULL, token), journal_check(1, NULL, token) FROM item;
--> {"type": "textual", "data": {"markdown": "dear diary, it’s 3 °C"}}|ok
-- Level 9, no time, no name.
SELECT hex(substr(journal_decrypt_blob(1, NULL, token), 1, 10)) FROM item;
--> 1F8B08000000000002FF

-- SQLite knows the result for JSON.
SELECT json_object('x', journal_decrypt_item(1, NULL, journal_encrypt_item(1, '{"a":[1]}')));
--> {"x":{"a":[1]}}
SELECT json_array(journal_try_decrypt_item(1, NULL, journal_encrypt_item(1, '[1]')), journal_decrypt(1, NULL, journal_encrypt(1, '[1]')));
--> [[1],"[1]"]
SELECT json_extract(journal_decrypt_item(1, NULL, token), '$.data.markdown') FROM item;
--> dear diary, it’s 3 °C

SELECT key_id, key_uid, journal_decrypt_item(2, key_uid, token) FROM journal_seal_item(2, '{"a":1}');
--> 4|oseh_ujmk_2_tie_a|{"a":1}

-- What Python's gzip.compress(data, 9, mtime=0) and cryptography wrote.
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD5tRtiXdk992BLKwXeEZ8nxLD7QUx6NTAfHoA6xnEa3IJwpk3P7GlIhg_D3KHgzdIafv0oOq3EbWymLw8YAw-SnkgfApEHjchHPKDxVaHP3Z5qVanzKUjPZYsSdQOIN3NUhPzjaReMTwHzi0x_D-ngPvFxahxPHybRrB9nLnxFkl');
--> {"type":"textual","data":{"markdown":"dear diary, it’s 3 °C"}}
-- Two gzip members, of "[1" and of ",2]": one file, as for gzip itself.
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD9_JhGW65fvKXCCMUOSXgtC4Lp2f_dhJnbFbIqiLjXXormK-K2-ltzFTMVKmFSz6uFG4QfhYUUZyHIGKjsh93dOeAiFq3kaftPVwY0he7PQa');
--> [1,2]

-- Any JSON value, byte for byte; numbers as SQLite converts them to TEXT.
SELECT journal_decrypt_item(1, NULL, journal_encrypt_item(1, ' [1 , "\u00e9\ud800" ] ')), journal_decrypt_item(1, NULL, journal_encrypt_item(1, 'null')),
  journal_decrypt_item(1, NULL, journal_encrypt_item(1, 7)), journal_decrypt_item(1, NULL, journal_encrypt_item(1, -0.5)),
  journal_decrypt_item(1, NULL, journal_encrypt_item(1, CAST('{"a": 1}' AS BLOB)));
-->  [1 , "\u00e9\ud800" ] |null|7|-0.5|{"a": 1}

-- A NULL item or token gives NULL, whatever the other arguments.
SELECT journal_encrypt_item('x', NULL), journal_decrypt_item('x', 7, NULL), journal_try_decrypt_item(NULL, NULL, NULL);
--> NULL|NULL|NULL
SELECT key_id, key_uid, token FROM journal_seal_item(NULL, NULL);
--> NULL|NULL|NULL

-- What is no JSON is not encrypted, and not shown either.
SELECT journal_encrypt_item(1, 'Dear diary');
--! journal_encrypt_item: bad_argument: an item must be JSON, this is TEXT of 10 bytes that is not
SELECT journal_encrypt_item(1, '');
--! journal_encrypt_item: bad_argument: an item must be JSON, this is TEXT of 0 bytes that is not
SELECT journal_encrypt_item(1, '{a: 1}');
--! journal_encrypt_item: bad_argument: an item must be JSON, this is TEXT of 6 bytes that is not
SELECT journal_encrypt_item(1, X'00FF');
--! journal_encrypt_item: bad_argument: an item must be JSON, this is BLOB of 2 bytes that is not
SELECT journal_encrypt_item(1, 9e999);
--! journal_encrypt_item: bad_argument: an item must be JSON, this is REAL that is not
SELECT token FROM journal_seal_item(1, 'Dear diary');
--! journal_seal_item: bad_argument: an item must be JSON, this is TEXT of 10 bytes that is not
SELECT journal_encrypt_item(1, replace(hex(zeroblob(500)), '0', '[') || replace(hex(zeroblob(500)), '0', ']')) IS NOT NULL;
--> 1
SELECT journal_encrypt_item(1, replace(hex(zeroblob(5000000)), '0', '['));
--! journal_encrypt_item: bad_argument: an item must be JSON, this is TEXT of 10000000 bytes that is not
SELECT journal_encrypt_item(1, '"' || replace(hex(zeroblob(8388608)), '0', 'a') || '"');
--! journal_encrypt_item: bad_argument: the item has 16777218 bytes, more than JOURNAL_ITEM_MAX

-- What is no item is not decrypted as one; journal_check looks at the token alone.
SELECT journal_decrypt_item(1, NULL, journal_encrypt(1, '{"a":1}'));
--! journal_decrypt_item: not_item: the plaintext is not gzip-compressed
SELECT journal_try_decrypt_item(1, NULL, journal_encrypt(1, '{"a":1}'));
--! journal_try_decrypt_item: not_item: the plaintext is not gzip-compressed
SELECT journal_check(1, NULL, journal_encrypt(1, '{"a":1}'));
--> ok
-- gzip.compress() of b'dear diary', b'', b'[NaN]', of 1001 nested arrays, and of b'[1]' with a NUL behind it.
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODwWgL4pSaoreKI28A1d1HzDaM_yBLeOEFzOkSnTQ2VjRTvZb4NFwCzblZXAWkStO4Jnxb-YIz_SFkADBzZiOvpQ=');
--! journal_decrypt_item: not_item: the plaintext is gzip-compressed, but not JSON
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD3FQGq3yO4AxfjY5uiAkJ2B15hqLHdk3JP0Sx753dKeSjIo5l0vEi0XUOypiyFmWhR1FOQkxI_noFeab001ADX8=');
--! journal_decrypt_item: not_item: the plaintext is gzip-compressed, but not JSON
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD9B7gN3oyZzhbPAd4iSEGySIpYC5EVo6DEGzkDBM8FPAwjlVklAFQ6Qq-Y2utpYgsNqnkzmGIJD4aHlAvUVHv_o=');
--! journal_decrypt_item: not_item: the plaintext is gzip-compressed, but not JSON
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD6_ZljvC5uk02XUKx9fL31joJq6iNALLRQfUtZuGQz37dlgwb4zVq06kczuOSw1G6-xPUIo1B7osXXZmaPsu1yrKKFgavC5ofXfv2PlG-dKz');
--! journal_decrypt_item: not_item: the plaintext is gzip-compressed, but not JSON
SELECT journal_decrypt_item(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD0h7f2YboZ23lJbwU10UGk927d3p3R--16hwDni8FBtxMJ9cPg62Qjt_pKshUVry50-ECu5LhBRRfv7f0CzdHcc=');
--! journal_decrypt_item: not_item: the plaintext is not gzip-compressed

-- The rest is as for journal_encrypt and journal_decrypt.
SELECT journal_encrypt_item(NULL, '{}');
--! journal_encrypt_item: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
SELECT journal_encrypt_item(4, '{}');
--! journal_encrypt_item: no_key: user 4 has no key
SELECT journal_decrypt_item(1, NULL, 'gAAAAA');
--! journal_decrypt_item: token_invalid: not a Fernet token under any key of user 1
SELECT journal_decrypt_item(5, 'oseh_ujmk_5_lost', 'gAAAAA');
--! journal_decrypt_item: key_lost: key "oseh_ujmk_5_lost": its object is not in the key store
SELECT journal_try_decrypt_item(1, NULL, 'gAAAAA'), journal_try_decrypt_item(4, NULL, 'gAAAAA'),
  journal_try_decrypt_item(5, 'oseh_ujmk_5_lost', 'gAAAAA'), journal_try_decrypt_item(1, 'oseh_ujmk_none', 'gAAAAA');
--> NULL|NULL|NULL|NULL
SELECT journal_try_decrypt_item(3, 'oseh_ujmk_3_broken', 'gAAAAA');
--! journal_try_decrypt_item: key_invalid: key "oseh_ujmk_3_broken": its object is not a Fernet key

-- Nor can the schema of a database file unpack items.
CREATE VIEW plain AS SELECT journal_decrypt_item(1, NULL, token) AS entry FROM item;
SELECT entry FROM plain;
--! unsafe use of journal_decrypt_item()
CREATE VIEW sealed AS SELECT token FROM journal_seal_item(1, '{}');
SELECT token FROM sealed;
--! unsafe use of virtual table "journal_seal_item"
