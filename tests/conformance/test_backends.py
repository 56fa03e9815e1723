"""One contract that every backend keeps: what a visitor and a handler may expect of a session."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import webapp2
from support.contract import PATIENCE, Backend
from support.forks import forks, in_child
from support.handlers import DocumentedHandler
from support.implementations import Clock
from support.visits import SECRET, Visitor

import webapp2_sessions
from webapp2_sessions import (
    ConfigError,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    UnstorableValue,
    get_store,
)
from webapp2_sessions.errors import UnreadableSession


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


def test_change_that_equality_does_not_tell(visitor: Visitor, backend: Backend) -> None:
    """A value that is equal, and would be stored differently, is a change where it is compared."""
    values: dict[str, Any] = {"order": {"a": 1, "b": 2}, "zero": [0.0]}
    if backend.keeps_types:
        values["price"] = [Decimal("9.9")]
    visitor.write(values)
    with visitor.visit() as session:
        assert session == values
        session["order"]["a"] = session["order"].pop("a")
        session["zero"][0] = -0.0
        if backend.keeps_types:
            session["price"][0] = Decimal("9.90")
    changed = {"order": {"b": 2, "a": 1}, "zero": [-0.0], "price": [Decimal("9.90")]}
    expected = changed if backend.detects_content else values
    assert visitor.read() == values
    assert repr(visitor.read()) == repr({key: expected[key] for key in values})


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


def test_error_says_where_an_unstorable_value_is(visitor: Visitor, backend: Backend) -> None:
    """By its keys, whatever the format is; nothing is written."""
    if backend.keyword in ("custom", "own"):  # which have formats of their own
        return
    visitor.write({"kept": 1})
    with pytest.raises(UnstorableValue) as caught:
        visitor.write({"kept": 2, "a": [1, {"b": threading.Lock()}]})
    assert (caught.value.path, caught.value.kind) == ("session['a'][1]['b']", "lock")
    assert visitor.read() == {"kept": 1}


class Cart:
    """A class that an application renames."""


def test_error_names_the_class_that_is_gone(
    visitor: Visitor, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that cannot be decoded any more is neither lost nor empty."""
    if not backend.pickles:
        return
    visitor.write({"cart": Cart()})
    with monkeypatch.context() as patch:
        patch.delattr(f"{__name__}.Cart")
        with pytest.raises(UnreadableSession, match=rf"{re.escape(__name__)}\.Cart"):
            visitor.read()
    assert type(visitor.read()["cart"]) is Cart


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


def test_change_inside_a_value_beside_another(backend: Backend) -> None:
    """What was loaded is compared with as it was, whatever was done to the session's values."""
    visitor = backend.visitor()
    visitor.write({"cart": ["tea"], "left": 0})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    first, second = (store.get_session(backend=backend.keyword) for store in stores)
    first["left"] = "theirs"
    second["cart"].append("milk")
    second["seen"] = True
    for store in stores:
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
    found = visitor.read()
    assert found["cart"] == ["tea", "milk"]
    assert found["left"] == ("theirs" if backend.merges else 0)


def test_age_of_its_own_beside_a_save_of_the_same_data(backend: Backend) -> None:
    """That another request has stored the same data does not mean that the age is stored."""
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind keeps no ages")
    visitor = backend.visitor()
    visitor.write({"a": 1})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    sessions = [store.get_session(backend=backend.keyword) for store in stores]
    sessions[0].mark_changed()
    sessions[1].set_max_age(900)
    for store in stores:
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
    with visitor.visit() as session:
        assert session.container.own_max_age == 900


def test_change_beside_another_that_equality_does_not_tell(backend: Backend) -> None:
    """It is no less a change than others, also where those of requests at once are merged."""
    visitor = backend.visitor()
    visitor.write({"order": {"a": 1, "b": 2}, "zero": [0.0], "left": 0})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    first, second = (store.get_session(backend=backend.keyword) for store in stores)
    first["left"] = "theirs"
    second["order"] = {"b": 2, "a": 1}
    second["zero"] = [-0.0]
    for store in stores:
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
    found = visitor.read()
    assert repr([found["order"], found["zero"]]) == "[{'b': 2, 'a': 1}, [-0.0]]"
    assert found["left"] == ("theirs" if backend.merges else 0)


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


def signing_out_and_failing(base: Any, keyword: str) -> Any:
    """A page that ends its session, puts something into it, and fails."""

    class Page(base):
        def get(self) -> None:
            session = get_store(request=self.request).get_session(backend=keyword)
            session.destroy()
            session["b"] = 2
            raise ValueError("after signing out")

    return Page


@pytest.mark.parametrize("is_in_middleware", [False, True], ids=["handler", "middleware"])
def test_session_that_a_failing_request_destroyed_is_gone(
    backend: Backend, is_in_middleware: bool
) -> None:
    """The error page takes the cookie back; what was set afterwards is not saved."""
    app = backend.app()
    visitor = backend.visitor(app)
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    base = DocumentedHandler if is_in_middleware else SessionHandler
    app.router.add(("/", signing_out_and_failing(base, backend.keyword)))
    site = SessionMiddleware(app) if is_in_middleware else app
    response = visitor.request().get_response(site)
    visitor.take(response)
    assert response.status_int == 500
    if backend.is_ours:
        assert visitor.cookies == {}
    visitor.cookies = former
    assert visitor.read() == ({} if backend.is_ours and backend.is_stored else {"a": 1})


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
