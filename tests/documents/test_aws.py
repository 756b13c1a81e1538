"""docs/aws.md says what each setting of the AWS command line does here: its table is walked, and compared with botocore,
which is the AWS command line's own library. So is the table of hosts by partition."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import botocore
import pytest
from botocore import configprovider
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from child import Child
from conftest import LIBRARY, ROOT, Database

from documents.test_book import rows

PAGE = (ROOT / "docs" / "aws.md").read_text()
#: (names, what is done with them) of each row.
TABLE = [(re.findall(r"`([\w.]+)`", variables + profile), here) for variables, profile, here, _ in rows(PAGE)]
#: What is refused: a value that is, for each setting. A variable is set, all else stands in the profile.
REFUSED = {
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy",
    "s3_us_east_1_regional_endpoint": "legacy",
    "s3.us_east_1_regional_endpoint": "legacy",
    "s3.use_accelerate_endpoint": "true",
    "s3.signature_version": "s3",
    "proxy_ca_bundle": "/ca.pem",
    "proxy_client_cert": "/client.pem",
    "proxy_use_forwarding_for_https": "true",
    "mfa_serial": "arn:aws:iam::123456789012:mfa/me\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default",
}


def of(here):
    """The settings of which the table says so."""
    return [name for names, word in TABLE if word == here for name in names]


def test_every_setting_that_the_aws_command_line_reads_stands_in_the_table():
    known = {name for names, _ in TABLE for name in names}
    asked = set()
    for settings in (
        configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES,
        configprovider.DEFAULT_S3_CONFIG_VARS,
        configprovider.DEFAULT_PROXIES_CONFIG_VARS,
    ):
        for in_profile, variables, _, _ in settings.values():
            asked |= {variables} if isinstance(variables, str) else set(variables or [])
            for name in in_profile if isinstance(in_profile, list) else [in_profile]:
                asked |= {".".join(name) if isinstance(name, tuple) else name} if name else set()
    assert len(asked) > 60
    assert asked - known == set()
    assert {here for _, here in TABLE} == {"honoured", "refused", "without meaning"}


@pytest.mark.parametrize("here", ["honoured", "without meaning"])
def test_what_is_honoured_is_read_and_what_has_no_meaning_is_not(here):
    files = [*(ROOT / "src" / "config").rglob("*.rs"), *(ROOT / "src" / "store" / "credentials").rglob("*.rs")]
    source = "".join(file.read_text().split("#[cfg(test)]")[0] for file in files)
    for name in of(here):
        # A setting of a block is looked for by its own name.
        stands = f'"{name}"' in source or f'"{name.removeprefix("s3.")}"' in source
        assert stands == (here == "honoured"), name


@pytest.mark.parametrize("name", of("refused"))
def test_what_is_refused_is_refused_by_its_name(name, tmp_path):
    value, names = REFUSED[name], next(names for names, _ in TABLE if name in names)
    database, config = Database(tmp_path / "journal.db"), tmp_path / "config"
    database.add_user(1)
    database.add_key(1, "oseh_ujmk_1")
    block, _, setting = name.rpartition(".")
    line = f"{setting} = {value}" if not block else f"{block} =\n  {setting} = {value}"
    config.write_text("" if name.isupper() else f"[default]\n{line}\n")
    env = {"JOURNAL_KEY_STORE": "s3://journal", "AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}
    with Child(database.path, LIBRARY, {**env, **({name: value} if name.isupper() else {})}) as child:
        text = child.error("SELECT journal_encrypt(1, 'text')")
    assert any(name in text for name in names), text
    assert "error during initialization" in text or "store_denied" in text


def test_the_hosts_of_the_extension_s_table_are_those_that_the_aws_command_line_asks():
    data = Path(botocore.__file__).parent / "data"
    partitions = json.loads((data / "partitions.json").read_text())
    known = json.loads((ROOT / "src" / "config" / "endpoints.json").read_text())
    assert known["partitions"] == {
        p["id"]: [p["outputs"]["dnsSuffix"], p["outputs"]["dualStackDnsSuffix"]] for p in partitions["partitions"]
    }
    assert {p["id"] for p in partitions["partitions"] for region in p["regions"] if "global" not in region} == set(known["partitions"])

    def provider(service):
        return EndpointProvider(json.loads(gzip.decompress((data / service / "endpoint-rule-set-1.json.gz").read_bytes())), partitions)

    providers = {"s3": provider("s3/2006-03-01"), "sts": provider("sts/2011-06-15"), "portal.sso": provider("sso/2019-06-10")}
    for service, region, fips, dualstack, expected in known["hosts"]:
        [partition] = [p["id"] for p in partitions["partitions"] if region in p["regions"]]
        bucket = {
            "s3": {"Bucket": "a.b"},
            "s3-accesspoint": {"Bucket": f"arn:{partition}:s3:{region}:123456789012:accesspoint/ap"},
        }.get(service, {})
        try:
            answer = providers[service.split("-")[0]].resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dualstack, **bucket)
            found = urlsplit(answer.url).netloc.removeprefix("ap-123456789012.")
        except EndpointProviderError:
            found = "none"
        assert found == expected, (service, region, fips, dualstack)
