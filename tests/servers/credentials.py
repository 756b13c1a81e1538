"""Temporary AWS credentials."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials that end `lifetime` seconds after they are handed out; below 0 they have ended."""

    access_key: str = "ASIATESTACCESSKEY"
    secret_key: str = "test-secret-key"
    session_token: str = "test-session-token"
    lifetime: float = 3600

    @property
    def expiration(self):
        """The end of credentials handed out now, as AWS writes it."""
        return (datetime.now(timezone.utc) + timedelta(seconds=self.lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def document(self, **more):
        """The JSON document of the metadata services."""
        return json.dumps({
            **more, "AccessKeyId": self.access_key, "SecretAccessKey": self.secret_key,
            "Token": self.session_token, "Expiration": self.expiration,
        }).encode()
