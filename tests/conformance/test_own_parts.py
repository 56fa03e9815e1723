"""Parts that an application has put in place of upstream's: the same call on both sides."""

from __future__ import annotations

import collections
import logging
import types
from typing import Any
from unittest import mock

import pytest
import webapp2
from support.implementations import OURS, SIDES, Side, request, save, stopped_clock
from support.stores import make_request, make_store
from support.visits import make_app

from webapp2_sessions import ConfigError, SessionDict, SessionStore
from webapp2_sessions.testing import MemorySessionFactory

EACH_SIDE = pytest.mark.parametrize("side", SIDES, ids=str)


def alike(run: Any) -> Any:
    """What a function shows of each side, which has to be the same."""
    with stopped_clock():
        shown = [run(side) for side in SIDES]
    assert shown[0] == shown[1]
    return shown[0]


def test_serializer_that_returns_text() -> None:
    """As ``dumps()`` of other libraries does."""

    class Text:
        def serialize(self, name: str, value: Any) -> str:
            return "text-not-bytes"

    def run(side: Side) -> list[str]:
        store = side.store(side.app())
        store.serializer = Text()
        store.get_session()["a"] = 1
        return save(store)

    assert alike(run) == ["session=text-not-bytes; Path=/"]


class Policy(webapp2.Response):
    """Its ``set_cookie()`` looks at names and values."""

    samesite = {"session": "lax"}  # noqa: RUF012 # read only

    def set_cookie(self, name: str, value: Any = "", **kwargs: Any) -> None:
        assert b"|" in value, "only signed cookies are allowed"
        super().set_cookie(name, value, **{**kwargs, "samesite": self.samesite[name]})


@EACH_SIDE
@pytest.mark.parametrize("is_configured", [False, True])
def test_response_that_looks_at_names_and_values(side: Side, is_configured: bool) -> None:
    """Arguments are tried on it, and it may refuse what they are tried with."""
    app = side.app()
    if is_configured:
        app.response_class = Policy
    store = side.store(app)
    store.get_session()["a"] = 1
    response = Policy()
    store.save_sessions(response)
    assert response.headers["Set-Cookie"].endswith("; Path=/; SameSite=lax")


@pytest.mark.parametrize(
    "made", [dict, collections.UserDict, types.MappingProxyType, list], ids=str
)
@pytest.mark.parametrize("place", ["store", "serializer"])
def test_mapping_or_pairs_of_an_own_store_or_serializer(made: Any, place: str) -> None:
    """``SessionDict`` takes all of them."""

    def run(side: Side) -> Any:
        data = [("a", 1)] if made is list else made({"a": 1})

        class Store(side.sessions.SessionStore):
            def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
                return data if place == "store" else super().get_secure_cookie(name, max_age)

        store = Store(request(side.app(), "session=x"))
        if place == "serializer":
            store.serializer = mock.Mock(**{"deserialize.return_value": data})
        session = store.get_session()
        return dict(session), session.new

    assert alike(run) == ({"a": 1}, False)


def test_serializer_that_knows_certain_names_only() -> None:
    """A forged cookie gives a new session, and no other name is asked for."""

    class Keys:
        keys = {"session": "key"}  # noqa: RUF012 # read only

        def deserialize(self, name: str, value: str, max_age: Any = None) -> Any:
            assert self.keys[name]

    def run(side: Side) -> Any:
        store = side.store(side.app(), "session=forged")
        store.serializer = Keys()
        session = store.get_session()
        return dict(session), session.new

    assert alike(run) == ({}, True)


@pytest.mark.parametrize("container", [mock.Mock(), mock.MagicMock(), None, object()], ids=type)
def test_flashes_whatever_the_container_is(container: Any) -> None:
    """Nothing is asked of it but a number of messages."""

    def run(side: Side) -> Any:
        session = side.sessions.SessionDict(container)
        session.add_flash("a", "info")
        return session.get_flashes()

    assert alike(run) == [("a", "info")]


def test_flashes_in_an_own_kind_of_list() -> None:
    """Whatever has ``append()`` will do."""

    def run(side: Side) -> Any:
        session = side.store(side.app()).get_session()
        session["_flash"] = collections.deque(maxlen=2)
        for text in "abc":
            session.add_flash(text)
        return list(session["_flash"])

    assert alike(run) == [("b", None), ("c", None)]


@pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock])
def test_mocked_request(kind: Any) -> None:
    """As in an application's unit tests."""

    def run(side: Side) -> list[str]:
        store = side.sessions.SessionStore(kind(app=side.app(), cookies={}))
        store.get_session()["a"] = 1
        return save(store)

    assert len(alike(run)) == 1


def test_backend_of_upstreams_kind_that_cannot_merge() -> None:
    """It is refused, and not left to lose what others save."""
    sessions = OURS.sessions
    factory = type("Factory", (sessions.CustomBackendSessionFactory,), {})
    store = make_store(backends={"mine": factory}, on_conflict="merge")
    with pytest.raises(ConfigError, match="on_conflict: is 'merge', and Factory cannot compare"):
        store.get_session(backend="mine")
    store.get_session()  # a cookie has nothing to merge with


def test_debug_mode_tells_of_nothing_that_was_saved(caplog: pytest.LogCaptureFixture) -> None:
    """By the session's container, as a library does; and what cannot be compared is not told of."""

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise RuntimeError

    app = make_app(backends={"memory": MemorySessionFactory})
    app.debug = True
    with caplog.at_level(logging.WARNING):
        for data in ({"a": 1}, {}):
            store = SessionStore(make_request(app))
            session: SessionDict = store.get_session(backend="memory")
            session.update(data)
            response = webapp2.Response()
            session.container.save_session(response)
            if not data:
                session.container.session = SessionDict(session.container, {"x": Unpicklable()})
                store.save_sessions(response)
            del store, session
    told = [each.message for each in caplog.records if each.name.endswith("unsaved")]
    assert told == []
