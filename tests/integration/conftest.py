"""Examples, loaded and served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from support.examples import Browser, loaded_example
from support.wsgi import served


@pytest.fixture
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Load an example; its modules go with the test."""
    with ExitStack() as at_end:
        yield lambda name: at_end.enter_context(loaded_example(name))


@pytest.fixture
def browse() -> Iterator[Callable[[Any], Browser]]:
    """Serve an application and give a browser without cookies that talks to it."""
    with ExitStack() as at_end:
        sites: dict[int, str] = {}

        def open_browser(app: Any) -> Browser:
            if id(app) not in sites:
                sites[id(app)] = at_end.enter_context(served(app))
            return at_end.enter_context(Browser(sites[id(app)]))

        yield open_browser
