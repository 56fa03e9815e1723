"""The cache in front of Datastore where a writer is slow or overtaken, in a real memcached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.entries import Entries, entries_of
from support.servers import Memcached, wait_until

from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import BackendUnavailable
from webapp2_sessions.sessions_memcache.records import session_memcached
from webapp2_sessions.stored.cache import CoherentCache

KEY = b"slow:name"

#: What stands there where nobody can tell which write was the last, and where a record has ended.
MARK = b""
TOMBSTONE = b"closed"

#: Seconds after which a server that hangs is a failure.
PATIENCE = 10.0


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


def cache_of(server: Memcached, **settings: Any) -> CoherentCache:
    """A cache in a memcached."""
    memcache = {"servers": [server.address], "key_prefix": "slow:", **settings}
    config = SessionConfig({"secret_key": "secret", "memcache": memcache})
    return CoherentCache(session_memcached(config, "datastore"))


@pytest.fixture
def cache(memcached: Memcached) -> CoherentCache:
    """A cache in the shared memcached."""
    return cache_of(memcached)


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
    assert entries.get(KEY) == MARK


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
    assert entries.get(KEY) == MARK


@pytest.fixture
def let_seconds_pass(memcached: Memcached, entries: Entries) -> Callable[[], None]:
    """Four seconds pass for memcached: what lives no longer has gone."""

    def drop_what_is_short_lived() -> None:
        left = entries.seconds_left(KEY)
        if left is not None and 0 <= left <= 4:
            entries.drop(KEY)

    return drop_what_is_short_lived


@pytest.mark.parametrize("actor", ["reader", "writer"])
def test_late_entry_of_an_ended_record(
    cache: CoherentCache, entries: Entries, let_seconds_pass: Callable[[], None], actor: str
) -> None:
    """What reaches memcached four seconds after the end of its record finds a tombstone."""

    def end() -> str:
        cache.delete("name", lambda: None)
        let_seconds_pass()
        return "ended"

    if actor == "reader":
        assert cache.read("name", end, None) == "ended"
    else:
        cache.write("name", end, None)
    let_seconds_pass()
    assert cache.read("name", lambda: None, None) is None
    assert entries.get(KEY) == TOMBSTONE


def test_late_entry_of_an_overtaken_reader(
    cache: CoherentCache, entries: Entries, let_seconds_pass: Callable[[], None]
) -> None:
    """Nor does it find the place empty that two writers at once have left to the next reader."""

    def newest() -> str:
        cache.write("name", lambda: "newer", None)
        return "newest"

    def load() -> str:
        cache.write("name", newest, None)
        let_seconds_pass()
        return "old"

    assert cache.read("name", load, None) == "old"
    assert cache.read("name", lambda: "newest", None) == "newest"
    assert b"newest" in (entries.get(KEY) or b"")


def test_late_writer_leaves_the_tombstone(
    cache: CoherentCache, entries: Entries, let_seconds_pass: Callable[[], None]
) -> None:
    """A mark of its own in that place would let in who comes later."""
    cache.write("name", lambda: "old", None)

    def end() -> str:
        cache.delete("name", lambda: None)
        return "written before the end"

    cache.write("name", end, None)
    let_seconds_pass()
    assert entries.get(KEY) == TOMBSTONE


@pytest.mark.parametrize(
    ("actor", "begins"), [("reader", "absent"), ("writer", "absent"), ("writer", "present")]
)
def test_restart_after_the_end(
    launch: Callable[[Memcached], Memcached], actor: str, begins: str
) -> None:
    """memcached loses the tombstone, and its tokens count from the beginning."""
    server = launch(Memcached())
    cache = cache_of(server)
    if begins == "present":
        cache.write("name", lambda: "old", None)

    def end() -> str:
        cache.delete("name", lambda: None)
        server.restart()
        return "ended"

    if actor == "reader":
        cache.read("name", end, None)
    else:
        cache.write("name", end, None)
    assert cache.read("name", lambda: None, None) is None


def test_end_without_memcached(launch: Callable[[Memcached], Memcached]) -> None:
    """Others may reach it: that the session has ended is told as an error."""
    server = launch(Memcached())
    cache = cache_of(server)
    cache.write("name", lambda: "old", None)
    server.kill()
    gone: list[str] = []
    with pytest.raises(BackendUnavailable, match=f"memcache backend at {server.address}: .*hour"):
        cache.delete("name", lambda: gone.append("name"))
    assert gone == ["name"]


def test_end_while_memcached_is_silent(launch: Callable[[Memcached], Memcached]) -> None:
    """It hears of it when it goes on."""
    server = launch(Memcached())
    cache = cache_of(server, timeout=0.1)
    cache.write("name", lambda: "old", None)
    server.freeze()
    cache.delete("name", lambda: None)
    server.thaw()
    with entries_of(server) as entries:
        assert wait_until(lambda: entries.get(KEY) == TOMBSTONE, PATIENCE)
