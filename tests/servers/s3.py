"""A small S3 client with its own Signature Version 4, so that the tests do not trust the extension's signer."""

import hashlib
import hmac
import http.client
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from .message import Response

_VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@dataclass(frozen=True)
class Version:
    """One entry of a bucket's version list."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool


class S3Client:
    """Path-style requests to one endpoint with one set of credentials; safe to share between threads.

    Methods return the server's `Response`, whatever its status.
    """

    def __init__(self, endpoint, access_key, secret_key, region="us-east-1", session_token=None, service="s3"):
        self._endpoint = urlsplit(endpoint)
        self._access_key, self._secret_key, self._session_token = access_key, secret_key, session_token
        self._region, self._service = region, service

    def create_bucket(self, bucket):
        """Makes a bucket."""
        return self.request("PUT", bucket)

    def put(self, bucket, key, body, headers=None):
        """Stores the bytes `body`."""
        return self.request("PUT", bucket, key, headers=headers, body=body)

    def get(self, bucket, key, version_id=None, headers=None):
        """Reads an object, the latest version unless one is named."""
        return self.request("GET", bucket, key, query=_version(version_id), headers=headers)

    def delete(self, bucket, key, version_id=None):
        """Deletes one version for good, or without `version_id` the object as the bucket's versioning has it."""
        return self.request("DELETE", bucket, key, query=_version(version_id))

    def enable_versioning(self, bucket):
        """Turns versioning on."""
        return self.request("PUT", bucket, query={"versioning": ""}, body=_VERSIONING)

    def put_bucket_policy(self, bucket, policy):
        """Sets the bucket's policy, given as a dict."""
        return self.request("PUT", bucket, query={"policy": ""}, body=json.dumps(policy).encode())

    def list_versions(self, bucket, prefix=""):
        """Every `Version` and delete marker of the keys that begin with `prefix`, newest first for each key."""
        versions, markers = [], {}
        while True:
            query = {"versions": "", "prefix": prefix, **markers}
            response = self.request("GET", bucket, query=query)
            if response.status != 200:
                raise RuntimeError(f"list versions of {bucket}: {response.status} {response.code}")
            page = ElementTree.fromstring(response.body)
            for entry in page:
                tag = entry.tag.rpartition("}")[2]
                if tag in ("Version", "DeleteMarker"):
                    field = {child.tag.rpartition("}")[2]: child.text or "" for child in entry}
                    latest = field["IsLatest"] == "true"
                    versions.append(Version(field["Key"], field["VersionId"], latest, tag == "DeleteMarker"))
            if page.findtext("{*}IsTruncated") != "true":
                return versions
            markers = {
                "key-marker": page.findtext("{*}NextKeyMarker") or "",
                "version-id-marker": page.findtext("{*}NextVersionIdMarker") or "",
            }

    def request(self, method, bucket, key=None, query=None, headers=None, body=b""):
        """Any request, signed; `query` and `headers` are dicts of decoded text."""
        path = "/" + _encode(bucket) + ("" if key is None else "/" + _encode(key, safe="/"))
        # Signature Version 4 sorts the parameters by their encoded names.
        pairs = sorted((_encode(name), _encode(value)) for name, value in (query or {}).items())
        query_string = "&".join(f"{name}={value}" for name, value in pairs)
        signed = self._sign(method, path, query_string, headers or {}, body)
        connection_type = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = connection_type[self._endpoint.scheme](self._endpoint.netloc, timeout=30)
        try:
            target = f"{path}?{query_string}" if query_string else path
            connection.request(method, target, body=body, headers=signed)
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def _sign(self, method, path, query_string, headers, body):
        now = datetime.now(timezone.utc)
        body_hash = hashlib.sha256(body).hexdigest()
        headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        headers["host"] = self._endpoint.netloc
        headers["x-amz-date"] = now.strftime("%Y%m%dT%H%M%SZ")
        headers["x-amz-content-sha256"] = body_hash
        if self._session_token:
            headers["x-amz-security-token"] = self._session_token
        names = sorted(headers)
        signed_names = ";".join(names)
        canonical = "\n".join([
            method, path, query_string, *(f"{name}:{headers[name]}" for name in names), "", signed_names, body_hash,
        ])
        scope = f"{now:%Y%m%d}/{self._region}/{self._service}/aws4_request"
        signature = signed(self._secret_key, scope, headers["x-amz-date"], canonical)
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return headers


def signed(secret_key, scope, date, canonical):
    """The signature of a canonical request."""
    canonical_hash = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, canonical_hash])
    signing_key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    return hmac.digest(signing_key, to_sign.encode(), "sha256").hex()


def _encode(text, safe=""):
    return quote(text, safe=safe)  # "-._~", letters and digits are never encoded, as S3 wants it


def _version(version_id):
    return {} if version_id is None else {"versionId": version_id}
