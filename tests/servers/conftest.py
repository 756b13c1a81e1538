"""What differs here from the tests of the extension."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def built():
    """The servers' own tests do not need the library, which the other tests do."""
