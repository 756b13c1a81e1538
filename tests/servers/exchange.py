"""One request on a connection, and every way to answer it."""

import socket
import struct


class Exchange:
    """A `Request` and the connection that it came on. Where the server goes down meanwhile, what is done
    here raises `ConnectionAbortedError`.
    """

    def __init__(self, request, sock, down, finish):
        self.request = request
        self._sock, self._down, self._finish = sock, down, finish
        #: Whether the connection serves another request after this one.
        self.kept = request.headers.get("Connection", "").lower() != "close"

    def send(self, response):
        """Sends a whole response; HEAD's, 204's and 304's Content-Length is left as it is."""
        bodiless = self.request.method == "HEAD" or response.status in (204, 304)
        length = {} if bodiless else {"content_length": len(response.body)}
        self.write(response.head(**length) + response.body, last=True)

    def write(self, data, last=False):
        """Sends bytes as they are; `last` if with them the client has its answer."""
        self.pause(0)
        if last:
            self._finish()
        self._sock.sendall(data)

    def close(self):
        """Closes the connection in order (FIN) after what was written."""
        self.kept = False

    def reset(self):
        """Aborts the connection (RST) after what was written."""
        reset_on_close(self._sock)
        self.kept = False

    def pause(self, seconds):
        """Waits."""
        if self._down.wait(seconds):
            raise ConnectionAbortedError("the server went down")

    def wait_for_client(self):
        """Returns when the client has closed the connection."""
        while self._sock.recv(65536):
            pass
        self.kept = False


def reset_on_close(sock):
    """Makes the socket's close an abort (RST)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
