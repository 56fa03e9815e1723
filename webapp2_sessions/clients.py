"""Clients of servers: built on first use, once per process and settings, never inherited."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ClientRegistry"]

Client = TypeVar("Client")


class ClientRegistry(Generic[Client]):
    """Keeps one client per process and settings.

    A client that was built before a fork belongs to the parent: its sockets and threads do not
    work in the child, which builds one of its own. The parent's client is kept, unused, because
    closing or collecting it in the child could disturb the parent's connections.

    Python calls the child's hooks before anything else runs in it, which takes a request no time;
    asking for the process id would.

    :param retry_after: seconds for which a failure to build a client is remembered, for clients
        whose building can take long to fail.
    """

    def __init__(self, retry_after: float = 0.0) -> None:
        self._retry_after = retry_after
        self._inherited: list[dict[Hashable, Client]] = []
        self._begin()
        if hasattr(os, "register_at_fork"):  # not where there are no forks
            os.register_at_fork(after_in_child=self._begin_in_child)

    def _begin(self) -> None:
        #: The clients of this process by their settings, for a look without a call.
        self.built: dict[Hashable, Client] = {}
        self._failures: dict[Hashable, tuple[float, Exception]] = {}
        # Another thread may hold the lock at the moment of a fork; the child needs a free one.
        self._lock = threading.Lock()

    def _begin_in_child(self) -> None:
        self._inherited.append(self.built)
        self._begin()

    def get(self, settings: Hashable, build: Callable[[], Client]) -> Client:
        """Return the client for ``settings``, calling ``build()`` if there is none yet.

        :raises Exception: whatever ``build()`` raises or raised within ``retry_after`` seconds.
        """
        client = self.built.get(settings)
        if client is None:
            with self._lock:
                client = self.built.get(settings)
                if client is None:
                    client = self.built[settings] = self._build(settings, build)
        return client

    def _build(self, settings: Hashable, build: Callable[[], Client]) -> Client:
        failed = self._failures.get(settings)
        if failed is not None and self._now() - failed[0] < self._retry_after:
            # Without the traceback, which would grow with each raise and keep all frames alive.
            raise failed[1].with_traceback(None)
        try:
            client = build()
        except Exception as error:
            self._failures[settings] = (self._now(), error)
            raise
        self._failures.pop(settings, None)
        return client

    def _now(self) -> float:
        return time.monotonic()
