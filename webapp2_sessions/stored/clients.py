"""Clients of servers: built on first use, once per process and settings, never inherited.

A process knows itself by its id, and not only by Python's hook for forks, which servers written in
C do not always call. Their children would otherwise use the parent's sockets, where one reads the
answer to another's question.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ClientRegistry"]

Client = TypeVar("Client")


class _Clients(Generic[Client]):
    """The clients of one process."""

    def __init__(self) -> None:
        #: By their settings.
        self.built: dict[Hashable, Client] = {}
        self.failures: dict[Hashable, tuple[float, Exception]] = {}
        self.lock = threading.Lock()


class ClientRegistry(Generic[Client]):
    """Keeps one client per process and settings.

    A client that was built before a fork belongs to the parent: its sockets and threads do not
    work in the child, which builds one of its own. The parent's client is kept, unused, because
    closing or collecting it in the child could disturb the parent's connections.

    Python tells a child of ``os.fork()`` before anything else runs in it. Servers that fork by
    themselves, as uWSGI does, may not call Python's hooks, so that the process id is compared as
    well. The hook is kept for a child that has its parent's id, in a namespace of its own.

    :param retry_after: seconds for which a failure to build a client is remembered, for clients
        whose building can take long to fail.
    """

    def __init__(self, retry_after: float = 0.0) -> None:
        self._retry_after = retry_after
        self._inherited: list[_Clients[Client]] = []
        #: One entry, by the process id.
        self._of_process: dict[int, _Clients[Client]] = {}
        if hasattr(os, "register_at_fork"):  # not where there are no forks
            os.register_at_fork(after_in_child=self._set_aside)

    @property
    def built(self) -> dict[Hashable, Client]:
        """The clients of this process by their settings."""
        return self._here().built

    def _here(self) -> _Clients[Client]:
        pid = os.getpid()
        try:
            return self._of_process[pid]
        except KeyError:
            self._set_aside(but=pid)
            # Atomic, should the child have started threads already. A lock would not do: another
            # thread of the parent may have held it at the fork.
            return self._of_process.setdefault(pid, _Clients())

    def _set_aside(self, but: int | None = None) -> None:
        """Keep what parents have built, and do not find it any more."""
        for pid in [pid for pid in list(self._of_process) if pid != but]:
            with contextlib.suppress(KeyError):  # another thread does the same
                self._inherited.append(self._of_process.pop(pid))

    def get(self, settings: Hashable, build: Callable[[], Client]) -> Client:
        """Return the client for ``settings``, calling ``build()`` if there is none yet.

        :raises Exception: whatever ``build()`` raises or raised within ``retry_after`` seconds.
        """
        here = self._here()
        client = here.built.get(settings)
        if client is None:
            with here.lock:
                client = here.built.get(settings)
                if client is None:
                    client = here.built[settings] = self._build(here, settings, build)
        return client

    def _build(
        self, here: _Clients[Client], settings: Hashable, build: Callable[[], Client]
    ) -> Client:
        failed = here.failures.get(settings)
        if failed is not None and self._now() - failed[0] < self._retry_after:
            # Without the traceback, which would grow with each raise and keep all frames alive.
            raise failed[1].with_traceback(None)
        try:
            client = build()
        except Exception as error:
            here.failures[settings] = (self._now(), error)
            raise
        here.failures.pop(settings, None)
        return client

    def _now(self) -> float:
        return time.monotonic()
