"""A browser that visits an application, without a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

import webapp2

from webapp2_sessions import SessionDict, SessionStore

__all__ = ["SECRET", "Visitor", "make_app"]

#: Computed, because literal keys in the sources cause warnings.
SECRET = hashlib.sha256(b"a secret that is only used by tests").hexdigest()


def make_app(**config: Any) -> webapp2.WSGIApplication:
    """Return an application with this session configuration; `secret_key` has a default."""
    values = {"secret_key": SECRET, **config}
    return webapp2.WSGIApplication(config={"webapp2_extras.sessions": values})


class Visitor:
    """A browser that keeps its cookies from one request to the next.

    :param app: the application that is visited.
    :param options: arguments of each `get_session()`, usually `backend=`.
    """

    def __init__(self, app: webapp2.WSGIApplication, **options: Any) -> None:
        self.app = app
        self.options = options
        self.cookies: dict[str, str] = {}
        #: The response of the last visit that came to saving.
        self.response: webapp2.Response | None = None

    @contextmanager
    def visit(self, **options: Any) -> Iterator[SessionDict]:
        """Make a request: yield its session, and save it if the block raises no error."""
        store = SessionStore(self.request())
        yield store.get_session(**{**self.options, **options})
        self.response = response = webapp2.Response()
        store.save_sessions(response)
        self.take(response)

    def request(self) -> webapp2.Request:
        """Return a request of this visitor."""
        pairs = [f"{name}={value}" for name, value in self.cookies.items()]
        headers = {"Cookie": "; ".join(pairs)} if pairs else {}
        request = webapp2.Request.blank("/", headers=headers)
        request.app = self.app
        return request

    def take(self, response: webapp2.Response) -> None:
        """Store the cookies of a response."""
        for header in response.headers.getall("Set-Cookie"):
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    def write(self, values: Mapping[Any, Any], **options: Any) -> str | None:
        """Make a request that updates the session; return the session's id, if it has one."""
        with self.visit(**options) as session:
            session.update(values)
        return getattr(session.container, "sid", None)

    def read(self, **options: Any) -> dict[Any, Any]:
        """Make a request that only reads; return the session's data."""
        with self.visit(**options) as session:
            return dict(session)

    @property
    def set_cookies(self) -> list[str]:
        """The Set-Cookie headers of the last visit that came to saving."""
        if self.response is None:
            return []
        return list(self.response.headers.getall("Set-Cookie"))
