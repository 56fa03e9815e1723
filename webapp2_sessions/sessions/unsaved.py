"""Log changes of sessions that were never saved (debug mode)."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from webapp2_sessions.sessions.changes import Snapshot
from webapp2_sessions.sessions.session_dict import is_destroyed

logger: logging.Logger = logging.getLogger(__name__)

#: Key of the list of finalizers among the attributes of a request.
_KEY = "webapp2_sessions.sessions.unsaved"


class _Saved(NamedTuple):
    """A session as it was when it was last saved."""

    session: Any
    snapshot: Snapshot
    is_destroyed: bool
    regenerates: bool


class Unsaved:
    """Logs changes of a store's sessions that are lost, when its request is freed.

    That is after the answer, or later if the body that is being sent refers to the request. Later
    changes are logged when the store itself is freed, perhaps by the garbage collector.

    :param store: the :class:`~webapp2_sessions.sessions.SessionStore`.
    :param attributes: the attributes of its request.
    """

    def __init__(self, store: Any, attributes: dict[str, Any]) -> None:
        self._store = store
        self._saved: dict[Any, _Saved] = {}
        attributes.setdefault(_KEY, []).append(_Finalizer(self))

    def settle(self, only: Any = None) -> None:
        """Count the sessions as saved in their present state.

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
        """Log changes since the last save, or that no save followed; each change once."""
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
        _report_in_finalizer(self)


class _Finalizer:
    """An attribute of the request, freed with it."""

    def __init__(self, unsaved: Unsaved) -> None:
        self._unsaved = ref(unsaved)  # weak, because the store may refer to the request

    def __del__(self) -> None:
        _report_in_finalizer(self._unsaved())


def _report_in_finalizer(unsaved: Unsaved | None) -> None:
    # A value of the application may raise when it is compared, and nobody could catch that.
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
        return  # unknown
    keys = saved.snapshot.changed_keys(session)
    is_ended = is_destroyed(session) and not saved.is_destroyed
    has_new_id = getattr(session, "_regenerates", False) and not saved.regenerates
    if keys or is_ended or has_new_id:
        logger.warning(
            "The session %r was changed (%s) after it had been saved, and the change is lost: "
            "change it before, not while the body is sent, or save it again",
            container.name,
            _as_text(keys),
        )


def _as_text(keys: list[Any]) -> str:
    return ", ".join(repr(str(key)[:40]) for key in keys) or "in no key"
