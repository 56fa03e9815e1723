"""A gate that keeps forks and requests to a server apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ForkGate"]

Result = TypeVar("Result")


class ForkGate:
    """Make a fork wait for the requests of other threads, and new requests wait for the fork.

    A call of gRPC that is running during a fork gets lost now and then, once in 3,000 forks
    (measured with grpcio 1.85 and four threads), and fails at its deadline. This is about forks by
    ``os.fork()``; ``subprocess`` on Linux calls no hooks of Python without a ``preexec_fn``.

    Nobody waits longer than ``longest_wait``; after that everything proceeds as without a gate. The
    server may be silent, and another hook of the fork may wait for a lock that a request holds.

    :param longest_wait: seconds.
    """

    def __init__(self, longest_wait: float = 1.0) -> None:
        self.longest_wait = longest_wait
        self._begin()
        if hasattr(os, "register_at_fork"):  # missing on Windows
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_in_parent,
                after_in_child=self._begin,  # the parent's threads are not there
            )

    def _begin(self) -> None:
        self._pid = os.getpid()
        #: The threads that are making a request.
        self._inside: set[int] = set()
        self._forks = 0
        # Reentrant, since a signal handler may fork while its thread holds it. Acquired directly:
        # an interrupt in the methods of the condition, which are in Python, could leave it held.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def run(self, request: Callable[..., Result], *args: Any) -> Result:
        """Call ``request(*args)``, which may call this as well, when no fork is under way."""
        if os.getpid() != self._pid:
            self._begin()  # in a child whose fork did not call Python's hooks, as uWSGI's
        me = threading.get_ident()
        if me in self._inside:
            return request(*args)
        try:
            # Without the lock: both sides announce themselves before they look at the other.
            self._inside.add(me)
            if self._forks:
                self._wait_for_forks(me)
            return request(*args)
        finally:
            self._inside.discard(me)  # missing in a child that `request` has forked
            if self._forks:
                with self._lock:
                    self._changed.notify_all()

    def _wait_for_forks(self, me: int) -> None:
        with self._lock:
            self._inside.discard(me)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._forks, self.longest_wait)
            self._inside.add(me)

    def _before_fork(self) -> None:
        if os.getpid() != self._pid:
            self._begin()
        myself = {threading.get_ident()}
        with self._lock:
            self._forks += 1
            self._changed.wait_for(lambda: self._inside <= myself, self.longest_wait)

    def _after_in_parent(self) -> None:
        with self._lock:
            # Not below 0: an interrupt may have ended the hook that increments it.
            self._forks = max(0, self._forks - 1)
            self._changed.notify_all()
