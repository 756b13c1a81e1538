"""Each reads what the other writes: the extension, and the Fernet of PyPI's `cryptography`.

The specification's vectors are those that `cryptography-vectors` ships (https://github.com/fernet/spec).
"""

import base64
import json
import os
import random
import time
from datetime import datetime
from pathlib import Path

import cryptography_vectors
import pytest
from child import Child
from conftest import LIBRARY
from cryptography.fernet import Fernet, InvalidToken
from documents.book import defined

KEY_UID = "oseh_ujmk_1"
SEED = 20260101
LARGE = [4095, 4096, 65_535, 65_536, 1_000_003, 8 << 20]


def vectors(name):
    return json.loads((Path(cryptography_vectors.__file__).parent / "fernet" / f"{name}.json").read_text())


def seconds(text):
    return int(datetime.fromisoformat(text).timestamp())


@pytest.fixture
def with_key(database, key_store):
    """Gives a process in which user 1 has a key of this content."""
    children = []

    def open_child(content):
        database.add_user(1)
        database.add_key(1, KEY_UID)
        key_store.write(KEY_UID, content)
        children.append(Child(database.path, LIBRARY, key_store.env, secrets=[content]))
        return children[-1]

    yield open_child
    for child in children:
        child.close()


@pytest.fixture
def pair(with_key):
    """The extension and `cryptography` with the same new key."""
    content = Fernet.generate_key().decode()
    return with_key(content), Fernet(content)


def decrypt(child, token, key_uid=KEY_UID):
    return child.value("SELECT journal_decrypt_blob(1, ?, ?)", key_uid, token)


def sizes():
    """Every size of the first blocks, then random ones up to 2000, then large ones."""
    return [*range(66), *random.Random(SEED).choices(range(66, 2001), k=300), 2000, *LARGE]


def test_what_cryptography_writes_is_read(pair):
    child, fernet = pair
    for number, size in enumerate(sizes()):
        plaintext = os.urandom(size)
        token = fernet.encrypt(plaintext).decode()
        # By its name and by trying the user's keys, as TEXT and as a BLOB of the same bytes.
        assert decrypt(child, token, [KEY_UID, None][number % 2]) == plaintext, size
        assert decrypt(child, token.encode()) == plaintext, size


def test_what_is_bound_to_a_context_is_read_by_five_lines_of_python_and_what_they_write_is_read(with_key):
    content, bound = Fernet.generate_key().decode(), defined("guards.md", "bound")
    child = with_key(content)
    for size in [0, 1, 300, 65_536]:
        for context in [b"journal_entries.token:oseh_je_1", b"\0", bytes(range(256)) * 4, "ü".encode()]:
            plaintext, theirs = os.urandom(size), bound(content, context)
            token = child.value("SELECT journal_encrypt(1, ?, NULL, ?)", plaintext, context)
            assert theirs.decrypt(token) == plaintext
            read = "SELECT journal_decrypt_blob(1, ?, ?, ?)"
            assert child.value(read, KEY_UID, theirs.encrypt(plaintext).decode(), context) == plaintext
            with pytest.raises(InvalidToken):
                Fernet(content).decrypt(token)
    # TEXT is its UTF-8.
    assert bound(content, "ü".encode()).decrypt(child.value("SELECT journal_encrypt(1, 'x', NULL, 'ü')")) == b"x"


def test_what_the_extension_writes_is_read(pair):
    child, fernet = pair
    before = int(time.time())
    for size in sizes():
        plaintext = os.urandom(size)
        token = child.value("SELECT journal_encrypt(1, ?)", plaintext)
        assert fernet.decrypt(token) == plaintext, size
        assert before <= fernet.extract_timestamp(token) <= int(time.time())


def test_text_is_taken_and_given_as_utf_8(pair):
    child, fernet = pair
    for text in ["", "x", "é", "日本語", "👩‍👩‍👧 and \N{COMBINING ACUTE ACCENT}", "a\0b", "\ufeffmark", "line\r\nbreak", "\U0010ffff"]:
        assert fernet.decrypt(child.value("SELECT journal_encrypt(1, ?)", text)) == text.encode()
        assert fernet.decrypt(child.value("SELECT token FROM journal_seal(1, ?)", text)) == text.encode()
        assert child.value("SELECT journal_decrypt(1, ?, ?)", KEY_UID, fernet.encrypt(text.encode()).decode()) == text


def test_a_token_rebuilt_from_its_time_and_iv_is_the_same_bytes(pair):
    child, fernet = pair
    for size in sizes()[:80]:
        plaintext = os.urandom(size)
        token = child.value("SELECT journal_encrypt(1, ?)", plaintext)
        iv = base64.urlsafe_b64decode(token)[9:25]
        rebuilt = fernet._encrypt_from_parts(plaintext, fernet.extract_timestamp(token), iv)
        assert token == rebuilt.decode()


@pytest.mark.parametrize("vector", vectors("generate") + vectors("verify"), ids=["generate", "verify"])
def test_the_specification_s_valid_tokens_are_read(vector, with_key):
    child = with_key(vector["secret"])
    assert decrypt(child, vector["token"]) == vector["src"].encode()
    # generate.json fixes time and IV, which no caller of the extension can: what the extension writes for the
    # same text differs from the vector in those alone.
    written = child.value("SELECT journal_encrypt(1, ?)", vector["src"])
    assert Fernet(vector["secret"]).decrypt(written) == vector["src"].encode()
    assert len(written) == len(vector["token"])


# Why each case of invalid.json is invalid. The last two are wrong only for a reader with a clock and a maximum age
# of 60 seconds; a stored entry has no maximum age, so they are read, and `cryptography` reads them likewise when
# it is given none.
TOKEN_IS_WRONG = {
    "incorrect mac",
    "too short",
    "invalid base64",
    "payload size not multiple of block size",
    "payload padding error",
    "incorrect IV (causes padding error)",
}
ONLY_ITS_TIME_IS_WRONG = {"far-future TS (unacceptable clock skew)", "expired TTL"}


def test_every_invalid_vector_is_known():
    assert {vector["desc"] for vector in vectors("invalid")} == TOKEN_IS_WRONG | ONLY_ITS_TIME_IS_WRONG


@pytest.mark.parametrize("vector", vectors("invalid"), ids=lambda vector: vector["desc"])
def test_the_specification_s_invalid_tokens(vector, with_key):
    child, fernet, now = with_key(vector["secret"]), Fernet(vector["secret"]), seconds(vector["now"])
    with pytest.raises(InvalidToken):
        fernet.decrypt_at_time(vector["token"], ttl=vector["ttl_sec"], current_time=now)
    if vector["desc"] in ONLY_ITS_TIME_IS_WRONG:
        assert fernet.decrypt(vector["token"]) == b""  # their plaintext is empty
        assert decrypt(child, vector["token"]) == b""
        assert child.value("SELECT journal_check(1, NULL, ?)", vector["token"]) == "ok"
    else:
        with pytest.raises(InvalidToken):
            fernet.decrypt(vector["token"])
        assert child.error("SELECT journal_decrypt(1, ?, ?)", KEY_UID, vector["token"]) == (
            f'journal_decrypt: token_invalid: not a Fernet token under key "{KEY_UID}"'
        )
        assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, vector["token"]) == "token_invalid"
        assert child.value("SELECT journal_try_decrypt(1, ?, ?)", KEY_UID, vector["token"]) is None


@pytest.mark.parametrize("ahead", [61, 300, 86_400 * 365, -86_400 * 365 * 20], ids=lambda s: f"{s} s")
def test_a_token_of_a_clock_that_is_elsewhere_is_read(ahead, pair):
    child, fernet = pair
    token = fernet.encrypt_at_time(b"written by another clock", int(time.time()) + ahead)
    assert decrypt(child, token.decode()) == b"written by another clock"


@pytest.mark.parametrize("stamp", [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_any_time_that_a_token_can_hold_is_read(stamp, pair):
    child, fernet = pair
    assert decrypt(child, fernet._encrypt_from_parts(b"x", stamp, os.urandom(16)).decode()) == b"x"


def not_canonical(token):
    """Texts that Python's base64 takes for `token`, by name."""
    head, padding = token.rstrip("="), token[len(token.rstrip("=")) :]
    assert padding, "a token of 1 mod 3 or 2 mod 3 bytes has bits that mean nothing"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return {
        "a line break in it": token[:76] + "\n" + token[76:],
        "a line break after it": token + "\n",
        "a CRLF after it": token + "\r\n",
        "a space before it": " " + token,
        "a tab in it": token[:10] + "\t" + token[10:],
        "junk in it": token[:10] + "!" + token[10:],
        "quotes around it": f'"{token}"',
        "something after the padding": token + "AAAA",
        "more padding": token + "=",
        "the standard alphabet": token.replace("_", "/").replace("-", "+"),
        "a last letter with bits that mean nothing": head[:-1] + alphabet[alphabet.index(head[-1]) + 1] + padding,
    }


def test_a_token_that_is_not_canonical_is_refused_though_cryptography_reads_it(pair):
    child, fernet = pair
    token = fernet._encrypt_from_parts(b"sixteen and more", int(time.time()), b"\xff" * 16).decode()
    assert "_" in token and decrypt(child, token) == b"sixteen and more"
    for name, other in not_canonical(token).items():
        assert fernet.decrypt(other) == b"sixteen and more", name
        assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, other) == "token_invalid", name
        assert child.value("SELECT journal_check(1, NULL, ?)", other.encode()) == "token_invalid", name


def test_a_token_cut_short_is_refused_by_both(pair):
    child, fernet = pair
    token = fernet.encrypt(b"x").decode()
    for other in [token.rstrip("="), token[:-1], token[:-4], token[4:], token[:4], "=", ""]:
        with pytest.raises(InvalidToken):
            fernet.decrypt(other)
        assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, other) == "token_invalid"


def test_no_bit_of_a_token_can_be_changed(pair):
    child, fernet = pair
    raw = base64.urlsafe_b64decode(fernet.encrypt(b"every bit counts"))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        token = base64.urlsafe_b64encode(changed).decode()
        assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, token) == "token_invalid", bit
    for length in range(len(raw)):
        token = base64.urlsafe_b64encode(raw[:length]).decode()
        assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, token) == "token_invalid", length


def test_a_token_under_another_key_is_refused_by_both(pair):
    child, fernet = pair
    theirs = Fernet(Fernet.generate_key())
    token = theirs.encrypt(b"not ours").decode()
    assert child.value("SELECT journal_check(1, ?, ?)", KEY_UID, token) == "token_invalid"
    with pytest.raises(InvalidToken):
        theirs.decrypt(child.value("SELECT journal_encrypt(1, 'ours')"))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=repr)
def test_a_key_may_end_with_a_newline(ending, with_key):
    content = Fernet.generate_key().decode()
    child = with_key(content + ending)
    assert decrypt(child, Fernet(content).encrypt(b"x").decode()) == b"x"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.rstrip("="), lambda key: " " + key, lambda key: key + "\n\n", lambda key: key[:-2] + "==",
        lambda key: key[:20] + "\n" + key[20:], lambda key: key[:20] + "+" + key[21:], lambda key: "",
        lambda key: base64.urlsafe_b64decode(key).hex(), lambda key: key + key,
    ],
    ids=["no padding", "a space", "two newlines", "31 bytes", "a line break", "the standard alphabet", "empty", "hex", "twice"],
)
def test_what_is_not_the_content_of_a_key_is_refused(change, with_key):
    key = Fernet.generate_key().decode()
    child = with_key(change(key))
    assert child.error("SELECT journal_encrypt(1, 'x')") == (
        f'journal_encrypt: key_invalid: key "{KEY_UID}": its object is not a Fernet key'
    )
