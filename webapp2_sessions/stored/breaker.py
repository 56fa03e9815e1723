"""A server that was silent is not asked again for a while."""

from __future__ import annotations

import socket
import time

from webapp2_sessions.errors import BackendUnavailable
from webapp2_sessions.stored.connections import StaleConnection

#: Seconds for which a server that was silent is not asked again.
_PAUSE = 1.0


class Breaker:
    """Base of a server: after a timeout it is not asked for a second.

    A silent server costs its timeout once a second and process, not once a call.
    """

    #: Seconds for connecting and for each answer.
    _timeout: float
    #: When it may be asked again, 0 if it answers.
    _asked_again = 0.0

    def unavailable(self, problem: str) -> BackendUnavailable:
        """Return the error for a server that cannot be used."""
        raise NotImplementedError()

    def _take_turn(self, is_optional: bool = False) -> None:
        """Let one caller a second through to a server that was silent.

        :raises BackendUnavailable: it is not this caller.
        """
        now = self._now()
        if is_optional or now < self._asked_again:
            raise self.unavailable(
                f"the server did not answer, and is not asked again for {_PAUSE:g} s"
            )
        self._asked_again = now + self._timeout + _PAUSE

    def _unreachable(self, error: OSError, is_optional: bool = False) -> BackendUnavailable:
        """Return the error for a server that could not be asked, or was silent."""
        if not isinstance(error, (TimeoutError, socket.gaierror)):
            return self.unavailable(f"the server cannot be reached ({type(error).__name__})")
        if not (is_optional or isinstance(error, StaleConnection)):
            self._asked_again = self._now() + _PAUSE
        if isinstance(error, TimeoutError):
            return self.unavailable(f"the server did not answer within {self._timeout} s")
        if error.errno == socket.EAI_AGAIN:
            return self.unavailable("the server's name could not be looked up in time")
        return self.unavailable("the server's name was not found")

    _now = staticmethod(time.monotonic)
