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

    :param retry_after: seconds for which a failure to build a client is remembered, for clients
        whose building can take long to fail.
    """

    def __init__(self, retry_after: float = 0.0) -> None:
        self._clients: dict[tuple[int, Hashable], Client] = {}
        self._failures: dict[tuple[int, Hashable], tuple[float, Exception]] = {}
        self._retry_after = retry_after
        self._lock = threading.Lock()
        # Another thread may hold the lock at the moment of a fork; the child needs a free one.
        if hasattr(os, "register_at_fork"):  # not where there are no forks
            os.register_at_fork(after_in_child=self._renew_lock)

    def get(self, settings: Hashable, build: Callable[[], Client]) -> Client:
        """Return the client for ``settings``, calling ``build()`` if there is none yet.

        :raises Exception: whatever ``build()`` raises or raised within ``retry_after`` seconds.
        """
        key = (os.getpid(), settings)
        client = self._clients.get(key)
        if client is None:
            with self._lock:
                client = self._clients.get(key)
                if client is None:
                    client = self._clients[key] = self._build(key, build)
        return client

    def _build(self, key: tuple[int, Hashable], build: Callable[[], Client]) -> Client:
        failed = self._failures.get(key)
        if failed is not None and self._now() - failed[0] < self._retry_after:
            # Without the traceback, which would grow with each raise and keep all frames alive.
            raise failed[1].with_traceback(None)
        try:
            client = build()
        except Exception as error:
            self._failures[key] = (self._now(), error)
            raise
        self._failures.pop(key, None)
        return client

    def _now(self) -> float:
        return time.monotonic()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()
