"""What a call says of each answer of a store; faults that pass, and answers that no retry mends."""

import re
import time
from dataclasses import dataclass

from scene import KEY_UID
from servers import faults
from servers.message import Response

#: What a call may take beyond its timeout on a machine that is busy.
MARGIN = 2.0

ENCRYPT = "SELECT journal_encrypt(1, 'text')"
NAMED = "SELECT journal_encrypt(1, 'text', ?)"


def unavailable(reason, uid=KEY_UID):
    return f'journal_encrypt: store_unavailable: key "{uid}" could not be fetched: {reason}'


def denied(reason, uid=KEY_UID):
    return f'journal_encrypt: store_denied: key "{uid}" may not be fetched: {reason}'


def lost(uid=KEY_UID):
    return f'journal_encrypt: key_lost: key "{uid}": its object is not in the key store'


DISABLED = f'journal_encrypt: key_disabled: key "{KEY_UID}": its object is disabled; journal_enable_key brings it back'


def invalid(reason, uid=KEY_UID):
    return f'journal_encrypt: key_invalid: key "{uid}": {reason}'


PASSING = [
    faults.Status(429, "TooManyRequests"), faults.Status(500, "InternalError"), faults.Status(502, "BadGateway"),
    faults.Status(503, "SlowDown"), faults.Status(504, "GatewayTimeout"), faults.HalfBody(), faults.HalfBody(reset=True),
    faults.Close(), faults.Close(served=True), faults.Reset(), faults.Reset(served=True), faults.EndByClose(short=10),
]
LASTING = {
    faults.ACCESS_DENIED: denied("the store answered 403 (AccessDenied)"),
    faults.Status(403, "RequestTimeTooSkewed"): denied(
        "the store answered 403 (RequestTimeTooSkewed): this machine's clock differs too much from the store's"
    ),
    faults.Status(401, "Unauthorized"): denied("the store answered 401 (Unauthorized)"),
    faults.EXPIRED_TOKEN: denied("the store answered 400 (ExpiredToken)"),
    faults.Status(400, "InvalidToken"): denied("the store answered 400 (InvalidToken)"),
    faults.NO_SUCH_BUCKET: unavailable("the store answered 404 (NoSuchBucket)"),
    faults.Status(400, "AuthorizationHeaderMalformed"): unavailable(
        "the store answered 400 (AuthorizationHeaderMalformed)"
    ),
    faults.Status(405, "MethodNotAllowed"): unavailable("the store answered 405 (MethodNotAllowed)"),
    faults.Status(304, "NotModified"): unavailable("the store answered 304 (no code)"),
    faults.Status(206, "Partial"): unavailable("the store answered 206 (Partial)"),
    faults.Status(204, "NoContent"): unavailable("the store answered 204 (no code)"),
}


def describe(fault):
    return fault if isinstance(fault, str) else re.sub(r"delay=\d+|, message=.*", "", repr(fault))


@dataclass(frozen=True)
class Raw(faults.Fault):
    """An answer of the test's own making."""

    status: int
    body: bytes

    def act(self, exchange, upstream):
        exchange.send(Response(self.status, body=self.body))


def wait_for(what, seconds=15):
    """Asks until it is so."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
    return found
