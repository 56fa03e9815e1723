"""Fixtures of the contract that every backend keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.contract import BACKENDS, Backend
from support.sides import Clock, stopped_clock
from support.visits import Visitor


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
