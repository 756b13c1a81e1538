-- The tables of a journaling app that the extension works on.
--
-- The extension reads two of them, user_journal_master_keys and s3_files, and writes none unless an
-- administrator asks it to. It looks only at the columns id, uid, user_id, s3_file_id and created_at of the
-- one and id and key of the other, so an app's own tables may have more. The journal tables at the end are an
-- example: any table can hold tokens.
--
-- Times are unix seconds. Foreign keys hold only on connections that say PRAGMA foreign_keys = ON.
--
-- All of it, or nothing: where one of these tables is here already, it ends with an error and leaves nothing behind.
-- docs/tables.md says how to work with tables of your own, whose users have a UUID for an id, for example.

SAVEPOINT journal_schema;
CREATE TEMP TABLE here_before AS
SELECT name FROM main.sqlite_master WHERE lower(name) IN (
  'users', 's3_files', 'user_journal_master_keys', 'journal_entries', 'journal_entry_items'
);
CREATE TEMP TABLE new_name (
  name TEXT CONSTRAINT "users or another table of this schema is here already: see docs/tables.md" CHECK (name IS NULL)
);
INSERT INTO new_name SELECT name FROM here_before;

CREATE TABLE users (
  -- AUTOINCREMENT: where foreign keys are off, a deleted user's key rows stay behind, and a user who
  -- was given the same id again would be given those keys with it.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid TEXT UNIQUE NOT NULL,
  created_at REAL NOT NULL
);

CREATE TABLE s3_files (
  -- AUTOINCREMENT: for the same reason; a key row left behind must not come to name another object.
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
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  s3_file_id INTEGER NOT NULL REFERENCES s3_files(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  created_at REAL NOT NULL                 -- the newest key of a user is the one that encrypts
);

CREATE INDEX user_journal_master_keys_user_id_created_at_index
  ON user_journal_master_keys (user_id, created_at);
CREATE INDEX user_journal_master_keys_s3_file_id_index
  ON user_journal_master_keys (s3_file_id);

-- An entry is one token and the key it is under:
--   SELECT journal_decrypt(user_id, key_uid, token) FROM journal_entries;
CREATE TABLE journal_entries (
  id INTEGER PRIMARY KEY,
  uid TEXT UNIQUE NOT NULL,
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  -- No foreign key: deleting a key row makes its entries unreadable. It should neither be refused because
  -- there are entries, nor take their rows along. A key's uid is random and never used twice.
  key_uid TEXT NOT NULL,
  token TEXT NOT NULL,
  created_at REAL NOT NULL
);

CREATE INDEX journal_entries_user_id_created_at_index ON journal_entries (user_id, created_at);
CREATE INDEX journal_entries_key_uid_index ON journal_entries (key_uid);

-- What an entry is made of, where it has more than one part: JSON, compressed, as one token each.
CREATE TABLE journal_entry_items (
  id INTEGER PRIMARY KEY,
  uid TEXT UNIQUE NOT NULL,
  journal_entry_id INTEGER NOT NULL REFERENCES journal_entries(id) ON DELETE CASCADE ON UPDATE RESTRICT,
  ordinal INTEGER NOT NULL,                -- 1 is the first item
  -- SET NULL: as above, a key can be deleted and the row stays. Unlike a uid, an id may be given out again,
  -- so it must not stay. NULL says that the key is gone.
  master_key_id INTEGER REFERENCES user_journal_master_keys(id) ON DELETE SET NULL ON UPDATE RESTRICT,
  master_encrypted_data TEXT NOT NULL,
  created_at REAL NOT NULL,
  UNIQUE (journal_entry_id, ordinal)
);

CREATE INDEX journal_entry_items_master_key_id_index ON journal_entry_items (master_key_id);

-- A program has stopped at the first error. The sqlite3 shell goes on, unless it was told to .bail: here all is undone.
INSERT OR ROLLBACK INTO new_name SELECT name FROM here_before;
DROP TABLE IF EXISTS temp.new_name;
DROP TABLE IF EXISTS temp.here_before;
RELEASE journal_schema;
