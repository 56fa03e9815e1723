"""The garbage collector, on which the life of requests and stores must not depend."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def young_heap() -> Iterator[None]:
    """Let a collection pass over all that other tests have left, which takes a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
