"""Database files that somebody prepared against us: every call ends in a clear error, in bounded time and memory.

Each test runs its Python in a process of its own, with a limit on its memory and on its time: a crash of ours is
the end of that process, and a call that does not end is killed.
"""

import os

import pytest

from conftest import LIBRARY, PREFIX, new_key


def replace_key_tables(database, script):
    """Put something else in the place of the key tables."""
    with database.writing() as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(
            f"DROP TABLE user_journal_master_keys; DROP TABLE s3_files; {script}"
        )


TABLES = """
CREATE TABLE s3_files (id, key);
CREATE TABLE user_journal_master_keys (id, uid, user_id, s3_file_id, created_at);
"""


# ---- Other things in the place of the key tables ----


def test_views_are_read_like_tables(database, key_store, child):
    key_store.write("oseh_ujmk_1")
    replace_key_tables(
        database,
        f"CREATE VIEW s3_files AS SELECT 1 AS id, '{PREFIX}oseh_ujmk_1' AS key;"
        "CREATE VIEW user_journal_master_keys AS"
        " SELECT 1 AS id, 'oseh_ujmk_1' AS uid, 7 AS user_id, 1 AS s3_file_id, 0 AS created_at;",
    )
    assert child("say(run('SELECT journal_decrypt(7, NULL, journal_encrypt(7, ?))', 'hello'))") == [["hello"]]


@pytest.mark.parametrize("function", ["journal_encrypt(7, 'x')", "journal_decrypt(7, NULL, 'x')", "journal_key_uid(7)"])
def test_a_view_that_calls_us_is_refused(database, child, function):
    replace_key_tables(
        database,
        "CREATE TABLE s3_files (id, key);"
        f"CREATE VIEW user_journal_master_keys AS SELECT 1 AS id, {function} AS uid, 7 AS user_id,"
        " 1 AS s3_file_id, 0 AS created_at;",
    )
    name = function.partition("(")[0]
    assert child("say(run('SELECT journal_encrypt(7, 1)'))") == [[f"OperationalError: journal_encrypt: unsafe use of {name}()"]]


def test_triggers_that_call_us_are_refused_and_reads_fire_none(database, key_store, child):
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    key_store.write("oseh_ujmk_1")
    with database.writing() as connection:
        connection.executescript("""
            CREATE TABLE copies (text);
            CREATE TRIGGER t AFTER INSERT ON journal_entries BEGIN
              INSERT INTO copies SELECT journal_decrypt(new.user_id, new.key_uid, new.token); END;
        """)
    said = child("""
        say(run("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello'))"))
        say(run("INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at)"
                " SELECT 'e', 7, key_uid, token, 0 FROM journal_seal(7, 'hello')"))
        say(run("SELECT count(*) FROM copies"))
    """)
    assert said == [["hello"], ["OperationalError: unsafe use of journal_decrypt()"], [0]]


@pytest.mark.parametrize("calls", ["journal_key_uid(7)", "journal_encrypt(7, 1)", "journal_decrypt(7, NULL, 'gAAA')"])
def test_a_view_that_reaches_us_through_a_function_of_the_host_ends(database, child, calls):
    replace_key_tables(
        database,
        "CREATE TABLE s3_files (id, key);"
        "CREATE VIEW user_journal_master_keys AS SELECT 1 AS id, again() AS uid, 7 AS user_id,"
        " 1 AS s3_file_id, 0 AS created_at;",
    )
    said = child(f"""
        deepest = depth = 0
        def again():
            global depth, deepest
            depth += 1
            deepest = max(depth, deepest)
            # SQLite makes one error of whatever a function raises: the text is handed on by hand.
            result = run("SELECT {calls}")
            depth -= 1
            return result
        connection.create_function("again", 0, again)
        sys.setrecursionlimit(100_000)
        say(run("SELECT {calls}"))
        say(deepest)
        say(run("SELECT journal_version()") > "0")
        connection.close()
    """)
    assert said[1][0] < 20, said
    assert said[2] == [True]


def test_a_view_without_end_is_interrupted(database, child):
    replace_key_tables(
        database,
        "CREATE TABLE s3_files (id, key);"
        "CREATE VIEW user_journal_master_keys AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i AS id, 'oseh_ujmk_' || i AS uid, 7 AS user_id, i AS s3_file_id, i AS created_at FROM n;",
    )
    said = child("""
        for sql in ("SELECT journal_encrypt(7, 1)", "SELECT journal_decrypt(7, NULL, 'x')",
                    "SELECT journal_decrypt(7, 'oseh_ujmk_0', 'x')", "SELECT journal_prefetch(7)"):
            threading.Timer(0.3, connection.interrupt).start()
            start = time.monotonic()
            say(run(sql), time.monotonic() - start < 5)
        connection.set_progress_handler(lambda: 1, 1_000_000)
        say(run("SELECT journal_encrypt(7, 1)"))
    """)
    functions = ("journal_encrypt", "journal_decrypt", "journal_decrypt", "journal_prefetch")
    assert said == [[f"OperationalError: {name}: interrupted", True] for name in functions] + [
        ["OperationalError: journal_encrypt: interrupted"]]


@pytest.mark.parametrize(
    "definition",
    [
        "USING fts5(uid, user_id, s3_file_id, created_at, id)",
        "USING rtree(id, user_id, s3_file_id)",
        "USING fts5vocab('t', 'row')",
    ],
)
def test_virtual_tables_end_in_an_error_or_nothing(database, child, definition):
    replace_key_tables(
        database,
        f"CREATE TABLE s3_files (id, key); CREATE VIRTUAL TABLE user_journal_master_keys {definition};",
    )
    [[error]] = child("say(run('SELECT journal_encrypt(7, 1)'))")
    assert error.startswith(("OperationalError: journal_encrypt: no such column", "OperationalError: journal_encrypt: no_key")), error


def test_tables_named_like_our_table_functions_take_nothing_from_the_scalar_functions(database, key_store, child):
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    key_store.write("oseh_ujmk_1")
    for index, definition in enumerate(
        ["TABLE journal_seal (a)", "VIEW journal_seal AS SELECT 1", "VIRTUAL TABLE journal_seal USING fts5(a)"]
    ):
        with database.writing() as connection:
            connection.execute(f"CREATE {definition}")
        said = child("""
            say(run("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello'))"))
            connection.close()
        """)
        assert said == [["hello"]], definition
        with database.writing() as connection:
            connection.execute(f"DROP {'VIEW' if index == 1 else 'TABLE'} journal_seal")


# ---- Other values in the rows ----

KEY = "not_a_value"
VALUES = ["NULL", "1", "-9223372036854775808", "9e999", "-9e999", "0.0", "''", "'text'", "x''", "x'ff00'", "zeroblob(100000)",
          "CAST(x'ff' AS TEXT)", "char(0)", "'a' || char(0) || 'b'", "printf('%.*c', 1000000, 'x')"]


@pytest.mark.parametrize("column", ["id", "uid", "s3_file_id", "created_at", "user_id", "key"])
def test_any_value_in_any_column_ends_in_a_word_or_serves(database, key_store, child, column):
    key_store.write("oseh_ujmk_1")
    row = {"id": "1", "uid": "'oseh_ujmk_1'", "user_id": "7", "s3_file_id": "1", "created_at": "0", "key": f"'{PREFIX}oseh_ujmk_1'"}
    replace_key_tables(database, TABLES)
    said = child(f"""
        row, column, values = {row!r}, {column!r}, {VALUES!r}
        for value in values:
            each = {{**row, column: value}}
            connection.execute("DELETE FROM s3_files")
            connection.execute("DELETE FROM user_journal_master_keys")
            connection.execute(f"INSERT INTO s3_files VALUES (1, {{each['key']}})")
            connection.execute("INSERT INTO user_journal_master_keys VALUES ({{id}}, {{uid}}, {{user_id}}, {{s3_file_id}}, {{created_at}})".format(**each))
            say(value, *[run(sql) for sql in ("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello'))",
                "SELECT journal_decrypt(7, 'oseh_ujmk_1', journal_encrypt(7, 'hello', 'oseh_ujmk_1'))",
                "SELECT journal_check(7, NULL, 'gAAA')", "SELECT journal_prefetch(7)")])
    """)
    assert len(said) == len(VALUES)
    words = ("no_key", "key_not_found", "key_lost", "key_invalid", "token_invalid")
    for value, *results in said:
        if results[0].startswith("OperationalError: journal_encrypt: bad_argument: user_id must be TEXT, as in the key rows"):
            assert column == "user_id", (value, results)
            assert all("bad_argument: user_id must be TEXT" in result for result in results), (value, results)
            continue
        for result in results[:2]:
            assert result == "hello" or result.split(": ")[2] in words, (value, result)
        assert results[2] in words, (value, results)
        assert results[3].startswith('{"ready":'), (value, results)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", PREFIX + "../../../../../etc/passwd", PREFIX + "./oseh_ujmk_1", PREFIX + "a\nb", PREFIX + "a\0b",
        PREFIX, PREFIX + "x" * 10_000_000, "", PREFIX + "a/..", PREFIX + "\x85", PREFIX + "%2e%2e/x", PREFIX + "a\\..\\b",
        PREFIX + "oseh_ujmk_1/x", PREFIX + "n" * 900,
    ],
    ids=lambda name: repr(name)[-30:],
)
def test_object_names_never_lead_out(database, key_store, child, name):
    key_store.write("oseh_ujmk_1")
    (key_store.root.parent / "outside").write_text(new_key())
    replace_key_tables(database, TABLES)
    with database.writing() as connection:
        connection.execute("INSERT INTO s3_files VALUES (1, ?)", [name])
        connection.execute("INSERT INTO user_journal_master_keys VALUES (1, 'oseh_ujmk_2', 7, 1, 0)")
    [[error]] = child("say(run('SELECT journal_encrypt(7, 1)'))")
    assert error.startswith(('OperationalError: journal_encrypt: key_invalid: key "oseh_ujmk_2": ',
                             'OperationalError: journal_encrypt: key_lost: key "oseh_ujmk_2": ')), error
    assert len(error) < 300


def test_of_two_rows_with_one_uid_one_serves_and_nothing_else_does(database, key_store, child):
    replace_key_tables(database, TABLES)
    with database.writing() as connection:
        for row, object_ in enumerate(["a", "b"], 1):
            key_store.write(object_)
            connection.execute("INSERT INTO s3_files VALUES (?, ?)", (row, PREFIX + object_))
            connection.execute("INSERT INTO user_journal_master_keys VALUES (?, 'oseh_ujmk_1', 7, ?, 0)", (row, row))
    said = child("""
        token = run("SELECT journal_encrypt(7, 'hello')")
        say(run("SELECT journal_decrypt(7, NULL, ?)", token))
        named = run("SELECT journal_decrypt(7, 'oseh_ujmk_1', ?)", token)
        say(named == "hello" or named.endswith('token_invalid: not a Fernet token under key "oseh_ujmk_1"'))
        say(run("SELECT journal_evict('oseh_ujmk_1')"))
    """)
    assert said[:2] == [["hello"], [True]] and said[2][0] in (1, 2)


# ---- Very many keys ----


def many_keys(database, count, prefix=PREFIX):
    database.add_user(7)
    with database.writing() as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO s3_files SELECT i, 'f' || i, ? || 'oseh_ujmk_' || i, 44, '', 0 FROM n", (count, prefix),
        )
        connection.execute("INSERT INTO user_journal_master_keys"
                           " SELECT id, 'oseh_ujmk_' || id, 7, id, id FROM s3_files")


def test_a_hundred_thousand_lost_keys_of_one_user_end_in_bounded_time(database, key_store, child):
    many_keys(database, 100_000)
    key_store.write("oseh_ujmk_1")  # The last to be tried.
    said = child("""
        start = time.monotonic()
        error = run("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'x', 'oseh_ujmk_1'))")
        say(error, time.monotonic() - start)
        connection.execute("SELECT journal_evict()").fetchone()
        ended = threading.Event()

        def interrupt():
            # Again and again: an interrupt before the statement runs is forgotten.
            while not ended.wait(0.01):
                connection.interrupt()

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        start = time.monotonic()
        say(run("SELECT journal_decrypt(7, NULL, 'gAAA')"), time.monotonic() - start)
        ended.set()
        interrupting.join()
        start = time.monotonic()
        say(run("SELECT journal_prefetch(7)"), time.monotonic() - start)
    """, timeout=120)
    print(said)
    [error, seconds], [interrupted, soon], [prefetched, fetching] = said
    assert "key_invalid" in error and "10000" in error, said
    assert seconds < 45, said
    assert interrupted == "OperationalError: journal_decrypt: interrupted" and soon < 2, said
    assert prefetched == '{"ready":0,"failed":{"key_invalid":1,"key_lost":10000}}', said


def test_the_keys_of_a_store_that_is_slow_are_tried_for_a_bounded_time(database, key_store, child):
    many_keys(database, 3_000)
    for number in range(1, 3_001):
        key_store.write(f"oseh_ujmk_{number}")
    said = child("""
        token = run("SELECT journal_encrypt(7, zeroblob(8000000), 'oseh_ujmk_1')")
        start = time.monotonic()
        say(run("SELECT length(journal_decrypt_blob(7, NULL, ?))", token), time.monotonic() - start)
    """, env={"JOURNAL_FETCH_TIMEOUT": "0.2"})
    [[error, seconds]] = said
    # Not the keys' fault, and not final: trying again, or naming the key, helps.
    assert "journal_decrypt_blob: store_unavailable: key (" in error, said
    assert error.endswith("could not be fetched: the keys that were tried before it took too long; name the key"), said
    assert seconds < 6, said


# ---- No memory ----


def test_where_the_process_may_have_no_more_memory_a_large_value_is_an_error(database, key_store, child):
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    key_store.write("oseh_ujmk_1")
    said = child("""
        def limited(megabytes, sql, *parameters):
            now = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
            resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), 1 << 30))
            try:
                return run(sql, *parameters)
            except MemoryError:  # Python's word for SQLITE_NOMEM
                return "out of memory"
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

        size = 8_000_000
        token = run("SELECT journal_encrypt(7, zeroblob(?))", size)
        item = run("SELECT journal_encrypt_item(7, json_quote(printf('%.*c', ?, 'x')))", size)
        for megabytes in (*range(0, 44, 4), 400):
            say(limited(megabytes, "SELECT length(journal_encrypt(7, zeroblob(?)))", size),
                limited(megabytes, "SELECT length(journal_decrypt_blob(7, NULL, ?))", token),
                limited(megabytes, "SELECT length(CAST(journal_decrypt(7, 'oseh_ujmk_1', ?) AS BLOB))", token),
                limited(megabytes, "SELECT count(token) FROM journal_seal(7, zeroblob(?))", size),
                limited(megabytes, "SELECT journal_check(7, printf('%.*c', ?, 'x'), ?)", size, "gAAA"),
                limited(megabytes, "SELECT journal_prefetch('[' || replace(hex(zeroblob(?)), '00', '1,') || '1]')", size // 4),
                limited(megabytes, "SELECT journal_encrypt(7, printf('%.*c', ?, 'x'), 'nobody')", size),
                limited(megabytes, "SELECT length(journal_encrypt_item(7, json_quote(printf('%.*c', ?, 'x'))))", size),
                limited(megabytes, "SELECT length(journal_decrypt_item(7, NULL, ?))", item),
                limited(megabytes, "SELECT journal_encrypt_item(7, printf('%.*c', ?, '['))", size),
                limited(megabytes, "SELECT length(journal_rewrap(7, NULL, ?))", token))
        say(run("SELECT journal_decrypt(7, NULL, journal_encrypt(7, 'hello'))"))
    """)
    *limited, [works] = said
    assert works == "hello"
    errors = sum(value == "out of memory" for values in limited for value in values)
    assert errors > 20, limited
    assert limited[-1][:4] == [10_666_764, 8_000_000, 8_000_000, 1], limited[-1]
    assert limited[-1][8] == 8_000_002 and limited[-1][10] == 10_666_764, limited[-1]
    wrong = {value for values in limited for value in values if isinstance(value, str)} - {"out of memory"}
    assert all(" bad_argument: " in value or " key_not_found: " in value for value in wrong), wrong


# ---- Files that are damaged ----


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_flipped_bytes_end_in_an_error_or_in_the_same_answer(database, key_store, child, encoding):
    if encoding != "UTF-8":
        schema = "\n".join(open(LIBRARY.parents[2] / "sql" / "schema.sql").read().splitlines())
        os.remove(database.path)
        with database.writing() as connection:
            connection.executescript(f"PRAGMA encoding = '{encoding}'; {schema}")
    database.add_user(7)
    for number in range(20):
        database.add_key(7, f"oseh_ujmk_{number}", created_at=number)
        key_store.write(f"oseh_ujmk_{number}")
    said = child("""
        import random
        uids = [f"oseh_ujmk_{number}" for number in range(20)]
        tokens = [run("SELECT journal_encrypt(7, ?, ?)", uid, uid) for uid in uids]
        connection.close()
        whole = open(DATABASE, "rb").read()
        randomness, seen, started = random.Random(8), {}, time.monotonic()
        rounds = 0
        while rounds < 300 and time.monotonic() - started < 25:
            rounds += 1
            damaged = bytearray(whole)
            for _ in range(randomness.choice((1, 3, 30, 1000))):
                damaged[randomness.randrange(100 if randomness.random() < 0.8 else 0, len(damaged))] = randomness.randrange(256)
            open(DATABASE, "wb").write(damaged)
            connection = sqlite3.connect(DATABASE, isolation_level=None)
            connection.enable_load_extension(True)
            try:
                connection.load_extension(LIBRARY)
            except sqlite3.Error as error:
                seen["load: " + str(error)] = seen.get("load: " + str(error), 0) + 1
                continue
            for uid, token in zip(uids, tokens):
                for found in (run("SELECT journal_decrypt(7, ?, ?)", uid, token), run("SELECT journal_decrypt(7, NULL, ?)", token)):
                    if found == uid:
                        kind = "same"
                    else:
                        kind = found.split(": ", 2)[-1].split('"')[0].split("(")[0]
                    seen[kind] = seen.get(kind, 0) + 1
            run("SELECT * FROM journal_doctor")
            run("SELECT * FROM journal_seal(7, 'x')")
            connection.close()
        say(rounds, seen)
    """.replace("DATABASE", repr(str(database.path))).replace("LIBRARY", repr(str(LIBRARY))), timeout=120)
    [[rounds, seen]] = said
    print(rounds, seen)
    assert rounds >= 100 and seen["same"] > 1000
    # A wrong plaintext would stand there as itself.
    assert not any(kind.startswith("oseh") for kind in seen), seen
