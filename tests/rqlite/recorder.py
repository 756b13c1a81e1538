"""Nodes behind relays that keep every byte, and a search of what was kept."""

import base64
import json
import re
import select
import socket
import zlib

from servers.port import LOOPBACK
from servers.relay import Relay

from .cluster import Node


class Recorder(Relay):
    """Passes bytes on and keeps them, by connection and direction."""

    def __init__(self, upstream):
        self.streams = []
        super().__init__(upstream)

    def finish_request(self, request, client_address):
        try:
            with request as client, socket.create_connection(self.upstream, timeout=10) as server:
                with self._lock:
                    self._open |= {client, server}
                self._record(client, server)
        except OSError:
            pass  # one of the two left

    def _record(self, client, server):
        server.settimeout(None)
        kept = {client: bytearray(), server: bytearray()}
        self.streams += kept.values()
        other = {client: server, server: client}
        while True:
            for sock in select.select([client, server], [], [])[0]:
                if not (data := sock.recv(65536)):
                    return
                kept[sock] += data
                other[sock].sendall(data)


class RecordedNode(Node):
    """A node that applications and other nodes reach through recorders alone."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.from_applications = Recorder((LOOPBACK, self._http.number))
        self.from_nodes = Recorder((LOOPBACK, self._raft.number))
        close = self.close

        def close_all():
            close()
            for recorder in (self.from_applications, self.from_nodes):
                recorder.__exit__()

        self.close = close_all

    @property
    def address(self):
        return f"{LOOPBACK}:{self.from_applications.port}"

    @property
    def raft(self):
        return f"{LOOPBACK}:{self.from_nodes.port}"

    @property
    def recorded(self):
        """Every stream of bytes that passed."""
        return [bytes(stream) for recorder in (self.from_applications, self.from_nodes) for stream in recorder.streams]


def forms(secret):
    """What a secret looks like where it is written: as it is, in JSON, in base64 at each offset, in hexadecimal, in UTF-16."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = {raw, raw.hex().encode()}
    if isinstance(secret, str):
        found |= {json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode()}
        found.add(secret.encode("utf-16-le"))
        # Go's JSON, which rqlite writes, escapes these three as well.
        for character in "<>&":
            found |= {form.replace(character.encode(), b"\\u%04x" % ord(character)) for form in set(found)}
    for offset in range(3):
        # Without the characters that its neighbours decide.
        text = base64.b64encode(bytes(offset) + raw)[(0, 2, 3)[offset] :].rstrip(b"=")[:-1]
        found |= {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def unpacked(content):
    """The content, and all that is gzip-compressed or a zlib stream in it, however deep."""
    yield content
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", content):
        stream = zlib.decompressobj(47)
        try:
            inner = stream.decompress(memoryview(content)[start.start() :], 1 << 24)
        except zlib.error:
            continue
        if len(inner) > 8:
            yield from unpacked(inner)


def holds(contents, secret):
    """Whether any of the contents has the secret in it."""
    wanted = forms(secret)
    return any(form in part for content in contents for part in unpacked(content) for form in wanted)
