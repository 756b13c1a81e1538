-- Gives every user whose key is old a new one, or one user. What was written stays under the old key, which stays.
-- It is still needed for those entries, and for backups of them after a rewrap: docs/backup.md.
--
--   JOURNAL_ADMIN=1 sqlite3 -cmd '.load ./journal_crypt' -cmd '.param set :days 30' journal.db < sql/rotate.sql
--
-- Needs   JOURNAL_ADMIN=1, JOURNAL_KEY_STORE with the right to write, and a database that may be written.
--         Not on a node of rqlite: there, journal_create_key in a shell of your own, and its two rows as literals.
-- Takes   :days      a key that is younger stays (30 where it is not set; 0 renews every key)
--         :user_id   this user alone (all users where it is not set)
-- Gives   a row for each user: id, the key before, the current key now.
--
-- May be stopped anywhere and run again: who has a young key already is passed over. A stop between an upload and
-- its rows leaves an object that no row names; sql/audit.sql finds those.

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
FROM (VALUES ('users'), ('s3_files'), ('user_journal_master_keys'));

-- The ids are copied, so that no read transaction is open while another process may write.
CREATE TEMP TABLE rotation AS
SELECT id AS user_id, journal_key_uid(id) AS before FROM users WHERE id = coalesce(:user_id, id);
CREATE TEMP TABLE known_user (
  n INTEGER CONSTRAINT "there is no user with the id that is set as :user_id" CHECK (n > 0 OR n IS NULL)
);
INSERT INTO known_user SELECT CASE WHEN :user_id IS NOT NULL THEN (SELECT count(*) FROM rotation) END;

SELECT user_id, coalesce(before, '(none)') AS before, journal_rotate_key(user_id, 86400 * coalesce(:days, 30)) AS now
FROM rotation ORDER BY user_id;

DROP TABLE known_user;
DROP TABLE rotation;
DROP TABLE key_schema;
