"""Around a WSGI application: cookies of sessions that were saved reach what is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any
from wsgiref.handlers import CGIHandler

from webob.exc import HTTPException
from webob.headers import ResponseHeaders

from webapp2_sessions.config import SAVER_KEY
from webapp2_sessions.cookies import vary_on_cookie
from webapp2_sessions.endings import added_cookies, set_cookies, varies_on_cookie

__all__ = ["SessionMiddleware"]


class SessionMiddleware:
    """Gives handlers with the documented ``dispatch()`` what ``SessionHandler`` has.

    Where a handler saves its sessions to ``self.response`` and another response is sent, because
    it ended by ``abort()`` for instance, their cookies are sent with that one. While any
    exception but an ``HTTPException`` is being handled, ``save_sessions()`` saves nothing.

    Other attributes than those below are the application's.

    :param app: the WSGI application, usually a :class:`webapp2.WSGIApplication`.
    :param save_on_error: whether sessions are saved, and cookies sent, after any exception.
    """

    #: The application.
    app: Any
    #: Whether sessions are saved, and cookies sent, after any exception.
    save_on_error: bool

    def __init__(self, app: Callable[..., Iterable[bytes]], save_on_error: bool = False) -> None:
        self.app = app
        self.save_on_error = save_on_error

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request, as WSGI (PEP 3333) wants it."""
        saver = _Saver(self.save_on_error)
        environ[SAVER_KEY] = saver.save

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, saver.complete(headers), *exc_info)

        body: Iterable[bytes] = self.app(environ, start)
        return body

    def get_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the response to a request made of the arguments, as the application's does."""
        return self.app.request_class.blank(*args, **kwargs).get_response(self)

    def run(self, bare: bool = False) -> None:
        """Answer the request of a CGI environment; ``bare`` means nothing outside App Engine."""
        CGIHandler().run(self)

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.app, name)


class _Saver:
    """Saves the sessions of one request, and knows the cookies that have to be sent."""

    def __init__(self, save_on_error: bool) -> None:
        self._save_on_error = save_on_error
        # The application may have been called by somebody who is handling an exception.
        self._exception_before = sys.exc_info()[1]
        #: The Set-Cookie headers to be sent: those that were saved last, of each cookie.
        self._cookies: dict[tuple[str, ...], str] = {}
        #: All that were ever saved.
        self._seen: set[str] = set()
        self._varies = False

    def save(self, save: Callable[[Any], None], response: Any) -> None:
        """Save the sessions of a store, unless an exception is being handled."""
        error = sys.exc_info()[1]
        if error is not self._exception_before and not self._may_save_after(error):
            return
        before = set_cookies(response)
        save(response)
        for cookie in added_cookies(before, response):
            self._cookies[_identity(cookie)] = cookie
            self._seen.add(cookie)
        self._varies = self._varies or varies_on_cookie(response)

    def _may_save_after(self, error: BaseException | None) -> bool:
        if isinstance(error, Exception):
            return self._save_on_error or isinstance(error, HTTPException)
        return error is None

    def complete(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers with each cookie once; what is complete stays as it is."""
        present = [header for header in headers if self._is_ours(*header)]
        wanted = [("Set-Cookie", cookie) for cookie in self._cookies.values()]
        if [value for _, value in present] != [value for _, value in wanted]:
            # First, because a cookie that the application set for that very response should win.
            headers = wanted + [header for header in headers if header not in present]
        if self._varies:
            headers = list(headers)
            vary_on_cookie(SimpleNamespace(headers=ResponseHeaders.view_list(headers)))
        return headers

    def _is_ours(self, name: str, value: str) -> bool:
        return name.lower() == "set-cookie" and value in self._seen


def _identity(cookie: str) -> tuple[str, ...]:
    """What tells cookies apart in a browser (RFC 6265 section 5.3): name, domain and path."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    places = (part for part in attributes if part.lower().startswith(("domain=", "path=")))
    return (pair.partition("=")[0], *sorted(places))
