-- Searches one user's journal, entries and items, for words: the best places first, with some text around them.
--
--   sqlite3 -cmd 'PRAGMA temp_store = MEMORY' -cmd '.load ./journal_crypt' -cmd '.param set :user_id 7' \
--     -cmd ".param set :words \"'dear diary'\"" journal.db < sql/search.sql
--
-- Needs   a shell with FTS5, and JOURNAL_KEY_STORE with the right to read. Changes nothing. PRAGMA temp_store = MEMORY
--         comes before .param, so that no text and no index over it ever lies in a temporary file.
-- Takes   :user_id   the user
--         :words     what to look for: words, or their beginnings, all of which stand in the text, in any order. Upper
--                    and lower case and accents do not matter (öpen finds ÖPEN and Open)
--         :most      at most so many places (20 where it is not set)
-- Gives   the day, the entry's id, and the text around the words, which stand in [brackets]; the best match first. Then
--         how much of the journal could not be searched since its key is lost.
--
-- Everything is decrypted and indexed in this process's memory and nowhere else, and the index ends with the process.
-- An outage is an error, never "nothing found".

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
  user_id CONSTRAINT "set :user_id to the user" CHECK (typeof(user_id) IN ('integer', 'text')),
  words TEXT CONSTRAINT "set :words to what is looked for" CHECK (trim(words) <> ''),
  temp_store INTEGER CONSTRAINT "say PRAGMA temp_store = MEMORY before .param set" CHECK (temp_store = 2)
);
INSERT INTO parameter SELECT :user_id, coalesce(:words, ''), temp_store FROM pragma_temp_store;

-- All texts of the journal, one row each: an entry as a whole, an item by each string in its JSON.
CREATE TEMP VIEW journal_text AS
SELECT e.id AS entry_id, e.created_at, journal_try_decrypt(e.user_id, e.key_uid, e.token) AS text
FROM parameter JOIN journal_entries AS e ON e.user_id = parameter.user_id
UNION ALL
SELECT e.id, e.created_at, string.atom
FROM parameter
JOIN journal_entries AS e ON e.user_id = parameter.user_id
JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
JOIN json_tree(journal_try_decrypt_item(e.user_id, k.uid, i.master_encrypted_data)) AS string ON string.type = 'text';

-- All the user's keys side by side, rather than each when the first entry needs it.
CREATE TEMP TABLE fetched AS SELECT journal_prefetch(user_id) AS outcome FROM parameter;

-- In a TEMP table, and so in memory. Each word as a string, so that nothing in it is an operator of FTS5's, and as a
-- beginning (https://sqlite.org/fts5.html#full_text_query_syntax).
CREATE VIRTUAL TABLE temp.journal_index USING fts5(
  text, entry_id UNINDEXED, day UNINDEXED, tokenize = "unicode61 remove_diacritics 2"
);
INSERT INTO journal_index
SELECT replace(replace(text, char(13), ' '), char(10), ' '), entry_id, date(created_at, 'unixepoch')
FROM journal_text WHERE text IS NOT NULL;

SELECT day, entry_id, snippet(journal_index, 0, '[', ']', '…', 16)
FROM journal_index
WHERE journal_index MATCH (
  SELECT group_concat('"' || replace(word.value, '"', '""') || '"*', ' ')
  FROM parameter, json_each('[' || replace(json_quote(words), ' ', '","') || ']') AS word WHERE word.value <> ''
)
ORDER BY rank, entry_id DESC LIMIT coalesce(:most, 20);

SELECT '(' || n || ' entries and items cannot be read any more)' FROM (SELECT count(*) AS n FROM (
  SELECT journal_check(e.user_id, e.key_uid, e.token) AS word
  FROM parameter JOIN journal_entries AS e ON e.user_id = parameter.user_id
  UNION ALL
  SELECT CASE WHEN k.uid IS NULL THEN 'key_not_found' ELSE journal_check(e.user_id, k.uid, i.master_encrypted_data) END
  FROM parameter
  JOIN journal_entries AS e ON e.user_id = parameter.user_id
  JOIN journal_entry_items AS i ON i.journal_entry_id = e.id
  LEFT JOIN user_journal_master_keys AS k ON k.id = i.master_key_id
)
WHERE word IN ('no_key', 'key_not_found', 'key_lost', 'token_invalid')) WHERE n > 0;

DROP TABLE journal_index;
DROP TABLE fetched;
DROP VIEW journal_text;
DROP TABLE parameter;
DROP TABLE key_schema;
