-- A new key for a user of an rqlite cluster: the object is written from here, and what is printed is the request that
-- writes its two rows. For the sqlite3 shell of an operator, since no node of a cluster may make keys.
--
--   export JOURNAL_ADMIN=1 JOURNAL_KEY_STORE=s3://…    and credentials that may write the bucket
--   sqlite3 -cmd '.load ./journal_crypt' -cmd '.parameter set :user_id 7' :memory: < sql/rqlite_key.sql |
--     curl -sS 'http://localhost:4001/db/execute?transaction' -H 'Content-Type: application/json' -d @-
--
-- The key is the user's current one as soon as the rows are written. Until then nobody knows of the object, and
-- nothing is lost if they never are. Running it again makes another key.

.bail on
CREATE TEMP TABLE made AS SELECT journal_create_key(:user_id) AS key;

SELECT json_array(
  json_array(
    'INSERT INTO s3_files (uid, key, file_size, content_type, created_at) VALUES (?, ?, ?, ?, ?)',
    json_extract(key, '$.s3_files.uid'), json_extract(key, '$.s3_files.key'), json_extract(key, '$.s3_files.file_size'),
    json_extract(key, '$.s3_files.content_type'), json_extract(key, '$.s3_files.created_at')
  ),
  json_array(
    'INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)'
      || ' SELECT ?, ?, id, max(?, coalesce((SELECT max(created_at) + 0.001 FROM user_journal_master_keys'
      || ' WHERE user_id = ?), 0)) FROM s3_files WHERE uid = ?',
    json_extract(key, '$.user_journal_master_keys.uid'), json_extract(key, '$.user_journal_master_keys.user_id'),
    -- No earlier than the user's newest key, whatever this clock says, or that one would stay the current one.
    json_extract(key, '$.user_journal_master_keys.created_at'), json_extract(key, '$.user_journal_master_keys.user_id'),
    json_extract(key, '$.s3_files.uid')
  )
)
FROM made;
