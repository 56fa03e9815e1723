"""On every backend: what a session tells of its end is when it stops to open."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import pytest
import webapp2
from support.contract import MANAGED, RECORDS, Backend
from support.implementations import Clock
from support.visits import Visitor

from webapp2_sessions import SessionDict, SessionStore

YEAR = 366 * 24 * 3600


class Browser(Visitor):
    """A visitor whose browser drops a cookie when its Max-Age is over."""

    def __init__(self, app: webapp2.WSGIApplication, clock: Clock, **options: Any) -> None:
        super().__init__(app, **options)
        self.clock = clock
        #: When cookies go, by name.
        self.ends: dict[str, float] = {}

    def take(self, response: webapp2.Response) -> None:
        """Store the cookies of a response."""
        super().take(response)
        for header in response.headers.getall("Set-Cookie"):
            attributes = dict(each.strip().partition("=")[::2] for each in header.split(";")[1:])
            age = attributes.get("Max-Age")
            name = header.partition("=")[0]
            self.ends.pop(name, None)
            if age is not None:
                self.ends[name] = self.clock.now + int(age)

    def request(self) -> webapp2.Request:
        """Return a request of this visitor."""
        kept = self.cookies
        self.cookies = {k: v for k, v in kept.items() if self.clock.now <= self.ends.get(k, 1e99)}
        try:
            return super().request()
        finally:
            self.cookies = kept

    def opens(self, at: float) -> bool:
        """Return whether a request at that time would open the session; nothing is saved."""
        now, self.clock.now = self.clock.now, at
        try:
            return not SessionStore(self.request()).get_session(**self.options).new
        finally:
            self.clock.now = now

    def check(self, told: tuple[datetime.datetime | None, int | None], limit: float | None) -> None:
        """Check what was told, against what happens and against what is expected.

        :param limit: the seconds from now for which the session opens.
        """
        date, age = told
        if limit is None:
            assert told == (None, None)
            assert self.opens(self.clock.now + 10 * YEAR)
            return
        assert date is not None
        assert date.tzinfo is datetime.timezone.utc
        end = date.timestamp()
        assert (end - self.clock.now, age) == (limit, limit)
        assert [self.opens(end + seconds) for seconds in (-1, 0, 1)] == [True, True, False]


#: The keys of the configuration that some backends here set, switched off.
PLAIN = {"refresh_after": None, "absolute_max_age": None}


def told_by(session: SessionDict) -> tuple[datetime.datetime | None, int | None]:
    """Return what a session tells; asking changes nothing."""
    before = dict(session), session.modified, session._forced
    told = session.get_expiry_date(), session.get_expiry_age()
    assert (dict(session), session.modified, session._forced) == before
    return told


class Case(NamedTuple):
    """A configuration, and after how many seconds a session ends."""

    #: From the last write.
    idle: int | None
    #: From the first write.
    absolute: int | None = None
    config: dict[str, Any] = {}  # noqa: RUF012 # read only
    options: dict[str, Any] = {}  # noqa: RUF012 # read only
    #: What `set_max_age()` is called with.
    own: float | None = None


MINUTE = {"session_max_age": 60}
COOKIE = {"cookie_args": {"max_age": 50}}
DELTA = {"cookie_args": {"max_age": datetime.timedelta(seconds=50, milliseconds=700)}}
CASES = {
    "nothing": Case(None),
    "session_max_age": Case(60, config=MINUTE),
    "half a second": Case(60, config={"session_max_age": 60.5}),
    "for ever": Case(None, config={"session_max_age": float("inf")}),
    "after the year 9999": Case(None, config={"session_max_age": 1e15}),
    "the cookie": Case(50, config=COOKIE),
    "the cookie, by a timedelta": Case(50, config=DELTA),
    "the cookie, which is longer": Case(60, config={**MINUTE, "cookie_args": {"max_age": 90}}),
    "the cookie, which is shorter": Case(50, config={**MINUTE, **COOKIE}),
    "max_age": Case(30, config=MINUTE, options={"max_age": 30}),
    "max_age, which is longer": Case(90, config=MINUTE, options={"max_age": 90}),
    "max_age=None": Case(None, config=MINUTE, options={"max_age": None}),
    "max_age=None and the cookie": Case(50, config={**MINUTE, **COOKIE}, options={"max_age": None}),
    "absolute_max_age": Case(None, 70, {"absolute_max_age": 70}),
    "absolute_max_age, which is later": Case(60, 70, {**MINUTE, "absolute_max_age": 70.5}),
    "set_max_age()": Case(1000, config={**MINUTE, **COOKIE}, own=1000),
    "set_max_age(), which is shorter": Case(40, config={**MINUTE, **COOKIE}, own=40.9),
    "set_max_age() and max_age=None": Case(40, options={"max_age": None}, own=40),
    "set_max_age() and absolute_max_age": Case(1000, 70, {"absolute_max_age": 70}, own=1000),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_told_is_what_happens(clock: Clock, backend: Backend, case: Case) -> None:
    """Before a session is saved and after that, once it is read, and once it is changed again."""
    if not backend.is_ours and (case.own is not None or case.absolute is not None):
        return
    began = clock.now
    app = backend.app(**{**PLAIN, **case.config})
    browser = Browser(app, clock, backend=backend.keyword, **case.options)

    def limit(written: float) -> float | None:
        """Return the seconds from now for which a session opens that was written then."""
        limits = [(written, case.idle), (began, case.absolute)]
        return min((at + age - clock.now for at, age in limits if age is not None), default=None)

    with browser.visit() as session:
        assert told_by(session) == (None, None)
        session["a"] = 1
        if case.own is not None:
            session.set_max_age(case.own)
        told = told_by(session)
    browser.check(told, limit(clock.now))
    browser.check(told_by(session), limit(clock.now))
    written = clock.now
    clock.advance(20)
    with browser.visit() as session:
        told = told_by(session)
    assert browser.set_cookies == []
    browser.check(told, limit(written))
    browser.check(told_by(session), limit(written))
    with browser.visit() as session:
        session["a"] = 2
        told = told_by(session)
    browser.check(told, limit(clock.now))
    browser.check(told_by(session), limit(clock.now))


@pytest.fixture
def browser(backend: Backend, clock: Clock) -> Browser:
    """The browser of a visitor whose session ends after a minute."""
    app = backend.app(**{**PLAIN, "session_max_age": 60})
    return Browser(app, clock, backend=backend.keyword)


def test_refresh_counts_where_it_is_due(clock: Clock, backend: Backend) -> None:
    """From then on reading the session keeps it, and before it does not."""
    app = backend.app(**{**PLAIN, "session_max_age": 100, "refresh_after": 40})
    browser = Browser(app, clock, backend=backend.keyword)
    browser.write({"a": 1})
    clock.advance(39)
    with browser.visit() as session:
        told = told_by(session)
    browser.check(told, 61)
    clock.advance(1)
    with browser.visit() as session:
        told = told_by(session)
    browser.check(told, 100 if backend.is_ours else 60)
    browser.check(told_by(session), 100 if backend.is_ours else 60)


def test_absolute_age_of_upstreams_interface_counts_from_each_write(
    clock: Clock, backend: Backend
) -> None:
    """As its cookie does not tell when the session began. Others count from the first one."""
    browser = Browser(
        backend.app(**{**PLAIN, "absolute_max_age": 70}), clock, backend=backend.keyword
    )
    browser.write({"a": 1})
    clock.advance(20)
    with browser.visit() as session:
        session["a"] = 2
        told = told_by(session)
    browser.check(told, 50 if backend.is_ours else 70)
    clock.advance(20)
    with browser.visit() as session:
        told = told_by(session)
    browser.check(told, 30 if backend.is_ours else 50)


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_new_id_forgets_an_age_of_its_own(browser: Browser, clock: Clock) -> None:
    """It is told at once."""
    with browser.visit() as session:
        session.set_max_age(1000)
    clock.advance(10)
    with browser.visit() as session:
        browser.check(told_by(session), 990)
        session.regenerate_id()
        told = told_by(session)
    browser.check(told, 60)
    browser.check(told_by(session), 60)


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_sign_in_and_sign_out_count_as_what_they_do(clock: Clock, backend: Backend) -> None:
    """Where the configuration tells who is signed in: a new id, and the end."""
    app = backend.app(**{**PLAIN, "session_max_age": 60, "user_key": "user_id"})
    browser = Browser(app, clock, backend=backend.keyword)
    with browser.visit() as session:
        session.set_max_age(1000)
    with browser.visit() as session:
        session["user_id"] = 5
        told = session.get_expiry_date(), session.get_expiry_age()
    browser.check(told, 60)
    browser.check(told_by(session), 60)
    with browser.visit() as session:
        del session["user_id"]
        assert (session.get_expiry_date(), session.get_expiry_age()) == (None, None)
    assert told_by(session) == (None, None)


def test_change_inside_a_value(browser: Browser, clock: Clock, backend: Backend) -> None:
    """It counts where it is saved, and asking saves nothing that is undone afterwards."""
    browser.write({"cart": [1]})
    clock.advance(10)
    with browser.visit() as session:
        session["cart"].append(2)
        told = told_by(session)
        assert told[1] == (60 if backend.detects_content else 50)
        session["cart"].pop()
        told = told_by(session)
    assert browser.set_cookies == []
    browser.check(told, 50)


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_session_that_was_destroyed_has_no_end(browser: Browser, clock: Clock) -> None:
    """Neither before that is saved nor after it; what is set afterwards begins a new one."""
    with browser.visit() as session:
        session["a"] = 1
        session.set_max_age(1000)
    clock.advance(10)
    with browser.visit() as session:
        session.destroy()
        assert told_by(session) == (None, None)
        session["b"] = 2
        told = told_by(session)
    browser.check(told, 60)
    browser.check(told_by(session), 60)
    with browser.visit() as session:
        session.destroy()
    assert told_by(session) == (None, None)
    assert not browser.opens(clock.now)


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_session_that_is_destroyed_after_it_was_saved(browser: Browser, clock: Clock) -> None:
    """In one request: it counts again as a session that is not saved yet."""
    store = SessionStore(browser.request())
    session = store.get_session(backend=browser.options["backend"])
    session["a"] = 1
    store.save_sessions(webapp2.Response())
    clock.advance(10)
    session.destroy()
    assert told_by(session) == (None, None)
    session["b"] = 2
    told = told_by(session)
    response = webapp2.Response()
    store.save_sessions(response)
    browser.take(response)
    browser.check(told, 60)


@pytest.mark.parametrize("backend", ["custom"], indirect=True)
def test_age_of_its_own_is_none_with_upstreams_interface(browser: Browser, clock: Clock) -> None:
    """Nobody keeps it."""
    with browser.visit() as session:
        session.set_max_age(1000)
        told = told_by(session)
    browser.check(told, 60)


@pytest.mark.parametrize("backend", RECORDS, indirect=True)
def test_session_that_got_a_new_id_elsewhere_has_no_end(browser: Browser) -> None:
    """The request that carries the former id does not know the new one's."""
    browser.write({"a": 1})
    former = dict(browser.cookies)
    with browser.visit() as session:
        session.regenerate_id()
    browser.cookies = former
    with browser.visit() as session:
        session["b"] = 2
        assert told_by(session) == (None, None)


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_body_that_takes_long_to_send(browser: Browser, clock: Clock) -> None:
    """What was saved counts from then."""
    with browser.visit() as session:
        session["a"] = 1
    clock.advance(7)
    browser.check(told_by(session), 53)


def test_end_that_comes_during_the_request(browser: Browser, clock: Clock) -> None:
    """Nothing is left then, and not less."""
    browser.write({"a": 1})
    end = clock.now + 60
    with browser.visit() as session:
        clock.advance(59.25)
        date, age = told_by(session)
        assert (date and date.timestamp(), age) == (end, 0)
        clock.advance(10)
        date, age = told_by(session)
        assert (date and date.timestamp(), age) == (end, 0)


def test_argument_of_the_cookie_that_a_handler_changes(browser: Browser, clock: Clock) -> None:
    """It counts as it is set."""
    with browser.visit() as session:
        session["a"] = 1
        session.container.session_args["max_age"] = "30"
        told = told_by(session)
    browser.check(told, 30)
