#!/usr/bin/env bash
# Every function in the sqlite3 shell under valgrind's memcheck: no wrong read or write, and nothing lost.
# (helgrind is no use here: it does not know the locks of Rust's standard library, and takes each for a race.)
set -euo pipefail
cd "$(dirname "$0")/../.."
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
keys=$directory/keys/s3_files/journals/keys/master
mkdir -p "$keys"
echo -n 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=' > "$keys/oseh_ujmk_1"
{
  cat sql/schema.sql
  cat <<'SQL'
INSERT INTO users VALUES (7, 'oseh_u_7', 0);
INSERT INTO s3_files VALUES (1, 'oseh_s3f_1', 's3_files/journals/keys/master/oseh_ujmk_1', 44, 'text/plain', 0),
  (2, 'oseh_s3f_2', 's3_files/journals/keys/master/oseh_ujmk_2', 44, 'text/plain', 0);
INSERT INTO user_journal_master_keys VALUES (1, 'oseh_ujmk_1', 7, 1, 1), (2, 'oseh_ujmk_2', 7, 2, 0);
SQL
} | sqlite3 -init /dev/null -batch "$directory/journal.db"
# generate_series is the shell's own; errors are part of it, so the shell's own answer does not count.
JOURNAL_KEY_STORE="file://$directory/keys" JOURNAL_ADMIN=1 valgrind -q --error-exitcode=99 \
  --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
  sqlite3 -init /dev/null -batch -cmd ".load ./journal_crypt" "$directory/journal.db" > "$directory/out" 2> "$directory/err" <<'SQL' || [ $? -eq 1 ]
SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello')), journal_key_uid(7), journal_version(), length(journal_config());
SELECT count(journal_decrypt_blob(7, key_uid, token)) FROM generate_series(1, 200), journal_seal(7, zeroblob(value * 10));
SELECT journal_decrypt_item(7, NULL, token), journal_try_decrypt_item(7, NULL, token) FROM journal_seal_item(7, '{"a": 1}');
SELECT journal_check(7, NULL, journal_encrypt(7, 1)), journal_check(7, NULL, 'x'), journal_try_decrypt(7, NULL, 'x');
SELECT journal_rewrap(7, NULL, journal_encrypt(7, 'x')) IS NOT NULL, journal_token_time(journal_encrypt(7, 'x')) > 0;
SELECT journal_decrypt(7, NULL, 'x');
SELECT journal_decrypt(7, 'oseh_ujmk_2', journal_encrypt(7, 'x'));
SELECT journal_encrypt(8, 'x');
SELECT journal_encrypt('dear diary', 'x');
SELECT count(*) FROM journal_doctor;
SELECT count(*) FROM journal_stats, journal_cache;
SELECT json_valid(journal_create_key(7)), journal_rotate_key(7) IS NOT NULL;
SELECT json_valid(journal_shred_key(7, journal_key_uid(7))), journal_try_decrypt(7, journal_key_uid(7), 'x') IS NULL;
SELECT journal_shred_key(7, 'oseh_ujmk_2');
SELECT journal_prefetch('[7, 8]'), journal_evict('oseh_ujmk_1'), journal_evict();
SELECT 'the end';
SQL
grep -q '^the end$' "$directory/out" || { cat "$directory/err" >&2; exit 1; }
if grep -E '^==[0-9]+==' "$directory/err" >&2; then exit 1; fi
echo "memcheck: $(grep -c . "$directory/out") rows, nothing wrong"
