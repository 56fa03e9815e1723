"""Delete the sessions that a request destroyed before it failed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.errors import SessionError
from webapp2_sessions.sessions import events
from webapp2_sessions.sessions.session_dict import is_destroyed

logger: logging.Logger = logging.getLogger(__name__)


def delete_destroyed(store: Any, response: Any, others: Iterable[Any] = ()) -> bool:
    """Delete the sessions that were destroyed, expire their cookies, and save nothing else.

    Data that was put into such a session afterwards is dropped. Errors are logged and not raised,
    because another one is being handled. Can be called again with another response: cookies expire
    there as well, and nothing is deleted twice.

    :param store: the :class:`~webapp2_sessions.sessions.SessionStore`.
    :param response: the response on which the cookies expire.
    :param others: factories of sessions that were destroyed, and may have been saved since.
    :returns: whether there were any. Backends that were written for upstream's interface cannot
        delete, and have none.
    """
    destroyed = [
        container
        for container in [*getattr(store, "sessions", {}).values()]
        if getattr(container, "can_destroy", False)
        and (container in others or is_destroyed(getattr(container, "session", None)))
    ]
    for container in destroyed:
        container.session.destroy()
        try:
            container.save_session(response)
        except Exception as error:
            if getattr(container, "_is_reported", False):
                continue
            container._is_reported = True
            events.tell_error(store.config, error)
            # The text of any other error may hold the session's id.
            cause = error if isinstance(error, SessionError) else type(error).__name__
            logger.error("The session %r was destroyed, and not ended: %s", container.name, cause)
        container.session.destroy()
    if destroyed and store.config.get("vary"):
        cookies.vary_on_cookie(response)
    unsaved = getattr(store, "_unsaved", None)
    if unsaved is not None:
        unsaved.settle()  # nothing else is saved, on purpose
    return bool(destroyed)
