"""An HTTP server for one test: keeps connections alive, records requests, lets an answer be anything at all."""

import http.client
import socket
import threading
from functools import partial

from .exchange import Exchange, reset_on_close
from .message import Request, Response
from .port import LOOPBACK, Port


class Listener:
    """A loopback server with a thread for each connection. Subclasses say in `respond` what it answers,
    or in `answer` how it misbehaves; what they raise is raised again by `close`.
    """

    host = LOOPBACK

    def __init__(self):
        self._port = Port()
        self.port = self._port.number
        self._lock = threading.Lock()
        self._sockets, self._threads, self._failures = set(), set(), []
        self._listener, self._unanswered = None, set()
        self.forget()
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def endpoint(self):
        """URL of the server."""
        return f"http://{self.host}:{self.port}"

    def forget(self):
        """Starts the records anew."""
        with self._lock:
            #: Every `Request`, in the order of arrival.
            self.requests = []
            #: Connections accepted.
            self.connections = 0
            #: The most requests at one time that had arrived and were not answered yet.
            self.most_in_flight = len(self._unanswered)

    @property
    def in_flight(self):
        """Requests that have arrived and are not answered yet."""
        return len(self._unanswered)

    def count(self, method=None, path=None):
        """How many requests arrived, of one method or path if given."""
        with self._lock:
            return sum(method in (None, r.method) and path in (None, r.path) for r in self.requests)

    def listen(self):
        """Accepts connections, again after `refuse`."""
        # One event for each time that the server is up, so that what began before stays ended.
        self._down = threading.Event()
        self._listener = self._port.listen()
        self._acceptor = threading.Thread(target=self._accept, args=[self._listener, self._down], daemon=True)
        self._acceptor.start()

    def refuse(self):
        """Refuses connections and resets the open ones, as a server that is down; the port stays ours."""
        self._go_down(socket.SHUT_RD)  # wakes their threads; no FIN goes out before the RST

    def close(self):
        """Ends every connection and thread. Raises what went wrong in an answer."""
        self._go_down(socket.SHUT_RDWR)
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=40)  # longer than any timeout of ours
            if thread.is_alive():
                raise RuntimeError(f"{type(self).__name__}: a connection does not end")
        self._port.close()
        if self._failures:
            raise self._failures.pop(0)

    def respond(self, request):
        """The `Response` to a request."""
        return Response(200)

    def answer(self, exchange):
        """Answers one request over `exchange`."""
        exchange.send(self.respond(exchange.request))

    def _go_down(self, how):
        self._down.set()
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            self._acceptor.join()
            self._listener.close()
            self._listener = None
        with self._lock:
            for sock in self._sockets:
                reset_on_close(sock)
                _shutdown(sock, how)

    def _accept(self, listener, down):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=[sock, self.connections, down], daemon=True)
                self._sockets.add(sock)
                self._threads = {thread, *(old for old in self._threads if old.is_alive())}
            thread.start()

    def _serve(self, sock, connection, down):
        stream = sock.makefile("rb")
        kept, turn = True, 0
        try:
            while kept:
                turn += 1
                request = _read(sock, stream, connection, turn)
                if request is None:
                    break
                with self._lock:
                    self.requests.append(request)
                    self._unanswered.add((connection, turn))
                    self.most_in_flight = max(self.most_in_flight, len(self._unanswered))
                # Answered just before the client can know it: its next request does not count as one more.
                exchange = Exchange(request, sock, down, partial(self._unanswered.discard, (connection, turn)))
                self.answer(exchange)
                self._unanswered.discard((connection, turn))
                kept = exchange.kept
        except OSError:
            pass  # the client left, or the server went down
        except Exception as error:
            self._failures.append(error)
        finally:
            with self._lock:
                self._unanswered.discard((connection, turn))
                self._sockets.discard(sock)
                stream.close()
                sock.close()


def _read(sock, stream, connection, turn):
    """The next request of a connection; None at its end, or where it is not HTTP."""
    try:
        method, target, _ = stream.readline(65537).decode("latin-1").split()
        fields = http.client.parse_headers(stream)
        length = int(fields.get("Content-Length", 0))
    except (ValueError, http.client.HTTPException):
        return None
    if "Transfer-Encoding" in fields:
        sock.sendall(Response(411).head(content_length=0, connection="close"))  # as S3 does
        return None
    if fields.get("Expect", "").lower() == "100-continue":
        sock.sendall(Response(100).head())
    body = stream.read(length)
    if len(body) < length:
        return None
    return Request(method, target, fields, body, connection, turn)


def _shutdown(sock, how):
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the client was first
