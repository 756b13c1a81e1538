-- Destroys one key of a user: first its object, every version of it, then its rows. What is under it is lost, in this
-- database and in EVERY BACKUP OF IT: a backup from before a rewrap holds its tokens under the old key, although this
-- recipe says "lost with it: 0". docs/backup.md says how long to keep an old key.
--
--   JOURNAL_ADMIN=1 sqlite3 -cmd '.load ./journal_crypt' -cmd '.param set :user_id 7' \
--     -cmd ".param set :key_uid \"'oseh_ujmk_…'\"" -cmd '.param set :loses 0' journal.db < sql/shred.sql
--
-- Needs   JOURNAL_ADMIN=1, JOURNAL_KEY_STORE with the right to list and delete versions, and a database that may be
--         written. For rqlite: run it over a downloaded backup, then send the cluster the statements at its end.
-- Takes   :user_id   the user
--         :key_uid   the key
--         :current   1, to shred the key that the user writes with; without it that key is refused, since a process
--                    that holds it goes on writing with it for a while, and those entries are lost too: run
--                    sql/rotate.sql and sql/rewrap.sql first, or, for a whole journal, stop the user's writes
--         :loses     how many entries and items of this database are lost with it; it stops unless that is the number
-- Gives   the receipt of journal_shred_key, with what was not looked at.
--
-- The row names the object, so it goes last: without it nobody could say which object to delete. May be stopped
-- anywhere and run again. To delete a user's whole journal, shred each of the user's keys.

.bail on
.timeout 10000
.param init

-- The tables of keys are those of JOURNAL_SCHEMA, as for the functions, and no others in the way.
CREATE TEMP TABLE key_schema (
  found TEXT,
  configured TEXT,
  CONSTRAINT "another schema than JOURNAL_SCHEMA has tables of these names too: open that database without it"
    CHECK (found = configured COLLATE NOCASE)
);
INSERT INTO key_schema
SELECT (
  SELECT d.name FROM pragma_database_list AS d CROSS JOIN pragma_table_info(column1, d.name)
  ORDER BY d.name <> 'temp', d.seq LIMIT 1
), json_extract(journal_config(), '$.schema')
FROM (VALUES ('s3_files'), ('user_journal_master_keys'));

CREATE TEMP TABLE shredding (
  key_id INTEGER NOT NULL,
  file_id INTEGER NOT NULL,
  found INTEGER NOT NULL,
  expected INTEGER CONSTRAINT "set :loses to the number of entries and items that are lost" CHECK (expected IS found)
);
CREATE TEMP TABLE found_key (n INTEGER NOT NULL CONSTRAINT "this user has no such key row" CHECK (n = 1));
INSERT INTO found_key
SELECT count(*) FROM user_journal_master_keys WHERE uid = :key_uid AND user_id = :user_id;

CREATE TEMP TABLE old_key (
  n INTEGER CONSTRAINT "this is the user's current key: rotate and rewrap first, or set :current to 1" CHECK (n = 0)
);
INSERT INTO old_key SELECT journal_key_uid(:user_id) = :key_uid AND coalesce(:current, 0) <> 1;

SELECT 'lost with it, besides what backups hold under it: ' || (SELECT count(*) FROM journal_entries WHERE key_uid = :key_uid) || ' entries, '
  || (SELECT count(*) FROM journal_entry_items WHERE master_key_id = k.id) || ' items'
FROM user_journal_master_keys AS k WHERE uid = :key_uid;

INSERT INTO shredding
SELECT k.id, k.s3_file_id,
  (SELECT count(*) FROM journal_entries WHERE key_uid = :key_uid)
  + (SELECT count(*) FROM journal_entry_items WHERE master_key_id = k.id),
  :loses
FROM user_journal_master_keys AS k WHERE uid = :key_uid;

-- An error, which ends the script, unless neither a listing nor a fetch finds the object any more.
SELECT journal_shred_key(:user_id, :key_uid);

BEGIN IMMEDIATE;
-- Foreign keys may be off; an id, unlike a uid, may be given out again.
UPDATE journal_entry_items SET master_key_id = NULL WHERE master_key_id = (SELECT key_id FROM shredding);
DELETE FROM user_journal_master_keys WHERE id = (SELECT key_id FROM shredding) AND uid = :key_uid;
DELETE FROM s3_files WHERE id = (SELECT file_id FROM shredding)
  AND NOT EXISTS (SELECT 1 FROM user_journal_master_keys WHERE s3_file_id = s3_files.id);
COMMIT;
SELECT 'the rows of the key are deleted';

DROP TABLE old_key;
DROP TABLE found_key;
DROP TABLE shredding;
DROP TABLE key_schema;
