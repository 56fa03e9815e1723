"""WSGI middleware that adds the cookies of saved sessions to the response that is sent."""

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
from webapp2_sessions.cookies.copying import AddedCookies, copy_response
from webapp2_sessions.cookies.response import as_compared
from webapp2_sessions.sessions.sign_outs import delete_destroyed

__all__ = ["SessionMiddleware"]


class SessionMiddleware:
    """Does for handlers with the documented ``dispatch()`` what ``SessionHandler`` does.

    If a handler saves its sessions to ``self.response`` and another response is sent, for instance
    after ``abort()``, their cookies are sent with that one. While any exception but an
    ``HTTPException`` is being handled, ``save_sessions()`` only deletes the sessions that were
    destroyed.

    All other attributes are those of the application.

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
        """Answer a request (WSGI, PEP 3333)."""
        outer = environ.get(SAVER_KEY)
        if outer is not None and not (outer.is_calling and outer.is_of(environ)):
            outer = None  # finished, or of another request whose environ was copied
        saver = _Saver(environ, self.save_on_error, outer)
        environ[SAVER_KEY] = saver

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, saver.add_cookies(headers), *exc_info)

        try:
            body: Iterable[bytes] = self.app(environ, start)
        finally:
            saver.is_calling = False
            if outer is not None:  # the handler that called this application continues
                environ[SAVER_KEY] = outer
        return body

    def get_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the response to ``Request.blank(*args, **kwargs)``, as webapp2's method does."""
        return self.app.request_class.blank(*args, **kwargs).get_response(self)

    def run(self, bare: bool = False) -> None:
        """Answer the request of a CGI environment; ``bare`` only matters on App Engine."""
        CGIHandler().run(self)

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # not set yet, while copy.copy() or pickle makes the object
            raise AttributeError(name)
        return getattr(self.app, name)


class _Saver:
    """Saves the sessions of one request, and collects the cookies to send.

    :param environ: the environ of the request. A copy of it belongs to another request.
    :param save_on_error: whether to save sessions after any exception.
    :param outer: the saver of an outer middleware for the same request.
    """

    def __init__(self, environ: dict[str, Any], save_on_error: bool, outer: _Saver | None) -> None:
        # Not the environ itself, which refers to this object: they would wait for the garbage
        # collector. It lives until the request is answered, so its id is not used again.
        self._environ_id = id(environ)
        #: Whether the call of the application is still running.
        self.is_calling = True
        self._save_on_error = save_on_error
        self._outer = outer
        # The caller of the application may be handling an exception already.
        self._exception_before = sys.exc_info()[1]
        #: The Set-Cookie headers to send: the last one of each cookie.
        self._cookies: dict[tuple[str, ...], str] = {}
        #: All Set-Cookie headers of sessions so far.
        self._seen: set[str] = set()
        self._varies = False

    def is_of(self, environ: dict[str, Any]) -> bool:
        """Return whether this is the environ of this saver's request."""
        return id(environ) == self._environ_id

    def save(self, store: Any, response: Any) -> None:
        """Save the sessions of a store; if the request fails, only delete destroyed ones.

        The request fails if an exception is being handled, or if saving raises one. Only the
        request's own response is changed. Any other one may outlive the request: its headers are
        completed when it is sent.
        """
        if response is not getattr(store.request, "response", None):
            response = copy_response(response)
        added = AddedCookies(response)
        try:
            error = sys.exc_info()[1]
            with added:
                if error is self._exception_before or self._should_save_after(error):
                    store._save_all(response)
                else:
                    delete_destroyed(store, response)
        except BaseException:
            with added:
                delete_destroyed(store, response)
            raise
        finally:
            self._record(added)

    def _record(self, added: AddedCookies) -> None:
        for cookie in added.cookies:
            identity = _identity(cookie)
            self._cookies.pop(identity, None)  # the last one of a cookie comes last
            self._cookies[identity] = cookie
        self._seen.update(added.cookies)
        self._varies = self._varies or added.varies
        if self._outer is not None:
            self._outer._record(added)

    def _should_save_after(self, error: BaseException | None) -> bool:
        if isinstance(error, Exception):
            return self._save_on_error or isinstance(error, HTTPException)
        return error is None

    def add_cookies(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers of the response that is sent, with each session's cookie once."""
        present = [
            header
            for header in headers
            if header[1] in self._seen and header[0].lower() == "set-cookie"
        ]
        wanted = [("Set-Cookie", cookie) for cookie in self._cookies.values()]
        if [value for _, value in present] != [value for _, value in wanted]:
            # First, so that a cookie that the application set on this very response wins.
            headers = wanted + [header for header in headers if header not in present]
        if self._varies and ("Vary", "Cookie") not in headers:
            headers = list(headers)
            vary_on_cookie(SimpleNamespace(headers=ResponseHeaders.view_list(headers)))
        return headers


def _identity(cookie: str) -> tuple[str, ...]:
    """Return the name, domain and path by which browsers identify a cookie (RFC 6265 5.3)."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    scope = {}
    for attribute in attributes:
        key, _, value = attribute.partition("=")
        scope[key.lower()] = value
    domain = as_compared(scope.get("domain", ""))
    return pair.partition("=")[0], domain or "", scope.get("path", "")
