"""What is found is no key: any other content, and bodies that have no end or lie about it."""

from dataclasses import dataclass, field

import pytest
from cryptography.fernet import Fernet
from servers import faults
from servers.message import Response

from .answers import ENCRYPT, MARGIN, NAMED, invalid, unavailable


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "its object is not a Fernet key"),
        ("x", "its object is not a Fernet key"),
        ("not the content of a key, though 44 letters.", "its object is not a Fernet key"),
        ("A" * 4096, "its object is not a Fernet key"),
        ("A" * 4097, "its object is too large for a Fernet key"),
        ("A" * 1_000_000, "its object is too large for a Fernet key"),
    ],
    ids=["empty", "a letter", "44 letters", "4096 letters", "4097 letters", "a million letters"],
)
def test_an_object_that_is_no_key(content, reason, scene):
    scene.add_rows()
    scene.put(content)
    assert scene.child().error(ENCRYPT) == invalid(reason)
    assert scene.proxy.count() == 1


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_huge_body_is_not_read(declared, scene):
    scene.add_key()
    child = scene.child()
    scene.proxy.faults = faults.always(faults.HugeBody(1 << 40, declared=declared))
    assert child.error(ENCRYPT) == invalid("its object is too large for a Fernet key")
    assert child.seconds < MARGIN
    scene.proxy.faults = []
    assert child.run(ENCRYPT)


def test_a_huge_error_document_is_not_read(scene):
    @dataclass(frozen=True)
    class Endless(faults.HugeBody):
        def act(self, exchange, upstream):
            exchange.write(Response(500).head(content_length=self.size))
            while True:
                exchange.write(b"<Error>" * 1000)

    scene.add_key()
    scene.proxy.faults = faults.always(Endless(1 << 40))
    child = scene.child()
    assert "store_unavailable" in child.error(ENCRYPT)
    assert child.seconds < 4 + MARGIN


def test_one_good_key_is_found_behind_a_lost_and_a_broken_one(scene):
    token = Fernet(scene.add_key("oseh_ujmk_good", created_at=1.0)).encrypt(b"found").decode()
    scene.add_rows("oseh_ujmk_broken", created_at=2.0)
    scene.put("no key", "oseh_ujmk_broken")
    scene.add_rows("oseh_ujmk_lost", created_at=3.0)
    child = scene.child()
    assert child.value("SELECT journal_decrypt(1, NULL, ?)", token) == "found"
    assert child.value("SELECT journal_check(1, NULL, 'x')") == "key_invalid"


def test_a_body_that_ends_with_its_connection_is_not_trusted_to_be_whole(scene):
    scene.add_key()
    scene.proxy.faults = faults.always(faults.EndByClose())
    assert scene.child().error(ENCRYPT) == unavailable("its answer was cut short")


@dataclass(frozen=True)
class Chunked(faults.Fault):
    """The right answer in chunks; `whole`: with the last one."""

    whole: bool = True

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        exchange.write(response.head(content_length=None, transfer_encoding="chunked"))
        for start in range(0, len(response.body), 20):
            block = response.body[start : start + 20]
            exchange.write(b"%x\r\n%b\r\n" % (len(block), block))
        if self.whole:
            exchange.write(b"0\r\n\r\n", last=True)
        else:
            exchange.close()


def test_a_chunked_body_is_read_to_its_end(scene):
    fernet = Fernet(scene.add_key())
    scene.proxy.faults = [Chunked(whole=False), Chunked()]
    assert fernet.decrypt(scene.child().value(ENCRYPT)) == b"text"
    assert scene.proxy.count() == 2


def test_what_lies_behind_an_answer_is_never_taken_for_the_next_one(scene):
    """The server announces less than it sends: the rest, here a whole answer with another key, stays on the connection."""

    @dataclass(frozen=True)
    class Smuggled(faults.Fault):
        rest: bytes = field(repr=False)

        def act(self, exchange, upstream):
            response = upstream.fetch(exchange.request)
            exchange.write(response.head(content_length=len(response.body)) + response.body + self.rest, last=True)

    contents = [scene.add_key("oseh_ujmk_a"), scene.add_key("oseh_ujmk_b")]
    foreign = Fernet.generate_key()
    rest = Response(200, body=foreign).head(content_length=len(foreign)) + foreign
    scene.proxy.faults = [Smuggled(rest)]
    child = scene.child()
    for uid, content in zip(["oseh_ujmk_a", "oseh_ujmk_b"], contents, strict=True):
        assert Fernet(content).decrypt(child.value(NAMED, uid)) == b"text"


def test_a_body_longer_than_announced_is_no_key_and_spoils_nothing(scene):
    scene.add_key("oseh_ujmk_a")
    scene.add_key("oseh_ujmk_b")
    child = scene.child()
    scene.proxy.faults = [faults.WrongLength(by=-5)]
    assert child.error(NAMED, "oseh_ujmk_a") == invalid("its object is not a Fernet key", "oseh_ujmk_a")
    assert child.run(NAMED, "oseh_ujmk_b")
    assert child.run(NAMED, "oseh_ujmk_a")
