"""What several of the unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.implementations import Clock, stopped_clock
from support.stores import NOW, SID, DictFactory


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that is moved, beginning at NOW."""
    with stopped_clock(Clock(NOW)) as clock:
        yield clock


@pytest.fixture
def factory() -> type[DictFactory]:
    """A backend of the test's own, with the session SID in it."""

    class Factory(DictFactory):
        records = {SID: {"a": 1}}  # noqa: RUF012
        log = []  # noqa: RUF012

    return Factory
