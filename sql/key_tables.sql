-- The two tables of keys alone, beside the users of an app that has its own: docs/tables.md.
--
--   sqlite3 app.db < sql/key_tables.sql
--
-- Needs   a table users whose id, INTEGER or TEXT such as a UUID, is its primary key or unique.
--
-- Both tables, or nothing: where one of these names is taken, it ends with an error and leaves nothing behind.

SAVEPOINT journal_schema;
CREATE TEMP TABLE here_before AS
SELECT name FROM main.sqlite_master WHERE lower(name) IN ('s3_files', 'user_journal_master_keys');
CREATE TEMP TABLE new_name (
  name TEXT CONSTRAINT "s3_files or user_journal_master_keys is here already: see docs/tables.md" CHECK (name IS NULL)
);
INSERT INTO new_name SELECT name FROM here_before;

CREATE TABLE s3_files (
  -- AUTOINCREMENT: a key row left behind must not come to name another object.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid TEXT UNIQUE NOT NULL,                -- prefix oseh_s3f_
  key TEXT UNIQUE NOT NULL,                -- the object's name in the bucket, or its path in the directory
  file_size INTEGER NOT NULL,
  content_type TEXT NOT NULL,
  created_at REAL NOT NULL
);

CREATE TABLE user_journal_master_keys (
  id INTEGER PRIMARY KEY,
  uid TEXT UNIQUE NOT NULL,                -- prefix oseh_ujmk_
  -- Of no type, so that each id stays what it is: an INTEGER column would make a number of the text '0042'.
  user_id NOT NULL REFERENCES users(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  s3_file_id INTEGER NOT NULL REFERENCES s3_files(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  created_at REAL NOT NULL                 -- the newest key of a user is the one that encrypts
);

CREATE INDEX user_journal_master_keys_user_id_created_at_index
  ON user_journal_master_keys (user_id, created_at);
CREATE INDEX user_journal_master_keys_s3_file_id_index
  ON user_journal_master_keys (s3_file_id);

-- A program has stopped at the first error. The sqlite3 shell goes on, unless it was told to .bail: here all is undone.
INSERT OR ROLLBACK INTO new_name SELECT name FROM here_before;
DROP TABLE IF EXISTS temp.new_name;
DROP TABLE IF EXISTS temp.here_before;
RELEASE journal_schema;
