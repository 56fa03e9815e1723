"""Sessions in memory: what only a backend for tests can do.

What every backend does is in tests/conformance/test_backends.py, which runs on it as well.
"""

from __future__ import annotations

import datetime
import functools
import gc
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import webapp2
from support.servers import PROJECT, DatastoreEmulator, Memcached
from support.visits import SECRET, Visitor, make_app

import webapp2_sessions
from webapp2_sessions import (
    BackendUnavailable,
    SessionConflict,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    SessionTooLarge,
    UnstorableValue,
)
from webapp2_sessions.errors import UnreadableSession
from webapp2_sessions.stored.serializers import UnpicklableValue
from webapp2_sessions.testing import (
    Client,
    Memory,
    MemorySessionFactory,
    memory_of,
    memory_sessions,
    travel,
)

KEYWORDS = ("memcache", "datastore")


def memory_app(**config: Any) -> webapp2.WSGIApplication:
    """An application with sessions in memory."""
    return make_app(backends={"memory": MemorySessionFactory}, **config)


def outcome(call: Any) -> tuple[Any, ...]:
    """What a call raises; the text of an error of Python's own, too."""
    try:
        return ("returned", call())
    except Exception as error:
        ours = type(error).__module__ == "webapp2_sessions.errors"
        return (type(error), None if ours else str(error))


# What is kept


def test_by_its_dotted_name() -> None:
    """As an application's configuration for tests may have it."""
    name = "webapp2_sessions.testing.MemorySessionFactory"
    visitor = Visitor(make_app(backends={"memcache": name}), backend="memcache")
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert memory_of(visitor.app).sessions() == [{"a": 1}]


def test_each_application_has_its_own() -> None:
    """A cookie of one finds nothing in the other; memory goes with its application."""
    visitor, other = (Visitor(memory_app(), backend="memory") for _ in range(2))
    visitor.write({"a": 1})
    other.cookies = visitor.cookies
    assert (other.read(), visitor.read()) == ({}, {"a": 1})
    assert [len(memory_of(each.app)) for each in (visitor, other)] == [1, 0]
    memory = weakref.ref(memory_of(visitor.app))
    del visitor, other
    gc.collect()
    assert memory() is None


def test_each_backend_has_its_own() -> None:
    """As with two servers."""
    with memory_sessions(app := make_app()) as memory:
        visitor = Visitor(app)
        visitor.write({"a": 1}, backend="memcache")
        assert visitor.read(backend="datastore") == {}
        assert visitor.read(backend="memcache") == {"a": 1}
        assert memory.sessions() == [{"a": 1}]


def test_what_is_in_memory_can_be_looked_at() -> None:
    """Sessions in their order, as copies, without those that have expired."""
    app = memory_app(session_max_age=60)
    memory = memory_of(app)
    assert (len(memory), memory.sessions(), bool(memory)) == (0, [], True)
    with travel() as clock:
        for number in range(3):
            Visitor(app, backend="memory").write({"n": [number]})
            clock.advance(30)
        assert len(memory) == 2
        memory.sessions()[0]["n"].append("changed")
        assert memory.sessions() == [{"n": [1]}, {"n": [2]}]


@pytest.mark.parametrize("started", [1_700_000_000.0, 1_700_000_000.9])
def test_a_session_stays_as_long_as_its_cookie(started: float) -> None:
    """To the second in which the cookie expires, and not longer."""
    with travel(started) as clock:
        visitor = Visitor(memory_app(session_max_age=60), backend="memory")
        visitor.write({"a": 1})
        clock.move_to(1_700_000_060.99)
        assert visitor.read() == {"a": 1}
        clock.advance(1)
        assert len(memory_of(visitor.app)) == 0


def test_emptied_memory_is_a_server_that_was_restarted() -> None:
    """The visitor has a new session; a request that had the old one stores it anew."""
    visitor = Visitor(memory_app(), backend="memory")
    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    store.get_session(backend="memory")["b"] = 2
    memory_of(visitor.app).clear()
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)
    store.save_sessions(webapp2.Response())
    assert memory_of(visitor.app).sessions() == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("config", [{}, {"on_conflict": "merge"}])
def test_nothing_of_a_value_is_shared(config: Any) -> None:
    """What is changed after saving or loading does not leak into what is stored."""
    visitor = Visitor(memory_app(**config), backend="memory")
    cart = [1]
    visitor.write({"cart": cart})
    cart.append(2)
    with visitor.visit() as session:
        session["cart"].append(3)
    assert visitor.read() == {"cart": [1]}


def test_session_that_changes_at_each_try() -> None:
    """A merge gives up, as on a server."""
    visitor = Visitor(memory_app(on_conflict="merge"), backend="memory")
    visitor.write({"n": 0})

    class Busy(MemorySessionFactory):
        def _write_version(self, *args: Any) -> None:
            return None

    def save() -> None:
        with visitor.visit(factory=Busy) as session:
            session["n"] = 1

    with pytest.raises(SessionConflict):
        save()
    assert visitor.read() == {"n": 0}


def test_session_that_cannot_be_decoded() -> None:
    """It is an error, not an empty session: e.g. pickles after a change to JSON."""
    app = memory_app()
    visitor = Visitor(app, backend="memory")
    visitor.write({"a": 1})
    app.config["webapp2_extras.sessions"] = {
        "secret_key": SECRET,
        "serializer": "json",
        "backends": {"memory": MemorySessionFactory},
    }
    with pytest.raises(UnreadableSession, match=r"the memory of a test: .* \(it is pickle"):
        visitor.read()


# The same as on servers


class _Local:
    """Like a class in a function: pickle does not find it."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


VALUES: dict[str, Any] = {
    "types": [(1, 2), {3}, b"\xff", 2**100, datetime.date(2030, 1, 31), {None: 1.5}],
    "function": lambda: None,
    "generator": (number for number in range(3)),
    "object": _Local(),
    "lock": threading.Lock(),
    "too large": "x" * 1_100_000,
}


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_values_fare_as_in_memcached(memcached: Memcached, value: Any, serializer: str) -> None:
    """The same comes back, or the same is raised."""
    config = {"serializer": serializer, "memcache": {"servers": [memcached.address]}}
    check_values_fare_alike("memcache", value, config)


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_values_fare_as_in_datastore(
    datastore: DatastoreEmulator, value: Any, serializer: str
) -> None:
    """The same comes back, or the same is raised."""
    config = {"serializer": serializer, "datastore": {"project": PROJECT, "timeout": 60.0}}
    check_values_fare_alike("datastore", value, config)


def check_values_fare_alike(keyword: str, value: Any, config: dict[str, Any]) -> None:
    """Write a value to a server and to memory."""

    def save_and_load() -> Any:
        visitor = Visitor(app, backend=keyword)
        visitor.write({"value": value})
        return visitor.read()

    app = make_app(**config)
    found = outcome(save_and_load)
    with memory_sessions(app):
        assert outcome(save_and_load) == found
    assert found[0] in {"returned", UnpicklableValue, UnstorableValue, SessionTooLarge}


def test_limits_are_those_of_servers(memcached: Memcached, datastore: DatastoreEmulator) -> None:
    """A session of just so many bytes fits, and one more does not, in memory as well."""
    config = {
        "memcache": {"servers": [memcached.address]},
        "datastore": {"project": PROJECT, "timeout": 60.0},
    }
    app = make_app(**config)

    def sizes(keyword: str) -> tuple[int, ...]:
        visitor, fits, too_large = Visitor(app, backend=keyword), 1_000_000, 1_100_000
        while too_large - fits > 1:
            tried = (fits + too_large) // 2
            if outcome(functools.partial(visitor.write, {"a": "x" * tried}))[0] is SessionTooLarge:
                too_large = tried
            else:
                fits = tried
        return fits, too_large

    real = [sizes(keyword) for keyword in KEYWORDS]
    with memory_sessions(app):
        assert [sizes(keyword) for keyword in KEYWORDS] == real


# In place of servers


class Page(SessionHandler):
    """Counts visits on a server."""

    session_backend = "memcache"

    def get(self) -> None:
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.response.write(self.session["visits"])


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_memory_in_place_of_a_server(keyword: str) -> None:
    """Handlers and configuration stay; afterwards everything is as before, and empty."""
    app = make_app(memcache={"servers": ["127.0.0.1:1"]})
    config = SessionStore(Visitor(app).request()).config
    before = dict(config["backends"])
    for _ in range(2):
        with memory_sessions(app) as memory:
            visitor = Visitor(app, backend=keyword)
            visitor.write({"a": 1})
            assert (visitor.read(), memory.sessions()) == ({"a": 1}, [{"a": 1}])
            assert memory_of(app) is memory
        assert config["backends"] == before
        assert len(memory_of(app)) == 0


@pytest.mark.parametrize("wrap", [lambda app: app, SessionMiddleware, Client])
def test_what_wraps_an_application_will_do(wrap: Any) -> None:
    """Middleware and clients; other keywords as well."""
    app = make_app()
    app.router.add(("/", Page))
    with memory_sessions(wrap(app), "memcache", "mine") as memory:
        assert wrap(app).get_response("/").text == "1"
        Visitor(app, backend="mine").write({"a": 1})
        assert memory.sessions() == [{"visits": 1}, {"a": 1}]
        backends = app.config["webapp2_extras.sessions"]["backends"]
        assert isinstance(backends["datastore"], str)


def test_what_is_no_application_is_refused() -> None:
    """By its type; nothing of it is shown."""
    with pytest.raises(TypeError, match=r"no webapp2\.WSGIApplication is found in a dict"):
        memory_of({"secret_key": SECRET})


def test_everything_is_as_before_after_an_exception() -> None:
    """A test that fails leaves the application to the next one."""
    app = make_app()

    def fail() -> None:
        with memory_sessions(app):
            Visitor(app, backend="memcache").write({"a": 1})
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert "Memory" not in repr(app.config["webapp2_extras.sessions"]["backends"])
    assert len(memory_of(app)) == 0


def test_block_in_a_block() -> None:
    """Each has an empty memory; afterwards the outer one's sessions are there again."""
    app = make_app()
    visitor = Visitor(app, backend="memcache")
    with memory_sessions(app) as outer:
        visitor.write({"a": 1})
        with memory_sessions(app):
            assert visitor.read() == {}
        assert (visitor.read(), memory_of(app)) == ({"a": 1}, outer)


def test_sessions_that_are_too_large_spill_into_memory() -> None:
    """``on_oversize`` names a keyword, too."""
    app = make_app(on_oversize="memcache", max_cookie_size=500)
    visitor = Visitor(app)
    with memory_sessions(app) as memory:
        visitor.write({"a": "x" * 1000})
        assert visitor.read() == {"a": "x" * 1000}
        assert len(memory) == 1


def test_neither_server_nor_library_is_needed() -> None:
    """A process that cannot import them."""
    program = f"""
import sys, warnings
warnings.simplefilter("ignore")
for name in ("pymemcache", "google.cloud.ndb", "google", "grpc", "cryptography", "webtest"):
    sys.modules[name] = None
from support.visits import Visitor, make_app
from webapp2_sessions.testing import memory_sessions
app = make_app()
for keyword in {KEYWORDS!r}:
    with memory_sessions(app):
        visitor = Visitor(app, backend=keyword)
        visitor.write({{"a": 1}})
        print(visitor.read())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(webapp2_sessions.__file__).parents[1],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "{'a': 1}\n" * 2)


# Failing


def failing_app(**config: Any) -> tuple[Client, Memory]:
    """A client with a session, and the memory that keeps it."""
    app = memory_app(**config)
    app.router.add(("/", type("Page", (Page,), {"session_backend": "memory"})))
    client = Client(app)
    assert client.get("/").text == "1"
    return client, memory_of(app)


def test_unavailable_memory_fails_as_a_server(caplog: pytest.LogCaptureFixture) -> None:
    """Where an application shows its visitors an error; afterwards the session is there again."""
    client, memory = failing_app()
    with memory.unavailable():
        assert client.get("/").status_int == 500
    assert "memory backend at the memory of a test: a test has made it unavailable" in caplog.text
    assert client.get("/").text == "2"


def test_error_names_the_backend_for_which_it_stands() -> None:
    """As handlers may look for it."""
    for keyword in KEYWORDS:
        with memory_sessions(app := make_app()) as memory, memory.unavailable():
            with pytest.raises(BackendUnavailable) as caught:
                Visitor(app, backend=keyword).write({"a": 1})
            assert caught.value.backend == keyword


def test_degraded_sessions() -> None:
    """With ``on_backend_error='degrade'`` the visitor goes on, with an empty session."""
    client, memory = failing_app(on_backend_error="degrade")
    with memory.unavailable():
        assert [client.get("/").text for _ in range(2)] == ["1", "1"]
    assert client.get("/").text == "2"


@pytest.mark.parametrize("config", [{}, {"on_conflict": "merge"}])
@pytest.mark.parametrize(
    ("outage", "failing"),
    [
        ({}, ["load", "save", "first", "touch", "end"]),
        ({"writes": False}, ["load", "save", "touch", "end"]),
        ({"reads": False}, ["save", "first", "touch", "end"]),
        ({"reads": False, "writes": False}, []),
    ],
)
def test_what_fails(config: Any, outage: Any, failing: list[str]) -> None:
    """Reading, writing or both; whoever does both fails by either."""
    app = memory_app(refresh_after=0.001, **config)
    visitor, stranger = Visitor(app, backend="memory"), Visitor(app, backend="memory")

    def touch() -> None:
        with visitor.visit() as session:
            session.container._signed_at = 0

    def end() -> None:
        with visitor.visit() as session:
            session.destroy()

    calls = {
        "load": lambda: SessionStore(visitor.request()).get_session(backend="memory"),
        "save": lambda: visitor.write({"b": 2}),
        "first": lambda: stranger.write({"c": 3}),
        "touch": touch,
        "end": end,
    }
    found = []
    for name, call in calls.items():
        visitor.write({"a": 1})
        with memory_of(app).unavailable(**outage):
            try:
                call()
            except BackendUnavailable:
                found.append(name)
    assert found == failing


def test_outages_that_overlap() -> None:
    """The memory works again after the last one."""
    app = memory_app()
    outages = [memory_of(app).unavailable(), memory_of(app).unavailable()]
    for outage in outages:
        outage.__enter__()
    for outage in outages:
        with pytest.raises(BackendUnavailable):
            Visitor(app, backend="memory").write({"a": 1})
        outage.__exit__(None, None, None)
    Visitor(app, backend="memory").write({"a": 1})
    assert len(memory_of(app)) == 1
