"""Protocols for user-supplied objects (typing only)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from webapp2_sessions.sessions.session_dict import SessionDict

__all__ = ["CookieSerializer", "RequestHandler", "SessionContainer", "SessionFactory", "Store"]


class CookieSerializer(Protocol):
    """Signs and verifies cookies, as ``SecureCookieSerializer`` does."""

    def serialize(self, name: str, value: Any, /) -> bytes:
        """Return the value of a cookie that holds ``value``."""
        ...

    def deserialize(self, name: str, value: str, /, *, max_age: float | None) -> Any:
        """Return the data in a cookie's value, ``None`` if it is not accepted."""
        ...


class SessionContainer(Protocol):
    """Loads and saves one session of one request, as a ``BaseSessionFactory`` does."""

    def get_session(self, *, max_age: float | None) -> SessionDict:
        """Return the session, always the same object."""
        ...

    def save_session(self, response: Any, /) -> object:
        """Write the session if it was modified, and set its cookie on the response."""
        ...


class SessionFactory(Protocol):
    """Makes a session's container; usually a subclass of ``BaseSessionFactory``."""

    def __call__(self, name: str, session_store: Any, /) -> SessionContainer:
        """Return the container of the session of that name."""
        ...


class Store(Protocol):
    """The part of a session store that ``BaseSessionFactory`` needs."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration, with ``cookie_args``."""
        ...

    def get_secure_cookie(self, name: str, /, *, max_age: float | None) -> Any:
        """Return the data in a signed cookie of the request, ``None`` if there is no valid one."""
        ...

    @property
    def save_secure_cookie(self) -> Callable[..., object]:
        """Set a signed cookie, by its response, name, value and arguments."""
        ...


class RequestHandler:
    """``webapp2.RequestHandler`` with type annotations, which webapp2 lacks."""

    #: The :class:`webapp2.WSGIApplication`.
    app: Any
    #: The :class:`webapp2.Request`.
    request: Any
    #: The :class:`webapp2.Response`.
    response: Any

    def __init__(self, request: Any = None, response: Any = None) -> None: ...

    def initialize(self, request: Any, response: Any) -> None:
        """Take the request and the response to fill."""

    def dispatch(self) -> Any:
        """Call the method of the route."""

    def error(self, code: int) -> None:
        """Empty the response and set its status."""

    def abort(self, code: int, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise the ``HTTPException`` of a status."""
        raise NotImplementedError()

    def redirect(
        self,
        uri: str,
        permanent: bool = False,
        abort: bool = False,
        code: int | None = None,
        body: Any = None,
    ) -> Any:
        """Answer with a redirect to an address."""

    def redirect_to(
        self,
        _name: str,
        _permanent: bool = False,
        _abort: bool = False,
        _code: int | None = None,
        _body: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Answer with a redirect to a named route."""

    def uri_for(self, _name: str, *args: Any, **kwargs: Any) -> str:
        """Return the address of a named route."""
        raise NotImplementedError()

    url_for = uri_for

    def handle_exception(self, exception: Any, debug: bool) -> Any:
        """Answer an exception of the route's method, or raise it again."""
