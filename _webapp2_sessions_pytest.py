"""Fixtures of webapp2_sessions for pytest, which finds them where the package is installed.

A module beside the package and not in it, because pytest loads it at each start: webapp2 and the
package are imported when a test first asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from webapp2_sessions.testing import Client, Clock, Memory


@pytest.fixture
def webapp2_sessions_clock() -> Iterator[Clock]:
    """A clock that stands until the test moves it; sessions and their cookies go by it."""
    from webapp2_sessions.testing import travel

    with travel() as clock:
        yield clock


@pytest.fixture
def webapp2_sessions_memory() -> Iterator[Callable[..., Memory]]:
    """A function: called with an application it keeps that one's sessions in memory.

    Not on memcached nor in Datastore, until the test ends; arguments are those of
    ``memory_sessions()``, and so is what is returned.
    """
    from webapp2_sessions.testing import memory_sessions

    with ExitStack() as at_end:
        yield lambda app, *keywords: at_end.enter_context(memory_sessions(app, *keywords))


@pytest.fixture
def webapp2_sessions_client() -> Callable[..., Client]:
    """A function: called with an application it returns a client that keeps cookies."""
    from webapp2_sessions.testing import Client

    return Client
