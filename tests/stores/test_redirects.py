"""No redirect is followed."""

import pytest
from servers import faults
from servers.proxy import RedirectTarget

from .answers import ENCRYPT, Raw, unavailable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status, scene):
    scene.add_key()
    with RedirectTarget() as target:
        location = target.endpoint + scene.path()
        scene.proxy.faults = faults.always(faults.redirect(status, location, region="eu-west-1"))
        code = "PermanentRedirect" if status in (301, 308) else "TemporaryRedirect"
        child = scene.child(AWS_SESSION_TOKEN="a-session-token")
        assert child.error(ENCRYPT) == unavailable(f"the store answered {status} ({code})")
        assert (target.connections, target.was_sent_credentials) == (0, False)
    # A custom endpoint is not left for another region either.
    assert scene.proxy.count() == 1


def test_a_redirect_in_an_error_document_is_not_followed(scene):
    scene.add_key()
    with RedirectTarget() as target:
        body = f"<Error><Code>PermanentRedirect</Code><Endpoint>{target.host}:{target.port}</Endpoint><Region>eu-west-1</Region></Error>"
        scene.proxy.faults = faults.always(Raw(301, body.encode()))
        assert scene.child().error(ENCRYPT) == unavailable("the store answered 301 (PermanentRedirect)")
        assert target.connections == 0
