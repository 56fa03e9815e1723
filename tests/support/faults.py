"""What the tests of failing servers share: secrets to look for, bounds and visitors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from support.visits import SECRET, Visitor, make_app
from webapp2_sessions import BackendUnavailable, SecureCookieSerializer

__all__ = [
    "BOUND",
    "CARD",
    "PATIENCE",
    "SID",
    "returning_visitor",
    "slow_visitor",
    "texts",
    "works",
]

#: Neither this nor a session id nor the secret key may stand in an error or a log.
CARD = "4242424242424242"

SID = "0123456789abcdefghijkl"

#: Seconds within which a server that is silent must have been given up; timeouts are shorter.
BOUND = 10.0

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0


def returning_visitor(app: Any, backend: str) -> Visitor:
    """Return a visitor whose cookie names a session."""
    visitor = Visitor(app, backend=backend)
    cookie = SecureCookieSerializer(SECRET).serialize("session", {"_sid": SID})
    visitor.cookies["session"] = cookie.decode("ascii")
    return visitor


def slow_visitor() -> Visitor:
    """Return a visitor of an application whose sessions are in Datastore, with a short timeout."""
    return Visitor(make_app(datastore={"timeout": 1.0}), backend="datastore")


def works(visitor: Visitor, values: Mapping[Any, Any] = MappingProxyType({"works": True})) -> bool:
    """Return whether the visitor's session can be stored."""
    visitor.response = None
    try:
        visitor.write(values)
    except BackendUnavailable:
        return False
    return bool(visitor.set_cookies)


def texts(error: BaseException | None) -> list[str]:
    """Return the texts of an error and of all that led to it."""
    if error is None:
        return []
    return [str(error), repr(error), *texts(error.__cause__), *texts(error.__context__)]
