-- Puts one user's journal under the user's current key. Times of writing stay as they are.
--
--   sqlite3 -cmd '.load ./journal_crypt' -cmd '.param set :user_id 7' journal.db < sql/rewrap.sql
--
-- The old key is needed as long as you keep a backup of the database from before: that backup's tokens are under it.
-- Shred it no sooner (docs/backup.md).
--
-- Needs   a shell of 3.35 or later, JOURNAL_KEY_STORE with the right to read, and a database that may be written. Not
--         on a node of rqlite.
-- Takes   :user_id   the user
--         :rows      at most so many rows of each table in one run (all where it is not set): each run holds the
--                    write lock while it stores its rows, about a second for 100,000
-- Gives   what it did, what is left and why, and as its last line
--           run again   there is more to do: a row was edited meanwhile, :rows was reached, or the store did not answer
--           done        every entry and item was decrypted with the current key: nothing is left under an old one
--           stuck       trying again does not help what is left (key_lost, key_not_found, key_invalid, token_invalid;
--                       or key_disabled, until the key is enabled again); see sql/audit.sql
--
-- May be stopped anywhere and run again: each run takes up what it finds. Tokens are decrypted and encrypted while
-- nothing is locked; a row is then changed only if it still holds the token that was read, so that an edit made
-- meanwhile is never overwritten. Such a row is taken again by the next run.

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

CREATE TEMP TABLE parameter (
  user_id CONSTRAINT "set :user_id to the user" CHECK (typeof(user_id) IN ('integer', 'text'))
);
INSERT INTO parameter VALUES (:user_id);
CREATE TEMP TABLE known_user (
  n INTEGER CONSTRAINT "this user has neither a key nor an entry" CHECK (n > 0)
);
INSERT INTO known_user
SELECT EXISTS (SELECT 1 FROM user_journal_master_keys WHERE user_id = :user_id)
  OR EXISTS (SELECT 1 FROM journal_entries WHERE user_id = :user_id);

-- One statement reads the rows, the current key and its uid, so that all three are of one moment.
CREATE TEMP TABLE rewrapped_entry AS
SELECT id, token AS old, key_uid AS old_key, current AS new_key,
  journal_rewrap(user_id, key_uid, token) AS new
FROM (
  SELECT id, user_id, key_uid, token, (SELECT journal_key_uid(:user_id)) AS current
  FROM journal_entries WHERE user_id = :user_id
)
WHERE key_uid IS NOT current AND journal_check(user_id, key_uid, token) = 'ok'
LIMIT coalesce(:rows, -1);

CREATE TEMP TABLE rewrapped_item AS
SELECT id, old, new_key, journal_rewrap(:user_id, key_uid, old) AS new
FROM (
  SELECT i.id, i.master_encrypted_data AS old, k.uid AS key_uid, current.id AS new_key
  FROM journal_entries AS e
  JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
  LEFT JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
  JOIN user_journal_master_keys AS current ON current.uid = (SELECT journal_key_uid(:user_id))
  WHERE e.user_id = :user_id AND i.master_key_id IS NOT current.id
)
WHERE journal_check(:user_id, key_uid, old) = 'ok'
LIMIT coalesce(:rows, -1);

BEGIN IMMEDIATE;
UPDATE journal_entries SET token = r.new, key_uid = r.new_key
FROM rewrapped_entry AS r
WHERE journal_entries.id = r.id AND journal_entries.token = r.old
  -- A key that was deleted meanwhile must not come to hold an entry.
  AND EXISTS (SELECT 1 FROM user_journal_master_keys AS k WHERE k.uid = r.new_key AND k.user_id = :user_id);
-- Not changes(), which counts nothing where journal_entries is a view with a trigger.
SELECT count(e.id) || ' of ' || count(*) || ' entries rewrapped'
FROM rewrapped_entry AS r LEFT JOIN journal_entries AS e ON e.id = r.id AND e.token = r.new;
UPDATE journal_entry_items SET master_encrypted_data = r.new, master_key_id = r.new_key
FROM rewrapped_item AS r
WHERE journal_entry_items.id = r.id AND journal_entry_items.master_encrypted_data = r.old
  AND EXISTS (SELECT 1 FROM user_journal_master_keys AS k WHERE k.id = r.new_key AND k.user_id = :user_id);
SELECT count(i.id) || ' of ' || count(*) || ' items rewrapped'
FROM rewrapped_item AS r LEFT JOIN journal_entry_items AS i ON i.id = r.id AND i.master_encrypted_data = r.new;
COMMIT;

-- What is left. Rows that are recorded under an old key are counted by that; only when there are none that could
-- be rewrapped is everything decrypted with the current key, as the proof. One transaction, so that all of it is of
-- one moment, whoever rotates meanwhile.
BEGIN;
CREATE TEMP TABLE row_left AS
SELECT 'entry' AS kind, id, token, key_uid FROM journal_entries
WHERE user_id = :user_id AND key_uid IS NOT (SELECT journal_key_uid(:user_id))
UNION ALL
SELECT 'item', i.id, i.master_encrypted_data, k.uid
FROM journal_entries AS e
JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
LEFT JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
WHERE e.user_id = :user_id AND k.uid IS NOT (SELECT journal_key_uid(:user_id));

CREATE TEMP TABLE remainder AS
SELECT kind, word, count(*) AS n FROM (
  SELECT kind, journal_check(:user_id, key_uid, token) AS word FROM row_left
) GROUP BY kind, word;

INSERT INTO remainder
WITH proof AS MATERIALIZED (
  SELECT 'entry' AS kind, journal_check(user_id, key_uid, token) AS word FROM journal_entries
  WHERE user_id = :user_id AND key_uid IS (SELECT journal_key_uid(:user_id))
  UNION ALL
  SELECT 'item', journal_check(:user_id, k.uid, i.master_encrypted_data)
  FROM journal_entries AS e
  JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
  JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
  WHERE e.user_id = :user_id AND k.uid IS (SELECT journal_key_uid(:user_id))
)
SELECT kind, word, count(*) FROM proof
WHERE word <> 'ok' AND NOT EXISTS (SELECT 1 FROM remainder WHERE word = 'ok')
GROUP BY kind, word;
COMMIT;

SELECT n || CASE kind WHEN 'entry' THEN ' of the entries left: ' ELSE ' of the items left: ' END
  || CASE word WHEN 'ok' THEN 'under an old key' ELSE word END
FROM remainder ORDER BY kind, word;

SELECT CASE
  WHEN NOT EXISTS (SELECT 1 FROM remainder) THEN 'done'
  WHEN EXISTS (
    SELECT 1 FROM remainder WHERE word NOT IN ('no_key', 'key_not_found', 'key_lost', 'key_disabled', 'key_invalid', 'token_invalid')
  ) THEN 'run again'
  ELSE 'stuck'
END;

DROP TABLE remainder;
DROP TABLE row_left;
DROP TABLE rewrapped_item;
DROP TABLE rewrapped_entry;
DROP TABLE known_user;
DROP TABLE parameter;
DROP TABLE key_schema;
