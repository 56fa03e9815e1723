"""What several of the unit tests use."""

from __future__ import annotations

import pytest
from support.stores import SID, DictFactory


@pytest.fixture
def factory() -> type[DictFactory]:
    """A backend of the test's own, with the session SID in it."""

    class Factory(DictFactory):
        records = {SID: {"a": 1}}  # noqa: RUF012
        log = []  # noqa: RUF012

    return Factory
