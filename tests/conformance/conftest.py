"""Fixtures of the contract that every backend keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.contract import BACKENDS, Backend
from support.implementations import Clock, stopped_clock
from support.visits import Visitor

#: Of these `--quick` tries each kind and no variant, such as "memcache-json".
QUICK_BACKENDS = {
    *("memory", "securecookie", "encryptedcookie", "spill", "custom"),
    *("memcache", "datastore", "cached-datastore"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out variants of backends, when it has to be quick."""
    if config.getoption("quick"):
        variants = BACKENDS.keys() - QUICK_BACKENDS
        left_out = {
            item
            for item in items
            if hasattr(item, "callspec") and item.callspec.params.get("backend") in variants
        }
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; only its own servers are started."""
    return BACKENDS[request.param](request)


@pytest.fixture
def visitor(backend: Backend) -> Visitor:
    """A visitor without cookies."""
    return backend.visitor()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock for cookies; servers go by the real one, from which it starts."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        yield clock
