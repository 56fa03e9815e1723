"""Fixtures of the contract that every backend keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.contract import BACKENDS, KINDS, Backend
from support.implementations import Clock, stopped_clock
from support.visits import Visitor


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out variants of backends, such as "memcache-json", when it has to be quick."""
    if config.getoption("quick", default=False):  # not without the conftest.py above
        variants = BACKENDS.keys() - KINDS.keys()
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
    if request.param not in BACKENDS:
        pytest.skip(f"about the backend {request.param!r}, and CONTRACT names another one")
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
