-- The Fernet specification's vectors (generate.json, verify.json, invalid.json) under its key, which is user 1's.

SELECT journal_decrypt(1, 'oseh_ujmk_1', 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==');
--> hello

-- Stored entries have no maximum age: the vectors that are invalid for their time alone can be read (as an empty text).
CREATE TEMP TABLE vector (description, token);
INSERT INTO vector VALUES
  ('incorrect mac', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ=='),
  ('too short', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA=='),
  ('invalid base64', '%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q=='),
  ('payload size not multiple of block size', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm'),
  ('payload padding error', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw=='),
  ('far-future TS', 'gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw=='),
  ('expired TTL', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q=='),
  ('incorrect IV', 'gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==');

SELECT description, journal_check(1, 'oseh_ujmk_1', token), journal_try_decrypt(1, 'oseh_ujmk_1', token) FROM vector;
--> incorrect mac|token_invalid|NULL
--> too short|token_invalid|NULL
--> invalid base64|token_invalid|NULL
--> payload size not multiple of block size|token_invalid|NULL
--> payload padding error|token_invalid|NULL
--> far-future TS|ok|
--> expired TTL|ok|
--> incorrect IV|token_invalid|NULL

-- base64url has one spelling: what Python lets pass besides is refused.
CREATE TEMP TABLE spelling (description, token);
INSERT INTO spelling
WITH spec (token) AS (VALUES ('gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=='))
SELECT 'as it is', token FROM spec
UNION ALL SELECT 'as a BLOB', CAST(token AS BLOB) FROM spec
UNION ALL SELECT 'unpadded', rtrim(token, '=') FROM spec
UNION ALL SELECT 'half padded', substr(token, 1, length(token) - 1) FROM spec
UNION ALL SELECT 'padded too much', token || '=' FROM spec
UNION ALL SELECT 'standard alphabet', replace(replace(token, '-', '+'), '_', '/') FROM spec
UNION ALL SELECT 'a line break after it', token || char(10) FROM spec
UNION ALL SELECT 'a line break inside', substr(token, 1, 64) || char(10) || substr(token, 65) FROM spec
UNION ALL SELECT 'a space before it', ' ' || token FROM spec
UNION ALL SELECT 'a NUL after it', token || char(0) FROM spec
UNION ALL SELECT 'loose bits in the last letter', replace(token, 'DA==', 'DB==') FROM spec
UNION ALL SELECT 'twice', token || token FROM spec
UNION ALL SELECT 'empty', '';

SELECT description, journal_check(1, 'oseh_ujmk_1', token) FROM spelling;
--> as it is|ok
--> as a BLOB|ok
--> unpadded|token_invalid
--> half padded|token_invalid
--> padded too much|token_invalid
--> standard alphabet|token_invalid
--> a line break after it|token_invalid
--> a line break inside|token_invalid
--> a space before it|token_invalid
--> a NUL after it|token_invalid
--> loose bits in the last letter|token_invalid
--> twice|token_invalid
--> empty|token_invalid
