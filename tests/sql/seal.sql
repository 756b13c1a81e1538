-- journal_seal: the token and the key it is under, from one look-up.

SELECT k.id = key_id, key_uid, typeof(token), journal_decrypt(1, key_uid, token)
FROM journal_seal(1, 'hello') JOIN user_journal_master_keys AS k ON k.uid = key_uid;
--> 1|oseh_ujmk_1|text|hello

SELECT journal_decrypt_blob(1, key_uid, token) = x'00ff' FROM journal_seal(1.0, x'00ff');
--> 1

-- One row for each row that it is joined to.
SELECT user_id, key_uid, journal_decrypt(user_id, key_uid, token)
FROM (SELECT 1 AS user_id, 'one' AS plaintext UNION ALL SELECT 2, 'two') JOIN journal_seal(user_id, plaintext);
--> 1|oseh_ujmk_1|one
--> 2|oseh_ujmk_2_tie_a|two

INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
SELECT 'oseh_je_1', 2, key_uid, token, 0 FROM journal_seal(2, 'Dear diary');
SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries;
--> Dear diary

INSERT INTO journal_entry_items (uid, journal_entry_id, ordinal, master_key_id, master_encrypted_data, created_at)
SELECT 'oseh_jei_1', 1, 1, key_id, token, 0 FROM journal_seal(2, 'an item');
SELECT journal_decrypt(user_id, k.uid, master_encrypted_data)
FROM journal_entry_items JOIN user_journal_master_keys AS k ON k.id = master_key_id;
--> an item

-- One row with a NULL token where there is no plaintext.
SELECT count(*), token FROM journal_seal(1, NULL);
--> 1|NULL
SELECT count(*), token FROM journal_seal(NULL, NULL);
--> 1|NULL

SELECT token FROM journal_seal(4, 'Dear diary');
--! journal_seal: no_key: user 4 has no key
SELECT token FROM journal_seal(5, 'Dear diary');
--! journal_seal: key_lost: key "oseh_ujmk_5_lost": its object is not in the key store
SELECT token FROM journal_seal('Dear diary', 1);
--! journal_seal: bad_argument: user_id must be an INTEGER, as in the key rows, this is TEXT of 10 bytes
SELECT token FROM journal_seal(NULL, 'Dear diary');
--! journal_seal: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
SELECT token FROM journal_seal(1);
--! journal_seal: bad_argument: its arguments are (user_id, plaintext[, context]), and each must be given
SELECT token FROM journal_seal;
--! journal_seal: bad_argument: its arguments are (user_id, plaintext[, context]), and each must be given
INSERT INTO journal_seal VALUES (1, 2, 3);
--! table journal_seal may not be modified
