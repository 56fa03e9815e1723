"""Cache and record agree: in order, with a store that fails, and in every interleaving."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    BadSignature,
    UnreadableSession,
)
from webapp2_sessions.stored.cache import CoherentCache, Token
from webapp2_sessions.stored.serializers import Serializer
from webapp2_sessions.stored.signed_values import SignedValues

DAY = 24 * 3600

NAME = "0123456789abcdefghijkl"
KEY = b"session:" + NAME.encode()

#: What stands in the cache where nobody can tell which write was the last ...
STALE = b""
#: ... and where the record was deleted, or nobody knows yet whether it was written.
TOMBSTONE = b"closed"

#: How long entries and marks may live, in seconds.
LONGEST = 3600

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0


def signed_values(key: bytes = b"k" * 32) -> SignedValues:
    """Signs with a fixed key."""
    return SignedValues(key, Serializer())


class FakeServer:
    """A store in this process that fails on request."""

    backend = "memcache"

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.tokens: dict[bytes, int] = {}
        self.lifetimes: dict[bytes, float] = {}
        self.calls: list[str] = []
        #: Operations that raise.
        self.broken: dict[str, Exception] = {}
        #: How many restarts were noticed.
        self.restarts = 0
        #: Whether nobody has asked since a restart.
        self._is_new = False

    def key(self, name: str) -> bytes:
        return b"session:" + name.encode()

    def address(self, key: bytes) -> str:
        return "fake:1"

    def generation(self, key: bytes) -> int:
        return self.restarts

    def encode(self, key: bytes, value: Any) -> bytes:
        return signed_values().dumps(key, value)

    def decode(self, key: bytes, data: bytes | None) -> Any:
        try:
            return None if data is None else signed_values().loads(key, data)
        except BadSignature:
            return None
        except Exception as error:
            raise UnreadableSession("memcache", "fake:1", "its class is gone") from error

    def get(self, key: bytes) -> bytes | None:
        return self._call("get", key)

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        before = self.restarts
        data, token = self._call("gets", key)
        return data, Token(token, self.restarts if data is None else before)

    def set(self, key: bytes, data: bytes, lifetime: float) -> None:
        self._call("set", key, data, lifetime)

    def add(self, key: bytes, data: bytes, lifetime: float) -> bool:
        return self._call("add", key, data, lifetime)

    def cas(self, key: bytes, data: bytes, token: Token, lifetime: float) -> bool:
        number, before = token
        return self.restarts == before and self._call("cas", key, data, number, lifetime)

    def set_noreply(self, key: bytes, data: bytes, lifetime: float) -> None:
        """A server that is silent takes it all the same."""
        self.calls.append("set_noreply")
        if "set_noreply" in self.broken:
            raise self.broken["set_noreply"]
        self.do_set(key, data, lifetime)

    def _call(self, operation: str, *args: Any) -> Any:
        self.calls.append(operation)
        if operation in self.broken:
            raise self.broken[operation]
        if self._is_new:
            self._is_new, self.restarts = False, self.restarts + 1
            if operation == "cas":
                return False
        return getattr(self, f"do_{operation}")(*args)

    def do_get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def do_gets(self, key: bytes) -> tuple[bytes | None, int | None]:
        return self.data.get(key), self.tokens.get(key) if key in self.data else None

    def do_set(self, key: bytes, value: bytes, lifetime: float) -> bool:
        self.data[key] = value
        self.tokens[key] = self.tokens.get(key, 0) + 1
        self.lifetimes[key] = lifetime
        return True

    def do_add(self, key: bytes, value: bytes, lifetime: float) -> bool:
        return key not in self.data and self.do_set(key, value, lifetime)

    def do_cas(self, key: bytes, value: bytes, token: int, lifetime: float) -> bool:
        return self.tokens.get(key) == token and self.do_set(key, value, lifetime)

    def held(self) -> Any:
        """The entry decoded; STALE and TOMBSTONE as they are, None for nothing."""
        entry = self.data.get(KEY)
        return entry if entry in (STALE, TOMBSTONE) else self.decode(KEY, entry)

    def let_time_pass(self) -> None:
        """Let half an hour pass."""
        for key in [key for key, seconds in self.lifetimes.items() if seconds < LONGEST // 2]:
            self.data.pop(key, None)

    def restart(self) -> None:
        """Forget everything, and end the connections."""
        self.data.clear()
        self.tokens.clear()
        self._is_new = True


def write(
    cache: CoherentCache, value: Any, store: Callable[[], None], lifetime: float | None
) -> None:
    """Write a value whose record `store` writes."""

    def store_and_return() -> Any:
        store()
        return value

    cache.write(NAME, store_and_return, lifetime)


class EndedError(Exception):
    """A record was not written, because it was deleted meanwhile."""


class Record:
    """The record behind the cache, with counted reads."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.loads = 0

    def load(self) -> Any:
        """Read it."""
        self.loads += 1
        return self.value

    def storing(self, value: Any) -> Callable[[], None]:
        """A function that writes it."""

        def store() -> None:
            self.value = value

        return store


@pytest.fixture
def server() -> FakeServer:
    """An empty store."""
    return FakeServer()


@pytest.fixture
def cache(server: FakeServer) -> CoherentCache:
    """The cache in it."""
    return CoherentCache(server)


@pytest.fixture
def clock(cache: CoherentCache, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The cache's clock, moved by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(cache, "_now", lambda: clock.now)
    return clock


# Reading


def test_miss_gives_the_record(cache: CoherentCache) -> None:
    """What is not cached is loaded."""
    assert cache.read(NAME, Record({"a": 1}).load, None) == {"a": 1}


def test_miss_fills_the_cache(cache: CoherentCache, server: FakeServer) -> None:
    """The next read finds it."""
    cache.read(NAME, Record({"a": 1}).load, None)
    assert server.held() == {"a": 1}


def test_hit_does_not_load(cache: CoherentCache) -> None:
    """A cached record is not asked for."""
    record = Record({"a": 1})
    assert [cache.read(NAME, record.load, None) for _ in range(3)] == [{"a": 1}] * 3
    assert record.loads == 1


def test_hit_is_one_call(cache: CoherentCache, server: FakeServer) -> None:
    """A hit costs one round trip to the store."""
    write(cache, {"a": 1}, lambda: None, None)
    server.calls.clear()
    cache.read(NAME, Record().load, None)
    assert server.calls == ["get"]


@pytest.mark.parametrize("value", [{}, [], 0, False, ""], ids=repr)
def test_false_value_is_a_hit(cache: CoherentCache, value: object) -> None:
    """An empty session is cached like any other."""
    record = Record(value)
    assert [cache.read(NAME, record.load, None) for _ in range(2)] == [value] * 2
    assert record.loads == 1


def test_missing_record_is_not_cached(cache: CoherentCache, server: FakeServer) -> None:
    """That there is no record is asked anew each time."""
    record = Record()
    assert [cache.read(NAME, record.load, None) for _ in range(2)] == [None] * 2
    assert (record.loads, server.data) == (2, {})


def test_copies_are_handed_out(cache: CoherentCache) -> None:
    """A change of what one reader got is not seen by the next."""
    record = Record({"list": [1]})
    cache.read(NAME, record.load, None)["list"].append(2)
    record.value = None
    cache.read(NAME, record.load, None)["list"].append(3)
    assert cache.read(NAME, record.load, None) == {"list": [1]}


@pytest.mark.parametrize(
    "entry", [b"garbage", b"\x01" * 100, signed_values(b"K" * 32).dumps(KEY, {"admin": True})]
)
def test_forged_entry_is_ignored(cache: CoherentCache, server: FakeServer, entry: bytes) -> None:
    """An entry that we did not write is no hit, and is left alone."""
    server.data[KEY] = entry
    assert cache.read(NAME, Record({"a": 1}).load, None) == {"a": 1}
    assert server.data[KEY] == entry


def test_forged_entry_is_replaced_by_a_write(cache: CoherentCache, server: FakeServer) -> None:
    """A write takes the place of an entry that we did not write."""
    server.do_set(KEY, b"garbage", 0)
    write(cache, {"a": 1}, lambda: None, None)
    assert server.held() == {"a": 1}


class Vanishing:
    """A class that is gone when its instance is read."""


def test_entry_of_a_missing_class_is_ignored(
    cache: CoherentCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that cannot be unpickled sends the reader to the record."""
    write(cache, {"a": Vanishing()}, lambda: None, None)
    monkeypatch.delattr(f"{__name__}.Vanishing")
    assert cache.read(NAME, Record({"a": 1}).load, None) == {"a": 1}


def test_failing_load_is_raised(cache: CoherentCache, server: FakeServer) -> None:
    """A record that cannot be read is an error, and nothing is cached."""

    def load() -> None:
        raise BackendUnavailable("datastore", "here", "down")

    with pytest.raises(BackendUnavailable, match="datastore backend at here"):
        cache.read(NAME, load, None)
    assert server.data == {}


def test_quick_reader_fills(
    cache: CoherentCache, server: FakeServer, clock: SimpleNamespace
) -> None:
    """A load of less than a second fills the cache."""
    cache.read(NAME, moving(clock, 0.9, {"a": 1}), None)
    assert server.held() == {"a": 1}


def test_slow_reader_does_not_fill(
    cache: CoherentCache, server: FakeServer, clock: SimpleNamespace
) -> None:
    """What was loaded long ago may be old, and the stale entry that would tell so may be gone."""
    assert cache.read(NAME, moving(clock, 1.0, {"a": 1}), None) == {"a": 1}
    assert server.data == {}


def moving(clock: SimpleNamespace, seconds: float, value: object) -> Callable[[], object]:
    """A load that takes some time."""

    def load() -> object:
        clock.now += seconds
        return value

    return load


# Writing


def test_write_stores_and_caches(cache: CoherentCache, server: FakeServer) -> None:
    """A write goes to the record and to the cache."""
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    assert (record.value, server.held()) == ({"a": 1}, {"a": 1})


@pytest.mark.parametrize(
    ("written", "calls"), [(0, ["gets", "store", "add"]), (1, ["gets", "store", "cas"])]
)
def test_order_of_a_write(
    cache: CoherentCache, server: FakeServer, written: int, calls: list[str]
) -> None:
    """The token is taken before the record is written, and the entry replaced after it."""
    for _ in range(written):
        write(cache, {}, lambda: None, None)
    server.calls.clear()
    write(cache, {"a": 1}, lambda: server.calls.append("store"), None)
    assert server.calls == calls


def test_write_settles_again(cache: CoherentCache, server: FakeServer) -> None:
    """A write that meets a stale entry, and nobody else, caches its value."""
    server.do_set(KEY, STALE, LONGEST)
    write(cache, {"a": 1}, lambda: None, None)
    assert server.held() == {"a": 1}


@pytest.mark.parametrize("error", [BackendError("datastore", "here", "no"), KeyboardInterrupt()])
def test_failing_store_is_raised(cache: CoherentCache, error: BaseException) -> None:
    """The caller learns that the record may not be written."""
    with pytest.raises(type(error)):
        write(cache, {"a": 1}, raising(error), None)


@pytest.mark.parametrize("error", [BackendError("datastore", "here", "no"), KeyboardInterrupt()])
def test_failing_store_leaves_nothing_wrong(
    cache: CoherentCache, server: FakeServer, error: BaseException
) -> None:
    """After a write of which nobody knows whether it happened, readers see the record."""
    record = Record({"a": "old"})
    cache.read(NAME, record.load, None)
    with pytest.raises(type(error)):
        write(cache, {"a": "new"}, raising(error), None)
    for actual in ({"a": "old"}, {"a": "new"}):
        record.value = actual
        assert cache.read(NAME, record.load, None) == actual


def raising(error: BaseException) -> Callable[[], None]:
    """A store that fails."""

    def store() -> None:
        raise error

    return store


def test_stale_entry_is_replaced_by_a_reader(cache: CoherentCache, server: FakeServer) -> None:
    """The next reader takes its token before it reads the record, and caches that."""
    server.do_set(KEY, STALE, LONGEST)
    cache.read(NAME, lambda: server.calls.append("load") or {"a": 1}, None)  # type: ignore[func-returns-value]
    assert (server.held(), server.calls) == ({"a": 1}, ["get", "gets", "load", "cas"])


def test_stale_entry_is_replaced_by_a_slow_reader(
    cache: CoherentCache, server: FakeServer, clock: SimpleNamespace
) -> None:
    """However long it takes: its token tells whether anybody came in between."""
    server.do_set(KEY, STALE, LONGEST)
    cache.read(NAME, moving(clock, 100, {"a": 1}), None)
    assert server.held() == {"a": 1}


def test_stale_entry_that_is_gone_is_a_miss(cache: CoherentCache, server: FakeServer) -> None:
    """It may be evicted between two questions."""
    server.do_set(KEY, STALE, LONGEST)
    server.do_gets = lambda key: (server.data.clear(), (None, None))[1]  # type: ignore[method-assign]
    cache.read(NAME, Record({"a": 1}).load, None)
    assert (server.held(), server.calls) == ({"a": 1}, ["get", "gets", "add"])


def test_reader_that_meets_a_writer_at_a_stale_entry(
    cache: CoherentCache, server: FakeServer
) -> None:
    """It leaves what the writer has stored between its two questions."""
    server.do_set(KEY, STALE, LONGEST)
    do_gets = server.do_gets

    def overtaken(key: bytes) -> tuple[bytes | None, int | None]:
        server.do_gets = do_gets  # type: ignore[method-assign]
        write(cache, {"a": "new"}, lambda: None, None)
        return server.do_gets(key)

    server.do_gets = overtaken  # type: ignore[method-assign]
    cache.read(NAME, Record({"a": "old"}).load, None)
    assert server.held() == {"a": "new"}


def test_stale_entry_of_a_record_that_is_gone_stays(
    cache: CoherentCache, server: FakeServer
) -> None:
    """There is nothing to put in its place."""
    server.do_set(KEY, STALE, LONGEST)
    assert cache.read(NAME, Record().load, None) is None
    assert server.held() == STALE


def test_write_that_is_refused_leaves_a_stale_entry(
    cache: CoherentCache, server: FakeServer
) -> None:
    """Nothing was written: the next reader may cache what is there."""
    with pytest.raises(EndedError):
        cache.write(NAME, raising(EndedError()), None, (EndedError,))
    assert (server.held(), server.lifetimes[KEY]) == (STALE, LONGEST)


def test_write_of_which_nobody_knows_leaves_a_tombstone(
    cache: CoherentCache, server: FakeServer
) -> None:
    """It may be written at any time later; a reader must not cache what was there before."""
    with pytest.raises(KeyError):
        cache.write(NAME, raising(KeyError()), None, (EndedError,))
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)
    assert cache.read(NAME, Record({"a": 1}).load, None) == {"a": 1}
    assert server.held() == TOMBSTONE


def test_others_store_all_the_time(cache: CoherentCache, server: FakeServer) -> None:
    """After some tries there is a tombstone, whatever was there."""
    write(cache, {"a": 1}, lambda: None, None)
    server.do_cas = lambda *_: False  # type: ignore[method-assign]
    write(cache, {"a": 2}, lambda: None, None)
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


@pytest.mark.parametrize("entry", ["absent", "present", "stale"])
def test_writer_that_is_overtaken_leaves_a_stale_entry(
    cache: CoherentCache, server: FakeServer, entry: str
) -> None:
    """It lives as long as an entry, so that none that is on its way finds the place empty."""
    if entry == "present":
        write(cache, {"a": 1}, lambda: None, None)
    if entry == "stale":
        server.do_set(KEY, STALE, LONGEST)
    write(cache, {"a": 3}, lambda: write(cache, {"a": 2}, lambda: None, None), None)
    assert (server.held(), server.lifetimes[KEY]) == (STALE, LONGEST)


# Lifetime


LIFETIMES = [
    (None, LONGEST),
    (60, 60),
    (0.5, 0.5),
    (3599, 3599),
    (30 * DAY, LONGEST),
    (float("inf"), LONGEST),
]


@pytest.mark.parametrize(("lifetime", "expected"), LIFETIMES)
def test_filled_entry_expires(
    cache: CoherentCache, server: FakeServer, lifetime: float | None, expected: float
) -> None:
    """An entry that a reader made lives as long as the session, an hour at most."""
    cache.read(NAME, Record({}).load, lifetime)
    assert server.lifetimes[KEY] == expected


@pytest.mark.parametrize("writes", [1, 2], ids=["add", "cas"])
@pytest.mark.parametrize(("lifetime", "expected"), LIFETIMES)
def test_written_entry_expires(
    cache: CoherentCache, server: FakeServer, lifetime: float | None, expected: float, writes: int
) -> None:
    """An entry that a writer made lives as long as the session, an hour at most."""
    for _ in range(writes):
        write(cache, {}, lambda: None, lifetime)
    assert server.lifetimes[KEY] == expected


# A store that fails


DOWN = BackendUnavailable("memcache", "fake:1", "the server refused the connection")
FULL = BackendError("memcache", "fake:1", "the server refused (MemcacheServerError)")
OPERATIONS = ("get", "gets", "set", "add", "cas")


def subsets() -> Iterator[tuple[str, ...]]:
    """All sets of operations that may fail."""
    for number in range(1, 2 ** len(OPERATIONS)):
        yield tuple(name for bit, name in enumerate(OPERATIONS) if number >> bit & 1)


@pytest.mark.parametrize("error", [DOWN, FULL], ids=["down", "full"])
@pytest.mark.parametrize("broken", list(subsets()), ids="+".join)
def test_failing_store_is_no_error(
    cache: CoherentCache, server: FakeServer, error: Exception, broken: tuple[str, ...]
) -> None:
    """Whatever it refuses, the record is written and read."""
    server.broken = dict.fromkeys(broken, error)
    record = Record()
    for turn in range(3):
        write(cache, {"turn": turn}, record.storing({"turn": turn}), None)
        assert record.value == {"turn": turn}
    server.data.clear()
    assert cache.read(NAME, record.load, None) == {"turn": 2}


def test_read_asks_a_dead_store_once(cache: CoherentCache, server: FakeServer) -> None:
    """A frozen one keeps a reader waiting once, not twice."""
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    cache.read(NAME, Record({}).load, None)
    assert server.calls == ["get"]


def test_write_with_a_dead_store(cache: CoherentCache, server: FakeServer) -> None:
    """It is asked for the token before the write, and to mark the entry stale after it."""
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    write(cache, {}, lambda: None, None)
    assert server.calls == ["gets", "gets", "set", "set_noreply"]


def test_silent_store_is_sent_a_tombstone_after_a_write(
    cache: CoherentCache, server: FakeServer
) -> None:
    """When it goes on it does not hand out what was there before the write."""
    write(cache, {"a": "old"}, lambda: None, None)
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    write(cache, {"a": "new"}, lambda: None, None)
    server.broken = {}
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


def test_store_to_which_nothing_can_be_sent(cache: CoherentCache, server: FakeServer) -> None:
    """That is no error either."""
    server.broken = dict.fromkeys((*OPERATIONS, "set_noreply"), DOWN)
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    assert record.value == {"a": 1}


# Deleting


def test_deleted_record_leaves_a_tombstone(cache: CoherentCache, server: FakeServer) -> None:
    """Neither record nor entry is left, and the tombstone lives as long as an entry may."""
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    cache.delete(NAME, record.storing(None))
    assert (record.value, server.held(), server.lifetimes[KEY]) == (None, TOMBSTONE, LONGEST)
    assert cache.read(NAME, record.load, None) is None


def test_entry_goes_before_the_record(cache: CoherentCache, server: FakeServer) -> None:
    """So that it has gone if the process dies on the way."""
    write(cache, {"a": 1}, lambda: None, None)
    held: list[Any] = []
    cache.delete(NAME, lambda: held.append(server.held()))
    assert held == [TOMBSTONE]


def test_tombstone_is_put_twice(cache: CoherentCache, server: FakeServer) -> None:
    """The store may have been restarted and filled before the record was deleted."""
    record = Record({"a": 1})

    def delete() -> None:
        server.restart()
        cache.read(NAME, record.load, None)
        assert server.held() == {"a": 1}
        record.value = None

    cache.delete(NAME, delete)
    assert server.held() == TOMBSTONE


@pytest.mark.parametrize("entry", ["absent", "present", "stale"])
def test_writer_that_is_overtaken_by_the_end(
    cache: CoherentCache, server: FakeServer, entry: str
) -> None:
    """What it wrote is not cached, and the tombstone lives on."""
    if entry == "present":
        write(cache, {"a": 1}, lambda: None, None)
    if entry == "stale":
        server.do_set(KEY, STALE, LONGEST)
    write(cache, {"a": 2}, lambda: cache.delete(NAME, lambda: None), None)
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


def test_writer_that_finds_the_record_gone(cache: CoherentCache, server: FakeServer) -> None:
    """It leaves the tombstone, too."""

    def store() -> None:
        cache.delete(NAME, lambda: None)
        raise EndedError()

    with pytest.raises(EndedError):
        cache.write(NAME, store, None, (EndedError,))
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


def test_silent_store_is_sent_a_tombstone_after_a_deletion(
    cache: CoherentCache, server: FakeServer
) -> None:
    """When it goes on the entry has gone."""
    write(cache, {"a": 1}, lambda: None, None)
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    cache.delete(NAME, lambda: None)
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


def test_end_that_the_cache_does_not_hear_of(cache: CoherentCache, server: FakeServer) -> None:
    """It is an error, after the record was deleted: the entry may be handed out."""
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    server.broken = dict.fromkeys((*OPERATIONS, "set_noreply"), DOWN)
    with pytest.raises(BackendUnavailable, match=r"memcache backend at fake:1: .*deleted.*hour"):
        cache.delete(NAME, record.storing(None))
    assert record.value is None
    server.broken = {}
    assert cache.read(NAME, record.load, None) == {"a": 1}  # as the error says


def test_end_that_fails_twice_tells_of_the_record(cache: CoherentCache, server: FakeServer) -> None:
    """A record that may still be there is the more important error."""
    server.broken = dict.fromkeys((*OPERATIONS, "set_noreply"), DOWN)
    with pytest.raises(KeyboardInterrupt):
        cache.delete(NAME, raising(KeyboardInterrupt()))


@pytest.mark.parametrize("actor", ["reader", "writer"])
def test_restarted_store_is_not_filled_with_what_was_deleted(
    cache: CoherentCache, server: FakeServer, actor: str
) -> None:
    """A tombstone that is lost by a restart is missed by none of those who saw no entry."""
    record = Record({"a": 1})

    def end_and_restart() -> dict[str, int]:
        cache.delete(NAME, record.storing(None))
        server.restart()
        return {"a": 1}

    if actor == "reader":
        cache.read(NAME, end_and_restart, None)
    else:
        cache.write(NAME, end_and_restart, None)
    assert server.held() == TOMBSTONE
    assert cache.read(NAME, record.load, None) is None


def test_tombstone_is_not_replaced(cache: CoherentCache, server: FakeServer) -> None:
    """Whoever writes a record that was deleted is not cached until the tombstone has gone."""
    record = Record()
    cache.delete(NAME, record.storing(None))
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)
    assert cache.read(NAME, record.load, None) == {"a": 1}
    assert server.held() == TOMBSTONE


def test_record_that_cannot_be_deleted(cache: CoherentCache) -> None:
    """The caller learns of it, and readers see the record as it is."""
    record = Record({"a": 1})
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    with pytest.raises(BackendError):
        cache.delete(NAME, raising(BackendError("datastore", "here", "no")))
    assert (cache.read(NAME, record.load, None), record.loads) == ({"a": 1}, 1)


def test_store_that_comes_back_meanwhile_has_a_tombstone(
    cache: CoherentCache, server: FakeServer
) -> None:
    """An entry from before a write that the store did not hear of is not believed."""
    write(cache, {"a": "old"}, lambda: None, None)
    server.broken = {"gets": DOWN}
    write(cache, {"a": "new"}, lambda: None, None)
    assert server.held() == TOMBSTONE


# Forgetting


def test_deleted_record_is_not_read(cache: CoherentCache) -> None:
    """After forget() readers are sent to the record, which is gone."""
    write(cache, {"a": 1}, lambda: None, None)
    assert cache.forget(NAME) is True
    assert cache.read(NAME, Record().load, None) is None


def test_reader_of_a_deleted_record_does_not_bring_it_back(cache: CoherentCache) -> None:
    """Who read the record just before it was deleted does not fill the cache with it."""

    def load() -> dict[str, int]:
        cache.forget(NAME)
        return {"a": 1}

    cache.read(NAME, load, None)
    assert cache.read(NAME, Record().load, None) is None


def test_writer_of_a_deleted_record_does_not_bring_it_back(cache: CoherentCache) -> None:
    """Who wrote the record just before it was deleted leaves no entry of it."""
    write(cache, {"a": 1}, lambda: None, None)
    write(cache, {"a": 2}, lambda: cache.forget(NAME) and None, None)
    assert cache.read(NAME, Record().load, None) is None


def test_forgotten_record_has_a_tombstone(cache: CoherentCache, server: FakeServer) -> None:
    """As long as an entry of it may be on its way."""
    cache.forget(NAME)
    assert (server.held(), server.lifetimes[KEY]) == (TOMBSTONE, LONGEST)


def test_forgetting_with_a_dead_store(cache: CoherentCache, server: FakeServer) -> None:
    """A failure is no error, and the caller can tell."""
    server.broken["set"] = DOWN
    assert cache.forget(NAME) is False


# Interleavings


class Turns:
    """Lets one of several threads go on at a time, in an order given from outside.

    A thread waits in `step()`; `run()` picks among the waiting ones by `choose(how_many)`.
    """

    def __init__(self, choose: Callable[[int], int]) -> None:
        self._choose = choose
        self._changed = threading.Condition()
        self._waiting: dict[int, bool] = {}  # actor: may go on
        self._actor = threading.local()

    def step(self) -> None:
        """Called by an actor before each operation that others can see."""
        with self._changed:
            self._waiting[self._actor.number] = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting[self._actor.number], PATIENCE)
            del self._waiting[self._actor.number]

    def run(self, pool: ThreadPoolExecutor, actors: list[Callable[[], object]]) -> None:
        """Run all actors to their ends."""
        left = len(actors)

        def act(number: int) -> None:
            nonlocal left
            self._actor.number = number
            try:
                actors[number]()
            finally:
                with self._changed:
                    left -= 1
                    self._changed.notify_all()

        futures = [pool.submit(act, number) for number in range(len(actors))]
        while self._let_one_go_on(lambda: left):
            pass
        for future in futures:
            future.result(PATIENCE)

    def _let_one_go_on(self, left: Callable[[], int]) -> bool:
        """Wait until all actors wait or have ended, and choose one; false when none is left."""
        with self._changed:

            def all_wait() -> bool:
                return len(self._waiting) == left() and not any(self._waiting.values())

            assert self._changed.wait_for(all_wait, PATIENCE)
            actors = sorted(self._waiting)
            if actors:
                self._waiting[actors[self._choose(len(actors))]] = True
                self._changed.notify_all()
            return bool(actors)


class SteppedServer(FakeServer):
    """A store of which each call is a step."""

    turns: Turns | None = None

    def _call(self, operation: str, *args: Any) -> Any:
        """Wait for the turn first."""
        if self.turns is not None:
            self.turns.step()
        return super()._call(operation, *args)


class LateError(Exception):
    """No answer came; that does not say that nothing happens."""


class Scene:
    """A cache with its record, and what may happen to them at once; each of it in steps.

    :param begins: what the cache holds at first: nothing ("cold"), the record ("warm") or a
        "stale" entry.
    """

    def __init__(self, turns: Turns, begins: str) -> None:
        self.server = SteppedServer()
        self.record = Record({"writer": None})
        self._cache = CoherentCache(self.server)
        self._turns = turns
        self._ended = False
        self._writers = 0
        if begins == "warm":
            self._cache.read(NAME, self.record.load, None)
        if begins == "stale":
            self.server.do_set(KEY, STALE, LONGEST)
        self.server.turns = turns

    def write(self) -> None:
        """A writer, which does not bring back what was deleted."""
        self._writers += 1
        value = {"writer": self._writers}

        def store() -> Any:
            self._turns.step()
            self._store(value)
            return value

        with contextlib.suppress(EndedError):
            self._cache.write(NAME, store, None, (EndedError,))

    def write_late(self) -> None:
        """A writer that hears of a failure, and whose record is written some time later."""
        self._writers += 1
        value = {"writer": self._writers}
        with contextlib.suppress(LateError):
            self._cache.write(NAME, self._fail, None, (EndedError,))
        self._turns.step()
        with contextlib.suppress(EndedError):
            self._store(value)

    def _store(self, value: Any) -> None:
        if self._ended:
            raise EndedError()
        self.record.value = value

    def _fail(self) -> None:
        self._turns.step()
        raise LateError()

    def read(self) -> None:
        """A reader."""

        def load() -> Any:
            self._turns.step()
            return self.record.load()

        self._cache.read(NAME, load, None)

    def end(self) -> None:
        """Whoever deletes the record."""

        def delete() -> None:
            self._turns.step()
            self.record.value, self._ended = None, True

        self._cache.delete(NAME, delete)

    def end_late(self) -> None:
        """Whoever hears of a failure, while the record is deleted some time later."""
        with contextlib.suppress(LateError):
            self._cache.delete(NAME, self._fail)
        self._turns.step()
        self.record.value, self._ended = None, True

    def wait(self) -> None:
        """Half an hour; what is on its way to the store stays there."""
        self._turns.step()
        self.server.let_time_pass()

    def restart(self) -> None:
        """The store forgets everything."""
        self._turns.step()
        self.server.restart()


def outcome(pool: ThreadPoolExecutor, turns: Turns, actors: str, begins: str) -> tuple[Any, Any]:
    """What the cache holds in the end, and the record."""
    scene = Scene(turns, begins)
    turns.run(pool, [getattr(scene, actor) for actor in actors.split()])
    return scene.server.held(), scene.record.value


def all_orders() -> Iterator[Callable[[int], int]]:
    """One chooser for each order in which the steps can be taken, until the caller has had all."""
    path: list[list[int]] = []  # of each choice: what was taken, and of how many
    while True:
        depth = 0

        def choose(count: int) -> int:
            nonlocal depth
            if depth == len(path):
                path.append([0, count])
            depth += 1
            return path[depth - 1][0]

        yield choose
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        path[-1][0] += 1


#: What is tried in every order; with a stale entry at first there are more steps.
TWO = (
    *("write read", "write write", "end read", "end write", "end_late read", "end_late write"),
    *("write_late read", "write_late write", "write read wait", "write write wait"),
    *("end read wait", "end write wait", "end read restart", "end write restart"),
)
THREE = (
    *("write read read", "write write read", "end write read", "end end write"),
    *("write_late read wait", "end_late read wait", "end read wait restart"),
)


@pytest.mark.parametrize(
    ("begins", "actors"),
    [
        *itertools.product(("cold", "warm"), TWO + THREE),
        *itertools.product(("stale",), (*TWO, "end write read")),
    ],
)
def test_every_interleaving_agrees(begins: str, actors: str) -> None:
    """In any order of the steps, the cache ends with the record, a stale entry or nothing."""
    wrong = []
    with ThreadPoolExecutor(len(actors.split())) as pool:
        for choose in all_orders():
            held, record = outcome(pool, Turns(choose), actors, begins)
            if held not in (record, STALE, TOMBSTONE, None):
                wrong.append((held, record))
    assert wrong == []


@pytest.mark.parametrize("begins", ["cold", "warm", "stale"])
@pytest.mark.parametrize(
    "actors",
    [
        *("write write write", "write write read read", "write read read read"),
        *("write write write read read", "end write write read wait", "end write read read wait"),
        *("end write read wait restart", "end end write read wait", "write write write read wait"),
    ],
)
def test_sampled_interleavings_agree(actors: str, begins: str) -> None:
    """With more threads than can be tried out in full, the same holds for any sample."""
    chance, wrong = random.Random(1), []
    with ThreadPoolExecutor(len(actors.split())) as pool:
        for _ in range(300):
            held, record = outcome(pool, Turns(chance.randrange), actors, begins)
            if held not in (record, STALE, TOMBSTONE, None):
                wrong.append((held, record))
    assert wrong == []
