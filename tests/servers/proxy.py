"""A reverse proxy in front of a real S3 server that does harm when told to."""

import socket
from http.client import HTTPException, HTTPMessage, HTTPResponse

from .faults import Fault
from .listener import Listener
from .message import HOP_BY_HOP, Response, head, headers


class FaultProxy(Listener):
    """Stands as the endpoint of a client and passes each request on, unless `faults` names a `Fault` for it.

    `faults` may be set at any time: a list, of which each request takes the first (None passes it on),
    or a callable that is given the `Request` and returns a fault or None.
    Request line and headers go upstream as they came, Host included, since the signature covers them.
    """

    def __init__(self, upstream_host, upstream_port):
        self.faults = []
        self.upstream = Upstream(upstream_host, upstream_port)
        super().__init__()

    def answer(self, exchange):
        """Lets the fault act, or passes the request on."""
        fault = self._fault_for(exchange.request) or Fault()
        exchange.pause(fault.delay)
        fault.act(exchange, self.upstream)

    def _fault_for(self, request):
        faults = self.faults
        if callable(faults):
            return faults(request)
        try:
            return faults.pop(0)  # atomic, so that each fault meets one request
        except IndexError:
            return None


class Upstream:
    """The server behind the proxy."""

    def __init__(self, host, port):
        self._address = (host, port)

    def fetch(self, request):
        """The server's `Response` to a request; 502 where there is none."""
        passed_on = _end_to_end(request.headers, besides={"expect"})
        passed_on["Connection"] = "close"
        try:
            with socket.create_connection(self._address, timeout=30) as sock:
                sock.sendall(head(f"{request.method} {request.target} HTTP/1.1", passed_on) + request.body)
                with HTTPResponse(sock, method=request.method) as answer:
                    answer.begin()
                    return Response(answer.status, _end_to_end(answer.headers), answer.read())
        except (OSError, HTTPException) as error:
            return Response(502, HTTPMessage(), f"upstream: {error!r}".encode())


class RedirectTarget(Listener):
    """A server that nobody should be led to; it tells whether anybody brought credentials."""

    @property
    def was_sent_credentials(self):
        """Whether a request came with a signature or a session token, in its headers or its URL."""
        return any(
            "Authorization" in r.headers or "X-Amz-Security-Token" in r.headers
            or any(name.lower().startswith("x-amz-") for name in r.query)
            for r in self.requests
        )


def _end_to_end(fields, besides=frozenset()):
    return headers(*(pair for pair in fields.items() if pair[0].lower() not in HOP_BY_HOP | besides))
