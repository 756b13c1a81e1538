"""Credentials that a profile leads to: chains of roles, programs, IAM Identity Center, `aws login`. The files are as the AWS
command line writes them, the services check signatures and tokens, and a real S3 server verifies what the credentials sign.
"""

import hashlib
import json
import stat
from datetime import datetime, timedelta, timezone

import pytest
from servers.credentials import Credentials
from servers.metadata import EcsCredentials, Imds, Portal, Roles
from servers.relay import Relay

from .sources import READ, container, given, instance, tokens, wait_until, without_keys, write

ROLE_A, ROLE_B = (f"arn:aws:iam::123456789012:role/{name}" for name in ("a", "b"))
STATIC = Credentials("AKIASTATIC", "static-secret-key", None)


@pytest.fixture
def scene(rclone, tmp_path):
    with without_keys(rclone, tmp_path) as scene:
        yield scene


def config_of(tmp_path, text):
    """The variables of a process whose home has this config file, and a credentials file with static keys."""
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config", text)
    keys = f"aws_access_key_id = {STATIC.access_key}\naws_secret_access_key = {STATIC.secret_key}\n"
    write(folder / "credentials", f"[static]\n{keys}")
    return {"HOME": str(tmp_path / "home"), "AWS_PROFILE": "journal"}


def test_a_chain_of_roles_is_assumed_from_its_far_end(scene, start, tmp_path):
    scene.secrets += [STATIC.secret_key, "our-external-id"]
    roles = start(Roles([STATIC], {ROLE_A: given(scene, "token-of-a"), ROLE_B: given(scene, "token-of-b")}))
    env = config_of(tmp_path, f"""\
[profile journal]
role_arn = {ROLE_A}
source_profile = middle
role_session_name = journal-session
[profile middle]
role_arn = {ROLE_B}
source_profile = static
external_id = our-external-id
duration_seconds = 900
""")
    child = scene.child(**env, AWS_ENDPOINT_URL_STS=roles.endpoint)
    assert child.value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-a"}
    far, near = roles.assumed
    assert (far["RoleArn"], far["caller"], far["ExternalId"], far["DurationSeconds"]) == (ROLE_B, None, "our-external-id", "900")
    assert (near["RoleArn"], near["caller"], near["RoleSessionName"]) == (ROLE_A, "token-of-b", "journal-session")
    assert "ExternalId" not in near and far["RoleSessionName"] == "sqlite-journal-crypt"


def test_a_wrong_secret_assumes_no_role(scene, start, tmp_path):
    roles = start(Roles([Credentials(STATIC.access_key, "another-secret", None)], {ROLE_A: given(scene, "token-of-a")}))
    env = config_of(tmp_path, f"[profile journal]\nrole_arn = {ROLE_A}\nsource_profile = static\n")
    child = scene.child(**env, AWS_ENDPOINT_URL_STS=roles.endpoint)
    assert child.error(READ).endswith("may not be fetched: AWS STS answered 403 (SignatureDoesNotMatch)")


@pytest.mark.parametrize("source", ["EcsContainer", "Ec2InstanceMetadata"])
def test_a_role_is_assumed_with_what_the_container_or_the_instance_gives(scene, start, tmp_path, source):
    scene.secrets.append("token-of-source")
    own = Credentials("ASIASOURCE", "source-secret-key", "token-of-source")
    if source == "EcsContainer":
        env = container(start(EcsCredentials(own)))
    else:
        env = instance(start(Imds(own)))
    roles = start(Roles([own], {ROLE_A: given(scene, "token-of-a")}))
    env |= config_of(tmp_path, f"[profile journal]\nrole_arn = {ROLE_A}\ncredential_source = {source}\n")
    assert scene.child(**env, AWS_ENDPOINT_URL_STS=roles.endpoint).value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-a"}
    assert [role["caller"] for role in roles.assumed] == ["token-of-source"]


def test_a_role_that_wants_a_code_is_refused_in_clear_words(scene, start, tmp_path):
    roles = start(Roles([STATIC], {ROLE_A: given(scene, "token-of-a")}))
    mfa = "mfa_serial = arn:aws:iam::123456789012:mfa/me"
    env = config_of(tmp_path, f"[profile journal]\nrole_arn = {ROLE_A}\nsource_profile = static\n{mfa}\n")
    child = scene.child(**env, AWS_ENDPOINT_URL_STS=roles.endpoint)
    assert child.error(READ).endswith(
        "the AWS profile's role wants an MFA code (mfa_serial), and nobody is here to be asked for it")
    assert roles.connections == 0


def program(tmp_path, body):
    """A program for `credential_process`; its path has a blank."""
    path = tmp_path / "my program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"'{path}' --with arguments"


def document(credentials, **changed):
    return json.dumps({
        "Version": 1, "AccessKeyId": credentials.access_key, "SecretAccessKey": credentials.secret_key,
        "SessionToken": credentials.session_token, "Expiration": credentials.expiration, **changed,
    })  # fmt: skip


def test_a_program_s_credentials_are_used_and_it_is_run_again_before_they_end(scene, tmp_path):
    said, runs = tmp_path / "said.json", tmp_path / "runs"
    said.write_text(document(given(scene, "first", lifetime=4)))
    command = program(tmp_path, f'echo "$*" >> {runs}; echo a-warning >&2; cat {said}')
    child = scene.child(**config_of(tmp_path, f"[profile journal]\ncredential_process = {command}\n"))
    assert child.value(READ) == "dear diary"
    assert set(tokens(scene)) == {"first"}
    said.write_text(document(given(scene, "second")))
    wait_until(lambda: child.value(READ) == "dear diary" and tokens(scene)[-1] == "second")
    assert runs.read_text().splitlines() == 2 * ["--with arguments"]


@pytest.mark.parametrize(("body", "word", "reason"), [
    ("echo {planted} >&2; exit 3", "store_denied", "the program of credential_process failed"),
    ("echo {planted}", "store_denied", "the program of credential_process gave no credentials of version 1"),
    ("echo '{version_2}'", "store_denied", "the program of credential_process gave no credentials of version 1"),
    ("echo '{old}'", "store_unavailable", "the credentials from process have expired"),
])  # fmt: skip
def test_a_program_that_gives_no_credentials_is_told_from_others_and_never_quoted(scene, tmp_path, body, word, reason):
    scene.secrets.append("planted-secret")
    texts = {
        "planted": "planted-secret",
        "version_2": document(given(scene, "token"), Version=2),
        "old": document(given(scene, "token", lifetime=-60)),
    }
    for name, text in texts.items():
        body = body.replace(f"{{{name}}}", text)
    child = scene.child(**config_of(tmp_path, f"[profile journal]\ncredential_process = {program(tmp_path, body)}\n"))
    text = child.error(READ)
    assert f": {word}: " in text and text.endswith(reason), text


def test_a_program_that_does_not_end_is_an_outage_and_is_not_waited_for(scene, tmp_path):
    command = program(tmp_path, "exec sleep 600")
    child = scene.child(**config_of(tmp_path, f"[profile journal]\ncredential_process = {command}\n"), JOURNAL_FETCH_TIMEOUT="0.5")
    # The fetch and the call that waits for it have the same time; either may be the first to say so.
    assert child.error(READ).endswith(("could not be fetched: no credentials in time", "could not be fetched: no answer in time"))
    assert child.seconds < 3


def test_a_program_may_hold_the_keys_that_a_role_is_assumed_with(scene, start, tmp_path):
    roles = start(Roles([STATIC], {ROLE_A: given(scene, "token-of-a")}))
    said = json.dumps({"Version": 1, "AccessKeyId": STATIC.access_key, "SecretAccessKey": STATIC.secret_key})
    command = program(tmp_path, f"echo '{said}'")
    env = config_of(tmp_path, f"""\
[profile journal]
role_arn = {ROLE_A}
source_profile = program
[profile program]
credential_process = {command}
""")
    assert scene.child(**env, AWS_ENDPOINT_URL_STS=roles.endpoint).value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-a"}


SIGN_ON = {
    "session": """\
[profile journal]
sso_session = my-session
sso_account_id = 123456789012
sso_role_name = journal-reader
[sso-session my-session]
sso_start_url = https://journal.awsapps.com/start
sso_region = eu-west-1
sso_registration_scopes = sso:account:access
""",
    "legacy": """\
[profile journal]
sso_start_url = https://journal.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = journal-reader
""",
}


def signed_on(tmp_path, form, token, ends_in=3600.0, suffix="Z"):
    """The variables of a process whose owner ran `aws sso login`, which left a token."""
    env = config_of(tmp_path, SIGN_ON[form])
    cache = tmp_path / "home" / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    name = "my-session" if form == "session" else "https://journal.awsapps.com/start"
    end = datetime.now(timezone.utc) + timedelta(seconds=ends_in)
    write(cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json", json.dumps({
        "startUrl": "https://journal.awsapps.com/start", "region": "eu-west-1", "accessToken": token,
        "expiresAt": f"{end:%Y-%m-%dT%H:%M:%S}{suffix}", "clientId": "a-client", "clientSecret": "a-client-secret",
        "registrationExpiresAt": "2099-01-01T00:00:00Z", "refreshToken": "a-refresh-token",
    }))  # fmt: skip
    return env


@pytest.mark.parametrize(("form", "suffix"), [("session", "Z"), ("legacy", "UTC")])
def test_who_signed_on_gets_the_credentials_of_the_role(scene, start, tmp_path, form, suffix):
    scene.secrets += ["a-bearer-token", "a-client-secret", "a-refresh-token"]
    portal = start(Portal(given(scene, "token-of-role"), "a-bearer-token", "journal-reader", "123456789012"))
    env = signed_on(tmp_path, form, "a-bearer-token", suffix=suffix) | {"AWS_ENDPOINT_URL_SSO": portal.endpoint}
    assert scene.child(**env).value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-role"}
    assert all("a-bearer-token" not in request.target for request in portal.requests)


def test_a_token_that_ended_says_what_to_run_and_keys_serve_on_meanwhile(scene, start, tmp_path):
    scene.secrets += ["a-bearer-token"]
    portal = start(Portal(given(scene, "token-of-role", lifetime=2), "a-bearer-token", "journal-reader", "123456789012"))
    more = {"AWS_ENDPOINT_URL_SSO": portal.endpoint}
    child = scene.child(**signed_on(tmp_path, "session", "a-bearer-token"), **more, JOURNAL_CACHE_STALE="600")
    assert child.value(READ) == "dear diary"
    ended = "the token of IAM Identity Center has ended: run aws sso login"
    env = signed_on(tmp_path, "session", "a-bearer-token", ends_in=-1)
    assert scene.child(**env, **more).error(READ).endswith(f"may not be fetched: {ended}")
    wait_until(lambda: child.value("SELECT value FROM journal_stats WHERE name = 'seconds_until_credentials_expire'") == 0)
    assert child.value(READ) == "dear diary"
    # One that the service does not know any more says the same.
    env = signed_on(tmp_path, "session", "another-token")
    assert scene.child(**env, **more).error(READ).endswith(ended)
    (tmp_path / "home" / ".aws" / "sso" / "cache").rename(tmp_path / "elsewhere")
    assert scene.child(**env, **more).error(READ).endswith("there is no token of IAM Identity Center: run aws sso login")


LOGIN = "arn:aws:iam::123456789012:user/me"


def logged_in(tmp_path, credentials):
    """The variables of a process whose owner ran `aws login`, which left credentials."""
    env = config_of(tmp_path, f"[profile journal]\nlogin_session = {LOGIN}\nregion = us-east-1\n")
    cache = tmp_path / "home" / ".aws" / "login" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    write(cache / f"{hashlib.sha256(LOGIN.encode()).hexdigest()}.json", json.dumps({
        "accessToken": {
            "accessKeyId": credentials.access_key, "secretAccessKey": credentials.secret_key,
            "sessionToken": credentials.session_token, "accountId": "123456789012", "expiresAt": credentials.expiration,
        },
        "tokenType": "aws_sigv4", "refreshToken": "a-refresh-token", "identityToken": "an-identity-token",
        "clientId": "arn:aws:signin:::devtools/same-device", "dpopKey": "-----BEGIN EC PRIVATE KEY-----\na-private-key\n",
    }))  # fmt: skip
    return env


def test_what_aws_login_left_is_used_until_it_ends(scene, tmp_path):
    scene.secrets += ["a-refresh-token", "an-identity-token", "a-private-key"]
    child = scene.child(**logged_in(tmp_path, given(scene, "first", lifetime=4)))
    assert child.value(READ) == "dear diary"
    assert set(tokens(scene)) == {"first"}
    # The AWS command line renews it.
    logged_in(tmp_path, given(scene, "second"))
    wait_until(lambda: child.value(READ) == "dear diary" and tokens(scene)[-1] == "second")
    env = logged_in(tmp_path, given(scene, "third", lifetime=-1))
    assert scene.child(**env).error(READ).endswith(
        "may not be fetched: the credentials of aws login have ended: run aws login, or any command of aws")
    elsewhere = {**env, "AWS_LOGIN_CACHE_DIRECTORY": str(tmp_path)}
    assert scene.child(**elsewhere).error(READ).endswith("there are no credentials of aws login: run aws login")
    assert scene.child(**env | {"AWS_LOGIN_CACHE_DIRECTORY": "~/.aws/login/cache"}).error(READ).endswith("or any command of aws")


def test_an_instance_is_asked_over_ipv6_too(scene, start):
    imds = start(Imds(given(scene, "token-of-imds")))
    relay = start(Relay((imds.host, imds.port), "::1"))
    child = scene.child(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://[::1]:{relay.port}")
    assert child.value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-imds"}
    assert all(request.headers["Host"] == f"[::1]:{relay.port}" for request in imds.requests)


def test_a_pod_s_identity_is_asked_with_the_token_of_its_file(scene, start, tmp_path):
    agent = start(EcsCredentials(given(scene, "token-of-pod"), authorization="a-pod-token"))
    scene.secrets.append("a-pod-token")
    env = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": write(tmp_path / "eks-pod-identity-token", "a-pod-token")}
    # The agent's own address is 169.254.170.23, or [fd00:ec2::23]; here it is this machine's.
    relay = start(Relay((agent.host, agent.port), "::1"))
    for host, port in (("127.0.0.1", agent.port), ("[::1]", relay.port)):
        url = f"http://{host}:{port}{agent.relative_uri}"
        assert scene.child(**env, AWS_CONTAINER_CREDENTIALS_FULL_URI=url).value(READ) == "dear diary"
    assert set(tokens(scene)) == {"token-of-pod"}
