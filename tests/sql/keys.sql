-- Which key is used: the rows decide, at every call, as this connection sees them.

-- The newest, and of equally new ones the first by uid.
SELECT journal_key_uid(1), journal_key_uid(2), journal_key_uid(3);
--> oseh_ujmk_1|oseh_ujmk_2_tie_a|oseh_ujmk_3_lost
SELECT k.uid, journal_check(2, k.uid, token)
FROM user_journal_master_keys AS k, (SELECT journal_encrypt(2, 'a') AS token) WHERE user_id = 2 ORDER BY k.uid;
--> oseh_ujmk_2_old|token_invalid
--> oseh_ujmk_2_tie_a|ok
--> oseh_ujmk_2_tie_b|token_invalid

-- A key can be named.
SELECT k.uid, journal_check(2, k.uid, token)
FROM user_journal_master_keys AS k, (SELECT journal_encrypt(2, 'a', 'oseh_ujmk_2_old') AS token) WHERE user_id = 2 ORDER BY k.uid;
--> oseh_ujmk_2_old|ok
--> oseh_ujmk_2_tie_a|token_invalid
--> oseh_ujmk_2_tie_b|token_invalid

-- NULL tries all keys of the user, and goes on past a lost and a broken one.
SELECT journal_decrypt(2, NULL, journal_encrypt(2, 'under ' || uid, uid)) FROM user_journal_master_keys WHERE user_id = 2 ORDER BY uid;
--> under oseh_ujmk_2_old
--> under oseh_ujmk_2_tie_a
--> under oseh_ujmk_2_tie_b
SELECT journal_decrypt(3, NULL, journal_encrypt(3, 'behind two bad ones', 'oseh_ujmk_3_good'));
--> behind two bad ones

-- When none fits, the gravest of what was met is the error.
SELECT journal_check(2, NULL, 'gAAAAA'), journal_check(3, NULL, 'gAAAAA'), journal_check(5, NULL, 'gAAAAA'), journal_check(6, NULL, 'gAAAAA');
--> token_invalid|key_invalid|key_lost|key_invalid
DELETE FROM user_journal_master_keys WHERE uid = 'oseh_ujmk_3_broken';
SELECT journal_check(3, NULL, 'gAAAAA');
--> key_lost

-- A disabled key is not gone: it outweighs a lost one, and no try makes NULL of it.
SELECT journal_check(7, NULL, 'gAAAAA'), journal_check(7, 'oseh_ujmk_7_lost', 'gAAAAA');
--> key_disabled|key_lost
SELECT journal_try_decrypt(7, NULL, 'gAAAAA');
--! journal_try_decrypt: key_disabled: key "oseh_ujmk_7_disabled": its object is disabled; journal_enable_key brings it back
SELECT journal_encrypt(7, 'a');
--! journal_encrypt: key_disabled: key "oseh_ujmk_7_disabled": its object is disabled; journal_enable_key brings it back
SELECT token FROM journal_seal(7, 'a');
--! journal_seal: key_disabled: key "oseh_ujmk_7_disabled": its object is disabled; journal_enable_key brings it back

-- A row that is gone takes its key along, though the key is in the cache.
CREATE TABLE saved AS SELECT journal_encrypt(1, 'hello') AS token;
BEGIN;
DELETE FROM user_journal_master_keys WHERE user_id = 1;
SELECT journal_check(1, 'oseh_ujmk_1', token), journal_check(1, NULL, token), journal_key_uid(1) FROM saved;
--> key_not_found|no_key|NULL
SELECT journal_decrypt(1, 'oseh_ujmk_1', token) FROM saved;
--! journal_decrypt: key_not_found: user 1 has no key "oseh_ujmk_1"
ROLLBACK;
SELECT journal_decrypt(1, 'oseh_ujmk_1', token), journal_decrypt(1, NULL, token), journal_key_uid(1) FROM saved;
--> hello|hello|oseh_ujmk_1

-- A row that says another user takes the key along as well.
UPDATE user_journal_master_keys SET user_id = 4 WHERE uid = 'oseh_ujmk_1';
SELECT journal_check(1, 'oseh_ujmk_1', token), journal_decrypt(4, 'oseh_ujmk_1', token) FROM saved;
--> key_not_found|hello

-- A new key is used from its row on.
UPDATE user_journal_master_keys SET created_at = 300 WHERE uid = 'oseh_ujmk_2_old';
SELECT journal_key_uid(2), journal_check(2, 'oseh_ujmk_2_old', journal_encrypt(2, 'a'));
--> oseh_ujmk_2_old|ok

-- Without the row that names its object a key is lost.
PRAGMA foreign_keys = OFF;
DELETE FROM s3_files WHERE key LIKE '%/oseh_ujmk_2_old';
SELECT journal_check(2, 'oseh_ujmk_2_old', 'gAAAAA');
--> key_lost
SELECT journal_encrypt(2, 'a');
--! journal_encrypt: key_lost: key "oseh_ujmk_2_old": it has no s3_files row
