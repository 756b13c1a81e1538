"""Settings of the store that cannot be used."""

import pytest


@pytest.mark.parametrize(
    "variable, value, reason",
    [
        ("AWS_ENDPOINT_URL_S3", "http://s3.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL", "http://192.0.2.1:9000", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://localhost.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://[2001:db8::1]", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1@s3.example.org", "http:// to another machine needs JOURNAL_ALLOW_HTTP=1"),
        ("AWS_ENDPOINT_URL_S3", "https://user:a-password@127.0.0.1", "holds a user or a password"),
        ("AWS_ENDPOINT_URL_S3", "127.0.0.1:9000", "not a URL"),
        ("AWS_ENDPOINT_URL_S3", "ftp://127.0.0.1", "neither https:// nor http://"),
        ("AWS_ENDPOINT_URL_S3", "https://127.0.0.1/path", "has a path or a query"),
        ("AWS_CA_BUNDLE", "/nonexistent/bundle.pem", "cannot be read"),
        ("AWS_CA_BUNDLE", "/dev/null", "holds no certificate"),
        ("HTTPS_PROXY", "socks5://user:a-password@127.0.0.1:1080", "not an http:// or https:// proxy"),
        ("HTTPS_PROXY", "http://user:a-password@:x:y", "not a proxy's URL"),
        ("AWS_SECRET_ACCESS_KEY", "", "missing beside AWS_ACCESS_KEY_ID"),
        ("AWS_REGION", "eu-west-1/../evil", "not a region's name"),
        ("JOURNAL_KEY_STORE", "s3://bucket/and/path", "not a bucket's name after s3://"),
        ("JOURNAL_KEY_STORE", "s3://journal--use1-az4--x-s3", "a directory bucket (S3 Express), which is not supported"),
        ("JOURNAL_KEY_STORE", "s3://mfzwi23gnjvgw.mrap", "a multi-region access point, which is not supported"),
        ("JOURNAL_KEY_STORE", "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/journal", "an access point is a part of the host's name, and the endpoint is an address"),
        ("AWS_USE_FIPS_ENDPOINT", "true", "not with an endpoint of your own"),
        ("JOURNAL_BUCKET_OWNER", "me, myself", "not an account's id"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_load(variable, value, reason, scene):
    scene.secrets.append("a-password")
    endpoint = None if variable == "AWS_ENDPOINT_URL" else scene.env["AWS_ENDPOINT_URL_S3"]
    if variable == "HTTPS_PROXY":
        endpoint = "https://127.0.0.1"
    child = scene.child(**{"AWS_ENDPOINT_URL_S3": endpoint, variable: value})
    # The words before ours are SQLite's.
    assert child.error("SELECT 1") == f"error during initialization: journal_crypt: {variable}: {reason}"
    assert scene.proxy.connections == 0


def test_http_to_another_machine_may_be_allowed(scene):
    child = scene.child(AWS_ENDPOINT_URL_S3="http://s3.example.org", JOURNAL_ALLOW_HTTP="1")
    assert child.value("SELECT journal_version()")
