"""Entry items that Python's gzip and cryptography write and read, as the app does."""

import gzip
import json
import os
import random
import zlib

import pytest
from cryptography.fernet import Fernet

from host import Host

KEY = "oseh_ujmk_1"


@pytest.fixture
def fernet(database, key_store):
    """Python's Fernet with the key of user 1."""
    database.add_user(1)
    database.add_key(1, KEY)
    return Fernet(key_store.write(KEY))


@pytest.fixture
def host(fernet, database, key_store):
    with Host(database.path, key_store.env) as host:
        yield host


def documents():
    """JSON texts of up to 5 MiB, some that compress and some that hardly do."""
    generator = random.Random(5)
    for length in [*range(2, 70), 1000, 4096, 32767, 32768, 65537, 1 << 20, 5 << 20]:
        yield '"' + "a" * (length - 2) + '"'
        yield '"' + generator.randbytes(length // 2 - 1).hex() + '"'
    yield json.dumps([{"é": "dear diary ☕", "n": n} for n in range(20000)])
    yield json.dumps([{"é": "dear diary ☕", "n": n} for n in range(20000)], ensure_ascii=False, indent=2)


def test_each_reads_what_the_other_writes(host, fernet):
    for text in documents():
        data = text.encode()
        theirs = fernet.encrypt(gzip.compress(data, 9, mtime=0)).decode()
        assert host.value("SELECT journal_decrypt_item(1, ?, ?)", KEY, theirs) == text
        ours = host.value("SELECT journal_encrypt_item(1, ?)", text)
        packed = fernet.decrypt(ours.encode())
        assert gzip.decompress(packed) == data
        assert len(packed) <= len(gzip.compress(data, 9, mtime=0)) * 1.05 + 64


@pytest.mark.parametrize("level", range(10))
def test_any_level_name_and_time_is_read(level, host, fernet, tmp_path):
    data = json.dumps({"level": level, "noise": os.urandom(100).hex(), "text": "dear diary " * 500}).encode()
    with gzip.GzipFile(tmp_path / "item.json.gz", "wb", level) as file:
        file.write(data)
    packed = (tmp_path / "item.json.gz").read_bytes()
    assert b"item.json" in packed
    token = fernet.encrypt(packed).decode()
    assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == data.decode()


def test_an_item_of_no_bytes_is_no_json(host, fernet):
    token = fernet.encrypt(gzip.compress(b"", 9, mtime=0)).decode()
    assert host.error("SELECT journal_decrypt_item(1, NULL, ?)", token) == (
        "journal_decrypt_item: not_item: the plaintext is gzip-compressed, but not JSON"
    )


def test_what_is_damaged_is_no_item_wherever_it_is_damaged(host, fernet):
    data = json.dumps({"text": "dear diary " * 20, "n": list(range(50))})
    packed = gzip.compress(data.encode(), 9, mtime=0)
    damaged = [packed[:end] for end in range(len(packed))] + [packed + b"\0", packed + packed[:-1], packed + b"garbage"]
    # Flags, time, compression and system, bytes 3 to 9, are covered by no checksum.
    damaged += [packed[:at] + bytes([packed[at] ^ 0x40]) + packed[at + 1:] for at in range(len(packed)) if not 3 <= at < 10]
    damaged += [os.urandom(length) for length in range(100)]
    for damage in damaged:
        token = fernet.encrypt(damage).decode()
        try:
            unharmed = gzip.decompress(damage) == data.encode()
        except (OSError, EOFError, zlib.error):
            unharmed = False
        if unharmed and damage != packed + b"\0":  # a bit between the data and its checksum that means nothing
            assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == data
            continue
        error = host.error("SELECT journal_try_decrypt_item(1, NULL, ?)", token)
        assert error.startswith("journal_try_decrypt_item: not_item: the plaintext is"), (damage, error)
        assert "dear diary" not in error


def resident(host):
    """The most memory that the host's process ever had, in bytes."""
    with open(f"/proc/{host.pid}/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("lies_about_its_length", [False, True])
def test_a_bomb_is_refused_in_bounded_memory(lies_about_its_length, host, fernet):
    # 256 MiB of spaces, and a JSON value behind them.
    packed = gzip.compress(b" " * (256 << 20) + b"1", 1, mtime=0)
    if lies_about_its_length:
        packed = packed[:-4] + (100).to_bytes(4, "little")
    token = fernet.encrypt(packed).decode()
    host.value("SELECT journal_encrypt_item(1, 1)")
    before = resident(host)
    assert host.error("SELECT journal_decrypt_item(1, NULL, ?)", token) == (
        "journal_decrypt_item: not_item: the plaintext unpacks to more than JOURNAL_ITEM_MAX bytes"
    )
    assert resident(host) - before < 40 << 20


def test_the_limit_is_exact_and_the_same_both_ways(fernet, database, key_store):
    with Host(database.path, {**key_store.env, "JOURNAL_ITEM_MAX": "1000"}) as host:
        largest, larger = '"' + "a" * 998 + '"', '"' + "a" * 999 + '"'
        token = host.value("SELECT journal_encrypt_item(1, ?)", largest)
        assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == largest
        assert host.error("SELECT journal_encrypt_item(1, ?)", larger) == (
            "journal_encrypt_item: bad_argument: the item has 1001 bytes, more than JOURNAL_ITEM_MAX"
        )
        token = fernet.encrypt(gzip.compress(larger.encode())).decode()
        assert "not_item" in host.error("SELECT journal_decrypt_item(1, NULL, ?)", token)


def test_jsonb_and_the_json_subtype_where_sqlite_knows_them(fernet, database, key_store):
    with Host(database.path, key_store.env, module="apsw") as host:
        assert host.value("SELECT sqlite_version() > '3.45'") == 1
        for text in ['{"a":[1,2.5,"é\\"",null,true]}', "[]", '"x"', "123", '{"a":{"b":{}}}']:
            token = host.value("SELECT journal_encrypt_item(1, jsonb(?))", text)
            assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == text
            assert host.value("SELECT json_object('x', journal_decrypt_item(1, NULL, ?))", token) == '{"x":%s}' % text
            assert host.run(
                "SELECT journal_decrypt_item(1, key_uid, token) FROM journal_seal_item(1, jsonb(?))", text
            ) == [[text]]
        # A BLOB of JSON text is no JSONB; one that is both counts as JSONB, as for SQLite itself.
        token = host.value("SELECT journal_encrypt_item(1, ?)", b'{"a": 1}')
        assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == '{"a": 1}'
        token = host.value("SELECT journal_encrypt_item(1, ?)", b"3123")
        assert host.value("SELECT journal_decrypt_item(1, NULL, ?)", token) == "123"
        error = host.error("SELECT journal_encrypt_item(1, ?)", b"\xff\xff")
        assert error.endswith("an item must be JSON, this is BLOB of 2 bytes that is not")
