"""Sessions that were destroyed by a request that fails afterwards: they end all the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.errors import SessionError
from webapp2_sessions.sessions.session_dict import is_destroyed

__all__ = ["end_destroyed"]

logger: logging.Logger = logging.getLogger(__name__)


def end_destroyed(store: Any, response: Any, others: Iterable[Any] = ()) -> bool:
    """End the sessions of a store that were destroyed, and save nothing else.

    What was put into such a session since is dropped. An error is logged and not raised, since
    another one is being handled. To call this again with another response has the cookies expire
    there as well, and deletes nothing twice.

    :param store: the :class:`~webapp2_sessions.sessions.SessionStore`.
    :param response: where their cookies expire.
    :param others: factories whose sessions were destroyed, and may have been saved since.
    :returns: whether there were any. Backends that were written against upstream's interface
        cannot delete, and have none.
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
            # The text of an error that is not ours may hold the session's id.
            cause = error if isinstance(error, SessionError) else type(error).__name__
            logger.error("The session %r was destroyed, and not ended: %s", container.name, cause)
        container.session.destroy()
    if destroyed and store.config.get("vary"):
        cookies.vary_on_cookie(response)
    unsaved = getattr(store, "_unsaved", None)
    if unsaved is not None:
        unsaved.settle()  # the rest is left unsaved on purpose
    return bool(destroyed)
