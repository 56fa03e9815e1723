"""Cache and record agree: in order, with a store that fails, and in every interleaving."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    BadSignature,
    UnreadableSession,
)
from webapp2_sessions.sessions.events import SessionEvent
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

    @property
    def lost(self) -> int:
        """How often it has been restarted."""
        return self.restarts

    def absent(self, key: bytes) -> Token:
        return Token(None, self, self.restarts)

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
        self._ask("get")
        return self.data.get(key)

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        before = self.restarts
        self._ask("gets")
        if key not in self.data:
            return None, Token(None, self, self.restarts)
        return self.data[key], Token(self.tokens[key], self, before)

    def set(self, key: bytes, data: bytes, lifetime: float) -> None:
        self._ask("set")
        self.put(key, data, lifetime)

    def add(self, key: bytes, data: bytes, lifetime: float) -> bool:
        self._ask("add")
        return key not in self.data and self.put(key, data, lifetime)

    def cas(self, key: bytes, data: bytes, token: Token, lifetime: float) -> bool:
        if token.lost == self.restarts:
            self._ask("cas")
        is_present = token == (self.tokens.get(key), self, self.restarts)
        return is_present and self.put(key, data, lifetime)

    def fill(self, key: bytes, data: bytes, token: Token, lifetime: float) -> bool:
        if token.cas is None:
            return self.add(key, data, lifetime)
        return self.cas(key, data, token, lifetime)

    def drop(self, key: bytes) -> None:
        self._ask("drop")
        self.data.pop(key, None)

    def set_noreply(self, key: bytes, data: bytes, lifetime: float) -> None:
        # Nothing is waited for: a silent server takes it all the same.
        self.calls.append("set_noreply")
        if "set_noreply" in self.broken:
            raise self.broken["set_noreply"]
        self.put(key, data, lifetime)

    def _ask(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.broken:
            raise self.broken[operation]
        if self._is_new:
            self._is_new, self.restarts = False, self.restarts + 1

    def put(self, key: bytes, value: bytes, lifetime: float) -> bool:
        """Store an entry without being asked."""
        self.data[key] = value
        self.tokens[key] = self.tokens.get(key, 0) + 1
        self.lifetimes[key] = lifetime
        return True

    def held(self) -> Any:
        """Return the entry decoded; STALE and TOMBSTONE as they are, None for nothing."""
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


class EndedError(Exception):
    """A record was not written, because it was deleted meanwhile."""


class Record:
    """The record behind the cache, with counted reads."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        return self.value


def nothing() -> None:
    """Nothing happens meanwhile."""


class Cached:
    """A record behind a cache on a fake server, and the cache's clock, moved by hand.

    What happens `meanwhile` comes after the record was read, or before it is written or deleted.
    """

    def __init__(self, value: Any = None, server: Any = None) -> None:
        self.record = Record(value)
        self.server = server or FakeServer()
        self.cache = CoherentCache(self.server)
        self.now = round(self.cache._now())  # so that exact times can be added
        self.cache._now = lambda: self.now  # type: ignore[method-assign]

    def read(self, meanwhile: Callable[[], object] = nothing, lifetime: float | None = None) -> Any:
        def load() -> Any:
            value = self.record.load()
            meanwhile()
            return value

        return self.cache.read(NAME, load, lifetime)

    def write(
        self,
        value: Any,
        meanwhile: Callable[[], object] = nothing,
        lifetime: float | None = None,
    ) -> None:
        def store() -> Any:
            meanwhile()
            self.record.value = value
            return value

        self.cache.write(NAME, store, lifetime, (EndedError,))

    def delete(self, meanwhile: Callable[[], object] = nothing) -> None:
        def delete() -> None:
            meanwhile()
            self.record.value = None

        self.cache.delete(NAME, delete)

    def begin(self, entry: str) -> None:
        """Let there be an entry: "absent", "present" or "stale"."""
        if entry == "present":
            self.write({"a": 1})
        if entry == "stale":
            self.server.put(KEY, STALE, LONGEST)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def entry(self) -> tuple[Any, float | None]:
        """What the cache holds, and for how many seconds."""
        return self.server.held(), self.server.lifetimes.get(KEY)


@pytest.fixture
def cached() -> Cached:
    """The record {"a": 1}, which is not in the cache."""
    return Cached({"a": 1})


def raising(error: BaseException) -> Callable[[], None]:
    """A failure of the record's store."""

    def fail() -> None:
        raise error

    return fail


# Reading


def test_miss_loads_the_record_and_fills_the_cache(cached: Cached) -> None:
    assert cached.read() == {"a": 1}
    assert cached.server.held() == {"a": 1}


def test_hit_costs_one_call_and_loads_nothing(cached: Cached) -> None:
    cached.write({"a": 1})
    cached.server.calls.clear()
    assert cached.read() == {"a": 1}
    assert (cached.server.calls, cached.record.loads) == (["get"], 0)


@pytest.mark.parametrize("value", [{}, [], 0, False, ""], ids=repr)
def test_false_value_is_a_hit(value: object) -> None:
    cached = Cached(value)
    assert [cached.read(), cached.read()] == [value] * 2
    assert cached.record.loads == 1


def test_missing_record_is_not_cached() -> None:
    cached = Cached(None)
    assert [cached.read(), cached.read()] == [None] * 2
    assert (cached.record.loads, cached.server.data) == (2, {})


def test_copies_are_handed_out() -> None:
    cached = Cached({"list": [1]})
    for _ in range(2):
        cached.read()["list"].append(2)
    assert cached.read() == {"list": [1]}


@pytest.mark.parametrize(
    "entry",
    [b"garbage", b"\x01" * 100, signed_values(b"K" * 32).dumps(KEY, {"admin": True})],
    ids=["text", "bytes", "of another key"],
)
def test_forged_entry_is_ignored_by_readers_and_replaced_by_writers(
    cached: Cached, entry: bytes
) -> None:
    cached.server.put(KEY, entry, 0)
    assert cached.read() == {"a": 1}
    assert cached.server.data[KEY] == entry
    cached.write({"a": 2})
    assert cached.server.held() == {"a": 2}


class Vanishing:
    """A class that is gone when its instance is read."""


def test_entry_of_a_missing_class_is_ignored(
    cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached.write({"a": Vanishing()})
    cached.record.value = {"a": 1}
    monkeypatch.delattr(f"{__name__}.Vanishing")
    assert cached.read() == {"a": 1}


def test_failing_load_is_raised_and_nothing_is_cached(cached: Cached) -> None:
    with pytest.raises(BackendUnavailable, match="datastore backend at here"):
        cached.read(raising(BackendUnavailable("datastore", "here", "down")))
    assert cached.server.data == {}


@pytest.mark.parametrize(("seconds", "held"), [(0.9, {"a": 1}), (1.0, None)])
def test_only_a_quick_reader_fills(cached: Cached, seconds: float, held: Any) -> None:
    """What was loaded long ago may be old, and the stale entry that would tell so may be gone."""
    assert cached.read(lambda: cached.advance(seconds)) == {"a": 1}
    assert cached.server.held() == held


def test_stale_entry_is_replaced_by_a_reader(cached: Cached) -> None:
    """However long it takes: its token tells whether anybody came in between."""
    cached.begin("stale")

    def meanwhile() -> None:
        cached.server.calls.append("load")
        cached.advance(100)

    cached.read(meanwhile)
    assert cached.server.held() == {"a": 1}
    assert cached.server.calls == ["get", "gets", "load", "cas"]


def test_stale_entry_of_a_record_that_is_gone_stays() -> None:
    cached = Cached(None)
    cached.begin("stale")
    assert cached.read() is None
    assert cached.server.held() == STALE


# Writing


@pytest.mark.parametrize(
    ("entry", "operation"), [("absent", "add"), ("present", "cas"), ("stale", "cas")]
)
def test_write_takes_a_token_then_stores_then_replaces_the_entry(
    cached: Cached, entry: str, operation: str
) -> None:
    cached.begin(entry)
    cached.server.calls.clear()
    cached.write({"a": 2}, lambda: cached.server.calls.append("store"))
    assert cached.server.calls == ["gets", "store", operation]
    assert cached.server.held() == cached.record.value == {"a": 2}


@pytest.mark.parametrize("error", [BackendError("datastore", "here", "no"), KeyboardInterrupt()])
def test_failing_store_is_raised_and_readers_see_the_record(
    cached: Cached, error: BaseException
) -> None:
    """Nobody knows whether the record was written."""
    cached.read()
    with pytest.raises(type(error)):
        cached.write({"a": "new"}, raising(error))
    for actual in ({"a": 1}, {"a": "new"}):
        cached.record.value = actual
        assert cached.read() == actual


def test_write_that_is_refused_leaves_a_stale_entry(cached: Cached) -> None:
    """Nothing was written: the next reader may cache what is there."""
    with pytest.raises(EndedError):
        cached.write({"a": 2}, raising(EndedError()))
    assert cached.entry == (STALE, LONGEST)


def test_write_with_an_unknown_result_leaves_a_tombstone(cached: Cached) -> None:
    """It may be written at any time later; a reader must not cache what was there before."""
    with pytest.raises(KeyError):
        cached.write({"a": 2}, raising(KeyError()))
    assert cached.entry == (TOMBSTONE, LONGEST)
    assert cached.read() == {"a": 1}
    assert cached.server.held() == TOMBSTONE


def test_writer_that_others_overtake_all_the_time_leaves_a_tombstone(cached: Cached) -> None:
    cached.begin("present")
    cached.server.cas = lambda *_: False  # type: ignore[method-assign]
    cached.write({"a": 2})
    assert cached.entry == (TOMBSTONE, LONGEST)


@pytest.mark.parametrize("entry", ["absent", "present", "stale"])
def test_writer_that_is_overtaken_leaves_a_stale_entry(cached: Cached, entry: str) -> None:
    """It lives as long as an entry, so that none that is on its way finds the place empty."""
    cached.begin(entry)
    cached.write({"a": 3}, lambda: cached.write({"a": 2}))
    assert cached.entry == (STALE, LONGEST)


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        (None, LONGEST),
        (60, 60),
        (0.5, 0.5),
        (3599, 3599),
        (30 * DAY, LONGEST),
        (float("inf"), LONGEST),
    ],
)
def test_entry_lives_as_long_as_the_session_and_an_hour_at_most(
    lifetime: float | None, expected: float
) -> None:
    cached = Cached({})
    cached.read(lifetime=lifetime)
    seconds = [cached.server.lifetimes.pop(KEY)]
    cached.write({}, lifetime=lifetime)
    seconds.append(cached.server.lifetimes[KEY])
    assert seconds == [expected, expected]


# A store that fails

DOWN = BackendUnavailable("memcache", "fake:1", "the server refused the connection")
FULL = BackendError("memcache", "fake:1", "the server refused (MemcacheServerError)")
OPERATIONS = ("get", "gets", "set", "add", "cas")
DEAD = dict.fromkeys(OPERATIONS, DOWN)
UNREACHABLE = {**DEAD, "set_noreply": DOWN}

#: All sets of operations that may fail.
SUBSETS = [
    subset
    for number in range(1, len(OPERATIONS) + 1)
    for subset in itertools.combinations(OPERATIONS, number)
]


@pytest.mark.parametrize("error", [DOWN, FULL], ids=["down", "full"])
@pytest.mark.parametrize("broken", SUBSETS, ids="+".join)
def test_failing_store_is_no_error(
    cached: Cached, error: Exception, broken: tuple[str, ...]
) -> None:
    """Whatever it refuses, the record is written and read."""
    cached.server.broken = dict.fromkeys(broken, error)
    for turn in range(3):
        cached.write({"turn": turn})
        assert cached.record.value == {"turn": turn}
    cached.server.data.clear()
    assert cached.read() == {"turn": 2}


def test_read_asks_a_dead_store_once(cached: Cached) -> None:
    """A frozen one keeps a reader waiting once, not twice."""
    cached.server.broken = DEAD
    cached.read()
    assert cached.server.calls == ["get"]


def test_write_asks_a_dead_store_for_the_token_and_to_mark_the_entry(cached: Cached) -> None:
    cached.server.broken = DEAD
    cached.write({})
    assert cached.server.calls == ["gets", "gets", "set", "set_noreply"]


@pytest.mark.parametrize("broken", [DEAD, {"gets": DOWN}], ids=["dead", "gets"])
def test_store_that_did_not_hear_of_a_write_is_sent_a_tombstone(
    cached: Cached, broken: dict[str, Exception]
) -> None:
    """When it goes on it does not hand out what was there before the write."""
    cached.begin("present")
    cached.server.broken = broken
    cached.write({"a": "new"})
    assert cached.entry == (TOMBSTONE, LONGEST)


def test_store_to_which_nothing_can_be_sent_is_no_error_of_a_write(cached: Cached) -> None:
    cached.server.broken = UNREACHABLE
    cached.write({"a": 2})
    assert cached.record.value == {"a": 2}


# Deleting


@pytest.mark.parametrize("broken", [{}, DEAD], ids=["works", "silent"])
def test_deleted_record_leaves_a_tombstone(cached: Cached, broken: dict[str, Exception]) -> None:
    """A silent store has it as well, when it goes on."""
    cached.begin("present")
    cached.server.broken = broken
    cached.delete()
    assert (cached.record.value, cached.entry) == (None, (TOMBSTONE, LONGEST))


def test_entry_goes_before_the_record(cached: Cached) -> None:
    """So that it has gone if the process dies on the way."""
    cached.begin("present")
    held: list[Any] = []
    cached.delete(lambda: held.append(cached.server.held()))
    assert held == [TOMBSTONE]


def test_tombstone_is_put_again_after_the_record_is_deleted(cached: Cached) -> None:
    """The store may have been restarted and filled before."""

    def meanwhile() -> None:
        cached.server.restart()
        cached.read()
        assert cached.server.held() == {"a": 1}

    cached.delete(meanwhile)
    assert cached.server.held() == TOMBSTONE


def test_writer_that_finds_the_record_gone_leaves_the_tombstone(cached: Cached) -> None:
    def meanwhile() -> None:
        cached.delete()
        raise EndedError()

    with pytest.raises(EndedError):
        cached.write({"a": 2}, meanwhile)
    assert cached.entry == (TOMBSTONE, LONGEST)


def test_deletion_that_the_cache_does_not_hear_of_is_an_error(cached: Cached) -> None:
    """The record is deleted, and the entry may be handed out."""
    cached.begin("present")
    cached.server.broken = UNREACHABLE
    with pytest.raises(BackendUnavailable, match=r"memcache backend at fake:1: .*deleted.*hour"):
        cached.delete()
    assert cached.record.value is None
    cached.server.broken = {}
    assert cached.read() == {"a": 1}  # as the error says


def test_failure_of_the_record_comes_before_one_of_the_cache(cached: Cached) -> None:
    """A record that may still be there is the more important error."""
    cached.server.broken = UNREACHABLE
    with pytest.raises(KeyboardInterrupt):
        cached.delete(raising(KeyboardInterrupt()))


def test_tombstone_is_not_replaced(cached: Cached) -> None:
    """Whoever writes a record that was deleted is not cached until the tombstone has gone."""
    cached.delete()
    cached.write({"a": 2})
    assert cached.entry == (TOMBSTONE, LONGEST)
    assert cached.read() == {"a": 2}
    assert cached.server.held() == TOMBSTONE


def test_record_that_cannot_be_deleted_is_an_error_and_readers_see_it(cached: Cached) -> None:
    cached.begin("present")
    with pytest.raises(BackendError):
        cached.delete(raising(BackendError("datastore", "here", "no")))
    assert (cached.read(), cached.record.loads) == ({"a": 1}, 1)


def test_forgotten_record_has_a_tombstone(cached: Cached) -> None:
    """As long as an entry of it may be on its way."""
    cached.begin("present")
    cached.cache.forget(NAME)
    assert cached.entry == (TOMBSTONE, LONGEST)


@pytest.mark.parametrize("actor", ["reader", "writer"])
def test_forgotten_record_is_not_brought_back(cached: Cached, actor: str) -> None:
    """Neither by who has read it just before, nor by who has written it."""
    if actor == "reader":
        cached.read(lambda: cached.cache.forget(NAME))
    else:
        cached.begin("present")
        cached.write({"a": 2}, lambda: cached.cache.forget(NAME))
    assert cached.server.held() == TOMBSTONE


def test_store_that_has_failed_is_no_error_where_a_record_is_forgotten(cached: Cached) -> None:
    cached.begin("present")
    entry = cached.entry
    cached.server.broken["set"] = DOWN
    cached.cache.forget(NAME)
    assert cached.entry == entry


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

    def _ask(self, operation: str) -> None:
        if self.turns is not None:
            self.turns.step()
        super()._ask(operation)


class LateError(Exception):
    """No answer came; that does not say that nothing happens."""


class Scene:
    """A cached record, and what may happen to it at once; each of it in steps.

    :param begins: what the cache holds at first: nothing ("cold"), the record ("warm") or a
        "stale" entry.
    """

    def __init__(self, turns: Turns, begins: str) -> None:
        self.cached = Cached({"writer": None}, SteppedServer())
        self._turns = turns
        self._ended = False
        self._writers = 0
        if begins == "warm":
            self.cached.read()
        if begins == "stale":
            self.cached.begin("stale")
        self.cached.server.turns = turns

    def write(self) -> None:
        """A writer, which does not bring back what was deleted."""
        with contextlib.suppress(EndedError):
            self.cached.write(self._next_value(), self._step_unless_ended)

    def write_late(self) -> None:
        """A writer that hears of a failure, and whose record is written some time later."""
        value = self._next_value()
        with contextlib.suppress(LateError):
            self.cached.write(value, self._fail)
        with contextlib.suppress(EndedError):
            self._step_unless_ended()
            self.cached.record.value = value

    def _next_value(self) -> Any:
        self._writers += 1
        return {"writer": self._writers}

    def _step_unless_ended(self) -> None:
        self._turns.step()
        if self._ended:
            raise EndedError()

    def _fail(self) -> None:
        self._turns.step()
        raise LateError()

    def read(self) -> None:
        """A reader."""

        def load() -> Any:
            self._turns.step()
            return self.cached.record.load()

        self.cached.cache.read(NAME, load, None)

    def end(self) -> None:
        """Whoever deletes the record."""
        self.cached.delete(self._end)

    def end_late(self) -> None:
        """Whoever hears of a failure, while the record is deleted some time later."""
        with contextlib.suppress(LateError):
            self.cached.delete(self._fail)
        self._end()
        self.cached.record.value = None

    def _end(self) -> None:
        self._turns.step()
        self._ended = True

    def wait(self) -> None:
        """Half an hour; what is on its way to the store stays there."""
        self._turns.step()
        self.cached.server.let_time_pass()

    def restart(self) -> None:
        """The store forgets everything."""
        self._turns.step()
        self.cached.server.restart()


def disagreements(
    orders: Iterable[Callable[[int], int]], actors: str, begins: str
) -> list[tuple[Any, Any]]:
    """What the cache holds, and the record, where that ends as neither the record nor a mark."""
    wrong = []
    with ThreadPoolExecutor(len(actors.split())) as pool:
        for choose in orders:
            turns = Turns(choose)
            scene = Scene(turns, begins)
            turns.run(pool, [getattr(scene, actor) for actor in actors.split()])
            held, record = scene.cached.server.held(), scene.cached.record.value
            if held not in (record, STALE, TOMBSTONE, None):
                wrong.append((held, record))
    return wrong


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
    assert disagreements(all_orders(), actors, begins) == []


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
    sample = itertools.repeat(random.Random(1).randrange, 300)
    assert disagreements(sample, actors, begins) == []


# What is told of


@pytest.fixture
def told() -> list[SessionEvent]:
    """What was told of."""
    return []


@pytest.fixture
def watched(told: list[SessionEvent]) -> Cached:
    """A record whose cache tells what it finds."""
    cached = Cached(1)
    cached.cache.config = {"on_event": told.append}
    return cached


def test_misses_and_hits_are_told_of(watched: Cached, told: list[SessionEvent]) -> None:
    assert (watched.read(), watched.read()) == (1, 1)
    assert [event.kind for event in told] == ["cache_miss", "cache_hit"]
    assert [event.size for event in told] == [None, len(watched.server.data[KEY])]
    assert all(event.seconds is not None for event in told)


@pytest.mark.parametrize("operation", ["get", "gets"])
def test_a_cache_that_fails_is_told_of(
    watched: Cached, told: list[SessionEvent], operation: str
) -> None:
    """Nobody else notices: the record itself is read and written."""
    watched.server.broken[operation] = BackendUnavailable("memcache", "fake:1", "is silent")
    watched.write(2)
    assert watched.read() == 2
    assert {*told} >= {SessionEvent("error", "memcache", error="BackendUnavailable")}


def test_a_cache_that_takes_no_writes_is_told_of(watched: Cached, told: list[SessionEvent]) -> None:
    """It answers readers, with what is old: a replica, one that is full, one without the right."""
    for operation in ("set", "add", "cas"):
        watched.server.broken[operation] = BackendError("memcache", "fake:1", "refused")
    failure = SessionEvent("error", "memcache", error="BackendError")
    watched.read()
    assert [event for event in told if event.kind == "error"] == [failure]
    told.clear()
    watched.write(2)
    assert told == [failure]
