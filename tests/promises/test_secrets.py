"""What of the keys and plaintexts lies in the memory of a process that uses them: only what must, and only while it must.

A host of its own decrypts and encrypts; its results are lengths, so that no copy of a plaintext is the host's. This
process knows the key and reads the host's memory (/proc/PID/mem).
"""

import base64
import hmac
import http.server
import os
import signal
import ssl
import struct
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.fernet import Fernet

from conftest import LIBRARY

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

HOST = f"""
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.enable_load_extension(True)
connection.load_extension({str(LIBRARY)!r})
for line in sys.stdin:
    sql, _, token = line.rstrip("\\n").partition("|")
    print(connection.execute(sql, [token] if token else []).fetchone()[0], flush=True)
"""

APSW_HOST = HOST.replace("import sqlite3", "import apsw").replace(
    "sqlite3.connect(sys.argv[1], isolation_level=None)", "apsw.Connection(sys.argv[1])"
)


# ---- What a key turns into ----

def aes_sbox():
    """The S-box, from its definition."""
    box, p, q = [0] * 256, 1, 1
    while True:
        p = p ^ (p << 1 & 0xFF) ^ (0x1B if p & 0x80 else 0)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4)
        box[p] = (x ^ 0x63) & 0xFF
        if p == 1:
            break
    box[0] = 0x63
    return box


def round_keys(key):
    """The eleven round keys of AES-128."""
    box, words, rcon = aes_sbox(), [key[i : i + 4] for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = bytes(box[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ rcon]) + word[1:]
            rcon = (rcon << 1) ^ (0x11B if rcon & 0x80 else 0)
        words.append(bytes(a ^ b for a, b in zip(words[i - 4], word)))
    return [b"".join(words[i : i + 4]) for i in range(0, 44, 4)]


def inverse_mixed(round_key):
    """A round key as decryption uses it: its columns through InvMixColumns (FIPS 197, 5.3.3)."""
    def times(x, y):
        product = 0
        for bit in range(8):
            product ^= x << bit if y >> bit & 1 else 0
        for bit in range(14, 7, -1):
            product ^= 0x11B << (bit - 8) if product >> bit & 1 else 0
        return product

    mixed = bytearray()
    for column in (round_key[i : i + 4] for i in range(0, 16, 4)):
        for row in range(4):
            parts = [times(column[(row + i) % 4], y) for i, y in enumerate((0x0E, 0x0B, 0x0D, 0x09))]
            mixed.append(parts[0] ^ parts[1] ^ parts[2] ^ parts[3])
    return bytes(mixed)


def sha256_state(block):
    """SHA-256's state after one block, as its eight words lie in memory."""
    def roots(count, power):
        primes = [n for n in range(2, 400) if all(n % d for d in range(2, n))][:count]
        def fraction(n):
            low, high = 0, n << 64
            while low < high - 1:  # The integer root of n * 2**(32 * power)
                middle = (low + high) // 2
                low, high = (middle, high) if middle**power <= n << (32 * power) else (low, middle)
            return low & 0xFFFFFFFF
        return [fraction(n) for n in primes]

    def turn(x, n):
        return (x >> n | x << (32 - n)) & 0xFFFFFFFF

    words = list(struct.unpack(">16I", block))
    for i in range(16, 64):
        s0 = turn(words[i - 15], 7) ^ turn(words[i - 15], 18) ^ words[i - 15] >> 3
        s1 = turn(words[i - 2], 17) ^ turn(words[i - 2], 19) ^ words[i - 2] >> 10
        words.append((words[i - 16] + s0 + words[i - 7] + s1) & 0xFFFFFFFF)
    start = roots(8, 2)
    a, b, c, d, e, f, g, h = start
    for k, w in zip(roots(64, 3), words):
        t1 = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + k + w
        t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (t1 + t2) & 0xFFFFFFFF, a, b, c, (d + t1) & 0xFFFFFFFF, e, f, g
    return struct.pack("<8I", *((x + y) & 0xFFFFFFFF for x, y in zip(start, (a, b, c, d, e, f, g, h))))


def traces(content, plaintext):
    """Bytes that tell of the key, or of the plaintext, by name."""
    key = base64.urlsafe_b64decode(content)
    signing, encryption = key[:16], key[16:]
    schedule = round_keys(encryption)
    found = {"base64": content.encode()[:22], "base64's end": content.encode()[22:], "signing key": signing}
    found |= {f"round key {number}": schedule[number] for number in (0, 1, 5, 10)}
    found |= {f"inverse round key {number}": inverse_mixed(schedule[number]) for number in (1, 5, 9)}
    for name, pad in (("inner", 0x36), ("outer", 0x5C)):
        state = sha256_state(bytes(b ^ pad for b in signing.ljust(64, b"\0")))
        # The two halves in order, and as the processor's instructions take them.
        found |= {f"{name} HMAC state": state[:16], f"{name} HMAC state's end": state[16:]}
        a, b, c, d, e, f, g, h = struct.unpack("<8I", state)
        found[f"{name} HMAC state, abef"] = struct.pack("<4I", f, e, b, a)
        found[f"{name} HMAC state, cdgh"] = struct.pack("<4I", h, g, d, c)
        found[f"{name} HMAC pad"] = bytes(b ^ pad for b in signing)
    found |= {f"plaintext block {i // 16}": plaintext[i : i + 16] for i in range(0, len(plaintext), 16)}
    return found


def subkey_traces(content, context):
    """The same of the subkey for a context (HKDF-SHA256, RFC 5869), and what it is derived from."""
    extracted = hmac.digest(bytes(32), base64.urlsafe_b64decode(content), "sha256")
    subkey = hmac.digest(extracted, b"journal_crypt context 1\0" + context + b"\x01", "sha256")
    found = {f"subkey's {name}": trace for name, trace in traces(base64.urlsafe_b64encode(subkey).decode(), b"").items()}
    for name, pad in (("inner", 0x36), ("outer", 0x5C)):
        state = sha256_state(bytes(b ^ pad for b in extracted.ljust(64, b"\0")))
        # Kept with the key.
        found |= {f"{name} HMAC state for subkeys": state[:16], f"{name} HMAC state for subkeys' end": state[16:]}
    return found | {"subkey's encryption key": subkey[16:], "extracted key": extracted[:16], "extracted key's end": extracted[16:]}


# What a cached key has of HMAC: the one or the other, by whether the processor has the instructions.
STATES = [
    {f"{name} HMAC state{part}" for name in ("inner", "outer") for part in parts}
    for parts in (("", "'s end"), (", abef", ", cdgh"))
]


def test_the_traces_are_the_standards_own():
    # FIPS 197, appendix A.1, and FIPS 180's "abc".
    assert round_keys(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))[10].hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    # FIPS 197, 5.1.3's example of MixColumns, the other way.
    assert inverse_mixed(bytes.fromhex("8e4da1bc9fdc589d01010101d5d5d7d6")).hex() == "db135345f20a225c01010101d4d4d4d5"
    block = b"abc\x80".ljust(63, b"\0") + b"\x18"
    digest = struct.pack(">8I", *struct.unpack("<8I", sha256_state(block)))
    assert digest.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- The host ----


def memory_of(pid):
    """(Where, bytes) of all that the process can write."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, permissions, *rest = line.split()
            if "r" not in permissions or "w" not in permissions:
                continue
            start, end = (int(number, 16) for number in span.split("-"))
            try:
                memory.seek(start)
                yield f"{rest[3] if len(rest) > 3 else 'anonymous'} {span}", memory.read(end - start)
            except (OSError, ValueError):  # [vvar] and the like
                continue


def flags(pid, span):
    """The flags of a mapping."""
    with open(f"/proc/{pid}/smaps") as maps:
        inside = False
        for line in maps:
            inside = line.startswith(span) or (inside and "-" not in line.split()[0])
            if inside and line.startswith("VmFlags:"):
                return set(line.split()[1:])


def found_in(pid, wanted):
    """Which of the `wanted` bytes the process holds, and where."""
    found = {}
    for where, content in memory_of(pid):
        for name, trace in wanted.items():
            position = content.find(trace)
            if position >= 0:
                found.setdefault(name, []).append(f"{where} at {position:#x}")
    return found


class Bucket(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.send_header("ETag", '"tag"')
        if self.server.closing:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        pass


def certificate(directory):
    """A self-signed certificate for 127.0.0.1, and its key, as files."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (directory / "certificate").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return directory / "certificate", directory / "key"


@pytest.fixture(params=["directory", "http", "https"])
def store(request, key_store, tmp_path):
    """Where keys come from: a function that puts one there, and the environment that leads to it."""
    if request.param == "directory":
        yield (lambda content: key_store.write("oseh_ujmk_1", content)), key_store.env
        return
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    env = {"JOURNAL_KEY_STORE": "s3://journal", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "planted",
           "AWS_ENDPOINT_URL_S3": f"{request.param}://127.0.0.1:{server.server_port}"}
    if request.param == "https":
        chain, key = certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        env["AWS_CA_BUNDLE"] = str(chain)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def put(content, closing=False):
        server.content, server.closing = content.encode(), closing

    yield put, env
    server.shutdown()


def test_no_trace_outlives_its_use(store, database):
    put, env = store
    content = Fernet.generate_key().decode()
    put(content)
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    plaintext = os.urandom(400).hex().encode()
    wanted, token = traces(content, plaintext) | subkey_traces(content, b"c:1"), Fernet(content).encrypt(plaintext).decode()
    json = Fernet(content).encrypt(b'"%s"' % plaintext).decode()
    keys = {name: trace for name, trace in wanted.items() if not name.startswith("plaintext")}
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(database.path)], env={"PATH": os.defpath, **env},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )

    def run(sql, *parameters):
        host.stdin.write("|".join([sql, *parameters]) + "\n")
        host.stdin.flush()
        return host.stdout.readline().strip()

    with host:
        try:
            for sql in (
                "SELECT length(journal_decrypt(7, 'oseh_ujmk_1', ?))",
                "SELECT length(journal_decrypt_blob(7, NULL, ?))",
                "SELECT length(journal_encrypt(7, journal_decrypt(7, NULL, ?))) / 1000 * 800",
                "SELECT length(journal_decrypt(7, NULL, token)) FROM journal_seal(7, journal_decrypt(7, NULL, ?))",
                "SELECT length(journal_decrypt(7, NULL, journal_rewrap(7, NULL, ?)))",
                "SELECT length(journal_decrypt(7, NULL, journal_bind(7, NULL, ?, 'c:1'), 'c:1'))",
                "SELECT length(journal_decrypt(7, NULL, token, 'c:1')) FROM journal_seal(7, journal_decrypt(7, NULL, ?), 'c:1')",
            ):
                assert run(sql, token) == "800", sql
                # Before another call writes over what this one left on the stack. The text is SQLite's and the host's by now.
                left = [(name, place) for name, places in found_in(host.pid, keys).items() for place in places if "stack" in place]
                assert left == [], sql
            item = "journal_encrypt_item(7, journal_decrypt(7, NULL, ?))"
            assert run(f"SELECT length(journal_decrypt_item(7, NULL, {item}))", json) == "802"
            assert run("SELECT journal_check(7, NULL, ?)", token) == "ok"
            in_use = found_in(host.pid, wanted)
            # What the cache is for, once each, in one page of its own; it also shows that this test can see.
            cached = {name for name in wanted if name.startswith(("round key", "inner HMAC state", "outer HMAC state"))}
            assert in_use.keys() >= {"round key 0", "inner HMAC state for subkeys"} and any(whole <= in_use.keys() for whole in STATES), in_use
            # rustls decrypts within its receive buffer, which nobody else can reach: an answer stays there until the
            # connection is closed.
            is_tls = "https" in env.get("AWS_ENDPOINT_URL_S3", "")
            buffered = {"base64", "base64's end"} if is_tls else set()
            assert in_use.keys() <= cached | buffered, in_use
            assert all(len(places) == 1 for places in in_use.values()), in_use
            spans = {place.split(" at ")[0].split()[-1] for name in cached & in_use.keys() for place in in_use[name]}
            assert len(spans) == 1, in_use
            # Locked, and not to be dumped: https://docs.kernel.org/filesystems/proc.html
            assert {"lo", "dd"} <= flags(host.pid, spans.pop())
            assert run("SELECT value FROM journal_stats WHERE name = 'keys_unlocked'") == "0"
            assert run("SELECT journal_evict()") == "1"
            left = found_in(host.pid, wanted)
            assert left.keys() <= buffered, left
            if left:
                put(Fernet.generate_key().decode(), closing=True)
                assert run("SELECT journal_prefetch(7)") == '{"ready":1,"failed":{}}'
                left = found_in(host.pid, wanted)
            assert left == {}
        finally:
            host.kill()


def test_sqlite_makes_no_copy_of_a_text_that_holds_a_nul(key_store, database):
    # Since SQLite 3.53, which apsw brings, it can be told that a NUL follows a text wherever else there is one.
    content = Fernet.generate_key().decode()
    key_store.write("oseh_ujmk_1", content)
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    plaintext = b"\0" + os.urandom(400).hex().encode()[1:]
    host = subprocess.Popen(
        [sys.executable, "-c", APSW_HOST, str(database.path)], env={"PATH": os.defpath, **key_store.env},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    with host:
        try:
            # length() wants a C string of it, and gives what is before the first NUL.
            host.stdin.write(f"SELECT length(journal_decrypt(7, NULL, ?))|{Fernet(content).encrypt(plaintext).decode()}\n")
            host.stdin.flush()
            assert host.stdout.readline() == "0\n"
            wanted = {name: trace for name, trace in traces(content, plaintext).items() if "plaintext" in name}
            assert found_in(host.pid, wanted) == {}
        finally:
            host.kill()


def test_a_forked_child_has_no_key_of_its_parent_s(key_store, database):
    content = Fernet.generate_key().decode()
    key_store.write("oseh_ujmk_1", content)
    database.add_user(7)
    database.add_key(7, "oseh_ujmk_1")
    script = HOST.replace("for line in sys.stdin:", """
import os, signal
print(connection.execute("SELECT length(journal_encrypt(7, 'text'))").fetchone()[0], flush=True)
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
for line in sys.stdin:""")
    host = subprocess.Popen(
        [sys.executable, "-c", script, str(database.path)], env={"PATH": os.defpath, **key_store.env},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    with host:
        try:
            assert host.stdout.readline() == "100\n"
            child = int(host.stdout.readline())
            wanted = traces(content, b"")
            in_use = found_in(host.pid, wanted).keys()
            assert "round key 0" in in_use and any(whole <= in_use for whole in STATES)
            assert found_in(child, wanted) == {}
            # The parent's are whole.
            host.stdin.write(f"SELECT journal_decrypt(7, NULL, ?)|{Fernet(content).encrypt(b'text').decode()}\n")
            host.stdin.flush()
            assert host.stdout.readline() == "text\n"
        finally:
            os.killpg(host.pid, signal.SIGKILL)
