"""Where AWS credentials come from, each source by a server that answers as AWS documents it, and how they are renewed.

A real S3 server behind the scene's proxy verifies what they sign; whose they are shows in the session token.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from child import SqlError
from scene import Scene
from servers import faults
from servers.ceph import Ceph
from servers.credentials import Credentials
from servers.listener import Listener
from servers.metadata import EcsCredentials, Imds, Sts
from servers.proxy import RedirectTarget

from .sources import (
    EVERY_CALL_FETCHES, READ, ROLE, container, given, harmful, instance, keys, profile, tokens, wait_until, web_identity,
    without_keys, write,
)  # fmt: skip

@pytest.fixture
def scene(rclone, tmp_path):
    with without_keys(rclone, tmp_path) as scene:
        yield scene


def test_the_first_source_of_the_aws_command_line_s_order_is_the_one_and_no_later_one_is_asked(
    scene, start, tmp_path
):
    services = {
        "web identity": start(Sts(given(scene, "token-of-sts"))),
        "container": start(EcsCredentials(given(scene, "token-of-ecs"))),
        "instance": start(Imds(given(scene, "token-of-imds"))),
    }
    sources = {
        "environment": ("token-of-environment", keys(given(scene, "token-of-environment"))),
        "web identity": ("token-of-sts", web_identity(services["web identity"], tmp_path)),
        "credentials file": ("token-of-credentials", {"AWS_SHARED_CREDENTIALS_FILE": write(
            tmp_path / "credentials", profile(given(scene, "token-of-credentials")))}),
        "config file": ("token-of-config", {"AWS_CONFIG_FILE": write(
            tmp_path / "config", profile(given(scene, "token-of-config")))}),
        "container": ("token-of-ecs", container(services["container"])),
        "instance": ("token-of-imds", instance(services["instance"])),
    }
    env = {name: value for _, variables in sources.values() for name, value in variables.items()}
    asked = []
    for source, (token, variables) in sources.items():
        scene.proxy.forget()
        child = scene.child(**env)
        assert child.value(READ) == "dear diary"
        assert set(tokens(scene)) == {token}
        asked += [source] if source in services else []
        assert [name for name in services if services[name].connections] == asked
        # The next one gets its turn.
        env = {name: value for name, value in env.items() if name not in variables}
    assert "there are no AWS credentials" in scene.child(**env).error(READ)


def test_a_wrong_secret_is_refused_by_the_server_that_these_tests_trust(scene, start):
    wrong = Credentials(scene.server.access_key, "wrong-secret", "token")
    child = scene.child(**container(start(EcsCredentials(wrong))))
    assert child.error(READ).startswith("journal_encrypt: store_denied: ")


def test_a_session_token_reaches_a_store_that_wants_it(tmp_path, start):
    with Ceph(session_tokens=True) as ceph, Scene(ceph, tmp_path) as scene:
        scene.add_key()
        scene.env.update({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, **EVERY_CALL_FETCHES})
        good = ceph.temporary_credentials()
        scene.secrets += [good.secret_key, good.session_token]
        ecs = start(EcsCredentials(good))
        child = scene.child(**container(ecs))
        assert child.value(READ) == "dear diary"
        ecs.credentials = Credentials(good.access_key, good.secret_key, "another token")
        scene.proxy.faults = [faults.EXPIRED_TOKEN]
        assert "store_denied" in child.error(READ)


def test_a_profile_below_home_tells_region_endpoint_and_role(scene, start, tmp_path):
    sts = start(Sts(given(scene, "token-of-sts")))
    (tmp_path / ".aws").mkdir()
    identity = write(tmp_path / "identity", sts.token)
    write(tmp_path / ".aws" / "config", f"""\
[default]
region = not-this-1
[profile journal]
region = {scene.env["AWS_REGION"]}
endpoint_url = {scene.proxy.endpoint}
services = near
web_identity_token_file = {identity}
role_arn = {ROLE}
role_session_name = a-session
[services near]
sts =
    endpoint_url = {sts.endpoint}
""")
    env = {"HOME": str(tmp_path), "AWS_PROFILE": "journal", "AWS_REGION": None, "AWS_ENDPOINT_URL_S3": None}
    assert scene.child(**env).value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-sts"}
    assert sts.requests[0].form["RoleSessionName"] == ["a-session"]


def test_a_profile_that_was_named_and_is_not_there_is_a_denial_and_nothing_else_is_asked(scene, start, tmp_path):
    ecs = start(EcsCredentials(given(scene, "token-of-ecs")))
    config = write(tmp_path / "config", "[profile journal]\nregion = eu-west-1\n")
    child = scene.child(AWS_CONFIG_FILE=config, AWS_PROFILE="other", **container(ecs))
    assert child.error(READ).endswith("the AWS profile that AWS_PROFILE names is not there")
    assert ecs.connections == 0


def test_the_web_identity_token_is_read_anew_and_never_stands_in_a_url(scene, start, tmp_path):
    sts = start(Sts(given(scene, "token-of-sts"), token="first.identity+/="))
    scene.secrets += ["first.identity", "second.identity"]
    child = scene.child(**web_identity(sts, tmp_path))
    assert child.value(READ) == "dear diary"
    sts.token = "second.identity"
    scene.proxy.faults = [faults.EXPIRED_TOKEN]
    assert child.error(READ).endswith("AWS STS answered 400 (InvalidIdentityToken)")
    write(tmp_path / "identity", sts.token)
    time.sleep(1.1)  # a failure answers everyone for a second
    assert child.value(READ) == "dear diary"
    assert set(sts.token_places) == {"body"}
    (tmp_path / "identity").unlink()
    child = scene.child(**{**web_identity(sts, tmp_path), "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "none")})
    assert child.error(READ).endswith("the web identity token file cannot be read")


def test_a_container_s_authorization_is_sent_as_it_is_now(scene, start, tmp_path):
    ecs = start(EcsCredentials(given(scene, "token-of-ecs"), authorization="Bearer first"))
    scene.secrets += ["Bearer first", "Bearer second"]
    file = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": write(tmp_path / "authorization", "Bearer first")}
    child = scene.child(**container(ecs), **file, AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer wrong")
    assert child.value(READ) == "dear diary"
    ecs.authorization = "Bearer second"
    scene.proxy.faults = [faults.EXPIRED_TOKEN]
    assert child.error(READ).endswith("the container's credentials service answered 401")
    write(tmp_path / "authorization", "Bearer second\n")
    time.sleep(1.1)
    assert child.value(READ) == "dear diary"
    variable = scene.child(**container(ecs), AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer second")
    assert variable.value(READ) == "dear diary"


def test_an_instance_is_asked_with_a_session_that_is_opened_anew_where_it_lapsed(scene, start):
    imds = start(Imds(given(scene, "token-of-imds")))
    proxy, env = harmful(start, imds, instance(imds))
    lapsed = []

    def lapse_once(request):
        if request.path.endswith("/journal-role") and not lapsed:
            lapsed.append(request)
            imds.forget_tokens()

    proxy.faults = lapse_once
    assert scene.child(**env).value(READ) == "dear diary"
    assert lapsed and imds.count("PUT", "/latest/api/token") == 2


def test_an_instance_that_refuses_or_has_no_role_is_a_denial(scene, start):
    imds = start(Imds(given(scene, "token-of-imds"), role=None))
    service = "the instance metadata service"
    assert scene.child(**instance(imds)).error(READ).endswith(f"{service} has no role for this instance")
    proxy, env = harmful(start, imds, instance(imds))
    proxy.faults = faults.always(faults.ACCESS_DENIED)
    assert scene.child(**env).error(READ).endswith(f"{service} answered 403")
    assert proxy.count() == 1


def test_an_instance_whose_answers_are_lost_on_the_way_fails_in_time(scene, start):
    # A hop limit of 1 seen from within a container: the request arrives, the answer does not.
    imds = start(Imds())
    proxy, env = harmful(start, imds, instance(imds))
    proxy.faults = faults.always(faults.BlackHole())
    child = scene.child(**env, AWS_METADATA_SERVICE_TIMEOUT="0.2", JOURNAL_FETCH_TIMEOUT="3")
    assert child.error(READ).endswith(
        "could not be fetched: the instance metadata service: no answer in time")
    assert child.seconds < 3.5
    assert imds.connections == 0


def test_credentials_are_renewed_before_they_end_while_calls_go_on(scene, start):
    ecs = start(EcsCredentials(given(scene, "first", lifetime=8)))
    proxy, env = harmful(start, ecs, container(ecs))
    child = scene.child(**env)
    begin = time.monotonic()
    assert child.value(READ) == "dear diary"
    assert ecs.count() == 1
    ecs.credentials = given(scene, "second")
    proxy.faults = faults.always(faults.Latency(delay=1))
    time.sleep(4.2)  # past half of their time
    scene.proxy.forget()
    renewing = 0
    while renewing < 5:  # calls while the renewal is under way
        renewing += proxy.in_flight
        assert child.value(READ) == "dear diary"
        assert child.seconds < 0.5, "a call waited for the renewal"
        assert time.monotonic() < begin + 7, "nothing was renewed"
    assert set(tokens(scene)) == {"first"}
    wait_until(lambda: child.value(READ) == "dear diary" and tokens(scene)[-1] == "second", seconds=2)
    assert ecs.count() == 2


def test_fetches_whose_credentials_ended_wait_for_one_renewal_together(scene, start):
    for number in range(2, 13):
        scene.add_key(f"oseh_ujmk_{number}")
    ecs = start(EcsCredentials(given(scene, "first", lifetime=2)))
    proxy, env = harmful(start, ecs, container(ecs))
    child = scene.child(**env)
    assert child.value(READ) == "dear diary"
    time.sleep(2.1)
    ecs.credentials = given(scene, "second")
    proxy.faults = faults.always(faults.Latency(delay=0.5))
    scene.proxy.forget()
    assert child.value("SELECT journal_prefetch(1) ->> 'ready'") == 12
    assert 0.4 < child.seconds < 3
    assert set(tokens(scene)) == {"second"}
    assert ecs.count() == 2


def test_an_outage_of_the_service_is_felt_only_once_the_credentials_ended(scene, start):
    ecs = start(EcsCredentials(given(scene, "first", lifetime=6)))
    child = scene.child(**container(ecs))
    begin = time.monotonic()
    assert child.value(READ) == "dear diary"
    ecs.refuse()
    while time.monotonic() < begin + 4.5:
        assert child.value(READ) == "dear diary"
        time.sleep(0.1)
    time.sleep(2)
    text = child.error(READ)
    assert text.endswith("the container's credentials service: connection refused")
    assert "store_unavailable" in text
    assert child.seconds < 4.5
    ecs.credentials = given(scene, "second")
    ecs.listen()
    wait_until(lambda: recovers(child), seconds=5)


def recovers(child):
    try:
        return child.value(READ) == "dear diary"
    except SqlError as error:
        assert "store_unavailable" in str(error)
        return False


def test_what_comes_already_expired_is_an_outage(scene, start):
    child = scene.child(**container(start(EcsCredentials(given(scene, "old", lifetime=-5)))))
    assert child.error(READ).endswith("could not be fetched: the credentials from container have expired")
    child = scene.child(**keys(given(scene, "old")), AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z")
    assert child.error(READ).endswith("may not be fetched: the credentials from environment have expired")


def test_a_store_that_calls_credentials_expired_is_asked_once_more_with_new_ones(scene, start):
    ecs = start(EcsCredentials(given(scene, "first")))
    child = scene.child(**container(ecs))
    assert child.value(READ) == "dear diary"
    ecs.credentials = given(scene, "second")
    scene.proxy.forget()
    scene.proxy.faults = [faults.EXPIRED_TOKEN]
    assert child.value("SELECT journal_prefetch(1) ->> 'ready'") == 1
    assert tokens(scene) == ["first", "second"]
    assert ecs.count() == 2


def test_a_store_that_calls_all_credentials_expired_is_not_asked_for_ever(scene, start):
    ecs = start(EcsCredentials(given(scene, "first")))
    child = scene.child(**container(ecs))
    assert child.value(READ) == "dear diary"
    scene.proxy.forget()
    scene.proxy.faults = faults.always(faults.EXPIRED_TOKEN)
    ecs.credentials = given(scene, "second")
    assert child.error(READ).endswith("the store answered 400 (ExpiredToken)")
    assert tokens(scene) == ["first", "second"]
    # The environment has no others to try.
    scene.proxy.forget()
    child = scene.child(**keys(given(scene, "fixed")))
    assert child.error(READ).endswith("the store answered 400 (ExpiredToken)")
    assert tokens(scene) == ["fixed"]


def test_a_profile_that_another_program_renews_is_read_again(scene, tmp_path):
    file = write(tmp_path / "credentials", profile(given(scene, "first")))
    child = scene.child(AWS_SHARED_CREDENTIALS_FILE=file)
    assert child.value(READ) == "dear diary"
    write(tmp_path / "credentials", profile(given(scene, "second")))
    scene.proxy.forget()
    scene.proxy.faults = [faults.EXPIRED_TOKEN]
    assert child.value("SELECT journal_prefetch(1) ->> 'ready'") == 1
    assert tokens(scene) == ["first", "second"]


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_a_static_key_that_was_replaced_in_its_profile_is_read_again(scene, tmp_path, code):
    file = write(tmp_path / "credentials", profile(given(scene, "first")))
    child = scene.child(AWS_SHARED_CREDENTIALS_FILE=file)
    assert child.value(READ) == "dear diary"
    write(tmp_path / "credentials", profile(given(scene, "second")))
    scene.proxy.forget()
    scene.proxy.faults = [faults.Status(403, code)]
    assert child.value("SELECT journal_prefetch(1) ->> 'ready'") == 1
    assert tokens(scene) == ["first", "second"]
    # Once: where the file has no other, the store's word stands.
    time.sleep(1.1)
    scene.proxy.forget()
    scene.proxy.faults = faults.always(faults.Status(403, code))
    assert child.error(READ).endswith(f"may not be fetched: the store answered 403 ({code})")
    assert tokens(scene) == ["second"]


@pytest.mark.parametrize("status", [400, 404])
def test_keys_serve_on_where_the_container_s_agent_refuses_and_the_doctor_and_the_log_cry_out(scene, start, status):
    ecs = start(EcsCredentials(given(scene, "first", lifetime=2)))
    proxy, env = harmful(start, ecs, container(ecs))
    child = scene.child("apsw", **env, JOURNAL_CACHE_STALE="600")
    assert child.value(READ) == "dear diary"
    proxy.faults = faults.always(faults.Status(status, "Refused"))
    time.sleep(2.1)
    for _ in range(3):
        assert child.value(READ) == "dear diary"
    [[found, detail]] = child.run("SELECT status, detail FROM journal_doctor WHERE name = 'credentials'")
    assert found == "failed" and f"the container's credentials service answered {status}" in detail
    assert f"credentials could not be had: the container's credentials service answered {status}" in child.stderr()
    assert child.value("SELECT value FROM journal_stats WHERE name = 'store_down'") == 0


def test_an_instance_s_credentials_are_used_on_while_its_service_is_in_trouble(scene, start):
    imds = start(Imds(given(scene, "first", lifetime=2)))
    proxy, env = harmful(start, imds, instance(imds))
    child = scene.child(**env)
    assert child.value(READ) == "dear diary"
    proxy.faults = faults.always(faults.Status(302, "Elsewhere"))
    time.sleep(2.1)
    scene.proxy.forget()
    for _ in range(3):
        assert child.value(READ) == "dear diary"
    assert set(tokens(scene)) == {"first"}
    [[found, _]] = child.run("SELECT status, detail FROM journal_doctor WHERE name = 'credentials'")
    assert found == "warning"


SERVICES = {
    "container": (EcsCredentials, lambda ecs, _: container(ecs)),
    "instance": (Imds, lambda imds, _: instance(imds)),
    "web identity": (Sts, web_identity),
}


def service_of(source, start, folder, *arguments):
    """A running service and the variables that lead to it."""
    make, variables = SERVICES[source]
    service = start(make(*arguments))
    return service, variables(service, folder)


TROUBLES = [
    faults.Garbage(), faults.HalfBody(), faults.INTERNAL_ERROR, faults.Reset(), faults.WrongLength(-20),
    faults.HugeBody(10**9), faults.Drip(1), faults.BlackHole(),
]


@pytest.mark.parametrize(("source", "fault"), [
    *(("container", fault) for fault in TROUBLES),
    *((source, fault) for source in ("instance", "web identity") for fault in TROUBLES[:3]),
], ids=lambda part: part if isinstance(part, str) else type(part).__name__)
def test_a_service_in_trouble_is_an_outage_in_bounded_time(scene, start, tmp_path, source, fault):
    service, variables = service_of(source, start, tmp_path)
    proxy, env = harmful(start, service, variables)
    proxy.faults = faults.always(fault)
    child = scene.child(**env, JOURNAL_FETCH_TIMEOUT="1.5")
    assert "store_unavailable" in child.error(READ)
    assert child.seconds < 2.2
    # And the trouble passes.
    service.credentials = given(scene, "later")
    proxy.faults = []
    wait_until(lambda: recovers(child), seconds=15)


@pytest.mark.parametrize("source", ["container", "instance", "web identity"])
def test_no_redirect_is_followed(scene, start, tmp_path, source):
    service, variables = service_of(source, start, tmp_path)
    elsewhere = start(RedirectTarget())
    proxy, env = harmful(start, service, variables)
    proxy.faults = faults.always(faults.redirect(307, elsewhere.endpoint + "/"))
    assert scene.child(**env).error(READ).endswith("answered 307")
    assert elsewhere.connections == 0


@pytest.mark.parametrize("source", ["container", "instance"])
def test_no_proxy_comes_between(scene, start, tmp_path, source):
    between = start(Listener())
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxies = {name: between.endpoint for both in names for name in (both, both.lower())}
    service, env = service_of(source, start, tmp_path, given(scene, "token"))
    assert scene.child(**env, **proxies).value(READ) == "dear diary"
    assert service.connections and between.connections == 0


def test_a_disabled_metadata_service_is_not_asked(scene, start):
    imds = start(Imds(given(scene, "token-of-imds")))
    child = scene.child(**instance(imds), AWS_EC2_METADATA_DISABLED="true")
    assert child.error(READ).endswith("and AWS_EC2_METADATA_DISABLED is true")
    assert imds.connections == 0


#: Says every address that the process connects to, then does it.
_CONNECT = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int connect(int fd, const struct sockaddr *address, socklen_t length) {
    char text[INET6_ADDRSTRLEN] = "other";
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, text, sizeof text);
    if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
    FILE *log = fopen(getenv("CONNECT_LOG"), "a");
    fprintf(log, "%s\n", text);
    fclose(log);
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(fd, address, length);
}
"""


def is_ec2():
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    uuid = Path("/sys/hypervisor/uuid")
    return (vendor.exists() and "Amazon" in vendor.read_text()) or (uuid.exists() and "ec2" in uuid.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="connections are watched by LD_PRELOAD")
@pytest.mark.skipif(is_ec2(), reason="this machine is an EC2 instance")
def test_off_aws_nothing_is_probed(scene, start, tmp_path):
    source, library, log = tmp_path / "connect.c", tmp_path / "connect.so", tmp_path / "connections"
    source.write_text(_CONNECT)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    env = {"LD_PRELOAD": str(library), "CONNECT_LOG": str(log)}
    child = scene.child(**env)
    assert child.error(READ).endswith(
        "there are no AWS credentials in the environment, a profile or a container, and this is no EC2 instance")
    assert child.seconds < 0.5
    assert not log.exists()
    # The watch is awake.
    child = scene.child(**env, **keys(given(scene, "token")))
    assert child.value(READ) == "dear diary"
    assert set(log.read_text().split()) == {"127.0.0.1"}
