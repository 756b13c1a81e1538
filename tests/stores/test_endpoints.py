"""Which of Amazon's hosts are asked, as a proxy sees it: no request gets further than this machine."""

import pytest
from servers.port import LOOPBACK, Port
from servers.relay import ConnectProxy

from .answers import ENCRYPT
from .sources import write

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/journal-ap"
KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}


@pytest.fixture
def nowhere():
    """A port that nobody listens on."""
    port = Port()
    yield port.number
    port.close()


@pytest.fixture
def asked(scene, start, nowhere, tmp_path):
    """A function that gives the hosts that a process asks for, whose environment and profile are these."""
    scene.add_rows()

    def ask(env, profile=""):
        proxy = start(ConnectProxy((LOOPBACK, nowhere)))
        config = write(tmp_path / "config", f"[default]\n{profile}\n")
        plain = {"AWS_ENDPOINT_URL_S3": None, "AWS_REGION": None, "JOURNAL_KEY_STORE": "s3://journal", "JOURNAL_FETCH_TIMEOUT": "1"}
        through = {"HTTPS_PROXY": f"http://{LOOPBACK}:{proxy.port}", "AWS_CONFIG_FILE": config}
        child = scene.child(**{**plain, **through, **KEYS, **env})
        assert "store_unavailable" in child.error(ENCRYPT)
        return {head[0] for head in proxy.requests}

    return ask


@pytest.mark.parametrize(
    "env, profile, host",
    [
        ({}, "", "journal.s3.us-east-1"),
        ({"AWS_REGION": "us-gov-west-1", "AWS_USE_FIPS_ENDPOINT": "true"}, "", "journal.s3-fips.us-gov-west-1"),
        ({}, "region = us-gov-west-1\nuse_fips_endpoint = true", "journal.s3-fips.us-gov-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, "", "journal.s3.dualstack.eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "s3 =\n  use_dualstack_endpoint = true", "journal.s3.dualstack.eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "s3 =\n  addressing_style = path", "s3.eu-west-1"),
        ({"JOURNAL_KEY_STORE": f"s3://{ARN}"}, "", "journal-ap-123456789012.s3-accesspoint.eu-west-1"),
    ],
)
def test_a_setting_leads_to_the_host_that_it_means(asked, env, profile, host):
    assert asked(env, profile) == {f"CONNECT {host}.amazonaws.com:443 HTTP/1.1"}


@pytest.mark.parametrize(
    "region, suffix",
    [
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
        ("eusc-de-east-1", "amazonaws.eu"),
    ],
)
def test_a_region_s_partition_says_how_its_hosts_end(asked, region, suffix):
    assert asked({"AWS_REGION": region}) == {f"CONNECT journal.s3.{region}.{suffix}:443 HTTP/1.1"}


@pytest.mark.parametrize(
    "env, host",
    [
        ({}, "sts.eu-west-1.amazonaws.com"),
        ({"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, "sts.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "sts-fips.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_sts_is_asked_where_the_settings_say(asked, tmp_path, env, host):
    token = write(tmp_path / "token", "a-token")
    identity = {"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r"}
    none = dict.fromkeys(KEYS)
    assert asked({"AWS_REGION": "eu-west-1", **identity, **none, **env}) == {f"CONNECT {host}:443 HTTP/1.1"}
