"""Cache and record agree: in order, with a memcached that fails, and in every interleaving."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from webapp2_sessions import memcached
from webapp2_sessions.coherent_cache import CoherentCache
from webapp2_sessions.errors import BackendError, BackendUnavailable
from webapp2_sessions.memcached import SessionMemcached
from webapp2_sessions.memcached_nodes import Nodes
from webapp2_sessions.memcached_servers import Node
from webapp2_sessions.serializers import Serializer
from webapp2_sessions.signed_values import SignedValues

DAY = 24 * 3600
NOW = 1_700_000_000

NAME = "0123456789abcdefghijkl"
KEY = b"session:" + NAME.encode()

#: What stands in the cache while nobody can tell which write was the last.
UNSETTLED = b""

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0


def signed_values(key: bytes = b"k" * 32) -> SignedValues:
    """Signs with a fixed key."""
    return SignedValues(key, Serializer())


class FakeServer(Node):
    """A memcached in this process that fails on request."""

    address = "fake:1"

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.tokens: dict[bytes, int] = {}
        self.expiries: dict[bytes, int] = {}
        self.calls: list[str] = []
        #: Operations that raise.
        self.broken: dict[str, Exception] = {}
        self._memcached = memcached_of(self)

    def call(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """As the real one."""
        self.calls.append(operation)
        if operation in self.broken:
            raise self.broken[operation]
        return getattr(self, f"do_{operation}")(*args)

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """As the real one; a server that is silent takes it all the same."""
        self.calls.append("tell")
        if "tell" in self.broken:
            raise self.broken["tell"]
        self.do_set(key, value, seconds)

    def do_get(self, key: bytes) -> bytes | None:
        """The entry."""
        return self.data.get(key)

    def do_gets(self, key: bytes) -> tuple[bytes | None, int | None]:
        """Entry and token."""
        return self.data.get(key), self.tokens.get(key) if key in self.data else None

    def do_set(self, key: bytes, value: bytes, expire: int) -> bool:
        """Store in any case."""
        self.data[key] = value
        self.tokens[key] = self.tokens.get(key, 0) + 1
        self.expiries[key] = expire
        return True

    def do_add(self, key: bytes, value: bytes, expire: int) -> bool:
        """Store where there is nothing."""
        return key not in self.data and self.do_set(key, value, expire)

    def do_cas(self, key: bytes, value: bytes, token: int, expire: int) -> bool | None:
        """Store where the entry is still the one of the token."""
        if key not in self.data:
            return None
        return self.tokens[key] == token and self.do_set(key, value, expire)

    def held(self) -> Any:
        """The entry decoded; UNSETTLED for the mark, None for nothing."""
        entry = self.data.get(KEY)
        return entry if entry == UNSETTLED else self._memcached.decode(KEY, entry)


def memcached_of(server: Node) -> SessionMemcached:
    """What the cache works on."""
    return SessionMemcached(Nodes([server]), "session:", signed_values(), signed_values())


def write(
    cache: CoherentCache, value: Any, store: Callable[[], None], lifetime: float | None
) -> None:
    """Write a value whose record `store` writes."""

    def store_and_return() -> Any:
        store()
        return value

    cache.write(NAME, store_and_return, lifetime)


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
    """An empty memcached."""
    return FakeServer()


@pytest.fixture
def cache(server: FakeServer) -> CoherentCache:
    """The cache in it."""
    return CoherentCache(memcached_of(server))


@pytest.fixture
def clock(cache: CoherentCache, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clocks of cache and expiry, moved by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(cache, "_now", lambda: clock.now)
    monkeypatch.setattr(memcached, "time", SimpleNamespace(time=lambda: NOW))
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
    """A hit costs one round trip to memcached."""
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
    """What was loaded long ago may be old, and the mark that would tell so may be gone."""
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
    """A write that meets the mark, and nobody else, caches its value."""
    server.do_set(KEY, UNSETTLED, 3)
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


def test_unsettled_entry_is_not_filled(cache: CoherentCache, server: FakeServer) -> None:
    """Readers do not replace the mark; it goes by itself."""
    server.do_set(KEY, UNSETTLED, 3)
    cache.read(NAME, Record({"a": 1}).load, None)
    assert (server.held(), server.calls) == (UNSETTLED, ["get"])


def test_mark_stays_for_seconds_only(cache: CoherentCache, server: FakeServer) -> None:
    """Caching goes on soon after concurrent writes."""
    with pytest.raises(BackendError):
        write(cache, {}, raising(BackendError("datastore", "here", "no")), None)
    assert server.expiries[KEY] == 3


# Lifetime


LIFETIMES = [
    (None, 3601),
    (60, 61),
    (0.5, 2),
    (3599, 3600),
    (30 * DAY, 3601),
    (float("inf"), 3601),
]


@pytest.mark.parametrize(("lifetime", "expected"), LIFETIMES)
@pytest.mark.usefixtures("clock")
def test_filled_entry_expires(
    cache: CoherentCache, server: FakeServer, lifetime: float | None, expected: int
) -> None:
    """An entry that a reader made lives as long as the session, an hour at most."""
    cache.read(NAME, Record({}).load, lifetime)
    assert server.expiries[KEY] == expected


@pytest.mark.parametrize("writes", [1, 2], ids=["add", "cas"])
@pytest.mark.parametrize(("lifetime", "expected"), LIFETIMES)
@pytest.mark.usefixtures("clock")
def test_written_entry_expires(
    cache: CoherentCache, server: FakeServer, lifetime: float | None, expected: int, writes: int
) -> None:
    """An entry that a writer made lives as long as the session, an hour at most."""
    for _ in range(writes):
        write(cache, {}, lambda: None, lifetime)
    assert server.expiries[KEY] == expected


# A memcached that fails


DOWN = BackendUnavailable("memcache", "fake:1", "the server refused the connection")
FULL = BackendError("memcache", "fake:1", "the server refused (MemcacheServerError)")
OPERATIONS = ("get", "gets", "set", "add", "cas")


def subsets() -> Iterator[tuple[str, ...]]:
    """All sets of operations that may fail."""
    for number in range(1, 2 ** len(OPERATIONS)):
        yield tuple(name for bit, name in enumerate(OPERATIONS) if number >> bit & 1)


@pytest.mark.parametrize("error", [DOWN, FULL], ids=["down", "full"])
@pytest.mark.parametrize("broken", list(subsets()), ids="+".join)
def test_failing_memcached_is_no_error(
    cache: CoherentCache, server: FakeServer, error: Exception, broken: tuple[str, ...]
) -> None:
    """Whatever memcached refuses, the record is written and read."""
    server.broken = dict.fromkeys(broken, error)
    record = Record()
    for turn in range(3):
        write(cache, {"turn": turn}, record.storing({"turn": turn}), None)
        assert record.value == {"turn": turn}
    server.data.clear()
    assert cache.read(NAME, record.load, None) == {"turn": 2}


def test_read_of_a_dead_memcached_asks_it_once(cache: CoherentCache, server: FakeServer) -> None:
    """A frozen memcached keeps a reader waiting once, not twice."""
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    cache.read(NAME, Record({}).load, None)
    assert server.calls == ["get"]


def test_write_of_a_dead_memcached_asks_it_twice(cache: CoherentCache, server: FakeServer) -> None:
    """Before the record is written for the token, and after it to mark a value that is old."""
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    write(cache, {}, lambda: None, None)
    assert server.calls == ["gets", "set", "tell"]


def test_silent_memcached_is_told_of_the_write(cache: CoherentCache, server: FakeServer) -> None:
    """When it goes on it does not hand out what was there before the write."""
    write(cache, {"a": "old"}, lambda: None, None)
    server.broken = dict.fromkeys(OPERATIONS, DOWN)
    write(cache, {"a": "new"}, lambda: None, None)
    server.broken = {}
    assert (server.held(), server.expiries[KEY]) == (UNSETTLED, 3)


def test_memcached_that_cannot_even_be_told(cache: CoherentCache, server: FakeServer) -> None:
    """That is no error either."""
    server.broken = dict.fromkeys((*OPERATIONS, "tell"), DOWN)
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    assert record.value == {"a": 1}


# Deleting


def test_forgotten_record_is_gone(cache: CoherentCache, server: FakeServer) -> None:
    """Neither record nor entry is left, and a reader that is on its way does not fill it."""
    record = Record()
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    cache.delete(NAME, record.storing(None))
    assert (record.value, server.held()) == (None, UNSETTLED)
    assert cache.read(NAME, record.load, None) is None


def test_record_that_cannot_be_deleted(cache: CoherentCache) -> None:
    """The caller learns of it, and readers see the record as it is."""
    record = Record({"a": 1})
    write(cache, {"a": 1}, record.storing({"a": 1}), None)
    with pytest.raises(BackendError):
        cache.delete(NAME, raising(BackendError("datastore", "here", "no")))
    assert (cache.read(NAME, record.load, None), record.loads) == ({"a": 1}, 1)


def test_entry_is_decoded_anew_for_who_wants_that(cache: CoherentCache) -> None:
    """A reader may keep what it was given in the first place."""
    write(cache, {"list": [1]}, lambda: None, None)
    kept: list[Callable[[], Any]] = []
    cache.read(NAME, Record().load, None, kept.append)["list"].append(2)
    assert [decode() for decode in kept] == [{"list": [1]}]


def test_memcached_that_comes_back_meanwhile_is_marked(
    cache: CoherentCache, server: FakeServer
) -> None:
    """An entry from before a write that memcached did not hear of is not believed."""
    write(cache, {"a": "old"}, lambda: None, None)
    server.broken = {"gets": DOWN}
    write(cache, {"a": "new"}, lambda: None, None)
    assert server.held() == UNSETTLED


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


def test_forgetting_without_memcached(cache: CoherentCache, server: FakeServer) -> None:
    """Where memcached fails it is no error, and the caller can tell."""
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
    """A memcached of which each call is a step."""

    turns: Turns | None = None

    def call(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Wait for the turn first."""
        if self.turns is not None:
            self.turns.step()
        return super().call(operation, *args, **kwargs)


def outcome(
    pool: ThreadPoolExecutor, turns: Turns, writers: int, readers: int, warm: bool
) -> tuple[Any, Any]:
    """What the cache holds in the end, and the record."""
    server = SteppedServer()
    cache, record = CoherentCache(memcached_of(server)), Record({"writer": None})
    if warm:
        cache.read(NAME, record.load, None)
    server.turns = turns

    def act_as_writer(number: int) -> None:
        def store() -> None:
            turns.step()
            record.value = {"writer": number}

        write(cache, {"writer": number}, store, None)

    def read() -> None:
        def load() -> Any:
            turns.step()
            return record.load()

        cache.read(NAME, load, None)

    actors: list[Callable[[], object]] = [lambda n=n: act_as_writer(n) for n in range(writers)]
    turns.run(pool, actors + [read] * readers)
    return server.held(), record.value


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


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(("writers", "readers"), [(1, 1), (2, 0), (1, 2), (2, 1)])
def test_every_interleaving_agrees(writers: int, readers: int, warm: bool) -> None:
    """In whatever order the steps are taken, the cache ends with the record, a mark or nothing."""
    wrong = []
    with ThreadPoolExecutor(writers + readers) as pool:
        for choose in all_orders():
            held, record = outcome(pool, Turns(choose), writers, readers, warm)
            if held not in (record, UNSETTLED, None):
                wrong.append((held, record))
    assert wrong == []


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(("writers", "readers"), [(3, 0), (2, 2), (1, 3), (3, 2)])
def test_sampled_interleavings_agree(writers: int, readers: int, warm: bool) -> None:
    """With more threads than can be tried out in full, the same holds for any sample."""
    chance, wrong = random.Random(1), []
    with ThreadPoolExecutor(writers + readers) as pool:
        for _ in range(300):
            held, record = outcome(pool, Turns(chance.randrange), writers, readers, warm)
            if held not in (record, UNSETTLED, None):
                wrong.append((held, record))
    assert wrong == []
