"""A cached key past its TTL: it is checked, serves on through an outage for a while, and ends where its object did."""

from dataclasses import dataclass

import pytest
from cryptography.fernet import Fernet
from scene import KEY_UID
from servers import faults

from .answers import ENCRYPT, LASTING, PASSING, describe, denied, lost, wait_for


@dataclass(frozen=True)
class Watched(faults.Fault):
    """The server's own answer, whose status goes into a list."""

    statuses: list

    def act(self, exchange, upstream):
        response = upstream.fetch(exchange.request)
        self.statuses.append(response.status)
        exchange.send(response)


def test_a_key_past_its_ttl_is_checked_by_its_etag(scene, warm):
    child, statuses = warm(JOURNAL_CACHE_TTL="0"), []
    scene.proxy.faults = faults.always(Watched(statuses))
    token = child.value(ENCRYPT)
    assert child.value("SELECT journal_decrypt(1, NULL, ?)", token) == "text"
    assert statuses == [304, 304]
    [etag] = {request.headers["If-None-Match"] for request in scene.proxy.requests}
    assert etag == scene.s3.get(scene.bucket, scene.name()).headers["ETag"]


def test_an_object_that_was_replaced_is_used_after_the_check(scene, warm):
    child, statuses = warm(JOURNAL_CACHE_TTL="0"), []
    content = Fernet.generate_key().decode()
    scene.put(content)
    scene.proxy.faults = faults.always(Watched(statuses))
    assert Fernet(content).decrypt(child.value(ENCRYPT)) == b"text"
    assert statuses == [200]


def test_a_key_in_use_is_checked_before_its_ttl_ends_and_nobody_is_refused(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="1")
    wait_for(lambda: child.run(ENCRYPT) and scene.proxy.count() >= 2)
    assert all("If-None-Match" in request.headers for request in scene.proxy.requests)


def test_a_key_within_its_ttl_is_not_checked(scene, warm):
    child = warm()
    scene.delete()
    for _ in range(50):
        assert child.run(ENCRYPT)
    assert scene.proxy.count() == 0


# Not those that spoil a body: the answer of a check has none.
STALE = [fault for fault in PASSING if not isinstance(fault, (faults.HalfBody, faults.EndByClose))] + [faults.BlackHole()]


@pytest.mark.parametrize("fault", STALE, ids=describe)
def test_a_key_that_cannot_be_checked_serves_on(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0", JOURNAL_FETCH_TIMEOUT="1")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.run(ENCRYPT)
    assert scene.proxy.count() >= 1


def test_a_key_serves_on_while_its_store_is_dead(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.refuse()
    for _ in range(3):
        assert child.run(ENCRYPT)


@pytest.mark.parametrize("fault", [*STALE[:-1], faults.NO_SUCH_BUCKET], ids=describe)
def test_a_key_past_its_stale_time_never_serves(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0", JOURNAL_CACHE_STALE="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):  # however soon it is asked for again
        assert "store_unavailable" in child.error(ENCRYPT)
    scene.proxy.faults = []
    assert child.run(ENCRYPT)


# What is wrong with what we sign with: not the store's word on the key.
UNSIGNED = [faults.EXPIRED_TOKEN, faults.Status(403, "RequestTimeTooSkewed")]


@pytest.mark.parametrize("fault", UNSIGNED, ids=describe)
def test_a_clock_that_is_off_or_credentials_that_ended_drop_no_key(fault, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.run(ENCRYPT)
    assert child.value("SELECT value FROM journal_stats WHERE name = 'failed_store_denied'") >= 1
    [[status, detail]] = child.run("SELECT status, detail FROM journal_doctor WHERE name = 'credentials'")
    assert status == "failed" and fault.code in detail


# Of a check, 304 is the good answer.
@pytest.mark.parametrize("fault, text", [c for c in LASTING.items() if c[0].status != 304 and c[0] not in UNSIGNED], ids=describe)
def test_an_answer_that_is_no_passing_fault_ends_a_key_at_once(fault, text, scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = faults.always(fault)
    for _ in range(3):
        assert child.error(ENCRYPT) == text


def test_a_deleted_object_ends_its_key_at_the_next_check(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    token = child.value(ENCRYPT)
    scene.delete()
    assert child.error(ENCRYPT) == lost()
    assert child.value("SELECT journal_try_decrypt(1, NULL, ?)", token) is None


def test_a_denial_ends_a_key_at_the_next_check_and_forgets_it(scene, warm):
    child = warm(JOURNAL_CACHE_TTL="0")
    scene.proxy.faults = [faults.ACCESS_DENIED]
    assert child.error(ENCRYPT) == denied("the store answered 403 (AccessDenied)")
    assert child.run(ENCRYPT)
    assert "If-None-Match" not in scene.proxy.requests[-1].headers


def test_an_evicted_key_is_fetched_anew(scene, warm):
    child = warm()
    assert child.value("SELECT journal_evict(?)", KEY_UID) == 1
    assert child.value("SELECT journal_evict()") == 0
    assert child.run(ENCRYPT)
    [asked] = scene.proxy.requests
    assert "If-None-Match" not in asked.headers
