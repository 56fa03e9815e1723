"""Connections that are kept between exchanges, and what is known by losing them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

__all__ = ["LONGEST_IDLE", "MOST_IDLE", "Pool"]

#: Connections that are kept for later calls; what more threads at once need is closed after use.
MOST_IDLE = 128

#: Seconds after which an idle connection is not used any more. Firewalls, NAT gateways and load
#: balancers forget one after 30 s at the earliest, without a word: what is sent then is dropped.
LONGEST_IDLE = 10.0


class Pool:
    """Idle connections to one server, the one that was used last on top.

    Threads need no lock for taking and putting back, since ``append()`` and ``pop()`` of a list are
    atomic.
    """

    def __init__(self) -> None:
        #: When it was put back, and the connection: the times ascend.
        self._idle: list[tuple[float, socket.socket]] = []
        self._lost = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def lost(self) -> int:
        """How many times connections were lost or given up.

        As long as it is the same, the server is the same: a connection that was open all the time
        would have broken when the server was restarted.
        """
        with contextlib.suppress(IndexError):
            if self._now() - self._idle[-1][0] > LONGEST_IDLE:
                self.drop()
        return self._lost

    def take(self) -> socket.socket | None:
        """Take the connection that was used last; ``None`` if there is none to be used."""
        try:
            since, connection = self._idle.pop()
        except IndexError:
            return None
        if self._now() - since <= LONGEST_IDLE:
            return connection
        connection.close()
        self.drop()  # those below are idle for longer
        return None

    def put(self, connection: socket.socket) -> None:
        """Keep a connection on which a whole answer was read, and nothing is outstanding."""
        if len(self._idle) < MOST_IDLE:
            self._idle.append((self._now(), connection))
        else:
            connection.close()

    def drop(self) -> None:
        """Close all idle connections, and count that as a loss."""
        with self._lock:
            self._lost += 1
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def _now(self) -> float:
        return time.monotonic()
