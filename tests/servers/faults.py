"""What can go wrong between a client and an S3 server, one class a fault, for `FaultProxy`."""

import threading
from dataclasses import KW_ONLY, dataclass

from .message import Response, headers

_S3_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass(frozen=True)
class Fault:
    """Base of all faults; `act` answers one exchange, with `upstream.fetch(request)` where it needs the real answer."""

    _: KW_ONLY
    #: Seconds before anything happens.
    delay: float = 0

    def act(self, exchange, upstream):
        """Answers as the server would."""
        exchange.send(upstream.fetch(exchange.request))


@dataclass(frozen=True)
class Latency(Fault):
    """The right answer, `delay` seconds late."""


@dataclass(frozen=True)
class Held(Fault):
    """The right answer, when the test sets `go`; the server sees the request then, or (`served`) before."""

    go: threading.Event
    served: bool = False

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request) if self.served else None
        while not self.go.is_set():
            exchange.pause(0.02)
        exchange.send(response or upstream.fetch(exchange.request))


@dataclass(frozen=True)
class Close(Fault):
    """The connection is closed with no answer, before the server sees the request or (`served`) after."""

    served: bool = False
    #: Aborted (RST) rather than closed in order (FIN).
    reset: bool = False

    def act(self, exchange, upstream):
        if self.served:
            upstream.fetch(exchange.request)
        exchange.reset() if self.reset else exchange.close()


@dataclass(frozen=True)
class Reset(Close):
    """`Close` with an RST."""

    reset: bool = True


@dataclass(frozen=True)
class CloseKept(Close):
    """A kept connection is closed at the moment of its next request; the first of a connection is served."""

    def act(self, exchange, upstream):
        if exchange.request.turn > 1:
            super().act(exchange, upstream)
        else:
            Fault().act(exchange, upstream)


@dataclass(frozen=True)
class BlackHole(Fault):
    """No answer, and the connection stays open until the client gives up."""

    def act(self, exchange, upstream):
        exchange.wait_for_client()


@dataclass(frozen=True)
class HalfBody(Fault):
    """The full Content-Length, half of the body, then the end of the connection."""

    #: Aborted (RST) rather than closed in order (FIN).
    reset: bool = False

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        exchange.write(_head(response) + response.body[: len(response.body) // 2])
        exchange.reset() if self.reset else exchange.close()


@dataclass(frozen=True)
class WrongLength(Fault):
    """A Content-Length that is `by` bytes off the body. The connection stays open: where it claims too much
    the client waits, where it claims too little the rest lies before the next answer.
    """

    by: int

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        exchange.write(response.head(content_length=len(response.body) + self.by) + response.body, last=True)


@dataclass(frozen=True)
class HugeBody(Fault):
    """200 with `size` bytes, announced by Content-Length or, without `declared`, in chunks."""

    size: int
    declared: bool = True

    def act(self, exchange, upstream):
        length = {"content_length": self.size} if self.declared else {"transfer_encoding": "chunked"}
        exchange.write(Response(200).head(**length))
        left = self.size
        while left:
            block = b"A" * min(left, 65536)
            left -= len(block)
            if self.declared:
                exchange.write(block, last=not left)
            else:
                exchange.write(b"%x\r\n%b\r\n" % (len(block), block))
        if not self.declared:
            exchange.write(b"0\r\n\r\n", last=True)


@dataclass(frozen=True)
class EndByClose(Fault):
    """The answer with no Content-Length, ended by the end of the connection, `short` bytes too soon."""

    short: int = 0

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        end = len(response.body) - self.short
        exchange.write(response.head(content_length=None, connection="close") + response.body[:end])
        exchange.close()


@dataclass(frozen=True)
class Drip(Fault):
    """The right answer, its body a byte every `interval` seconds."""

    interval: float

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        exchange.write(_head(response))
        for number, byte in enumerate(response.body, start=1):
            exchange.pause(self.interval)
            exchange.write(bytes([byte]), last=number == len(response.body))


@dataclass(frozen=True)
class Garbage(Fault):
    """Bytes that are not HTTP."""

    data: bytes = b"\x00\xff\x16\x03 not HTTP at all\r\n\r\n"

    def act(self, exchange, upstream):
        exchange.write(self.data, last=True)
        exchange.close()


@dataclass(frozen=True)
class Status(Fault):
    """An S3 error answered in the server's place, such as `Status(400, "ExpiredToken")`."""

    status: int
    code: str
    message: str = "as the test asked"
    #: More headers, as (name, value) pairs.
    fields: tuple = ()

    def act(self, exchange, upstream):
        body = b"" if exchange.request.method == "HEAD" else _S3_ERROR.format(self.code, self.message).encode()
        exchange.send(Response(self.status, headers(("Content-Type", "application/xml"), *self.fields), body))


INTERNAL_ERROR = Status(500, "InternalError")
SLOW_DOWN = Status(503, "SlowDown")
TOO_MANY_REQUESTS = Status(429, "TooManyRequests")
ACCESS_DENIED = Status(403, "AccessDenied")
EXPIRED_TOKEN = Status(400, "ExpiredToken")
NO_SUCH_KEY = Status(404, "NoSuchKey")
NO_SUCH_BUCKET = Status(404, "NoSuchBucket")


def redirect(status, location=None, region=None):
    """S3's answer to a request in the wrong region: a Location, `x-amz-bucket-region`, or both."""
    fields = [("Location", location), ("x-amz-bucket-region", region)]
    code = "PermanentRedirect" if status in (301, 308) else "TemporaryRedirect"
    return Status(status, code, fields=tuple(pair for pair in fields if pair[1] is not None))


def always(fault):
    """For `FaultProxy.faults`: the same fault for every request."""
    return lambda request: fault


def _head(response):
    return response.head(content_length=len(response.body))
