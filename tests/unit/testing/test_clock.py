"""Cookies, sessions in memory and cookie jars go by the clock that a test moves."""

from __future__ import annotations

import datetime
import http.cookiejar
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import freezegun
import pytest
import time_machine
import webob.cookies
from support.visits import Visitor, make_app

import webapp2_sessions
from webapp2_sessions import securecookie
from webapp2_sessions.sessions import factories
from webapp2_sessions.stored import factory as stored_sessions
from webapp2_sessions.testing import Clock, MemorySessionFactory, memory_of, travel
from webapp2_sessions.testing import clock as testing_clock
from webapp2_sessions.testing.clock import now

UTC = datetime.timezone.utc
START = datetime.datetime(2030, 1, 31, 12, 30, tzinfo=UTC)
SECONDS = 1_896_093_000.0


def tellers() -> list[Any]:
    """What the package, WebOb and cookie jars ask for the time."""
    modules = (factories, securecookie, stored_sessions, http.cookiejar)
    return [*(vars(module)["time"] for module in modules), vars(webob.cookies)["datetime"]]


def signed_at(**config: Any) -> int:
    """When a cookie that is made now was signed."""
    visitor = Visitor(make_app(**config))
    visitor.write({"a": 1})
    return int(visitor.cookies["session"].split("|")[1])


@pytest.mark.parametrize(
    "at",
    [
        SECONDS,
        START,
        START.replace(tzinfo=None),
        START.astimezone(datetime.timezone(datetime.timedelta(hours=2))),
    ],
)
def test_clock_begins_where_it_is_told(at: Any) -> None:
    clock = Clock(at)
    assert (clock.time(), clock.utc()) == (SECONDS, START)
    clock = Clock()
    clock.move_to(at)
    assert clock.time() == SECONDS


def test_clock_begins_at_the_present() -> None:
    """In whole seconds, because cookies count these."""
    before = int(time.time())
    assert before <= Clock().time() <= time.time()
    assert Clock().time() % 1 == 0


def test_clock_moves_only_when_it_is_told() -> None:
    clock = Clock(SECONDS)
    clock.advance(1.5)
    clock.advance(datetime.timedelta(minutes=1))
    assert clock.time() == SECONDS + 61.5
    clock.advance(-61.5)
    assert (clock.time(), clock.time()) == (SECONDS, SECONDS)


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie"])
def test_cookies_are_signed_renewed_and_dated_by_it(backend: str) -> None:
    app = make_app(refresh_after=10, cookie_args={"max_age": 60})
    visitor = Visitor(app, backend=backend)
    with travel(START) as clock:
        visitor.write({"a": 1})
        assert "; expires=Thu, 31-Jan-2030 12:31:00 GMT" in visitor.set_cookies[0]
        clock.advance(9)
        with visitor.visit() as session:
            assert session.container._signed_at == SECONDS
        assert visitor.set_cookies == []
        clock.advance(1)
        visitor.read()
        assert len(visitor.set_cookies) == 1


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie", "memory"])
def test_sessions_expire_by_each_of_their_ages(backend: str) -> None:
    app = make_app(
        session_max_age=60, absolute_max_age=200, backends={"memory": MemorySessionFactory}
    )
    with travel() as clock:
        visitor = Visitor(app, backend=backend)
        visitor.write({"a": 1})
        clock.advance(60)
        assert visitor.read() == {"a": 1}
        clock.advance(1)
        assert visitor.read() == {}
        with visitor.visit() as session:
            session["a"] = 1
            session.set_max_age(150)
        clock.advance(150)
        visitor.write({"b": 2})
        clock.advance(50)
        assert visitor.read() == {"a": 1, "b": 2}
        clock.advance(1)
        assert visitor.read() == {}


def test_other_clocks_go_on() -> None:
    """Python's own time and that of others stay as they are."""
    before = time.time, time.monotonic, datetime.datetime
    with travel(START):
        assert now() == SECONDS
        assert (time.time, time.monotonic, datetime.datetime) == before
        assert time.time() != SECONDS
        assert vars(factories)["time"].monotonic is time.monotonic


def test_no_module_has_a_clock_of_its_own() -> None:
    """Whoever asks for the time of day is in one of the wings, or talks to a real server."""
    root = Path(webapp2_sessions.__file__).parent
    sources = (path for path in root.rglob("*.py") if "time.time()" in path.read_text("utf-8"))
    wings = {path.relative_to(root).parts[0] for path in sources}
    assert wings - {"cli", "testing", "sessions_memcache"} == {*testing_clock._WINGS}


def test_everything_is_as_before_after_the_block_and_an_exception_in_it() -> None:
    before = tellers()
    with travel():
        assert all(one is not two for one, two in zip(tellers(), before, strict=True))
    assert tellers() == before

    def fail() -> None:
        with travel():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert tellers() == before


def test_block_in_a_block_begins_where_the_outer_clock_stands() -> None:
    with travel(START) as outer:
        with travel() as inner:
            assert inner.time() == SECONDS
            inner.advance(5)
            assert (signed_at(), outer.time()) == (SECONDS + 5, SECONDS)
        assert signed_at() == SECONDS


def test_clock_can_be_used_again_also_within_itself() -> None:
    clock = Clock(START)
    for seconds in (0, 10):
        with travel(clock) as given, travel(clock):
            assert (given, signed_at()) == (clock, SECONDS + seconds)
        clock.advance(10)


def test_blocks_that_end_in_another_order() -> None:
    """As those of several threads do: the latest of those that are left counts."""
    before = tellers()
    blocks = [travel(START + datetime.timedelta(days=days)) for days in range(3)]
    for block in blocks:
        block.__enter__()
    found = []
    for block in (blocks[0], blocks[2], blocks[1]):
        found.append((signed_at() - SECONDS) / 86400)
        block.__exit__(None, None, None)
    assert found == [2, 2, 1]
    assert tellers() == before


def test_threads_that_move_clocks_at_once_leave_nothing_of_it() -> None:
    before = tellers()
    at_start = threading.Barrier(8)

    def work(_: int) -> None:
        at_start.wait(60)
        for _ in range(300):
            with travel() as clock:
                clock.advance(1)
                assert now() > 0

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert tellers() == before


def test_other_threads_go_by_it() -> None:
    """A server in a thread of the test process, for instance."""
    with travel(START), ThreadPoolExecutor(1) as pool:
        assert pool.submit(signed_at).result(60) == SECONDS


# Libraries that move all clocks

Freeze = Callable[[datetime.datetime], AbstractContextManager[Any]]


@pytest.fixture(params=["freezegun", "time-machine"])
def freeze(request: pytest.FixtureRequest) -> Freeze:
    """What sets all clocks of a process."""
    if request.param == "freezegun":
        return lambda at: freezegun.freeze_time(at)
    return lambda at: time_machine.travel(at, tick=False)


def test_sessions_go_by_other_libraries_as_well(freeze: Freeze) -> None:
    app = make_app(session_max_age=60, backends={"memory": MemorySessionFactory})
    visitor = Visitor(app, backend="memory")
    with freeze(START):
        visitor.write({"a": 1})
        assert (signed_at(), len(memory_of(app))) == (SECONDS, 1)
    with freeze(START + datetime.timedelta(seconds=61)):
        assert (visitor.read(), len(memory_of(app))) == ({}, 0)


def test_clock_within_frozen_time_begins_there_and_is_gone_afterwards(freeze: Freeze) -> None:
    before = tellers()
    with freeze(START):
        with travel() as clock:
            assert clock.time() == SECONDS
            clock.advance(10)
            assert signed_at() == SECONDS + 10
        assert signed_at() == SECONDS
    assert tellers() == before
    assert signed_at() != SECONDS


def test_sessions_go_by_their_own_clock_within_and_after_frozen_time(freeze: Freeze) -> None:
    before = tellers()
    with travel(START) as clock:
        with freeze(START + datetime.timedelta(days=1)):
            assert signed_at() == SECONDS
        clock.advance(1)
        assert signed_at() == SECONDS + 1
    assert tellers() == before
