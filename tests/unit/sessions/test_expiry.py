"""When a session ends, as far as no backend matters; tests/conformance/test_expiry.py has those."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import webapp2
from support.visits import Visitor, make_app

from webapp2_sessions import SecureCookieSessionFactory, SessionDict
from webapp2_sessions.testing import MemorySessionFactory, memory_of, travel


class DuckContainer:
    """A container of an application's own, which derives from nothing."""

    def __init__(self, name: str, store: Any) -> None:
        self.session = SessionDict(self)

    def get_session(self, max_age: float | None = None) -> SessionDict:
        """Return the session."""
        return self.session


@pytest.mark.parametrize(
    "container",
    [
        *(None, SimpleNamespace(), DuckContainer("session", None)),
        *(mock.Mock(), mock.MagicMock(spec=SecureCookieSessionFactory)),
    ],
    ids=["none", "plain", "duck", "mock", "mock of a factory"],
)
@pytest.mark.parametrize("new", [True, False])
def test_container_that_does_not_tell(container: Any, new: bool) -> None:
    session = SessionDict(container, new=new)
    session["a"] = 1
    assert (session.get_expiry_date(), session.get_expiry_age()) == (None, None)


class DuckStore:
    """A store of an application's own, with upstream's interface alone: it tells no times."""

    def __init__(self, **cookie_args: Any) -> None:
        self.config = {"cookie_args": {"path": "/", **cookie_args}, "absolute_max_age": 1000}
        self.kept: Any = None

    def get_secure_cookie(self, name: str, max_age: float | None = None) -> Any:
        """Return what was kept."""
        return self.kept

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Keep the value."""
        self.kept = dict(value)


def test_store_that_tells_no_times() -> None:
    with travel(1_000_000):
        store = DuckStore(max_age=30)
        factory = SecureCookieSessionFactory("session", store)
        session = factory.get_session(max_age=50)
        session["a"] = 1
        assert session.get_expiry_age() == 30
        factory.save_session(webapp2.Response())
        assert session.get_expiry_age() == 30
        session = SecureCookieSessionFactory("session", store).get_session(max_age=50)
        assert (session, session.get_expiry_age()) == ({"a": 1}, None)
        session["a"] = 2
        assert session.get_expiry_age() == 30


@pytest.mark.parametrize(
    ("signed_at", "date"),
    [
        (2**63, None),
        (253402300800 - 60, None),
        (253402300799 - 60, datetime.datetime(9999, 12, 31, 23, 59, 59)),
        (-(2**63), datetime.datetime(1970, 1, 1)),
    ],
)
def test_times_of_which_no_datetime_can_tell(
    signed_at: int, date: datetime.datetime | None
) -> None:
    """A serializer of the application's own may count in nanoseconds."""
    visitor = Visitor(make_app())
    visitor.write({"a": 1})
    with visitor.visit(max_age=60) as session:
        session.container._signed_at = signed_at
        assert session.get_expiry_date() == (date and date.replace(tzinfo=datetime.timezone.utc))


def test_fraction_of_a_second() -> None:
    """Cookies are signed in whole seconds, and the age is rounded down."""
    visitor = Visitor(make_app(session_max_age=60))
    with travel(1_000_000.75) as clock:
        with visitor.visit() as session:
            session["a"] = 1
            assert session.get_expiry_age() == 59
        clock.move_to(1_000_060.99)
        assert visitor.read() == {"a": 1}
        clock.move_to(1_000_061)
        assert visitor.read() == {}


@pytest.fixture
def visitor() -> Visitor:
    """A visitor of an application that goes on without its server, with a session."""
    backends = {"memory": MemorySessionFactory}
    config = {"on_backend_error": "degrade", "session_max_age": 60}
    visitor = Visitor(make_app(backends=backends, default_backend="memory", **config))
    visitor.write({"a": 1})
    return visitor


def test_degraded_session_has_no_end(visitor: Visitor) -> None:
    """It is empty, and is not written."""
    with memory_of(visitor.app).unavailable(), visitor.visit() as session:
        session["b"] = 2
        assert (session.get_expiry_date(), session.get_expiry_age()) == (None, None)


def test_degraded_session_that_is_begun_again(visitor: Visitor) -> None:
    """The server may work by the time at which it is saved."""
    with travel():
        with memory_of(visitor.app).unavailable(writes=False), visitor.visit() as session:
            session.destroy()
            assert session.get_expiry_age() is None
            session["b"] = 2
            assert session.get_expiry_age() == 60
        assert visitor.read() == {"b": 2}


def test_save_that_fails(visitor: Visitor) -> None:
    """What it would have had is not told any more."""
    with travel():
        with memory_of(visitor.app).unavailable(reads=False), visitor.visit() as session:
            session["b"] = 2
            assert session.get_expiry_age() == 60
        assert session.get_expiry_age() is None
