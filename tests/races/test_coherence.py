"""The cache in front of Datastore where a writer is slow or overtaken, in a real memcached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.entries import Entries, entries_of
from support.servers import Memcached

from webapp2_sessions.coherent_cache import CoherentCache
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.memcached import session_memcached

KEY = b"slow:name"


class Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def read(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The cache's clock."""
    clock = Clock()
    monkeypatch.setattr(CoherentCache, "_now", lambda cache: clock.read())
    return clock


@pytest.fixture
def cache(memcached: Memcached) -> CoherentCache:
    """A cache in a memcached."""
    memcache = {"servers": [memcached.address], "key_prefix": "slow:"}
    config = SessionConfig({"secret_key": "secret", "memcache": memcache})
    return CoherentCache(session_memcached(config, "datastore"))


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What the memcached holds; the entry is absent at first."""
    with entries_of(memcached) as entries:
        entries.drop(KEY)
        yield entries


def test_slow_writer_leaves_an_absent_entry_alone(
    cache: CoherentCache, entries: Entries, clock: Clock
) -> None:
    """Meanwhile the record may have been deleted, and the mark of that have gone."""

    def store() -> str:
        clock.now += 4
        return "written before the deletion"

    cache.write("name", store, None)
    assert entries.get(KEY) == b""


def test_slow_writer_replaces_an_entry_that_stayed(
    cache: CoherentCache, entries: Entries, clock: Clock
) -> None:
    """Where an entry was there its token tells whether anybody came in between."""
    cache.write("name", lambda: "old", None)

    def store() -> str:
        clock.now += 4
        return "new"

    cache.write("name", store, None)
    assert b"new" in (entries.get(KEY) or b"")


@pytest.mark.parametrize("entry", ["absent", "present"])
def test_writer_that_was_overtaken(cache: CoherentCache, entries: Entries, entry: str) -> None:
    """It leaves a mark, and not its own value, where another has written since it began."""
    if entry == "present":
        cache.write("name", lambda: "old", None)

    def store() -> str:
        cache.write("name", lambda: "newest", None)
        return "older"

    cache.write("name", store, None)
    assert entries.get(KEY) == b""
