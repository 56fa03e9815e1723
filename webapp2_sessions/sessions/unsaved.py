"""In debug mode: changes that a request has made to its sessions, and that nobody has saved."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from webapp2_sessions.sessions.changes import Snapshot
from webapp2_sessions.sessions.session_dict import is_destroyed

__all__ = ["Unsaved"]

logger: logging.Logger = logging.getLogger(__name__)

#: Key of what reports at the end of a request, among the attributes of the request.
_KEY = "webapp2_sessions.sessions.unsaved"


class _Saved(NamedTuple):
    """A session as it was when its store saved for the last time."""

    session: Any
    snapshot: Snapshot
    is_destroyed: bool
    regenerates: bool


class Unsaved:
    """Reports changes of a store's sessions that are lost, once its request is freed.

    That is when it has been answered, unless a body that is still being sent refers to it. What
    is changed later by somebody who has a session and not the request is reported when the
    cycle collector comes to the store.

    :param store: the :class:`~webapp2_sessions.sessions.SessionStore`.
    :param attributes: those of its request.
    """

    def __init__(self, store: Any, attributes: dict[str, Any]) -> None:
        self._store = store
        self._saved: dict[Any, _Saved] = {}
        attributes.setdefault(_KEY, []).append(_End(self))

    def settle(self, only: Any = None) -> None:
        """Take note that the sessions have been saved, or are not to be saved, as they are now.

        :param only: the name of one session; ``None`` for all.
        """
        for name, container in [*self._store.sessions.items()]:
            if only not in (None, name):
                continue
            session = getattr(container, "session", None)
            if session is not None:
                self._saved[name] = _Saved(
                    session,
                    Snapshot(session, **getattr(container, "_codec", {})),
                    is_destroyed(session),
                    getattr(session, "_regenerates", False),
                )

    def report(self) -> None:
        """Log what has been changed since, or was never saved; each change once."""
        for name, container in [*self._store.sessions.items()]:
            session = getattr(container, "session", None)
            if session is not None and not getattr(session, "_degraded", False):
                saved = self._saved.get(name)
                if saved is None or saved.session is not session:
                    _report_if_never_saved(container, session)
                else:
                    _report_if_changed(container, saved)
        self.settle()

    def __del__(self) -> None:
        _report_at_the_end(self)


class _End:
    """Is freed with its request."""

    def __init__(self, unsaved: Unsaved) -> None:
        self._unsaved = ref(unsaved)  # the store may have the request

    def __del__(self) -> None:
        _report_at_the_end(self._unsaved())


def _report_at_the_end(unsaved: Unsaved | None) -> None:
    # Nobody could catch what a finalizer raises: a value of the application's may fail to compare.
    if unsaved is not None and not sys.is_finalizing():
        with suppress(Exception):
            unsaved.report()


def _report_if_never_saved(container: Any, session: Any) -> None:
    snapshot: Snapshot | None = getattr(container, "_snapshot", None)
    keys = list(session) if snapshot is None else snapshot.changed_keys(session)
    if getattr(session, "modified", False) or is_destroyed(session) or (snapshot and keys):
        logger.warning(
            "The session %r was changed (%s) and never saved: have the handler call "
            "save_sessions() when it is done, or use SessionHandler",
            container.name,
            _as_text(keys),
        )


def _report_if_changed(container: Any, saved: _Saved) -> None:
    session = saved.session
    if not saved.snapshot.is_made:
        return  # nobody can tell
    keys = saved.snapshot.changed_keys(session)
    is_ended = is_destroyed(session) and not saved.is_destroyed
    if keys or is_ended or (getattr(session, "_regenerates", False) and not saved.regenerates):
        logger.warning(
            "The session %r was changed (%s) after it had been saved, and the change is lost: "
            "change it before, not while the body is sent, or save it again",
            container.name,
            _as_text(keys),
        )


def _as_text(keys: list[Any]) -> str:
    return ", ".join(repr(str(key)[:40]) for key in keys) or "in no key"
