-- Searches one user's journal, entries and items, for a word or a phrase.
--
--   sqlite3 -cmd 'PRAGMA temp_store = MEMORY' -cmd '.load ./journal_crypt' -cmd '.param set :user_id 7' \
--     -cmd ".param set :words \"'dear diary'\"" journal.db < sql/search.sql
--
-- Needs   a shell of 3.35 or later, and JOURNAL_KEY_STORE with the right to read. Changes nothing. PRAGMA temp_store =
--         MEMORY comes before .param, so that nothing that is sorted ever lies in a temporary file.
-- Takes   :user_id   the user
--         :words     what to look for, as it stands, without regard to the case of ASCII letters
-- Gives   the day, the entry's id, and some text around the first place found, newest first; then how much of the
--         journal could not be searched since its key is lost.
--
-- Everything is decrypted in this process's memory and nowhere else. An outage is an error, never "nothing found".

.bail on
.timeout 10000
.param init
CREATE TEMP TABLE parameter (
  user_id INTEGER CONSTRAINT "set :user_id to the user" CHECK (typeof(user_id) = 'integer'),
  words TEXT CONSTRAINT "set :words to what is looked for" CHECK (words <> ''),
  temp_store INTEGER CONSTRAINT "say PRAGMA temp_store = MEMORY before .param set" CHECK (temp_store = 2)
);
INSERT INTO parameter SELECT :user_id, coalesce(:words, ''), temp_store FROM pragma_temp_store;

-- All texts of the journal, one row each: an entry as a whole, an item by each string in its JSON.
CREATE TEMP VIEW journal_text AS
SELECT e.id AS entry_id, e.created_at, journal_try_decrypt(e.user_id, e.key_uid, e.token) AS text
FROM parameter JOIN main.journal_entries AS e ON e.user_id = parameter.user_id
UNION ALL
SELECT e.id, e.created_at, string.atom
FROM parameter
JOIN main.journal_entries AS e ON e.user_id = parameter.user_id
JOIN main.journal_entry_items AS i ON i.journal_entry_id = e.id
JOIN main.user_journal_master_keys AS k ON k.id = i.master_key_id
JOIN json_tree(journal_try_decrypt_item(e.user_id, k.uid, i.master_encrypted_data)) AS string ON string.type = 'text';

-- All the user's keys side by side, rather than each when the first entry needs it.
CREATE TEMP TABLE fetched AS SELECT journal_prefetch(user_id) AS outcome FROM parameter;

WITH hit AS MATERIALIZED (
  SELECT entry_id, created_at, text, instr(lower(text), lower(words)) AS place
  FROM journal_text JOIN parameter WHERE instr(lower(text), lower(words)) > 0
)
SELECT date(created_at, 'unixepoch'), entry_id,
  replace(replace(substr(text, max(1, place - 30), length((SELECT words FROM parameter)) + 60), char(13), ' '), char(10), ' ')
FROM hit ORDER BY created_at DESC, entry_id DESC;

SELECT '(' || n || ' entries and items cannot be read any more)' FROM (SELECT count(*) AS n FROM (
  SELECT journal_check(e.user_id, e.key_uid, e.token) AS word
  FROM parameter JOIN main.journal_entries AS e ON e.user_id = parameter.user_id
  UNION ALL
  SELECT CASE WHEN k.uid IS NULL THEN 'key_not_found' ELSE journal_check(e.user_id, k.uid, i.master_encrypted_data) END
  FROM parameter
  JOIN main.journal_entries AS e ON e.user_id = parameter.user_id
  JOIN main.journal_entry_items AS i ON i.journal_entry_id = e.id
  LEFT JOIN main.user_journal_master_keys AS k ON k.id = i.master_key_id
)
WHERE word IN ('no_key', 'key_not_found', 'key_lost', 'token_invalid')) WHERE n > 0;

DROP TABLE fetched;
DROP VIEW journal_text;
DROP TABLE parameter;
