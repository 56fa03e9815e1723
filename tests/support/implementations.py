"""The two implementations, upstream and ours, called alike with comparable results."""

from __future__ import annotations

import copy
import datetime
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import webapp2
import webapp2_extras.securecookie
import webapp2_extras.sessions
import webob.cookies

import webapp2_sessions.securecookie
import webapp2_sessions.sessions

#: Computed, because literal keys in the sources cause warnings.
SECRET = hashlib.sha256(b"a secret of the tests, of no use elsewhere").hexdigest()


@dataclass(frozen=True)
class Side:
    """One of the two implementations."""

    name: str
    sessions: ModuleType
    securecookie: ModuleType

    def __str__(self) -> str:
        return self.name

    def app(self, **config: Any) -> webapp2.WSGIApplication:
        """Return a fresh application with this session configuration."""
        values = {"secret_key": SECRET, **config}
        return webapp2.WSGIApplication(config={"webapp2_extras.sessions": values})

    def store(self, app: webapp2.WSGIApplication, cookie: str | None = None, **kwargs: Any) -> Any:
        """Return a session store for a new request with that Cookie header."""
        return self.sessions.SessionStore(request(app, cookie), **kwargs)


UPSTREAM = Side("upstream", webapp2_extras.sessions, webapp2_extras.securecookie)
OURS = Side("ours", webapp2_sessions.sessions, webapp2_sessions.securecookie)
SIDES = (UPSTREAM, OURS)


def request(
    app: webapp2.WSGIApplication, cookie: str | None = None, path: str = "/"
) -> webapp2.Request:
    """Return a request to the application; the Cookie header goes in as a server passes it."""
    result = webapp2.Request.blank(path)
    result.app = app
    if cookie is not None:
        result.environ["HTTP_COOKIE"] = cookie
    return result


def save(store: Any) -> list[str]:
    """Save all sessions of a store; returns the Set-Cookie headers."""
    response = webapp2.Response()
    store.save_sessions(response)
    return set_cookies(response)


def set_cookies(response: webapp2.Response) -> list[str]:
    """Return the Set-Cookie headers of a response, in order."""
    return list(response.headers.getall("Set-Cookie"))


def cookie_pair(set_cookie: str) -> str:
    """Return the ``name=value`` that a browser sends back for a Set-Cookie header."""
    return set_cookie.partition(";")[0]


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, Any]:
    """Call something; returns what it returned, or the type and text of what it raised."""
    try:
        return ("returned", call(*args, **kwargs))
    except Exception as error:
        return (type(error).__name__, str(error))


class Clock:
    """A clock that advances only on request."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds

    def time(self) -> float:
        """Replace :func:`time.time`."""
        return self.now

    @property
    def datetime_class(self) -> type[datetime.datetime]:
        """The replacement of the datetime class that WebOb uses."""
        clock = self

        class _Datetime(datetime.datetime):
            @classmethod
            def utcnow(cls) -> datetime.datetime:
                utc = datetime.datetime.fromtimestamp(clock.now, datetime.timezone.utc)
                return utc.replace(tzinfo=None)

        return _Datetime


@contextmanager
def stopped_clock(clock: Clock | None = None) -> Iterator[Clock]:
    """Make both implementations and WebOb use a stopped clock."""
    clock = clock or Clock()
    with (
        mock.patch.object(time, "time", clock.time),
        mock.patch.object(webob.cookies, "datetime", clock.datetime_class),
    ):
        yield clock


def records_factory(side: Side, records: dict[str, Any]) -> Any:
    """Return a server-side factory as applications write one against upstream: two methods."""

    class RecordsFactory(side.sessions.CustomBackendSessionFactory):
        def _get_by_sid(self, sid: str | None) -> Any:
            if self._is_valid_sid(sid) and sid in records:
                self.sid = sid
                return side.sessions.SessionDict(self, data=copy.deepcopy(records[sid]))
            self.sid = self._get_new_sid()
            return side.sessions.SessionDict(self, new=True)

        def save_session(self, response: Any) -> None:
            if self.session is None or not self.session.modified:
                return
            records[self.sid] = dict(self.session)
            self.session_store.save_secure_cookie(
                response, self.name, {"_sid": self.sid}, **self.session_args
            )

    return RecordsFactory
