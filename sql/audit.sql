-- Looks whether every entry and item can be read, without decrypting into the result, and whether rows and objects
-- belong together. Changes nothing.
--
--   sqlite3 -cmd '.load ./journal_crypt' -cmd ".param set :directory \"'/srv/keys'\"" journal.db < sql/audit.sql
--
-- Needs   JOURNAL_KEY_STORE with the right to read.
-- Takes   :user_id     this user alone (all users where it is not set)
--         :directory   the directory of a directory store, to look for objects that no row names, or
--         :listing     a file with the name of an object in each line, for a bucket:
--                        aws s3api list-objects-v2 --bucket B --prefix s3_files/journals/keys/master/ \
--                          --query 'Contents[].[Key]' --output text > listing.txt
-- Gives   1. of all, and then of each user who has something that is not: what is readable, lost (the key is gone),
--            orphaned (the key's row is gone), broken (the token or the key is none), unknown (the store did not
--            answer; run again. Or the key is disabled, and can be enabled again)
--         2. each row that cannot be read with its recorded key: its id, the error's word, and the key of the user
--            that it can be read with, if there is one: then the wrong key is recorded
--         3. objects that no row names: left by a rotation that was stopped, or by a row that was deleted before
--            its object; nothing is under them that a row leads to. And rows whose object is not there. (In a
--            bucket, a disabled key's is not listed.)
--
-- It fetches every key that is in use, and decrypts every token, which takes about a second for 100,000 entries
-- of average length once the keys are fetched.

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

CREATE TEMP TABLE audit AS
SELECT user_id, kind, id, recorded, journal_check(user_id, key_uid, token) AS word
FROM (
  SELECT user_id, 'entry' AS kind, id, key_uid, key_uid AS recorded, token FROM journal_entries
  WHERE user_id = coalesce(:user_id, user_id)
  UNION ALL
  -- An item whose key was deleted says so with NULL, which is not to mean "try them all" here.
  SELECT e.user_id, 'item', i.id, coalesce(k.uid, '(deleted)'), coalesce(k.uid, '(deleted)'), i.master_encrypted_data
  FROM journal_entries AS e
  JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
  LEFT JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
  WHERE e.user_id = coalesce(:user_id, e.user_id)
);

CREATE TEMP VIEW counted AS
SELECT user_id, kind, count(*) AS n, sum(word = 'ok') AS readable, sum(word = 'key_lost') AS lost,
  sum(word IN ('no_key', 'key_not_found')) AS orphaned, sum(word IN ('token_invalid', 'key_invalid')) AS broken,
  sum(word IN ('store_unavailable', 'store_denied', 'key_disabled')) AS unknown
FROM audit GROUP BY user_id, kind;

.print '-- 1. What can be read: user|kind|all|readable|lost|orphaned|broken|unknown'
SELECT '(all)', kind, sum(n), sum(readable), sum(lost), sum(orphaned), sum(broken), sum(unknown)
FROM counted GROUP BY kind ORDER BY kind;
SELECT * FROM counted WHERE readable < n ORDER BY user_id, kind;

-- Only what is not readable with the recorded key is tried with the user's others.
CREATE TEMP TABLE misrecorded AS
SELECT a.user_id, a.kind, a.id, a.recorded, k.uid AS found
FROM audit AS a JOIN user_journal_master_keys AS k ON k.user_id = a.user_id AND k.uid <> a.recorded
WHERE a.word IN ('no_key', 'key_not_found', 'key_lost', 'token_invalid', 'key_invalid')
  AND journal_check(a.user_id, k.uid, CASE a.kind
    WHEN 'entry' THEN (SELECT token FROM journal_entries WHERE id = a.id)
    ELSE (SELECT master_encrypted_data FROM journal_entry_items WHERE id = a.id)
  END) = 'ok';

.print '-- 2. What the recorded key does not open: user|kind|id|recorded key|word|key that opens it'
SELECT a.user_id, a.kind, a.id, a.recorded, a.word, coalesce(m.found, '')
FROM audit AS a LEFT JOIN misrecorded AS m ON m.kind = a.kind AND m.id = a.id
WHERE a.word <> 'ok' ORDER BY a.user_id, a.kind, a.id;

CREATE TEMP TABLE object (name TEXT PRIMARY KEY);
-- The file of a disabled key has another name.
INSERT OR IGNORE INTO object
SELECT ltrim(substr(CASE WHEN name LIKE '%.disabled' THEN substr(name, 1, length(name) - 9) ELSE name END,
  length(rtrim(:directory, '/')) + 1), '/') FROM fsdir(rtrim(:directory, '/'))
WHERE :directory IS NOT NULL AND mode & 0xF000 = 0x8000;
CREATE TEMP TABLE listing (
  text TEXT CONSTRAINT "the file that :listing names cannot be read" CHECK (text IS NOT NULL)
);
INSERT INTO listing SELECT CAST(readfile(:listing) AS TEXT) WHERE :listing IS NOT NULL;
-- One JSON string a line: json_quote escapes what a name may hold.
INSERT OR IGNORE INTO object
SELECT value FROM listing, json_each(
  '[' || replace(json_quote(replace(text, char(13), '')), '\n', '","') || ']'
) WHERE value <> '';

.print '-- 3. Objects and rows: object that no row names|row that names no object'
SELECT name, '' FROM object
WHERE name LIKE '%oseh\_ujmk\_%' ESCAPE '\' AND name NOT IN (
  SELECT f.key FROM s3_files AS f JOIN user_journal_master_keys AS k ON k.s3_file_id = f.id
)
ORDER BY name;
SELECT '', k.uid FROM user_journal_master_keys AS k LEFT JOIN s3_files AS f ON f.id = k.s3_file_id
WHERE coalesce(:directory, :listing) IS NOT NULL AND k.user_id = coalesce(:user_id, k.user_id)
  AND (f.key IS NULL OR f.key NOT IN (SELECT name FROM object))
ORDER BY k.uid;
SELECT '(not looked at: set :directory or :listing)', '' WHERE coalesce(:directory, :listing) IS NULL;

DROP TABLE listing;
DROP TABLE object;
DROP TABLE misrecorded;
DROP VIEW counted;
DROP TABLE audit;
DROP TABLE key_schema;
