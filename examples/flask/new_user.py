"""Makes a user and the user's first key: JOURNAL_ADMIN=1 python new_user.py

The journal's server runs without JOURNAL_ADMIN, and needs no right to write keys.
"""

import secrets
import time
from contextlib import closing

import journal

with closing(journal.connect()) as connection:
    sql = "INSERT INTO users (uid, created_at) VALUES (?, ?)"
    with connection:
        user_id = connection.execute(sql, (f"oseh_u_{secrets.token_urlsafe(16)}", time.time())).lastrowid
    # The key's object is written to the store before its rows are written here.
    [key_uid] = connection.execute("SELECT journal_rotate_key(?)", (user_id,)).fetchone()
print(f"user {user_id} has the key {key_uid}")
