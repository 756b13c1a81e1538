"""What operators see and do: prefetch, the cache, the counters, the configuration, the doctor, SQLite's log."""

import json
import re
import threading

import pytest
from conftest import PREFIX, ROOT, new_key
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from scene import KEY_UID, Scene
from servers import faults

USERS = range(2, 42)


@pytest.fixture
def scene(ceph, tmp_path):
    with Scene(ceph, tmp_path) as scene:
        scene.add_key()
        yield scene


def add_users(scene):
    """One key for each of 40 users."""
    for user in USERS:
        uid = f"oseh_ujmk_{user}"
        scene.database.add_user(user)
        scene.database.add_key(user, uid)
        key = new_key()
        scene.secrets.append(key)
        scene.put(key, uid)


def stats(child):
    return dict(child.run("SELECT name, value FROM journal_stats"))


def doctor(child):
    return {name: (status, detail) for name, status, detail in child.run("SELECT * FROM journal_doctor")}


# ---- journal_prefetch -------------------------------------------------------------------------------------------


def test_a_prefetch_asks_side_by_side_and_within_its_threads(scene):
    add_users(scene)
    child = scene.child(JOURNAL_FETCH_THREADS="8")
    scene.proxy.faults = faults.always(faults.Latency(delay=0.02))
    users = json.dumps([1, *USERS, 1])
    assert json.loads(child.value("SELECT journal_prefetch(?)", users)) == {"ready": 41, "failed": {}}
    assert scene.proxy.count() == 41
    assert 1 < scene.proxy.most_in_flight <= 8
    assert stats(child)["keys_cached"] == 41
    child.run("SELECT journal_encrypt(value, 'x') FROM json_each(?)", users)
    assert scene.proxy.count() == 41


def test_a_prefetch_reports_how_many_failed_with_which_word(scene):
    add_users(scene)
    scene.delete("oseh_ujmk_2")
    scene.put("no key", "oseh_ujmk_3")
    child = scene.child()
    report = child.value("SELECT journal_prefetch('[1, 2, 3, 4.0, 99]')")
    assert json.loads(report) == {"ready": 2, "failed": {"key_lost": 1, "key_invalid": 1, "no_key": 1}}
    assert json.loads(child.value("SELECT journal_prefetch(1)")) == {"ready": 1, "failed": {}}
    assert json.loads(child.value("SELECT journal_prefetch('[]')")) == {"ready": 0, "failed": {}}


def test_a_prefetch_from_a_dead_store_ends_within_one_timeout_or_two(scene):
    add_users(scene)
    scene.proxy.faults = faults.always(faults.BlackHole())
    child = scene.child(JOURNAL_FETCH_TIMEOUT="0.5", JOURNAL_FETCH_THREADS="4")
    report = json.loads(child.value("SELECT journal_prefetch(?)", json.dumps(list(USERS))))
    assert report == {"ready": 0, "failed": {"store_unavailable": 40}}
    # 40 keys by 4 threads would take ten timeouts, if each of them waited for its own.
    assert child.seconds < 3


@pytest.mark.parametrize(
    "argument, named",
    [
        (None, "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is NULL"),
        (7.5, "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is REAL"),
        (b"[7]", "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is BLOB of 3 bytes"),
        ("", "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is TEXT of 0 bytes"),
        ("7", "user_id must be an INTEGER, as in the key rows, this is TEXT of 1 byte"),
        ('[7, "x"]', "user_id must be an INTEGER, as in the key rows, this is TEXT of 1 byte"),
        ("[7.5]", "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is TEXT of 5 bytes"),
        ("[" * 100_000, "user_ids must be an INTEGER, TEXT of 1 to 255 bytes or a JSON array of these, this is TEXT of 100000 bytes"),
    ],
)
def test_a_prefetch_of_anything_else_is_refused(argument, named, scene):
    error = scene.child().error("SELECT journal_prefetch(?)", argument)
    assert error == f"journal_prefetch: bad_argument: {named}"


# ---- journal_cache, journal_evict, journal_stats, journal_config --------------------------------------------------


def test_the_cache_lists_its_keys_and_nothing_secret(scene):
    child = scene.child()
    assert child.run("SELECT * FROM journal_cache") == []
    child.run("SELECT journal_encrypt(1, 'text')")
    [[uid, name, age, stale]] = child.run("SELECT * FROM journal_cache")
    assert (uid, name, stale) == (KEY_UID, PREFIX + KEY_UID, 0)
    assert 0 <= age < 60
    assert child.value("SELECT journal_evict(?)", KEY_UID) == 1
    assert child.value("SELECT journal_evict()") == 0
    assert child.run("SELECT * FROM journal_cache") == []


def test_the_counters_count(scene):
    child = scene.child()
    before = stats(child)
    assert (before["fetches"], before["seconds_since_good_fetch"], before["store_down"]) == (0, None, 0)
    scene.proxy.faults = [faults.SLOW_DOWN]
    child.run("SELECT journal_encrypt(1, 'text')")
    scene.add_rows("oseh_ujmk_lost", created_at=1.0)
    child.error("SELECT journal_encrypt(1, 'text')")
    counted = stats(child)
    names = ["fetches", "retries", "failed_key_lost", "failed_store_unavailable", "keys_cached", "keys_stale", "fetches_pending"]
    assert [counted[name] for name in names] == [2, 1, 1, 0, 1, 0, 0]
    assert counted["fetch_seconds"] > 0
    assert 0 <= counted["seconds_since_good_fetch"] < 60
    assert counted["version"] == child.value("SELECT journal_version()")
    assert counted["sqlite_version"] == child.value("SELECT sqlite_version()")


def metrics(child):
    """What Prometheus's own parser reads: for each metric its kind and its sample's value, or its labels."""
    families = list(text_string_to_metric_families(child.value("SELECT journal_metrics()")))
    found = {}
    for family in families:
        assert family.documentation and len(family.samples) <= 1, family
        [sample] = family.samples or [None]
        found[family.name.removeprefix("journal_crypt_")] = family.type, sample and (sample.labels or sample.value)
    assert len(found) == len(families)
    return found


def test_the_metrics_are_the_counters(scene):
    child = scene.child()
    assert metrics(child)["seconds_since_good_fetch"] == ("gauge", None)
    child.run("SELECT journal_encrypt(1, 'text')")
    told, counted = metrics(child), stats(child)
    assert told.keys() == counted.keys()
    assert told["fetches"] == ("counter", 1)
    assert told["fetch_seconds"] == ("counter", counted["fetch_seconds"])
    assert told["keys_cached"] == ("gauge", 1)
    assert told["version"] == ("info", {"version": counted["version"]})
    assert told["sqlite_version"] == ("info", {"sqlite_version": counted["sqlite_version"]})
    kind, age = told["seconds_since_good_fetch"]
    assert kind == "gauge" and 0 <= age < 60


def test_the_dashboard_shows_every_metric(scene):
    suffix = {"counter": "_total", "info": "_info", "gauge": ""}
    samples = {f"journal_crypt_{name}{suffix[kind]}" for name, (kind, _) in metrics(scene.child()).items()}
    panels = json.loads((ROOT / "docs" / "dashboard.json").read_text())["panels"]
    shown = {name for panel in panels for target in panel["targets"] for name in re.findall(r"journal_crypt_\w+", target["expr"])}
    assert shown == samples


def test_a_call_that_finds_its_key_in_the_cache_counts_nothing(scene):
    child = scene.child()
    child.run("SELECT journal_encrypt(1, 'text')")
    counted = stats(child)
    child.run("SELECT journal_encrypt(1, 'text') FROM json_each('[1,2,3,4,5]')")
    assert {**stats(child), "seconds_since_good_fetch": 0} == {**counted, "seconds_since_good_fetch": 0}


def test_a_store_that_is_down_is_seen_in_the_counters(scene):
    scene.proxy.refuse()
    child = scene.child(JOURNAL_FETCH_TIMEOUT="0.3")
    child.error("SELECT journal_encrypt(1, 'text')")
    counted = stats(child)
    assert (counted["store_down"], counted["failed_store_unavailable"]) == (1, 1)


def test_the_configuration_is_shown_without_what_is_secret(scene):
    scene.secrets += ["planted-password", "planted-token"]
    child = scene.child(
        HTTPS_PROXY="http://someone:planted-password@proxy:3128", AWS_SESSION_TOKEN="planted-token", JOURNAL_CACHE_TTL="12.5"
    )
    text = child.value("SELECT journal_config()")
    config = json.loads(text)
    assert (config["key_store"], config["cache_ttl"]) == (f"s3://{scene.bucket}", 12.5)
    assert (config["https_proxy"], config["replicated"]) == (True, False)
    assert not any(secret in text for secret in scene.secrets)
    assert scene.env["AWS_SECRET_ACCESS_KEY"] not in text


# ---- journal_doctor ---------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_healthy_set_up_healthy(scene):
    child = scene.child()
    child.run("PRAGMA foreign_keys = ON")
    child.run("PRAGMA temp_store = MEMORY")
    found = doctor(child)
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(found, "ok")
    assert found["newest_key"][1] == "the current key of user 1 is in the store"
    assert found["credentials"][1] == "from environment"


def test_the_doctor_says_that_there_are_no_credentials(scene):
    found = doctor(scene.child(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="true"))
    assert found["credentials"][0] == "failed"
    assert found["credentials"][1].startswith("there are no AWS credentials in the environment")
    assert found["store"] == ("failed", "not asked for want of credentials")
    found = doctor(scene.child(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_PROFILE="nobody"))
    assert found["credentials"][0] == "failed"
    assert "profile" in found["credentials"][1]


def test_the_doctor_names_variables_that_nothing_reads(scene):
    found = doctor(scene.child(JOURNAL_KEYSTORE="s3://journal", JOURNAL_STREAM="8:1"))
    assert found["configuration"] == ("warning", "unknown, perhaps misspelt: JOURNAL_KEYSTORE")


def test_the_doctor_warns_of_what_may_go_wrong(scene):
    with scene.database.writing() as connection:
        connection.execute("DROP INDEX user_journal_master_keys_user_id_created_at_index")
    found = doctor(scene.child())
    assert [name for name, (status, _) in found.items() if status == "warning"] == ["indexes", "foreign_keys", "temp_store"]
    assert "user_journal_master_keys.user_id" in found["indexes"][1]


def test_the_doctor_says_which_column_is_missing_and_goes_on(scene):
    with scene.database.writing() as connection:
        connection.execute("ALTER TABLE s3_files RENAME COLUMN key TO name")
    found = doctor(scene.child())
    assert found["key_tables"][0] == "failed"
    assert "has no s3_files.key" in found["key_tables"][1]
    assert found["store"][0] == "ok"


def test_the_doctor_says_that_a_schema_is_not_attached_and_goes_on(scene):
    found = doctor(scene.child(JOURNAL_SCHEMA="elsewhere"))
    assert found["key_tables"] == ("failed", "unknown database 'elsewhere'")
    assert found["store"][0] == "ok"


def test_the_doctor_tells_a_lost_key_a_denial_and_an_outage_apart(scene, ceph):
    scene.delete()
    found = doctor(scene.child())
    assert found["newest_key"] == ("failed", "the current key of user 1: its object is not in the key store")
    scene.secrets.append("planted-secret")
    found = doctor(scene.child(AWS_SECRET_ACCESS_KEY="planted-secret"))
    assert [found[name][0] for name in ("credentials", "store", "absent_key", "newest_key")] == ["failed", "failed", "warning", "failed"]
    assert found["credentials"][1] == "from environment: they are wrong, or may not read; see the row store"
    assert "SignatureDoesNotMatch" in found["store"][1]
    assert "s3:ListBucket" in found["absent_key"][1]
    # What is denied may be no more than to learn that an object is absent, where no key was looked at.
    found = doctor(scene.child(AWS_SECRET_ACCESS_KEY="planted-secret", JOURNAL_REQUIRE_SCOPE="1"))
    assert [found[name][0] for name in ("credentials", "store", "absent_key", "newest_key")] == ["ok", "warning", "warning", "warning"]
    found = doctor(scene.child(JOURNAL_KEY_STORE="s3://no-such-bucket-anywhere"))
    assert found["store"][0] == "failed"
    assert "NoSuchBucket" in found["store"][1]
    scene.proxy.refuse()
    found = doctor(scene.child(JOURNAL_FETCH_TIMEOUT="0.3"))
    assert (found["store"][0], found["newest_key"][0]) == ("failed", "failed")
    assert "connection refused" in found["store"][1]


def test_the_doctor_asks_a_silent_store_once_and_says_so_of_the_other_row(scene):
    scene.proxy.faults = faults.always(faults.BlackHole())
    found = doctor(scene.child(JOURNAL_FETCH_TIMEOUT="0.5"))
    assert found["store"][0] == "failed"
    assert found["newest_key"] == (
        "failed", "the current key of user 1: not asked for, since the store could not be asked; see the rows above",
    )


def test_the_doctor_says_how_to_switch_key_management_on(scene):
    off = scene.child()
    assert "no such function: journal_rotate_key" in off.error("SELECT journal_rotate_key(1)")
    status, detail = doctor(off)["key_management"]
    assert status == "ok" and "journal_rotate_key and its like are not there. JOURNAL_ADMIN=create" in detail
    for value, said in (("create", "on: keys can be made, and not destroyed"), ("1", "on: keys can be made and destroyed")):
        assert doctor(scene.child(JOURNAL_ADMIN=value))["key_management"][1].startswith(said)


def test_the_doctor_needs_no_key_store_to_say_that_there_is_none(scene):
    found = doctor(scene.child(JOURNAL_KEY_STORE=None))
    assert found["store"] == ("failed", "JOURNAL_KEY_STORE is not set")
    assert found["newest_key"][0] == "failed"


def test_the_doctor_compares_the_clocks(scene):
    slow = faults.NO_SUCH_KEY
    scene.proxy.faults = faults.always(
        faults.Status(slow.status, slow.code, slow.message, (("Date", "Mon, 02 Nov 2026 10:00:00 GMT"),))
    )
    status, detail = doctor(scene.child())["clock"]
    assert status == "warning"
    assert "ahead of the store's" in detail


def test_the_doctor_shows_whether_the_connection_is_fit_where_statements_are_replicated(scene):
    child = scene.child(JOURNAL_REPLICATED="on")
    status, detail = doctor(child)["replicated"]
    assert (status, detail[:3]) == ("warning", "yes")


# ---- SQLite's log -----------------------------------------------------------------------------------------------


def test_fetches_retries_stale_service_and_lost_keys_stand_in_sqlite_s_log(scene):
    child = scene.child("apsw", JOURNAL_CACHE_TTL="0", JOURNAL_CACHE_STALE="600")
    scene.proxy.faults = [faults.SLOW_DOWN]
    child.run("SELECT journal_encrypt(1, 'text')")
    said = child.stderr()
    assert "journal_crypt: fetch tried again: the store answered 503 (SlowDown)" in said
    assert f'journal_crypt: fetch of key "{KEY_UID}" took ' in said
    scene.proxy.faults = faults.always(faults.INTERNAL_ERROR)
    child.run("SELECT journal_encrypt(1, 'text')")
    said = child.stderr()
    assert f'check of key "{KEY_UID}" failed: the store answered 500 (InternalError); it is kept for now' in said
    scene.proxy.faults = []
    scene.delete()
    answered = threading.Event()
    while not answered.wait(0.05):
        try:
            child.run("SELECT journal_encrypt(1, 'text')")
        except Exception as error:
            assert "key_lost" in str(error)
            answered.set()
    lost = f'check of key "{KEY_UID}" failed: its object is not in the key store; it is dropped from the cache'
    assert lost in child.stderr()
