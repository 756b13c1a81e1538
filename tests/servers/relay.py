"""TLS before a plain server, and a CONNECT proxy: relays of bytes, on loopback, with their own certificates."""

import base64
import datetime
import ipaddress
import select
import socket
import socketserver
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority; its files are below `folder`."""

    def __init__(self, folder, name="journal tests"):
        self._folder = folder
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        #: PEM file of the authority's certificate.
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *hosts, ended=False):
        """A TLS context for a server that goes by `hosts`, names or addresses; `ended`: with a certificate that is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        certificate = self._sign(name, key, x509.BasicConstraints(ca=False, path_length=None), names, ended=ended)
        file = self._folder / f"server-{certificate.serial_number:x}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(self, name, key, *extensions, ended=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * day)
            .not_valid_after(now - day if ended else now + day)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


def _general_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Relay(socketserver.ThreadingTCPServer):
    """A loopback server, of IPv6 with the host `::1`, whose connections end at `upstream`, a (host, port)."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, upstream, host="127.0.0.1"):
        self.upstream = upstream
        self._open, self._lock = set(), threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), None)
        self.host, self.port = self.server_address[:2]
        self._thread = threading.Thread(target=self.serve_forever, args=[0.02], daemon=True)
        self._thread.start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        with self._lock:
            for sock in self._open:
                sock.close()

    def finish_request(self, request, client_address):
        """Serves one connection."""
        try:
            if (client := self.accepted(request)) is not None:
                with client, socket.create_connection(self.upstream, timeout=10) as server:
                    with self._lock:
                        self._open |= {client, server}
                    _relay(client, server)
        except OSError:
            pass  # one of the two left

    def accepted(self, client):
        """The connection to relay, or None where there is nothing more to do with it."""
        return client

    def handle_error(self, request, client_address):
        pass


class TlsFront(Relay):
    """TLS with the certificate of `context`, before a plain server."""

    def __init__(self, upstream, context):
        self._context = context
        #: Handshakes that came to an end, and those that did not.
        self.handshakes = self.refusals = 0
        super().__init__(upstream)

    def accepted(self, client):
        try:
            client = self._context.wrap_socket(client, server_side=True)
        except OSError:
            self.refusals += 1
            return None
        self.handshakes += 1
        return client


class ConnectProxy(Relay):
    """A forward proxy that knows CONNECT alone, and takes every target for `upstream`.

    `credentials`, as `user:password`, are asked for in Proxy-Authorization; without them it answers 407.
    """

    def __init__(self, upstream, credentials=None):
        self._expected = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()
        #: The head of each request, as lines.
        self.requests = []
        super().__init__(upstream)

    def accepted(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += (block := client.recv(1))
            if not block:
                return None
        lines = head.decode().splitlines()
        self.requests.append(lines)
        given = dict(line.split(": ", 1) for line in lines[1:] if line)
        sent = next((value for name, value in given.items() if name.lower() == "proxy-authorization"), None)
        if self._expected not in (None, sent):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return client


def _relay(a, b):
    """Passes bytes both ways until either side ends. One thread: an SSL object may not be used by two."""
    other = {a: b, b: a}
    while True:
        for sock in select.select([a, b], [], [])[0]:
            while True:
                data = sock.recv(65536)
                if not data:
                    return
                other[sock].sendall(data)
                if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                    break
