"""App Engine's bundled services, by the testbed of the SDK, which stands in for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.appengine.ext.testbed import Testbed


@pytest.fixture(autouse=True)
def testbed() -> Iterator[Any]:
    """The services, empty."""
    testbed = Testbed()
    testbed.activate()
    testbed.init_memcache_stub()
    yield testbed
    testbed.deactivate()
