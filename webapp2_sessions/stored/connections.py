"""Connections to one server: pooling, and when a command is sent again on another one."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, ClassVar, Generic, Protocol, TypeVar

#: Idle connections that are kept; what more threads at once need is closed after use.
MOST_IDLE = 128

#: Seconds after which an idle connection is not used any more. Firewalls, NAT gateways and load
#: balancers forget one after 30 s at the earliest, and then drop silently what is sent on it.
LONGEST_IDLE = 10.0

#: After which failures of a pooled connection a command is sent again; each includes those before.
NEVER = 0  # The server may have been restarted, and have given the token to another value.
IF_UNSENT = 1  # A second try would be answered differently from the first.
IF_CLOSED = 2  # A write that was only delayed would overwrite what somebody has written since.
IF_SILENT = 3  # Twice is as good as once.


class StaleConnection(TimeoutError):
    """A pooled connection gave no answer, and the command must not be sent again.

    It tells neither whether the server is silent nor whether the command was carried out.
    """


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it."""


Connection = TypeVar("Connection", bound=Closable)


class ConnectionPool(Generic[Connection]):
    """Sends commands to one server.

    A connection returns to the pool only after an answer that was understood to its last byte, so
    that a late answer is never taken for that to another command. The one that was used last is
    taken first. That needs no lock, since ``append()`` and ``pop()`` of a list are atomic.

    A pooled connection fails after a restart of the server, or when a firewall has forgotten it.
    The others are no better: all are closed, and the command is sent once more on a new one if its
    kind allows that.
    """

    #: The errors of a connection, and those among them that tell of a silent one.
    _failures: ClassVar[tuple[type[BaseException], ...]]
    _timeouts: ClassVar[tuple[type[BaseException], ...]] = (TimeoutError,)

    def __init__(self) -> None:
        #: When each idle connection was returned, and the connection; the times ascend.
        self._idle: list[tuple[float, Connection]] = []
        self._lost = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._idle)

    def _open(self) -> Connection:
        """Return a new connection."""
        raise NotImplementedError()

    def _ask(self, connection: Connection, *command: Any) -> Any:
        """Send a command, and return what answers it, read to its last byte."""
        raise NotImplementedError()

    def _is_closed(self, connection: Connection) -> bool:
        """Return whether the server is known to have closed an idle connection."""
        raise NotImplementedError()

    @property
    def lost(self) -> int:
        """How many times connections were lost or given up.

        As long as it is the same, the server is the same: a connection that was open all the time
        would have broken when the server was restarted.
        """
        with contextlib.suppress(IndexError):
            if time.monotonic() - self._idle[-1][0] > LONGEST_IDLE:
                self._drop()
        return self._lost

    def _drop(self) -> None:
        """Close all idle connections, and count that as a loss."""
        self._count_loss()
        self.close()

    def _count_loss(self) -> None:
        with self._lock:
            self._lost += 1

    def close(self) -> None:
        """Close all idle connections."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def exchange(self, resend: int, *command: Any) -> Any:
        """Send a command, if need be twice; return what answers it.

        :param resend: after which failures it is sent again; a constant of this module.

        A connection returns to the pool after a whole answer. Anything else, an interrupt included,
        closes it: the rest of the answer may be yet to come.
        """
        connection: Connection | None
        try:
            since, connection = self._idle.pop()
        except IndexError:
            connection = None
        else:
            is_old = time.monotonic() - since > LONGEST_IDLE
            if is_old or (resend <= IF_UNSENT and self._is_closed(connection)):
                connection.close()
                self._drop()  # those below are idle for longer
                connection = None
                if resend < IF_UNSENT:
                    raise ConnectionResetError("no idle connection is open any more")
        while True:
            is_pooled = connection is not None
            try:
                connection = connection or self._open()
                result = self._ask(connection, *command)
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, self._failures):
                    self._count_loss()  # it can no longer tell of a restart
                    raise
                self._drop()
                if is_pooled and isinstance(error, self._timeouts) and resend < IF_SILENT:
                    raise StaleConnection() from error
                if not is_pooled or resend < IF_CLOSED:
                    raise
                connection = None
            else:
                if len(self._idle) < MOST_IDLE:
                    self._idle.append((time.monotonic(), connection))
                else:
                    connection.close()
                return result
