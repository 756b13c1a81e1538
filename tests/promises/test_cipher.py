"""Which code makes and reads tokens: the processor's instructions, unless they fail their self-test.

A processor that computes something else is one whose code says something else: an instruction in the memory of a process
that has loaded the library, and used no key yet, is replaced by its neighbour.
"""

import platform
import re
import subprocess
from pathlib import Path

import pytest
from conftest import LIBRARY
from cryptography.fernet import Fernet
from host import Host

#: A function of src/cipher/x86_64, the last byte of an instruction's code in it, and that of another. Before it stands
#: what the processor takes for its prefix.
FAULTS = {
    "encryption's last round": ("x86_64.*4seal17h", rb"\xc4[\x42\x62\xc2\xe2].\xdd", 0xDC),
    "decryption's last round": ("x86_64.*8Schedule7decrypt", rb"\xc4[\x42\x62\xc2\xe2].\xdf", 0xDE),
    "a round of the hash": ("x86_64.*6decode17h", rb"\x0f\x38\xcb", 0xCC),
}

TEXT = "the fog lifted at ten, " * 14


def plant(process, function, pattern, other):
    """Replaces the first instruction of `pattern` in the process's copy of a function."""
    symbols = subprocess.run(["nm", "-S", LIBRARY], check=True, capture_output=True, text=True).stdout
    [(address, size)] = re.findall(rf"^(\w+) (\w+) t _ZN13journal_crypt6cipher\S*{function}", symbols, re.MULTILINE)
    maps = Path(f"/proc/{process}/maps").read_text()
    base = int(re.search(rf"^(\w+)-\w+ \S+ 0+ .*{re.escape(LIBRARY.name)}$", maps, re.MULTILINE)[1], 16)
    with Path(f"/proc/{process}/mem").open("r+b", buffering=0) as memory:
        memory.seek(base + int(address, 16))
        found = re.search(pattern, memory.read(int(size, 16)), re.DOTALL)
        memory.seek(base + int(address, 16) + found.end() - 1)
        memory.write(bytes([other]))


@pytest.fixture
def key(database, key_store):
    database.add_user(1)
    database.add_key(1, "oseh_ujmk_1")
    return Fernet(key_store.write("oseh_ujmk_1"))


@pytest.fixture
def host(database, key_store, key):
    if platform.machine() != "x86_64" or not LIBRARY.name.endswith(".so"):
        pytest.skip("there are no instructions of ours")
    with Host(database.path, key_store.env) as host:
        yield host


def finding(host):
    [[status, detail]] = host.run("SELECT status, detail FROM journal_doctor WHERE name = 'cipher'")
    return status, detail


def is_right(host, key):
    """Whether tokens are made and read as everybody makes and reads them."""
    token = host.value("SELECT journal_encrypt(1, ?)", TEXT)
    theirs = key.encrypt(TEXT.encode()).decode()
    return (key.decrypt(token).decode(), host.value("SELECT journal_decrypt(1, NULL, ?)", theirs)) == (TEXT, TEXT)


def test_the_doctor_says_that_the_processor_s_instructions_passed_their_self_test(host, key):
    status, detail = finding(host)
    if detail.startswith("RustCrypto"):
        pytest.skip(f"this processor lacks an instruction: {detail}")
    assert (status, detail) == ("ok", "x86_64: AES and SHA-256 by the processor's instructions, which passed their self-test")
    assert is_right(host, key)


@pytest.mark.parametrize("fault", FAULTS)
def test_where_they_fail_it_the_crates_serve_and_the_doctor_warns(host, key, fault):
    if "aes" not in (flags := Path("/proc/cpuinfo").read_text()) or "sha_ni" not in flags:
        pytest.skip("this processor lacks an instruction")
    plant(host.pid, *FAULTS[fault])
    assert is_right(host, key)
    assert finding(host) == (
        "warning",
        "x86_64 failed its self-test, so RustCrypto's crates (AES by the processor's instructions, SHA-256 by the "
        "processor's instructions) serve in its place: this processor, its memory or this library's file is not sound. "
        "Compare the file's checksum, and replace the machine if it is right",
    )
    assert is_right(host, key)
