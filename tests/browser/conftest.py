"""The demo, opened in a browser of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.chromium import Chromium
from support.demo import DemoBrowser
from support.examples import loaded_example
from support.servers import PROXY_VARIABLES, free_port
from support.visits import SECRET
from support.wsgi import served


@pytest.fixture
def open_browser(chromium: Chromium, tmp_path: Path) -> Iterator[Callable[[str], DemoBrowser]]:
    """Open a browser that was never there, for a site of the demo."""
    with ExitStack() as at_end:
        numbers = itertools.count()

        def open_one(site: str) -> DemoBrowser:
            # Pictures are the same on every machine then, but for its fonts.
            switches = ("--hide-scrollbars", "--force-color-profile=srgb")
            profile = tmp_path / f"profile{next(numbers)}"
            driver = at_end.enter_context(
                chromium.browser(profile, *switches, logs=("browser", "performance"))
            )
            return DemoBrowser(driver, site)

        yield open_one


@pytest.fixture
def open_demo(
    open_browser: Callable[[str], DemoBrowser], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., DemoBrowser]]:
    """Serve a demo that finds no server but those it is told; a browser that was never there."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as at_end:
        example = at_end.enter_context(loaded_example("demo"))

        def open_one(**options: Any) -> DemoBrowser:
            options.setdefault("memcached", f"127.0.0.1:{free_port()}")
            options.setdefault("redis_url", f"redis://127.0.0.1:{free_port()}/0")
            site = at_end.enter_context(
                served(example.make_app(SECRET, probe_seconds=0, **options))
            )
            return open_browser(site)

        yield open_one
