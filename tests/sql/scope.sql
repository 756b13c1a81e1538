-- journal_scope: a connection that uses one user's keys alone.

CREATE TABLE entry (user_id, token);
INSERT INTO entry SELECT 1, token FROM journal_seal(1, 'of the first') UNION ALL SELECT 2, token FROM journal_seal(2, 'of the second');
SELECT journal_scope(1, 'x');
--! journal_scope: out_of_scope: this connection has no scope to move or to end
SELECT journal_scope(NULL);
--! journal_scope: bad_argument: user_id must be an INTEGER or TEXT of 1 to 255 bytes, this is NULL
SELECT status, detail FROM journal_doctor WHERE name = 'scope';
--> ok|none, and none is required

CREATE TEMP TABLE kept AS SELECT journal_scope(1) AS nonce;
SELECT typeof(nonce), length(nonce) FROM kept;
--> text|22
SELECT journal_decrypt(user_id, NULL, token) FROM entry WHERE user_id = 1;
--> of the first
SELECT count(journal_try_decrypt(user_id, NULL, token)) FROM entry;
--! journal_try_decrypt: out_of_scope: the scope of this connection is another user's
SELECT token FROM journal_seal(2, 'x');
--! journal_seal: out_of_scope: the scope of this connection is another user's
SELECT journal_prefetch('[1, 2]');
--! journal_prefetch: out_of_scope: the scope of this connection is another user's
SELECT journal_check(2, NULL, token) FROM entry;
--! journal_check: out_of_scope: the scope of this connection is another user's
SELECT group_concat(key_uid) FROM journal_cache;
--> oseh_ujmk_1
SELECT journal_evict();
--! journal_evict: out_of_scope: a connection with a scope drops only a key of the scope's user, named by its uid
SELECT status, detail FROM journal_doctor WHERE name = 'scope';
--> ok|this connection uses the keys of one user

SELECT journal_scope(2);
--! journal_scope: out_of_scope: this connection has a scope; only a call with its nonce moves or ends it
SELECT journal_scope(NULL, 'x');
--! journal_scope: out_of_scope: this is not the nonce of this connection's scope
SELECT journal_scope(2, nonce) = nonce FROM kept;
--> 1
SELECT journal_decrypt(user_id, NULL, token) FROM entry WHERE user_id = 2;
--> of the second
SELECT journal_key_uid(1);
--! journal_key_uid: out_of_scope: the scope of this connection is another user's
SELECT journal_scope(NULL, nonce) FROM kept;
--> NULL
SELECT count(journal_try_decrypt(user_id, NULL, token)) FROM entry;
--> 2

CREATE VIEW spy AS SELECT journal_scope(1);
SELECT * FROM spy;
--! unsafe use of journal_scope()
