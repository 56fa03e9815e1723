"""One contract that every backend keeps: what a visitor and a handler may expect of a session."""

from __future__ import annotations

import datetime
import importlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webapp2
from support.forks import forks, in_child
from support.servers import PROJECT
from support.sides import OURS, Clock, records_factory, stopped_clock
from support.visits import SECRET, Visitor, make_app

import webapp2_sessions
from webapp2_sessions import ConfigError, SessionStore
from webapp2_sessions.testing import MemorySessionFactory

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0

#: Numbers that keep the prefixes of parallel runs on one memcached apart.
_numbers = itertools.count()


class Backend:
    """A backend under test: how an application is configured for it, and how it is opened.

    :param keyword: the ``backend=`` of ``get_session``.
    :param keeps_types: whether Python types come back as they were.
    """

    def __init__(self, keyword: str, keeps_types: bool, **config: Any) -> None:
        self.keyword = keyword
        self.keeps_types = keeps_types
        self._config = config

    @property
    def is_stored(self) -> bool:
        """Whether the data is on a server, where it can be deleted."""
        return not self.is_cookie or "on_oversize" in self._config

    @property
    def detects_content(self) -> bool:
        """Whether it compares with what was loaded."""
        return self._config.get("change_detection") == "content"

    @property
    def configured_keys(self) -> list[str]:
        """The keys of the configuration that it needs."""
        return list(self._config)

    @property
    def is_ours(self) -> bool:
        """Whether it can destroy and renew; a backend of upstream's kind knows nothing of it."""
        return self.keyword != "custom"

    @property
    def is_cookie(self) -> bool:
        """Whether the cookie holds the data itself, and no id."""
        return self.keyword in ("securecookie", "encryptedcookie")

    @property
    def merges(self) -> bool:
        """Whether changes of requests at once are merged."""
        return self._config.get("on_conflict") == "merge"

    def configured(self, **config: Any) -> Backend:
        """Return this backend with more configuration."""
        return Backend(self.keyword, self.keeps_types, **{**self._config, **config})

    def app(self, **config: Any) -> webapp2.WSGIApplication:
        """Return an application with this backend."""
        return make_app(**{**self._config, **config})

    def visitor(self, app: webapp2.WSGIApplication | None = None) -> Visitor:
        """Return a visitor without cookies."""
        return Visitor(app or self.app(), backend=self.keyword)


def _securecookie(request: pytest.FixtureRequest) -> Backend:
    return Backend("securecookie", False)


def _encryptedcookie(request: pytest.FixtureRequest) -> Backend:
    return Backend("encryptedcookie", False)


def _custom(request: pytest.FixtureRequest) -> Backend:
    return Backend("custom", True, backends={"custom": records_factory(OURS, {})})


def _memory(request: pytest.FixtureRequest) -> Backend:
    return Backend("memory", True, backends={"memory": MemorySessionFactory})


def _memcache(request: pytest.FixtureRequest) -> Backend:
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    return Backend("memcache", True, memcache=settings)


def _datastore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("datastore")
    return Backend("datastore", True, datastore={"project": PROJECT, "timeout": PATIENCE})


def _firestore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("firestore")
    return Backend("datastore", True, datastore={"project": PROJECT, "timeout": PATIENCE})


def _cached_datastore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("datastore")
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    datastore = {"project": PROJECT, "cache": "memcache", "timeout": PATIENCE}
    return Backend("datastore", True, datastore=datastore, memcache=settings)


def _nodes(request: pytest.FixtureRequest) -> Backend:
    servers = [request.getfixturevalue("memcached"), request.getfixturevalue("second_memcached")]
    settings = {
        "servers": [server.address for server in servers],
        "key_prefix": f"contract{next(_numbers)}:",
    }
    return Backend("memcache", True, memcache=settings)


def _spill(request: pytest.FixtureRequest, keyword: str = "securecookie") -> Backend:
    """Sessions in cookies that are all too large."""
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    spill = {"on_oversize": "memcache", "max_cookie_size": 1}
    return Backend(keyword, False, memcache=settings, **spill)


def _encrypted_spill(request: pytest.FixtureRequest) -> Backend:
    """The same, with an encrypted cookie."""
    return _spill(request, "encryptedcookie")


Maker = Callable[[pytest.FixtureRequest], Backend]


def _with(make: Maker, **config: Any) -> Maker:
    """The backend with more configuration."""

    def made(request: pytest.FixtureRequest) -> Backend:
        return make(request).configured(**config)

    return made


_LIFETIMES = {"refresh_after": 3600, "absolute_max_age": 30 * 24 * 3600}

BACKENDS: dict[str, Maker] = {
    "memory": _memory,
    "memory-content": _with(_memory, change_detection="content"),
    "memory-all": _with(
        _memory, on_conflict="merge", serializer="json", on_backend_error="degrade", **_LIFETIMES
    ),
    "securecookie": _securecookie,
    "securecookie-lifetimes": _with(_securecookie, **_LIFETIMES),
    "encryptedcookie": _encryptedcookie,
    "encryptedcookie-lifetimes": _with(_encryptedcookie, **_LIFETIMES),
    "custom": _custom,
    "securecookie-content": _with(_securecookie, change_detection="content"),
    "spill": _spill,
    "encrypted-spill": _encrypted_spill,
    "memcache": _memcache,
    "memcache-content": _with(_memcache, change_detection="content"),
    "memcache-nodes": _nodes,
    "memcache-merge": _with(_memcache, on_conflict="merge"),
    "memcache-json": _with(_memcache, serializer="json"),
    "memcache-all": _with(
        _nodes, on_conflict="merge", serializer="json", on_backend_error="degrade", **_LIFETIMES
    ),
    "datastore": _datastore,
    "firestore": _firestore,
    "datastore-merge": _with(_datastore, on_conflict="merge"),
    "firestore-merge": _with(_firestore, on_conflict="merge"),
    "datastore-json": _with(_datastore, serializer="json"),
    "cached-datastore": _cached_datastore,
    "cached-datastore-merge": _with(_cached_datastore, on_conflict="merge"),
    "cached-datastore-json": _with(_cached_datastore, serializer="json"),
    "cached-datastore-all": _with(
        _cached_datastore,
        on_conflict="merge",
        serializer="json",
        on_backend_error="degrade",
        **_LIFETIMES,
    ),
}


def _own(request: pytest.FixtureRequest) -> Backend:
    """A backend that is not of the package, as the function that CONTRACT names configures it."""
    module, _, name = os.environ["CONTRACT"].partition(":")
    return Backend("own", True, **getattr(importlib.import_module(module), name)())


if "CONTRACT" in os.environ:  # docs/custom-backend.md tells of it
    BACKENDS = {
        "own": _own,
        "own-lifetimes": _with(_own, **_LIFETIMES),
        "own-content": _with(_own, change_detection="content"),
        "own-merge": _with(_own, on_conflict="merge"),
    }


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; only its own servers are started."""
    return BACKENDS[request.param](request)


@pytest.fixture
def visitor(backend: Backend) -> Visitor:
    """A visitor without cookies."""
    return backend.visitor()


def test_first_visit_opens_a_new_empty_session(visitor: Visitor) -> None:
    """A visitor without a cookie has a new session, and nothing is sent."""
    with visitor.visit() as session:
        assert (session, session.new, session.modified) == ({}, True, False)
    assert visitor.set_cookies == []


def test_what_was_set_comes_back(visitor: Visitor) -> None:
    """The next visit sees the data, in a session that is not new and not modified."""
    visitor.write({"user": {"id": 5, "name": "Zoë"}, "": None, "n": 1.5})
    with visitor.visit() as session:
        assert session == {"user": {"id": 5, "name": "Zoë"}, "": None, "n": 1.5}
        assert (session.new, session.modified) == (False, False)
    assert visitor.set_cookies == []


def test_each_change_is_saved(visitor: Visitor) -> None:
    """Setting, deleting and popping add up over the visits."""
    visitor.write({"a": 1, "b": 2, "c": 3})
    with visitor.visit() as session:
        del session["a"]
        session["d"] = session.pop("c")
    assert visitor.read() == {"b": 2, "d": 3}


def test_modified_saves_a_change_inside_a_value(visitor: Visitor) -> None:
    """``session.modified = True`` is the way to save it."""
    visitor.write({"cart": [1]})
    with visitor.visit() as session:
        session["cart"].append(2)
        session.modified = True
    assert visitor.read() == {"cart": [1, 2]}


def test_change_inside_a_value(visitor: Visitor, backend: Backend) -> None:
    """Nobody notices it, unless the data is compared with what was loaded."""
    visitor.write({"cart": [1]})
    with visitor.visit() as session:
        session["cart"].append(2)
    assert visitor.read() == {"cart": [1, 2] if backend.detects_content else [1]}


def test_changed_saves_a_change_inside_a_value(visitor: Visitor) -> None:
    """``session.changed()`` is the way to save it everywhere."""
    visitor.write({"cart": [1]})
    with visitor.visit() as session:
        session["cart"].append(2)
        session.changed()
    assert visitor.read() == {"cart": [1, 2]}


def test_change_that_was_undone(visitor: Visitor, backend: Backend) -> None:
    """It is written as upstream does, or not at all where the data is compared."""
    visitor.write({"user": [5, 1], "x": 1})
    with visitor.visit() as session:
        session["user"] = session.pop("user")
        session["x"] = 1
    assert (visitor.set_cookies == []) is backend.detects_content
    assert visitor.read() == {"user": [5, 1], "x": 1}


def test_emptied_session_is_a_session(visitor: Visitor) -> None:
    """After ``clear()`` the session is empty, not new (b44: nor a miss), and has the same id."""
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session.clear()
    with visitor.visit() as session:
        assert (session, session.new) == ({}, False)
        assert getattr(session.container, "sid", None) == sid


def test_flashes_are_shown_once(visitor: Visitor, backend: Backend) -> None:
    """Messages come in order, with their levels, and are gone afterwards."""
    with visitor.visit() as session:
        session.add_flash("one")
        session.add_flash("two", "info")
        session.add_flash("other", key="_other")
    kind = tuple if backend.keeps_types else list
    with visitor.visit() as session:
        assert session.get_flashes() == [kind(("one", None)), kind(("two", "info"))]
    with visitor.visit() as session:
        assert session.get_flashes() == []
        assert session.get_flashes("_other") == [kind(("other", None))]


def test_messages_of_a_level(visitor: Visitor, backend: Backend) -> None:
    """They can be looked at, and taken without the others."""
    kind = tuple if backend.keeps_types else list
    with visitor.visit() as session:
        for number, level in enumerate(("info", "error", "info")):
            session.add_flash(number, level)
    with visitor.visit() as session:
        assert session.peek_flashes(level="error") == [kind((1, "error"))]
    assert visitor.set_cookies == []
    with visitor.visit() as session:
        assert session.get_flashes(level="info") == [kind((0, "info")), kind((2, "info"))]
    with visitor.visit() as session:
        assert session.get_flashes() == [kind((1, "error"))]


def test_backlog_of_messages(backend: Backend) -> None:
    """Of messages that nobody reads the newest are kept, where that is configured."""
    visitor = backend.visitor(backend.app(max_flashes=2))
    for number in range(4):
        with visitor.visit() as session:
            session.add_flash(number)
    with visitor.visit() as session:
        assert [message[0] for message in session.get_flashes()] == [2, 3]


def test_python_types_come_back_from_stores(visitor: Visitor, backend: Backend) -> None:
    """Stores keep types; a cookie keeps what JSON knows and refuses the rest."""
    values = {
        "tuple": (1, (2, 3)),
        "set": {1, 2},
        "frozenset": frozenset({1}),
        "bytes": b"\x00\xff",
        "large": 2**100,
        "time": datetime.datetime(2026, 2, 28, 12, 30, tzinfo=datetime.timezone.utc),
        5: {None: 1},
        ("a", "tuple"): None,
    }
    if backend.keeps_types:
        visitor.write(values)
        found = visitor.read()
        assert found == values
        assert [type(value) for value in found.values()] == [*map(type, values.values())]
    else:
        with pytest.raises(TypeError):
            visitor.write(values)


def test_visitors_are_kept_apart(backend: Backend) -> None:
    """Each sees what it wrote itself."""
    app = backend.app()
    one, two = backend.visitor(app), backend.visitor(app)
    one.write({"who": "one"})
    two.write({"who": "two"})
    assert (one.read(), two.read()) == ({"who": "one"}, {"who": "two"})


def test_sessions_of_several_names_are_kept_apart(backend: Backend) -> None:
    """One request may open several; their cookies come in the order of opening."""
    visitor = backend.visitor()
    store = SessionStore(visitor.request())
    for name in ("shop", "auth"):
        store.get_session(name, backend=backend.keyword)["name"] = name
    response = webapp2.Response()
    store.save_sessions(response)
    visitor.take(response)
    assert list(visitor.cookies) == ["shop", "auth"]
    assert [visitor.read(name=name) for name in visitor.cookies] == [
        {"name": "shop"},
        {"name": "auth"},
    ]


def test_cookie_of_another_name_is_no_session(visitor: Visitor) -> None:
    """A value that is valid for one name is none for another."""
    visitor.write({"a": 1}, name="one")
    visitor.cookies["two"] = visitor.cookies["one"]
    with visitor.visit(name="two") as session:
        assert (session, session.new) == ({}, True)


@pytest.mark.parametrize("value", ["", "x", "e30=|1|x", "\\377", '"', "a" * 5000, "|||"])
def test_hostile_cookie_gives_a_new_session(visitor: Visitor, value: str) -> None:
    """No bytes raise, and the session that is then written works."""
    visitor.cookies["session"] = value
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)
        session["a"] = 1
    assert visitor.read() == {"a": 1}


def test_damaged_cookie_expires(backend: Backend) -> None:
    """Where that is configured the browser is told to forget it."""
    visitor = backend.visitor(backend.app(on_damaged_cookie="expire"))
    visitor.cookies["session"] = "e30=|1|x"
    assert visitor.read() == {}
    assert ["Max-Age=0" in header for header in visitor.set_cookies] == [True]
    assert visitor.read() == {}
    assert visitor.set_cookies == []


def test_cookie_of_another_secret_gives_a_new_session(backend: Backend) -> None:
    """Whoever does not have the key cannot make a session."""
    visitor = backend.visitor(backend.app(secret_key="another"))
    visitor.write({"a": 1})
    visitor.app = backend.app()
    assert visitor.read() == {}


@pytest.mark.usefixtures("clock")
def test_saving_twice_sends_two_cookies(visitor: Visitor, backend: Backend) -> None:
    """As upstream does; within a second they are the same, unless encryption makes them differ."""
    store = SessionStore(visitor.request())
    store.get_session(backend=backend.keyword)["a"] = 1
    response = webapp2.Response()
    store.save_sessions(response)
    store.save_sessions(response)
    headers = response.headers.getall("Set-Cookie")
    different = 2 if backend.keyword == "encryptedcookie" else 1
    assert (len(headers), len(set(headers))) == (2, different)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock for cookies; servers go by the real one, from which it starts."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        yield clock


def test_session_expires_with_session_max_age(clock: Clock, backend: Backend) -> None:
    """It counts from the last write, and an expired session is a new one."""
    visitor = backend.visitor(backend.app(session_max_age=60))
    visitor.write({"a": 1})
    clock.advance(60)
    assert visitor.read() == {"a": 1}
    clock.advance(1)
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


def test_max_age_none_reads_what_the_configuration_calls_expired(
    clock: Clock, backend: Backend
) -> None:
    """The argument of ``get_session`` goes before the configuration."""
    visitor = backend.visitor(backend.app(session_max_age=60))
    visitor.write({"a": 1}, max_age=None)
    clock.advance(61)
    assert visitor.read(max_age=None) == {"a": 1}


def test_session_none_loads_again(visitor: Visitor, backend: Backend) -> None:
    """``container.session = None`` brings back what is stored."""
    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    session = store.get_session(backend=backend.keyword)
    session["a"] = 2
    session.container.session = None
    assert store.get_session(backend=backend.keyword) == {"a": 1}


def test_session_args_reach_the_cookie(visitor: Visitor) -> None:
    """What a handler sets on ``container.session_args`` is on the Set-Cookie header."""
    with visitor.visit() as session:
        session["a"] = 1
        session.container.session_args.update(httponly=True, samesite="lax")
    assert visitor.set_cookies[0].endswith("; Path=/; HttpOnly; SameSite=lax")


@pytest.mark.parametrize(
    "wrong", [{"secure": "False"}, {"domain": "https://example.com"}, {"path": "app"}], ids=str
)
def test_a_cookie_that_browsers_drop_is_refused(
    visitor: Visitor, backend: Backend, wrong: dict[str, Any]
) -> None:
    """It is an error, and nobody has the new data: what was stored before stays."""
    visitor.write({"a": 1})

    def change() -> None:
        with visitor.visit() as session:
            session["a"] = 2
            session.container.session_args.update(wrong)

    with pytest.raises(ConfigError):
        change()
    if backend.is_ours:  # one of upstream's kind stores first
        assert visitor.read() == {"a": 1}


def test_id_stays_the_same(visitor: Visitor, backend: Backend) -> None:
    """The stored session keeps its id from visit to visit; an unknown id is not adopted."""
    sid = visitor.write({"a": 1})
    assert visitor.write({"b": 2}) == sid
    if backend.is_cookie:
        assert sid is None
        return
    stranger = backend.visitor(visitor.app)
    serializer = SessionStore(stranger.request()).serializer
    unknown = "u" * 22
    stranger.cookies["session"] = serializer.serialize("session", {"_sid": unknown}).decode()
    with stranger.visit() as session:
        assert session.new is True
        assert session.container.sid != unknown


def test_last_writer_wins(backend: Backend) -> None:
    """Of two requests at once on one session the later save stands, or both do (b45)."""
    visitor = backend.visitor()
    visitor.write({"x": 1})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    sessions = [store.get_session(backend=backend.keyword) for store in stores]
    sessions[0]["one"] = 1
    sessions[1]["two"] = 2
    for store in stores:
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
    assert visitor.read() == {"x": 1, "two": 2} | ({"one": 1} if backend.merges else {})


def test_large_session(visitor: Visitor, backend: Backend) -> None:
    """A stored session may have some 100 kB; a cookie is sent all the same, as upstream does."""
    data = {f"key{n}": "v" * 1000 for n in range(100)}
    visitor.write(data)
    assert visitor.read() == data
    header = visitor.cookies["session"]
    assert (len(header) > 100_000) is not backend.is_stored


def test_store_with_a_configuration_of_its_own(visitor: Visitor, backend: Backend) -> None:
    """A store that sets upstream's keys itself, as applications do, has a working backend."""
    checked = SessionStore(visitor.request()).config

    class Store(SessionStore):
        def __init__(self, incoming: webapp2.Request) -> None:
            self.request = incoming
            self.sessions = {}
            upstreams = ("secret_key", "cookie_name", "session_max_age", "cookie_args", "backends")
            self.config = {key: checked[key] for key in (*upstreams, *backend.configured_keys)}

    store = Store(visitor.request())
    store.get_session(backend=backend.keyword)["a"] = 1
    response = webapp2.Response()
    store.save_sessions(response)
    visitor.take(response)
    assert visitor.read() == {"a": 1}


# Destroying


def test_destroyed_session_is_gone(visitor: Visitor, backend: Backend) -> None:
    """The cookie is taken back, and whoever kept it finds nothing where there is a store."""
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.destroy()
        assert (session, session.new) == ({}, backend.is_ours)
    if backend.is_ours:
        assert visitor.cookies == {}
    visitor.cookies = former
    assert visitor.read() == ({} if backend.is_stored else {"a": 1})


def test_cookie_is_expired_as_it_was_set(backend: Backend) -> None:
    """Browsers take a cookie of another path, domain or kind for another cookie."""
    arguments = {"path": "/app", "domain": "example.com", "secure": True, "samesite": "lax"}
    visitor = backend.visitor(backend.app(cookie_args=arguments))
    visitor.write({"a": 1})
    with visitor.visit() as session:
        session.destroy()
    [header] = visitor.set_cookies
    assert "; Domain=example.com; " in header
    assert "; Path=/app" in header
    assert "; secure" in header
    assert ("; Max-Age=0; " in header) is backend.is_ours


def test_what_is_set_after_destroying_is_a_new_session(visitor: Visitor, backend: Backend) -> None:
    """It has a new id and nothing of the former data."""
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session.destroy()
        session["b"] = 2
    assert visitor.read() == {"b": 2}
    if backend.is_ours and not backend.is_cookie:
        assert session.container.sid != sid


def test_destroying_a_session_that_never_was(visitor: Visitor) -> None:
    """A visitor without a session may sign out as well."""
    with visitor.visit() as session:
        session.destroy()
    assert visitor.read() == {}


def test_destroyed_session_stays_destroyed(backend: Backend) -> None:
    """A request that loaded it before writes nothing and sends no cookie."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    store = SessionStore(visitor.request())
    store.get_session(backend=backend.keyword)["b"] = 2
    with visitor.visit() as session:
        session.destroy()
    response = webapp2.Response()
    store.save_sessions(response)
    stays = backend.is_ours and backend.is_stored
    assert (response.headers.getall("Set-Cookie") == []) is stays
    visitor.cookies = former
    if stays:
        assert visitor.read() == {}


# A new id


def test_new_id(visitor: Visitor, backend: Backend) -> None:
    """The data stays, and whoever kept the old cookie finds nothing where there is a store."""
    sid = visitor.write({"a": 1})
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
        session["b"] = 2
    assert visitor.read() == {"a": 1, "b": 2}
    if not backend.is_ours:
        return
    assert backend.is_cookie or session.container.sid != sid
    visitor.cookies = former
    assert visitor.read() == ({} if backend.is_stored else {"a": 1})


def test_new_id_of_a_new_session(visitor: Visitor) -> None:
    """It has one anyway."""
    with visitor.visit() as session:
        session.regenerate_id()
        session["a"] = 1
    assert visitor.read() == {"a": 1}


def test_new_id_without_a_change(visitor: Visitor) -> None:
    """Signing in need not store anything else."""
    visitor.write({"a": 1})
    with visitor.visit() as session:
        session.regenerate_id()
    assert len(visitor.set_cookies) == 1
    assert visitor.read() == {"a": 1}


def test_new_id_while_another_request_saves(backend: Backend) -> None:
    """The other one writes nothing under the old id, and sends no cookie."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    store = SessionStore(visitor.request())
    store.get_session(backend=backend.keyword)["b"] = 2
    with visitor.visit() as session:
        session.regenerate_id()
    response = webapp2.Response()
    store.save_sessions(response)
    if backend.is_ours and backend.is_stored:
        assert response.headers.getall("Set-Cookie") == []
        assert visitor.read() == {"a": 1}
        visitor.cookies = former
        assert visitor.read() == {}


def test_two_requests_want_a_new_id(backend: Backend) -> None:
    """One of them has it, and nothing is left of the old id or of the other's copy."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    for store in stores:
        store.get_session(backend=backend.keyword).regenerate_id()
    sent = []
    for store in stores:
        response = webapp2.Response()
        store.save_sessions(response)
        sent.append(len(response.headers.getall("Set-Cookie")))
        visitor.take(response)
    assert visitor.read() == {"a": 1}
    if backend.is_ours and backend.is_stored:
        assert sent == [1, 0]
        visitor.cookies = former
        assert visitor.read() == {}


# Ages of their own


def test_age_of_its_own(clock: Clock, backend: Backend) -> None:
    """A session that is remembered outlives others, survives later writes, and ends in time."""
    if not backend.is_ours:
        return
    visitor = backend.visitor(backend.app(session_max_age=60))
    with visitor.visit() as session:
        session["a"] = 1
        session.set_max_age(1000)
    assert "; Max-Age=1000; " in visitor.set_cookies[0]
    clock.advance(900)
    assert visitor.read() == {"a": 1}
    visitor.write({"b": 2})
    assert "; Max-Age=1000; " in visitor.set_cookies[0]
    clock.advance(1000)
    assert visitor.read() == {"a": 1, "b": 2}
    clock.advance(1)
    assert visitor.read() == {}


def test_shorter_age_of_its_own(clock: Clock, backend: Backend) -> None:
    """A session may end sooner than others as well."""
    if not backend.is_ours:
        return
    visitor = backend.visitor(backend.app(session_max_age=60))
    with visitor.visit() as session:
        session["a"] = 1
        session.set_max_age(10)
    clock.advance(10)
    assert visitor.read(max_age=None) == {"a": 1}
    clock.advance(1)
    assert visitor.read(max_age=None) == {}


def test_age_of_its_own_is_taken_back(clock: Clock, backend: Backend) -> None:
    """From then on the session is like others."""
    if not backend.is_ours:
        return
    visitor = backend.visitor(backend.app(session_max_age=60))
    with visitor.visit() as session:
        session["a"] = 1
        session.set_max_age(1000)
    with visitor.visit() as session:
        session.set_max_age(None)
    assert "Max-Age" not in visitor.set_cookies[0]
    clock.advance(61)
    assert visitor.read() == {}


# Lifetimes


def test_active_session_does_not_expire(clock: Clock, backend: Backend) -> None:
    """With ``refresh_after`` reading is enough to stay, and costs no cookie each time."""
    visitor = backend.visitor(backend.app(session_max_age=100, refresh_after=40))
    visitor.write({"a": 1})
    found, sent = [], []
    for _ in range(8):
        clock.advance(30)
        found.append(visitor.read())
        sent.append(len(visitor.set_cookies))
    if backend.is_ours:
        assert (found, sent) == ([{"a": 1}] * 8, [0, 1] * 4)
    else:
        assert (found, sent) == ([{"a": 1}] * 3 + [{}] * 5, [0] * 8)


def test_idle_session_expires(clock: Clock, backend: Backend) -> None:
    """``refresh_after`` keeps nobody who does not come."""
    visitor = backend.visitor(backend.app(session_max_age=100, refresh_after=40))
    visitor.write({"a": 1})
    clock.advance(101)
    assert visitor.read() == {}


def test_session_ends_after_its_absolute_age(clock: Clock, backend: Backend) -> None:
    """However active its visitor was."""
    visitor = backend.visitor(backend.app(absolute_max_age=100, refresh_after=10))
    visitor.write({"a": 1})
    for _ in range(10):
        clock.advance(10)
        assert visitor.read() == {"a": 1}
    clock.advance(1)
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


# Threads and processes


def test_threads_keep_their_sessions_apart(backend: Backend) -> None:
    """Threads that read and write at once each find what they wrote."""
    app = backend.app()
    count, rounds = 8, 10
    at_start = threading.Barrier(count)

    def work(number: int) -> list[Any]:
        mine = backend.visitor(app)
        at_start.wait(PATIENCE)
        found = []
        for turn in range(rounds):
            mine.write({"value": [number, turn]})
            found.append(mine.read()["value"])
        return found

    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(work, range(count)))
    assert results == [[[number, turn] for turn in range(rounds)] for number in range(count)]


@pytest.mark.parametrize("backend", ["memcache", "datastore"])
def test_backend_is_first_used_by_many_threads_at_once(backend: str) -> None:
    """The first requests of a fresh process may all open a session while its backend is imported.

    A process of its own, since here the backends have been imported long ago.
    """
    program = f"""
import threading, warnings
warnings.simplefilter("ignore")
import webapp2
import webapp2_sessions
from webapp2_sessions import SessionStore

values = {{"secret_key": "{SECRET}"}}
app = webapp2.WSGIApplication(config={{"webapp2_extras.sessions": values}})
at_start = threading.Barrier(8)
opened = []

def work():
    request = webapp2.Request.blank("/")
    request.app = app
    store = SessionStore(request)
    at_start.wait()
    opened.append(store.get_session(backend="{backend}"))

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert opened == [{{}}] * 8, opened
"""
    # In the folder of the package under test, so that no other can be found first.
    folder = Path(webapp2_sessions.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@forks
def test_forked_children_work(visitor: Visitor) -> None:
    """Children of a process that uses a backend read and write, and the parent goes on."""
    visitor.write({"a": 1})

    def child() -> bool:
        found = visitor.read()
        visitor.write({"child": True})
        return found["a"] == 1 and visitor.read()["child"] is True

    assert [in_child(child) for _ in range(3)] == [True] * 3
    assert visitor.read()["a"] == 1


@forks
def test_fork_amid_requests(visitor: Visitor, backend: Backend) -> None:
    """A fork while other threads wait for the server disturbs neither side."""
    visitor.write({"a": 1})
    stop = threading.Event()

    def work() -> set[int]:
        mine, found = backend.visitor(visitor.app), set()
        mine.write({"a": 1})
        while True:
            found.add(mine.read()["a"])
            if stop.is_set():
                return found

    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(work) for _ in range(4)]
        children = [in_child(lambda: visitor.read() == {"a": 1}) for _ in range(3)]
        stop.set()
        assert [other.result(PATIENCE) for other in others] == [{1}] * 4
    assert children == [True] * 3
