"""A loopback port that stays reserved while servers come and go on it."""

import socket

LOOPBACK = "127.0.0.1"


class Port:
    """A free loopback TCP port, held until `close`.

    The holding socket is bound and never listens. Linux gives such a port to nobody who asks for a
    free one, lets a server with SO_REUSEADDR listen on it, and refuses connections while none does.
    """

    def __init__(self):
        self._holder = _reusable_socket()
        self._holder.bind((LOOPBACK, 0))
        self.number = self._holder.getsockname()[1]

    def listen(self):
        """A socket that listens on the port."""
        listener = _reusable_socket()
        try:
            listener.bind((LOOPBACK, self.number))
            listener.listen(256)
        except OSError:
            listener.close()
            raise
        return listener

    def close(self):
        """Gives the port back."""
        self._holder.close()


def _reusable_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock
