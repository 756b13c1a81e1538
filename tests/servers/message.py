"""HTTP requests and responses as the servers record them and the S3 client returns them."""

from dataclasses import dataclass, field
from http.client import HTTPMessage, responses
from urllib.parse import parse_qs
from xml.etree import ElementTree

# They speak of one connection, so a proxy does not pass them on (RFC 9110, section 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


def headers(*pairs):
    """Headers from (name, value) pairs: kept in order, looked up without regard to case."""
    message = HTTPMessage()
    for name, value in pairs:
        message[name] = str(value)
    return message


def head(start_line, fields):
    """The bytes of a start line and of the header fields below it."""
    lines = [start_line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    #: Path and query as sent, still percent-encoded.
    target: str
    headers: HTTPMessage
    body: bytes = b""
    #: Which connection to the server brought it, counted from 1.
    connection: int = 0
    #: Which request of that connection it was, counted from 1.
    turn: int = 0

    @property
    def path(self):
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self):
        """Query parameters, decoded: {name: [value, …]}."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def form(self):
        """Parameters of a form body, decoded: {name: [value, …]}."""
        return parse_qs(self.body.decode("latin-1"), keep_blank_values=True)


@dataclass(frozen=True)
class Response:
    """A response: `headers` answer to names in any case."""

    status: int
    headers: HTTPMessage = field(default_factory=HTTPMessage)
    body: bytes = b""

    @property
    def code(self):
        """The code of an error body (`NoSuchKey`), or None."""
        try:
            return ElementTree.fromstring(self.body).findtext(".//{*}Code")
        except ElementTree.ParseError:
            return None

    def head(self, **replaced):
        """The bytes before the body; `content_length=5` replaces a header, None leaves it out."""
        changed = {name.replace("_", "-"): value for name, value in replaced.items()}
        fields = [pair for pair in self.headers.items() if pair[0].lower() not in changed]
        fields += [(name.title(), value) for name, value in changed.items() if value is not None]
        return head(f"HTTP/1.1 {self.status} {responses.get(self.status, '')}", headers(*fields))
