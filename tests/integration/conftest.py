"""Examples, loaded and served; the demo without the servers of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from support.demo_pages import nowhere
from support.examples import Browser, loaded_example
from support.servers import PROXY_VARIABLES
from support.visits import SECRET
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


@pytest.fixture
def example(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The demo, with no Datastore named."""
    for variable in ("DATASTORE_EMULATOR_HOST", *PROXY_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    return load("demo")


@pytest.fixture
def open_demo(example: ModuleType, browse: Callable[[Any], Browser]) -> Callable[..., Browser]:
    """A browser on the first page of a demo that finds no server but those it is told."""

    def open_page(**options: Any) -> Browser:
        browser = browse(example.make_app(SECRET, probe_seconds=0, **nowhere() | options))
        browser.get("/")
        return browser

    return open_page
