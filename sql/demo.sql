-- A journal of three users: written, read back, and one user's part of it lost for good.
--
-- `make demo` runs this in the sqlite3 shell, from the top of the repository, on an empty database and with
-- JOURNAL_KEY_STORE=file:///…/target/demo/keys. The shell stops at the first error (-bail), and what the demo
-- claims is a CHECK (see proof): a claim that does not hold ends it with exit code 1.

.load ./journal_crypt
.read sql/schema.sql
PRAGMA foreign_keys = ON;
.output /dev/null
PRAGMA temp_store = MEMORY;                 -- the plaintexts below are in TEMP tables
.output stdout

CREATE TEMP TABLE proof (
  claim TEXT NOT NULL,
  holds INTEGER NOT NULL CONSTRAINT "a claim of the demo does not hold" CHECK (holds)
);

-- ---- Users and keys -------------------------------------------------------------------------------------------

INSERT INTO users (uid, created_at)
SELECT 'oseh_u_' || lower(hex(randomblob(11))), strftime('%s', '2026-01-01') FROM (VALUES (1), (2), (3));

-- User 1 was given a second key in March. A key is an object in the store, a row that names the object, and a row
-- that says whose it is.
CREATE TEMP TABLE new_key AS
SELECT column1 AS user_id, strftime('%s', column2) + 0.0 AS created_at, lower(hex(randomblob(11))) AS random
FROM (VALUES (1, '2026-01-01'), (1, '2026-03-01'), (2, '2026-01-01'), (3, '2026-01-01'));

INSERT INTO s3_files (uid, key, file_size, content_type, created_at)
SELECT 'oseh_s3f_' || random, 's3_files/journals/keys/master/oseh_ujmk_' || random, 45, 'text/plain', created_at
FROM new_key;

INSERT INTO user_journal_master_keys (uid, user_id, s3_file_id, created_at)
SELECT 'oseh_ujmk_' || random, user_id, s3_files.id, new_key.created_at
FROM new_key JOIN s3_files ON s3_files.uid = 'oseh_s3f_' || random;

.once '|sh sql/demo-keys.sh target/demo/keys'
SELECT key FROM s3_files;

-- ---- What the users write -------------------------------------------------------------------------------------

-- An entry is one sentence of each part. User 3 writes in French. {d} becomes the day of the week.
CREATE TEMP TABLE sentence (lang TEXT, part TEXT, text TEXT);
INSERT INTO sentence VALUES
  ('en', 'start', 'Slept badly and woke before the alarm.'),
  ('en', 'start', '{d} again, and the light came early through the curtains.'),
  ('en', 'start', 'Rain all morning; I am writing this at the kitchen table.'),
  ('en', 'start', 'A slow start: two coffees ☕ before I could think.'),
  ('en', 'start', 'Up at six for a run along the canal, 7 °C and fog.'),
  ('en', 'start', 'Home late, writing this in bed with one eye shut.'),
  ('en', 'start', 'Quiet {d}. The phone stayed in the drawer until noon.'),
  ('en', 'start', 'Migraine until lunch, then it lifted all at once.'),
  ('en', 'start', 'On the 8:14 train, standing the whole way.'),
  ('en', 'start', 'Overslept, forgave myself by ten.'),
  ('en', 'start', 'Woke from the dream about the old house again.'),
  ('en', 'event', 'The review I had dreaded took ten minutes and ended in a laugh.'),
  ('en', 'event', 'My sister rang from Kraków and we talked until her battery died.'),
  ('en', 'event', 'Cleared out the cellar and found the letters; read three and had to stop.'),
  ('en', 'event', 'Sat with Mum at the clinic. The results will take a week.'),
  ('en', 'event', 'Said no to the extra shift, and the sky did not fall.'),
  ('en', 'event', 'We argued about money again, quietly, which is worse.'),
  ('en', 'event', 'Baked the walnut bread and for once it rose 🍞.'),
  ('en', 'event', 'Took the long way home, past the allotments.'),
  ('en', 'event', 'Twenty minutes of meditation, of which perhaps four were meditation.'),
  ('en', 'event', 'Finished the novel and sat there, not wanting to start another.'),
  ('en', 'event', 'Phở with the old team: too much chilli, no regrets.'),
  ('en', 'event', 'Deleted the app. Third time this year. We will see.'),
  ('en', 'event', 'First session with the new therapist; I talked about work for fifty minutes.'),
  ('en', 'feeling', 'I notice that I hold my breath when I read e-mail.'),
  ('en', 'feeling', 'Something in my chest let go that I had not known was tight.'),
  ('en', 'feeling', 'Anxious without a reason I could name.'),
  ('en', 'feeling', 'Calm, mostly. Grateful, and a little surprised by it.'),
  ('en', 'feeling', 'Angry for an hour, then only tired.'),
  ('en', 'feeling', 'I keep comparing; I know what it does and I do it anyway.'),
  ('en', 'feeling', 'Felt useful, which is not the same as busy.'),
  ('en', 'feeling', 'Missed Dad. It comes in waves, and this one was small 🌊.'),
  ('en', 'feeling', 'Proud of one small thing, and letting that be enough.'),
  ('en', 'feeling', 'Lonely in the evening, less so after writing it down.'),
  ('en', 'detail', 'Three good things: the blackbird, clean sheets, soup.'),
  ('en', 'detail', '8,400 steps. Less good: the third glass of wine 🍷.'),
  ('en', 'detail', 'The neighbours’ cat has decided that our step is hers 🐈.'),
  ('en', 'detail', 'A word to keep: 木漏れ日, sunlight through leaves.'),
  ('en', 'detail', 'Note to self: “busy” is not a feeling.'),
  ('en', 'detail', 'Bought tulips for no reason, €4.50, best money of the week 🌷.'),
  ('en', 'detail', 'Played the piano for the first time since November, badly.'),
  ('en', 'detail', 'Tried the breathing exercise: in 4, hold 7, out 8. It helps, annoyingly.'),
  ('en', 'detail', 'No news from the landlord. Not thinking about it.'),
  ('en', 'close', 'Tomorrow: ring the bank, then be kind to myself.'),
  ('en', 'close', 'Lights out by eleven, promise.'),
  ('en', 'close', 'One thing at a time.'),
  ('en', 'close', 'I want to remember how the kitchen smelled.'),
  ('en', 'close', 'That is all. Good night 🌙'),
  ('en', 'close', 'More on this when I know what I think.'),
  ('en', 'close', 'Next week I will ask for help before it is too late to.'),
  ('fr', 'start', 'Réveil à l’aube, la tête encore pleine.'),
  ('fr', 'start', 'Grasse matinée, la première depuis longtemps.'),
  ('fr', 'start', 'Il pleut sur les toits et ça me va très bien.'),
  ('fr', 'start', 'Métro bondé, 40 minutes debout.'),
  ('fr', 'start', 'Un café au comptoir ☕ avant tout le monde.'),
  ('fr', 'start', 'Mal dormi : trop d’écran, je le sais.'),
  ('fr', 'start', 'J’écris ceci dans le train, les pieds gelés.'),
  ('fr', 'event', 'Longue promenade au bord de l’eau, sans téléphone.'),
  ('fr', 'event', 'Réunion interminable, puis un fou rire qui a tout sauvé.'),
  ('fr', 'event', 'J’ai enfin osé demander une augmentation.'),
  ('fr', 'event', 'Dîner chez mes parents : on n’a pas parlé de l’hôpital.'),
  ('fr', 'event', 'Première crème brûlée réussie 🍮, il était temps.'),
  ('fr', 'event', 'Retrouvé au grenier les cartes postales de Mamie.'),
  ('fr', 'event', 'Dispute bête à propos de la vaisselle, réparée avant la nuit.'),
  ('fr', 'event', 'Cours de yoga : je suis tombé de l’arbre, deux fois.'),
  ('fr', 'feeling', 'Le cœur léger sans savoir pourquoi.'),
  ('fr', 'feeling', 'Un peu d’angoisse vers 17 h, passée en marchant.'),
  ('fr', 'feeling', 'Je me sens utile, et c’est nouveau.'),
  ('fr', 'feeling', 'Triste ce soir, mais d’une tristesse douce.'),
  ('fr', 'feeling', 'Fier d’avoir dit non.'),
  ('fr', 'feeling', 'Fatigué, simplement fatigué.'),
  ('fr', 'detail', 'Merci pour : le soleil de midi, la voisine, la soupe.'),
  ('fr', 'detail', 'À relire : la lettre que je n’ai pas envoyée ✉️.'),
  ('fr', 'detail', 'Cinq minutes de cohérence cardiaque, ça compte.'),
  ('fr', 'detail', 'Le chat a dormi sur le clavier 🐈 toute la soirée.'),
  ('fr', 'detail', 'Rien d’autre à signaler, et tant mieux.'),
  ('fr', 'close', 'Demain : appeler la banque, puis respirer.'),
  ('fr', 'close', 'Bonne nuit 🌙'),
  ('fr', 'close', 'Je veux me souvenir de cette lumière.'),
  ('fr', 'close', 'Une chose à la fois.'),
  ('fr', 'close', 'On verra bien.');

CREATE TEMP TABLE choice AS
SELECT lang, part, text,
  row_number() OVER (PARTITION BY lang, part) - 1 AS nth, count(*) OVER (PARTITION BY lang, part) AS of
FROM sentence;

-- Who writes on which day. Not everyone writes every day, and the mood gets a little better over the months.
CREATE TEMP TABLE page AS
WITH RECURSIVE day (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM day WHERE n < 149),
  writer (user_id, lang) AS (VALUES (1, 'en'), (2, 'en'), (3, 'fr'))
SELECT user_id, lang, n,
  strftime('%s', '2026-01-01 21:00', '+' || n || ' days') + 60.0 * (n * 37 % 90) AS created_at,
  3 + (n * 7 + user_id * 5) % 11 * 4 / 10 + n / 50 AS mood
FROM day, writer WHERE (n * 7 + user_id) % 10 < 10 - user_id;

-- The numbers of sentences have few common divisors, so that these strides make every entry another one.
CREATE TEMP TABLE written AS
SELECT 'oseh_je_' || lower(hex(randomblob(11))) AS uid, user_id, created_at,
  mood || '/10 ' || substr('😔😐🙂😊', mood / 2, 1) || char(10)
  || replace(start.text, '{d}', CASE strftime('%w', created_at, 'unixepoch')
       WHEN '0' THEN 'Sunday' WHEN '1' THEN 'Monday' WHEN '2' THEN 'Tuesday' WHEN '3' THEN 'Wednesday'
       WHEN '4' THEN 'Thursday' WHEN '5' THEN 'Friday' ELSE 'Saturday' END)
  || ' ' || event.text || ' ' || feeling.text || ' ' || detail.text || char(10, 10) || close.text AS entry
FROM page
JOIN choice AS start ON (start.lang, start.part, start.nth) = (page.lang, 'start', (n * 3 + user_id) % start.of)
JOIN choice AS event ON (event.lang, event.part, event.nth) = (page.lang, 'event', (n * 5 + user_id) % event.of)
JOIN choice AS feeling ON (feeling.lang, feeling.part, feeling.nth) = (page.lang, 'feeling', (n * 7 + user_id) % feeling.of)
JOIN choice AS detail ON (detail.lang, detail.part, detail.nth) = (page.lang, 'detail', (n * 4 + user_id) % detail.of)
JOIN choice AS close ON (close.lang, close.part, close.nth) = (page.lang, 'close', (n * 2 + user_id) % close.of)
ORDER BY n, user_id;

-- ---- Encrypt --------------------------------------------------------------------------------------------------

-- journal_seal gives the token and the key it is under, which is the user's newest.
INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
SELECT uid, user_id, key_uid, token, created_at
FROM written CROSS JOIN journal_seal(user_id, entry)
WHERE user_id <> 1 OR created_at >= strftime('%s', '2026-03-01') + 0;

-- journal_encrypt can be told the key: what user 1 wrote before March is under the key of that time.
INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)
SELECT written.uid, user_id, k.uid, journal_encrypt(user_id, entry, k.uid), written.created_at
FROM written JOIN user_journal_master_keys AS k USING (user_id)
WHERE user_id = 1 AND written.created_at < strftime('%s', '2026-03-01') + 0
  AND k.created_at < strftime('%s', '2026-03-01') + 0;

-- ---- Decrypt --------------------------------------------------------------------------------------------------

-- A view that decrypts must be a TEMP view, so that no database file can bring one along.
CREATE TEMP VIEW journal AS
SELECT *, journal_try_decrypt(user_id, key_uid, token) AS entry FROM journal_entries;

.mode column
.headers on
.nullvalue NULL
.print 'Three users and four keys; user 1 was given a second one in March. The keys themselves are files.'
.print
.width 4 10 32
SELECT user_id AS user, date(created_at, 'unixepoch') AS since, uid AS key
FROM user_journal_master_keys ORDER BY user_id, created_at;

.print
.print 'What they wrote, as the table holds it and as a TEMP view with journal_try_decrypt() reads it:'
.print
.width 4 10 24 54
SELECT user_id AS user, date(created_at, 'unixepoch') AS day, substr(token, 1, 23) || '…' AS "token in the table",
  substr(replace(entry, char(10), ' '), 1, 53) || '…' AS "entry in the view"
FROM journal
WHERE date(created_at, 'unixepoch') IN ('2026-01-01', '2026-03-24', '2026-05-02')
ORDER BY created_at, user_id;

INSERT INTO proof
SELECT count(*) || ' of ' || (SELECT count(*) FROM written) || ' entries read back as they were written',
  count(*) = (SELECT count(*) FROM written) AND count(*) > 300
FROM journal JOIN written USING (uid) WHERE journal.entry = written.entry;

-- A copy of the database, as a thief or a backup would have it.
VACUUM INTO 'target/demo/copy.db';
INSERT INTO proof
SELECT 'none of their ' || count(*) || ' sentences occurs in a copy of the database file, nor does a key',
  sum(instr(copy, CAST(text AS BLOB))) = 0 AND length(copy) > 100000
  AND (SELECT count(*) = 4 AND sum(instr(copy, readfile('target/demo/keys/' || key))) = 0 FROM s3_files)
FROM sentence, (SELECT readfile('target/demo/copy.db') AS copy);

.print
.print 'A question that only decrypted text can answer, the mood of user 1 by month:'
.print
.width 7 7 4 20
SELECT strftime('%Y-%m', created_at, 'unixepoch') AS month, count(*) AS entries, round(avg(CAST(entry AS INTEGER)), 1) AS mood,
  substr('▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 1, CAST(2 * avg(CAST(entry AS INTEGER)) AS INTEGER)) AS ""
FROM journal WHERE user_id = 1 GROUP BY month;

-- ---- Lose a key -----------------------------------------------------------------------------------------------

DELETE FROM user_journal_master_keys WHERE user_id = 2;

.print
.print 'The key row of user 2 is deleted. The key is still in memory, and yet:'
.print
.width 4 7 8 10 13 46
SELECT user_id AS user, count(*) AS entries, count(entry) AS readable, date(max(created_at), 'unixepoch') AS "the last",
  journal_check(user_id, key_uid, token) AS journal_check,
  substr(replace(entry, char(10), ' '), 1, 45) || '…' AS "entry in the view"
FROM journal GROUP BY user_id;

INSERT INTO proof
SELECT 'all ' || count(*) || ' entries of user 2 are gone: journal_try_decrypt() gives NULL',
  count(*) > 100 AND count(entry) = 0 AND sum(journal_check(user_id, key_uid, token) IS 'key_not_found') = count(*)
FROM journal WHERE user_id = 2;

INSERT INTO proof
SELECT 'all ' || count(*) || ' entries of users 1 and 3 still read back as they were written',
  count(*) = (SELECT count(*) FROM written WHERE user_id <> 2)
FROM journal JOIN written USING (uid) WHERE journal.entry = written.entry;

.print
.mode list
.headers off
SELECT '✓ ' || claim FROM proof;
