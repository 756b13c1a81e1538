"""Tokens and items of a generator, damaged in all ways that it knows: the extension reads what Python's `cryptography`
and zlib read, and the same, and refuses what they refuse.

Only for base64 that is not canonical they differ: Python passes over characters that mean nothing, the extension takes
one text for each token.
"""

import base64
import binascii
import hashlib
import hmac
import json
import random
import zlib

import pytest
from cryptography.fernet import Fernet, InvalidToken

from child import Child, SqlError
from conftest import LIBRARY, ROOT

KEY_UID = "oseh_ujmk_1"
SEED = 20261124
TOKENS = 100_000
ITEMS = 10_000
#: Header, then so many bytes of a tag behind the rest.
HEADER, TAG = 25, 32
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
def key(database, key_store):
    database.add_user(1)
    database.add_key(1, KEY_UID)
    return key_store.write(KEY_UID)


@pytest.fixture
def child(key, database, key_store):
    with Child(database.path, LIBRARY, key_store.env, secrets=[key]) as child:
        yield child


# ---- Tokens ----


def signed(key, content):
    """`content` with a right tag: past the check that almost nothing passes."""
    return content + hmac.digest(base64.urlsafe_b64decode(key)[:16], content, hashlib.sha256)


def token(key, fernet, randomness):
    """The bytes of a token that is right or has one fault."""
    choose = randomness.random()
    plaintext = randomness.randbytes(randomness.randrange(80))
    time = randomness.choice((0, randomness.randrange(1 << 32), (1 << 64) - 1))
    raw = base64.urlsafe_b64decode(fernet._encrypt_from_parts(plaintext, time, randomness.randbytes(16)))
    if choose < 0.3:
        return raw
    if choose < 0.4:  # any bit
        changed = bytearray(raw)
        changed[randomness.randrange(len(raw))] ^= 1 << randomness.randrange(8)
        return bytes(changed)
    if choose < 0.5:  # any length
        return raw[: randomness.randrange(len(raw))] + randomness.randbytes(randomness.randrange(3))
    content = bytearray(raw[:-TAG])
    if choose < 0.6:  # any padding: the last block decrypts to anything
        content[-16:] = randomness.randbytes(16)
    elif choose < 0.7:  # any number of bytes
        del content[randomness.randrange(len(content)) :]
    elif choose < 0.75:  # no block at all
        del content[HEADER:]
    elif choose < 0.8:
        content[0] = randomness.randrange(256)
    else:
        content += randomness.randbytes(16)
    return signed(key, bytes(content))


def text(token, randomness):
    """A text of the token `token`, canonical or not."""
    encoded = base64.urlsafe_b64encode(token)
    choose = randomness.random()
    at = randomness.randrange(len(encoded) + 1)
    if choose < 0.6:
        return encoded
    if choose < 0.7:  # a character of the alphabet, or none of it
        other = randomness.choice([*ALPHABET.encode(), *b"=+/\n\0 \xff"])
        return encoded[:at] + bytes([other]) + encoded[at + 1 :]
    if choose < 0.8:
        return encoded[:at] + randomness.choice([b"\n", b" ", b"=", b"!", b"\0", b"A", b"\xc3\xa9"]) + encoded[at:]
    if choose < 0.85:
        return encoded[:at]
    if choose < 0.9:
        return encoded.rstrip(b"=") + b"=" * randomness.randrange(5)
    if choose < 0.95:
        return encoded.replace(b"_", b"/").replace(b"-", b"+")
    # The last letter's bits that mean nothing.
    letters = encoded.rstrip(b"=")
    last = ALPHABET.index(chr(letters[-1])) ^ 1 if letters else 0
    return letters[:-1] + ALPHABET[last].encode() + encoded[len(letters) :]


def read_by_cryptography(fernet, encoded):
    """The plaintext, or None; what is not canonical counts as not read."""
    try:
        plaintext = fernet.decrypt(encoded)
    except InvalidToken:
        return None
    try:
        canonical = base64.urlsafe_b64encode(base64.urlsafe_b64decode(encoded)) == encoded
    except binascii.Error:
        canonical = False
    return plaintext if canonical else None


def read_by_the_extension(child, texts, kind):
    """The plaintexts, or None; the texts are passed as `kind`, BLOB or TEXT."""
    places, end = [], 1
    for encoded in texts:
        places.append([end, len(encoded)])
        end += len(encoded)
    rows = child.run(
        f"""WITH given AS MATERIALIZED (
              SELECT key, CAST(substr(?1, value ->> 0, value ->> 1) AS {kind}) AS token FROM json_each(?2))
            SELECT journal_check(1, NULL, token), hex(plaintext) FROM (
              SELECT token, CASE journal_check(1, ?3, token) WHEN 'ok' THEN journal_decrypt_blob(1, ?3, token) END
                AS plaintext FROM given ORDER BY key)""",
        b"".join(texts), json.dumps(places), KEY_UID,
    )
    assert len(rows) == len(texts)
    assert {word for word, _ in rows} <= {"ok", "token_invalid"}
    return [bytes.fromhex(plaintext) if word == "ok" else None for word, plaintext in rows]


def test_tokens_are_read_as_cryptography_reads_them(key, child):
    fernet, randomness = Fernet(key), random.Random(SEED)
    texts = [path.read_bytes() for path in (ROOT / "fuzz").glob("*/token/*")]
    assert len(texts) > 3
    texts += [text(token(key, fernet, randomness), randomness) for _ in range(TOKENS)]
    expected = [read_by_cryptography(fernet, encoded) for encoded in texts]
    read = sum(plaintext is not None for plaintext in expected)
    assert 0.1 < read / len(texts) < 0.9, "the generator makes both"
    for start in range(0, len(texts), 5000):
        part = texts[start : start + 5000]
        for kind in ("BLOB", "TEXT"):
            found = read_by_the_extension(child, part, kind)
            wrong = [(e, f, w) for e, f, w in zip(part, found, expected[start:]) if f != w]
            assert not wrong, (kind, wrong[:3])
    print(f"{len(texts)} tokens, {read} of them read")


# ---- Items ----


def item(randomness):
    """gzip of some JSON, in one member or two, right or with one fault."""
    whole = json.dumps([randomness.randrange(1000) for _ in range(randomness.randrange(60))]).encode()
    cut = randomness.randrange(len(whole) + 1)
    parts = [whole] if randomness.random() < 0.7 else [whole[:cut], whole[cut:]]
    packed = b"".join(member(part, randomness) for part in parts)
    choose, at = randomness.random(), randomness.randrange(len(packed) + 1)
    if choose < 0.4:
        return packed
    if choose < 0.8:
        return packed[:at] + randomness.randbytes(1) + packed[at + 1 :]
    if choose < 0.9:
        return packed[:at]
    return packed + randomness.choice([b"\0", b"\0" * 8, b"x", packed[:10], packed])


def member(data, randomness):
    """A member of any level, with any of the optional fields; or with a changed stream under a right trailer."""
    packer = zlib.compressobj(randomness.randrange(10), wbits=-15)
    stream = packer.compress(data) + packer.flush()
    if randomness.random() < 0.3:
        at = randomness.randrange(len(stream))
        changed = stream[:at] + randomness.randbytes(1) + stream[at + 1 :]
        try:
            data, stream = zlib.decompress(changed, -15), changed
        except zlib.error:
            pass
    flags = randomness.choice([0, 0, 2, 4, 8, 16, 30, 1, 32])
    header = bytes([31, 139, 8, flags]) + randomness.randbytes(6)
    if flags & 4:
        header += b"\3\0abc"
    header += b"name\0" * bool(flags & 8) + b"comment\0" * bool(flags & 16)
    if flags & 2:
        header += (zlib.crc32(header) + (randomness.random() < 0.2) & 0xFFFF).to_bytes(2, "little")
    return header + stream + zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")


def read_by_zlib(packed):
    """What all members hold, if that is JSON; or None. zlib checks what RFC 1952 has to be checked."""
    unpacked = b""
    while True:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            unpacked += unpacker.decompress(packed)
        except zlib.error:
            return None
        if not unpacker.eof:
            return None
        packed = unpacker.unused_data
        if not packed:
            break
    try:
        json.loads(unpacked.decode())
    except ValueError:
        return None
    return unpacked.decode()


def test_items_are_read_as_zlib_reads_them(key, child):
    fernet, randomness, read = Fernet(key), random.Random(SEED), 0
    for _ in range(ITEMS):
        packed = item(randomness)
        try:
            found = child.value("SELECT journal_decrypt_item(1, ?, ?)", KEY_UID, fernet.encrypt(packed).decode())
        except SqlError as error:
            assert str(error).startswith("journal_decrypt_item: not_item: "), error
            found = None
        assert found == read_by_zlib(packed), packed
        read += found is not None
    assert 0.1 < read / ITEMS < 0.9, "the generator makes both"
    print(f"{ITEMS} items, {read} of them read")
