"""Sessions in memory: what only a backend for tests can do.

What every backend does is in tests/conformance/test_backends.py, which runs on it as well.
"""

from __future__ import annotations

import bisect
import datetime
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
from support.servers import PROJECT
from support.visits import SECRET, Visitor, make_app

import webapp2_sessions
from webapp2_sessions import (
    BackendUnavailable,
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
    """What a call returns or raises; the text of an error of Python's own, too."""
    try:
        return ("returned", call())
    except Exception as error:
        ours = type(error).__module__ == "webapp2_sessions.errors"
        return (type(error), None if ours else str(error))


def test_backend_may_be_configured_by_its_dotted_name() -> None:
    name = "webapp2_sessions.testing.MemorySessionFactory"
    visitor = Visitor(make_app(backends={"memcache": name}), backend="memcache")
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert memory_of(visitor.app).sessions() == [{"a": 1}]


def test_each_application_has_its_own_memory_which_goes_with_it() -> None:
    visitor, other = (Visitor(memory_app(), backend="memory") for _ in range(2))
    visitor.write({"a": 1})
    other.cookies = visitor.cookies
    assert (other.read(), visitor.read()) == ({}, {"a": 1})
    assert [len(memory_of(each.app)) for each in (visitor, other)] == [1, 0]
    memory = weakref.ref(memory_of(visitor.app))
    del visitor, other
    gc.collect()
    assert memory() is None


def test_each_backend_has_its_own_sessions() -> None:
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
    """The visitor has a new session; a request that had the old one stores it again."""
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


def test_session_that_cannot_be_decoded_is_an_error() -> None:
    """Pickles after a change to JSON, for instance."""
    app = memory_app()
    visitor = Visitor(app, backend="memory")
    visitor.write({"a": 1})
    app.config["webapp2_extras.sessions"]["serializer"] = "json"
    with pytest.raises(UnreadableSession, match=r"the memory of a test: .* \(it is pickle"):
        visitor.read()


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


def configured(keyword: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Start the server of a backend; returns how an application is configured for it."""
    if keyword == "memcache":
        return {"memcache": {"servers": [request.getfixturevalue("memcached").address]}}
    request.getfixturevalue("datastore")
    return {"datastore": {"project": PROJECT, "timeout": 60.0}}


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_values_fare_as_on_a_server(
    value: Any, serializer: str, keyword: str, request: pytest.FixtureRequest
) -> None:
    """The same comes back, or the same is raised."""

    def save_and_load() -> Any:
        visitor = Visitor(app, backend=keyword)
        visitor.write({"value": value})
        return visitor.read()

    app = make_app(serializer=serializer, **configured(keyword, request))
    found = outcome(save_and_load)
    with memory_sessions(app):
        assert outcome(save_and_load) == found
    assert found[0] in {"returned", UnpicklableValue, UnstorableValue, SessionTooLarge}


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_limit_is_that_of_the_server(keyword: str, request: pytest.FixtureRequest) -> None:
    """A session of just so many bytes fits, and one more does not, in memory as well."""
    app = make_app(**configured(keyword, request))

    def is_too_large(size: int) -> bool:
        write = Visitor(app, backend=keyword).write
        return outcome(lambda: write({"a": "x" * size}))[0] is SessionTooLarge

    def largest() -> int:
        return bisect.bisect(range(1_100_000), False, lo=1_000_000, key=is_too_large)

    on_server = largest()
    with memory_sessions(app):
        assert largest() == on_server


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


def test_neither_server_nor_library_is_needed() -> None:
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


def test_unavailable_memory_fails_as_a_server(caplog: pytest.LogCaptureFixture) -> None:
    """Where an application shows its visitors an error; afterwards the session is there again."""
    app = memory_app()
    app.router.add(("/", type("Page", (Page,), {"session_backend": "memory"})))
    client = Client(app)
    assert client.get("/").text == "1"
    with memory_of(app).unavailable():
        assert client.get("/").status_int == 500
    assert "memory backend at the memory of a test: a test has made it unavailable" in caplog.text
    assert client.get("/").text == "2"


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_error_names_the_backend_for_which_it_stands(keyword: str) -> None:
    with memory_sessions(app := make_app()) as memory, memory.unavailable():
        with pytest.raises(BackendUnavailable) as caught:
            Visitor(app, backend=keyword).write({"a": 1})
        assert caught.value.backend == keyword


@pytest.mark.parametrize("config", [{}, {"on_conflict": "merge"}], ids=["overwrite", "merge"])
@pytest.mark.parametrize(
    ("outage", "failing"),
    [
        ({}, "load save first touch end"),
        ({"writes": False}, "load save touch end"),
        ({"reads": False}, "save first touch end"),
        ({"reads": False, "writes": False}, ""),
    ],
)
def test_outage_is_of_reads_or_writes_or_both(config: Any, outage: Any, failing: str) -> None:
    """Whoever reads and writes fails by either."""
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
            if outcome(call)[0] is BackendUnavailable:
                found.append(name)
    assert found == failing.split()


def test_memory_works_again_after_the_last_of_overlapping_outages() -> None:
    visitor = Visitor(memory_app(), backend="memory")
    outages = [memory_of(visitor.app).unavailable() for _ in range(2)]
    for outage in outages:
        outage.__enter__()
    for outage in outages:
        with pytest.raises(BackendUnavailable):
            visitor.write({"a": 1})
        outage.__exit__(None, None, None)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
