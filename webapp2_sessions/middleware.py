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
from webapp2_sessions.sessions.endings import Additions, copied
from webapp2_sessions.sessions.sign_outs import end_destroyed

__all__ = ["SessionMiddleware"]


class SessionMiddleware:
    """Gives handlers with the documented ``dispatch()`` what ``SessionHandler`` has.

    Where a handler saves its sessions to ``self.response`` and another response is sent, because
    it ended by ``abort()`` for instance, their cookies are sent with that one. While any
    exception but an ``HTTPException`` is being handled, ``save_sessions()`` saves nothing, and
    ends the sessions that were destroyed.

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
        outer = environ.get(SAVER_KEY)
        if outer is not None and not (outer.is_calling and outer.is_of(environ)):
            outer = None  # it came with a copy, of another request's environ, or has done its work
        saver = _Saver(environ, self.save_on_error, outer)
        environ[SAVER_KEY] = saver

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, saver.complete(headers), *exc_info)

        try:
            body: Iterable[bytes] = self.app(environ, start)
        finally:
            saver.is_calling = False
            if outer is not None:  # the handler that has called this application goes on
                environ[SAVER_KEY] = outer
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
    """Saves the sessions of one request, and knows the cookies that have to be sent.

    :param environ: the request's. Copies of it are other requests, though they have the key.
    :param outer: that of a middleware further out, through which the same request came.
    """

    def __init__(self, environ: dict[str, Any], save_on_error: bool, outer: _Saver | None) -> None:
        # With the environ itself there would be a cycle. It lives until the request is answered.
        self._environ_id = id(environ)
        #: Whether the application has been called and has not returned yet.
        self.is_calling = True
        self._save_on_error = save_on_error
        self._outer = outer
        # The application may have been called by somebody who is handling an exception.
        self._exception_before = sys.exc_info()[1]
        #: The Set-Cookie headers to be sent: those that were saved last, of each cookie.
        self._cookies: dict[tuple[str, ...], str] = {}
        #: All that were ever saved.
        self._seen: set[str] = set()
        self._varies = False

    def is_of(self, environ: dict[str, Any]) -> bool:
        """Whether this is the environ of the request whose sessions it saves."""
        return id(environ) == self._environ_id

    def save(self, store: Any, response: Any) -> None:
        """Save the sessions of a store; those that were destroyed only, if the request fails.

        It does while an exception is being handled, and if saving fails. Cookies are set on the
        response of the request. Any other one may outlive it, and stays as it is: its headers are
        completed when they are sent.
        """
        if response is not getattr(store.request, "response", None):
            response = copied(response)
        additions = Additions(response)
        try:
            error = sys.exc_info()[1]
            with additions:
                if error is self._exception_before or self._may_save_after(error):
                    store._save_all(response)
                else:
                    end_destroyed(store, response)
        except BaseException:
            with additions:
                end_destroyed(store, response)
            raise
        finally:
            self._record(additions)

    def _record(self, additions: Additions) -> None:
        self._cookies.update((_identity(cookie), cookie) for cookie in additions.cookies)
        self._seen.update(additions.cookies)
        self._varies = self._varies or additions.varies
        if self._outer is not None:
            self._outer._record(additions)

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
