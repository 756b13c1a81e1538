"""HTTPS in front of a scene's bucket."""

from servers.relay import TlsFront

#: A name that only the proxy knows.
BEHIND = "s3.journal.test"
PASSWORD = "the-proxy-s-password"


def tls(scene, context):
    return TlsFront((scene.proxy.host, scene.proxy.port), context)


def https(front, host="localhost"):
    return {"AWS_ENDPOINT_URL_S3": f"https://{host}:{front.port}"}
