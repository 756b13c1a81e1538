-- journal_rewrap and journal_token_time.

-- The Fernet specification's token, of 1985-10-26.
SELECT journal_token_time('gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==');
--> 499162800
SELECT abs(journal_token_time(journal_encrypt(1, 'a')) - strftime('%s', 'now')) < 10, journal_token_time(CAST(journal_encrypt(2, 'a') AS BLOB)) > 0,
  journal_token_time(NULL);
--> 1|1|NULL
SELECT journal_token_time('gAAAAA');
--! journal_token_time: token_invalid: not a Fernet token under any key
SELECT journal_token_time('Dear diary');
--! journal_token_time: token_invalid: not a Fernet token under any key
SELECT journal_token_time(7);
--! journal_token_time: bad_argument: token must be TEXT, this is INTEGER
-- 2^63 seconds. Nobody vouches for a token's time.
SELECT journal_token_time('gIAAAAAAAAAAAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==');
--! journal_token_time: bad_argument: the time in this token does not fit into an INTEGER

-- From an old key to the current one; the time stays.
CREATE TABLE entry (old, new);
INSERT INTO entry (old) VALUES (journal_encrypt(2, 'dear diary', 'oseh_ujmk_2_old'));
UPDATE entry SET new = journal_rewrap(2, 'oseh_ujmk_2_old', old);
SELECT typeof(new), journal_decrypt(2, journal_key_uid(2), new), journal_token_time(new) = journal_token_time(old), new <> old FROM entry;
--> text|dear diary|1|1
-- The initialisation vector is another one each time.
SELECT journal_rewrap(2, 'oseh_ujmk_2_old', old) <> new FROM entry;
--> 1
-- The key need not be known.
SELECT journal_decrypt(2, journal_key_uid(2), journal_rewrap(2, NULL, old)) FROM entry;
--> dear diary
-- The same token if it is under the current key.
SELECT journal_rewrap(2, journal_key_uid(2), new) = new, journal_rewrap(2, NULL, new) = new, typeof(journal_rewrap(2, NULL, CAST(new AS BLOB))) FROM entry;
--> 1|1|text
SELECT journal_token_time(journal_rewrap(1, NULL, 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=='));
--> 499162800

SELECT journal_rewrap('x', 7, NULL);
--> NULL
-- Under another key than it says.
SELECT journal_rewrap(2, 'oseh_ujmk_2_old', new) FROM entry;
--! journal_rewrap: token_invalid: not a Fernet token under key "oseh_ujmk_2_old"
SELECT journal_rewrap(2, journal_key_uid(2), old) FROM entry;
--! journal_rewrap: token_invalid: not a Fernet token under key "oseh_ujmk_2_tie_a"
SELECT journal_rewrap(1, NULL, old) FROM entry;
--! journal_rewrap: token_invalid: not a Fernet token under any key of user 1
SELECT journal_rewrap(1, 'oseh_ujmk_2_old', old) FROM entry;
--! journal_rewrap: key_not_found: user 1 has no key "oseh_ujmk_2_old"
SELECT journal_rewrap(4, NULL, 'gAAAAA');
--! journal_rewrap: no_key: user 4 has no key
SELECT journal_rewrap(NULL, NULL, 'gAAAAA');
--! journal_rewrap: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
-- The current key is the one that is lost: nothing can be put under it.
SELECT journal_rewrap(3, 'oseh_ujmk_3_good', journal_encrypt(3, 'dear diary', 'oseh_ujmk_3_good'));
--! journal_rewrap: key_lost: key "oseh_ujmk_3_lost": its object is not in the key store

CREATE VIEW spy AS SELECT journal_rewrap(2, NULL, old) FROM entry;
SELECT * FROM spy;
--! unsafe use of journal_rewrap()
