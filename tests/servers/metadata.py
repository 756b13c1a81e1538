"""The services that hand out AWS credentials, as AWS documents them: EC2 metadata, ECS, STS and IAM Identity Center.

For an outage of one of them, put a `FaultProxy` before it.
"""

import hashlib
import json
import re
import secrets
import time

from .credentials import Credentials
from .listener import Listener
from .message import Response, headers
from .s3 import signed

_STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_ROLES = "/latest/meta-data/iam/security-credentials/"


class Imds(Listener):
    """EC2's instance metadata, version 2 only (AWS_EC2_METADATA_SERVICE_ENDPOINT).

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    `credentials` and `role` may be changed at any time; `role=None` is an instance with no role.
    """

    def __init__(self, credentials=Credentials(), role="journal-role"):
        self.credentials, self.role = credentials, role
        self._tokens = {}
        super().__init__()

    def respond(self, request):
        if request.method == "PUT" and request.path == "/latest/api/token":
            return self._token(request)
        if request.method != "GET":
            return Response(405)
        # The end of a token that is unknown, or was never sent, is long past.
        if self._tokens.get(request.headers.get("X-aws-ec2-metadata-token"), 0) < time.monotonic():
            return Response(401)
        if self.role is not None and request.path == _ROLES:
            return Response(200, headers(("Content-Type", "text/plain")), self.role.encode())
        if self.role is not None and request.path == _ROLES + self.role:
            now = Credentials(lifetime=0).expiration
            body = self.credentials.document(Code="Success", LastUpdated=now, Type="AWS-HMAC")
            return Response(200, headers(("Content-Type", "text/plain")), body)
        return Response(404)

    def forget_tokens(self):
        """Makes every session token invalid, as a restart of the service would."""
        self._tokens.clear()

    def _token(self, request):
        if "X-Forwarded-For" in request.headers:
            return Response(403)  # a token is not given through a proxy
        ttl = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not (ttl.isdecimal() and 1 <= int(ttl) <= 21600):
            return Response(400)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(ttl)
        fields = headers(("Content-Type", "text/plain"), ("X-aws-ec2-metadata-token-ttl-seconds", ttl))
        return Response(200, fields, token.encode())


class EcsCredentials(Listener):
    """The credentials of an ECS task or an EKS pod (AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI).

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    With `authorization`, requests must carry it in their Authorization header; it may be changed at any time.
    """

    def __init__(self, credentials=Credentials(), authorization=None):
        self.credentials, self.authorization = credentials, authorization
        self.relative_uri = f"/v2/credentials/{secrets.token_hex(16)}"
        super().__init__()

    @property
    def full_uri(self):
        """The URL of the credentials."""
        return self.endpoint + self.relative_uri

    def respond(self, request):
        if request.method != "GET" or request.path != self.relative_uri:
            return Response(404)
        if self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            return Response(401)
        body = self.credentials.document(RoleArn="arn:aws:iam::123456789012:role/journal-role")
        return Response(200, headers(("Content-Type", "application/json")), body)


class Sts(Listener):
    """AssumeRoleWithWebIdentity (AWS_ENDPOINT_URL_STS).

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    Parameters are taken from the form body or the URL, as AWS does; `token_places` tells which it was.
    """

    def __init__(self, credentials=Credentials(), token="test-web-identity-token"):
        self.credentials, self.token = credentials, token
        super().__init__()

    @property
    def token_places(self):
        """Where each request had its token: "body", "url", or None."""
        return [
            "url" if "WebIdentityToken" in r.query else "body" if "WebIdentityToken" in r.form else None
            for r in self.requests
        ]

    def respond(self, request):
        parameters = {name: values[0] for name, values in (request.query | request.form).items()}
        if parameters.get("Action") != "AssumeRoleWithWebIdentity" or parameters.get("Version") != "2011-06-15":
            return _sts_error("InvalidAction")
        if not parameters.get("RoleArn", "").startswith("arn:aws:iam::") or "RoleSessionName" not in parameters:
            return _sts_error("ValidationError")
        if parameters.get("WebIdentityToken") != self.token:
            return _sts_error("InvalidIdentityToken")
        return _assumed("AssumeRoleWithWebIdentity", self.credentials, parameters["RoleSessionName"])


class Roles(Listener):
    """AssumeRole (AWS_ENDPOINT_URL_STS), which verifies signatures.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    `callers` are the `Credentials` that it knows, `roles` those that it gives for a role's ARN; what it gives it knows too.
    `assumed` has the parameters of each request that was answered well.
    """

    def __init__(self, callers, roles, region="us-east-1"):
        self.callers, self.roles, self.region, self.assumed = list(callers), roles, region, []
        super().__init__()

    def respond(self, request):
        parameters = {name: values[0] for name, values in request.form.items()}
        if request.query or parameters.get("Action") != "AssumeRole" or parameters.get("Version") != "2011-06-15":
            return _sts_error("InvalidAction")
        caller = self._caller(request)
        if caller is None:
            return _sts_error("SignatureDoesNotMatch", 403)
        if parameters.get("RoleArn") not in self.roles:
            return _sts_error("AccessDenied", 403)
        self.assumed.append({**parameters, "caller": caller.session_token})
        given = self.roles[parameters["RoleArn"]]
        self.callers.append(given)
        return _assumed("AssumeRole", given, parameters["RoleSessionName"])

    def _caller(self, request):
        """Whose signature a request has; None where it is nobody's."""
        form = r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/([\w-]+)/sts/aws4_request),\s*SignedHeaders=([\w;-]+),\s*Signature=(\w+)"
        match = re.fullmatch(form, request.headers.get("Authorization", ""))
        if not match or match[3] != self.region:
            return None
        access_key, scope, _, names, signature = match.groups()
        lines = [f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names.split(";")]
        digest = hashlib.sha256(request.body).hexdigest()
        canonical = "\n".join([request.method, request.path, "", *lines, "", names, digest])
        token, date = request.headers.get("X-Amz-Security-Token"), request.headers["X-Amz-Date"]
        for caller in self.callers:
            is_whole = {"host", "x-amz-date", *(["x-amz-security-token"] if token else [])} <= set(names.split(";"))
            if (caller.access_key, caller.session_token) == (access_key, token) and is_whole:
                if signed(caller.secret_key, scope, date, canonical) == signature:
                    return caller
        return None


class Portal(Listener):
    """GetRoleCredentials of IAM Identity Center (AWS_ENDPOINT_URL_SSO).

    https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
    """

    def __init__(self, credentials, token, role, account):
        self.credentials, self.token, self.role, self.account = credentials, token, role, account
        super().__init__()

    def respond(self, request):
        if request.method != "GET" or request.path != "/federation/credentials":
            return Response(404)
        if request.headers.get("x-amz-sso_bearer_token") != self.token:
            return _json(401, {"__type": "UnauthorizedException", "message": "Session token not found or invalid"})
        if request.query != {"role_name": [self.role], "account_id": [self.account]}:
            return _json(403, {"__type": "ForbiddenException", "message": "No access"})
        c = self.credentials
        return _json(200, {"roleCredentials": {
            "accessKeyId": c.access_key, "secretAccessKey": c.secret_key, "sessionToken": c.session_token,
            "expiration": int((time.time() + c.lifetime) * 1000),
        }})


def _json(status, document):
    return Response(status, headers(("Content-Type", "application/json")), json.dumps(document).encode())


def _assumed(action, c, session):
    """The answer that hands out credentials of a role."""
    return _xml(200, f"""\
<{action}Response xmlns="{_STS_NAMESPACE}">
  <{action}Result>
    <SubjectFromWebIdentityToken>subject</SubjectFromWebIdentityToken>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::123456789012:assumed-role/journal-role/{session}</Arn>
      <AssumedRoleId>AROATEST:{session}</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <SessionToken>{c.session_token}</SessionToken>
      <SecretAccessKey>{c.secret_key}</SecretAccessKey>
      <Expiration>{c.expiration}</Expiration>
      <AccessKeyId>{c.access_key}</AccessKeyId>
    </Credentials>
  </{action}Result>
  <ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>
</{action}Response>
""")


def _sts_error(code, status=400):
    return _xml(status, f"""\
<ErrorResponse xmlns="{_STS_NAMESPACE}">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>as the test asked</Message></Error>
  <RequestId>00000000-0000-0000-0000-000000000000</RequestId>
</ErrorResponse>
""")


def _xml(status, text):
    return Response(status, headers(("Content-Type", "text/xml")), text.encode())
