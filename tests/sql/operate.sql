-- What operators call: keys fetched ahead, the cache and its counters, the configuration, the version.

SELECT journal_evict();
--> 0
SELECT length(journal_encrypt(1, 'a')), length(journal_encrypt(2, 'a')), length(journal_encrypt(2, 'a', 'oseh_ujmk_2_old'));
--> 100|100|100
SELECT journal_evict('oseh_ujmk_1'), journal_evict('oseh_ujmk_1'), journal_evict('oseh_ujmk_none'), journal_evict(), journal_evict();
--> 1|0|0|2|0

-- What was dropped is fetched again.
SELECT journal_decrypt(1, NULL, journal_encrypt(1, 'hello')), journal_evict();
--> hello|1

SELECT journal_evict(NULL);
--! journal_evict: bad_argument: key_uid must be TEXT, this is NULL
SELECT journal_evict(1);
--! journal_evict: bad_argument: key_uid must be TEXT, this is INTEGER

SELECT typeof(journal_version()), journal_version() GLOB '[0-9]*.[0-9]*.[0-9]*';
--> text|1
SELECT journal_version(1);
--! wrong number of arguments to function journal_version()

-- Ahead of need: one user, or a JSON array of users.
SELECT journal_evict() IS NOT NULL, json_extract(journal_prefetch(1), '$.ready'), json_extract(journal_prefetch(1.0), '$.ready');
--> 1|1|1
SELECT user, json_extract(prefetched, '$.ready'), json_extract(prefetched, '$.failed')
FROM (SELECT value AS user, journal_prefetch(value) AS prefetched FROM json_each('[1, 2, 3, 4, 5, 6]'));
--> 1|1|{}
--> 2|3|{}
--> 3|1|{"key_invalid":1,"key_lost":1}
--> 4|0|{"no_key":1}
--> 5|0|{"key_lost":1}
--> 6|0|{"key_invalid":1}
SELECT json_extract(p, '$.ready'), json_extract(p, '$.failed') FROM (SELECT journal_prefetch('[6, 5, 4, 3, 2, 1, 2.0, 2]') AS p);
--> 5|{"key_invalid":2,"key_lost":2,"no_key":1}
SELECT json_extract(journal_prefetch('[]'), '$.ready');
--> 0
SELECT journal_prefetch(NULL);
--! journal_prefetch: bad_argument: user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is NULL
SELECT journal_prefetch('Dear diary');
--! journal_prefetch: bad_argument: user_id must be an INTEGER, as in the key rows, this is TEXT of 10 bytes
SELECT journal_prefetch('[1, "Dear diary"]');
--! journal_prefetch: bad_argument: user_id must be an INTEGER, as in the key rows, this is TEXT of 10 bytes
SELECT journal_prefetch('[1.5]');
--! journal_prefetch: bad_argument: user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is TEXT of 5 bytes

SELECT key_uid, object, typeof(age), stale FROM journal_cache ORDER BY key_uid LIMIT 2;
--> oseh_ujmk_1|s3_files/journals/keys/master/oseh_ujmk_1|real|0
--> oseh_ujmk_2_old|s3_files/journals/keys/master/oseh_ujmk_2_old|real|0
SELECT name, value FROM journal_stats
WHERE name IN ('keys_cached', 'keys_stale', 'queue_timeouts', 'retries', 'stale_answers', 'failed_store_denied', 'failed_store_unavailable', 'store_down') ORDER BY name;
--> failed_store_denied|0
--> failed_store_unavailable|0
--> keys_cached|5
--> keys_stale|0
--> queue_timeouts|0
--> retries|0
--> stale_answers|0
--> store_down|0
SELECT substr(journal_metrics(), 1, 36), journal_metrics() LIKE '%' || char(10) || 'journal_crypt_keys_cached 5' || char(10) || '%# EOF' || char(10);
--> # TYPE journal_crypt_fetches counter|1
SELECT journal_metrics(1);
--! wrong number of arguments to function journal_metrics()

SELECT json_extract(journal_config(), '$.key_store') LIKE 'file:///%/keys', json_extract(journal_config(), '$.cache_ttl'),
  json_extract(journal_config(), '$.schema');
--> 1|3600.0|main

-- The doctor: what is wrong here, and what is not once it is put right.
SELECT name, status FROM journal_doctor WHERE name <> 'sqlite' ORDER BY name;
--> absent_key|ok
--> cipher|ok
--> clock|ok
--> configuration|ok
--> credentials|ok
--> foreign_keys|warning
--> indexes|ok
--> key_management|ok
--> key_tables|ok
--> newest_key|failed
--> replicated|ok
--> scope|ok
--> store|ok
--> temp_store|warning
--> wrapping|ok
SELECT detail FROM journal_doctor WHERE name = 'newest_key';
--> the current key of user 6: key_invalid: key "oseh_ujmk_6_elsewhere": its object's name lies outside JOURNAL_KEY_PREFIX
PRAGMA foreign_keys = ON;
PRAGMA temp_store = MEMORY;
DELETE FROM users WHERE id > 1;
SELECT name, status FROM journal_doctor WHERE status <> 'ok';
DROP INDEX user_journal_master_keys_user_id_created_at_index;
SELECT detail FROM journal_doctor WHERE status <> 'ok';
--> none begins with user_journal_master_keys.user_id: every call reads the whole table; see sql/schema.sql
