-- From where the functions can be called, and which tables they read.

-- The schema of a database file cannot decrypt: views and triggers may have come with the file.
CREATE TABLE saved AS SELECT 'oseh_ujmk_1' AS key_uid, journal_encrypt(1, 'hello') AS token;
CREATE VIEW plain AS SELECT journal_decrypt(1, key_uid, token) AS entry FROM saved;
SELECT entry FROM plain;
--! unsafe use of journal_decrypt()
CREATE TABLE copy (entry);
CREATE TRIGGER spy AFTER UPDATE ON saved BEGIN INSERT INTO copy SELECT journal_decrypt(1, new.key_uid, new.token); END;
UPDATE saved SET token = token;
--! unsafe use of journal_decrypt()
CREATE VIEW sealed AS SELECT token FROM journal_seal(1, 'a');
SELECT token FROM sealed;
--! unsafe use of virtual table "journal_seal"
CREATE INDEX decrypted ON saved (journal_decrypt(1, key_uid, token));
--! non-deterministic functions prohibited in index expressions
DROP TRIGGER spy;

-- A TEMP view is the user's own.
CREATE TEMP VIEW mine AS SELECT journal_decrypt(1, key_uid, token) AS entry FROM saved;
SELECT entry FROM mine;
--> hello

-- A TEMP table does not stand in for a key table.
CREATE TEMP TABLE user_journal_master_keys AS SELECT * FROM main.user_journal_master_keys;
UPDATE temp.user_journal_master_keys SET user_id = 4 WHERE user_id = 1;
CREATE TEMP TABLE s3_files (id INTEGER PRIMARY KEY, key TEXT);
SELECT entry, journal_key_uid(4) FROM mine;
--> hello|NULL

-- Neither does a table of an attached database.
ATTACH ':memory:' AS other;
CREATE TABLE other.user_journal_master_keys AS SELECT * FROM temp.user_journal_master_keys;
SELECT entry, journal_key_uid(4) FROM mine;
--> hello|NULL
