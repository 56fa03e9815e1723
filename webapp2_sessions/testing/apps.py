"""The application behind what a test has at hand: a client, middleware, or itself."""

from __future__ import annotations

from typing import Any

import webapp2

__all__ = ["webapp_of"]

#: Where WSGI middleware and test clients have the application that they wrap.
_WRAPPED = ("app", "application", "wsgi_app")
_DEEPEST = 50


def webapp_of(app: Any) -> Any:
    """Return the :class:`webapp2.WSGIApplication` in whatever wraps it.

    :param app: the application, middleware around it, WebTest's ``TestApp``, or a
        :class:`~webapp2_sessions.testing.Client`.
    :raises TypeError: none is found.
    """
    found = app
    for _ in range(_DEEPEST):
        if isinstance(found, webapp2.WSGIApplication) or found is None:
            break
        inside = (getattr(found, name, None) for name in _WRAPPED)
        found = next((each for each in inside if each is not None), None)
    if not isinstance(found, webapp2.WSGIApplication):
        raise TypeError(
            f"no webapp2.WSGIApplication is found in a {type(app).__name__}; give the application "
            "itself"
        )
    return found
