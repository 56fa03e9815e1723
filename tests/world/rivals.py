"""Another thread of a request, which opens the same session while the first one is opening it."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from webapp2_sessions import BackendError

__all__ = ["Rival"]

#: Seconds for which it is waited for in the middle: it ought to be kept from the session.
_MIDDLE = 0.03

#: Seconds after which a thread that hangs is a failure.
_PATIENCE = 60.0


class Rival:
    """A thread that comes in the middle of what another one does.

    :param open_session: what both do.
    """

    def __init__(self, open_session: Callable[[], Any]) -> None:
        self._open = open_session
        self._context = contextvars.copy_context()  # not from the middle of a call of ndb
        self._thread: threading.Thread | None = None
        #: What it got, if it got anything.
        self.session: Any = None

    def come(self) -> None:
        """Begin, if it has not begun, and go as far as it may."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._context.run, args=(self._run,), daemon=True
            )
            self._thread.start()
            self._thread.join(_MIDDLE)

    def finish(self) -> Any:
        """Wait for its end; return what it got."""
        self.come()
        assert self._thread is not None
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive(), "a thread waits for ever"
        return self.session

    def _run(self) -> None:
        with contextlib.suppress(BackendError):
            self.session = self._open()
