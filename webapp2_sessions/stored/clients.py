"""Registry of server clients: one per process and settings, never inherited over a fork."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from types import MethodType
from typing import Any, Generic, TypeVar

Client = TypeVar("Client")


class Identity:
    """Tells apart objects of an application that may be equal, or not hashable.

    :param value: the object, which is kept alive.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        # A bound method is another object each time it is looked up.
        parts = (value.__self__, value.__func__) if isinstance(value, MethodType) else (value,)
        self._ids = tuple(map(id, parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)


class _Clients(Generic[Client]):
    """The clients of one process."""

    def __init__(self) -> None:
        #: By settings.
        self.built: dict[Hashable, Client] = {}
        #: By settings, the time of the failure and the error.
        self.failures: dict[Hashable, tuple[float, Exception]] = {}
        self.lock = threading.Lock()


class ClientRegistry(Generic[Client]):
    """Keeps one client per process and settings, built on first use.

    A client that was built before a fork belongs to the parent. In the child its threads do not
    run, and on shared sockets one process could read the answer to another's request. So the child
    builds a new client. It keeps the parent's, unused, because closing or collecting it could
    disturb the parent's connections.

    Forks are detected twice. Python's hook does not run in servers that fork in C, such as uWSGI;
    the process id does not change in a child with a new PID namespace.

    :param retry_after: seconds for which a failed attempt to build a client is remembered, for
        clients that take long to fail.
    """

    def __init__(self, retry_after: float = 0.0) -> None:
        self._retry_after = retry_after
        self._inherited: list[_Clients[Client]] = []
        #: By process id; one entry.
        self._by_pid: dict[int, _Clients[Client]] = {}
        if hasattr(os, "register_at_fork"):  # POSIX only
            os.register_at_fork(after_in_child=self._set_aside)

    @property
    def built(self) -> dict[Hashable, Client]:
        """The clients of this process by settings."""
        return self._clients().built

    def _clients(self) -> _Clients[Client]:
        pid = os.getpid()
        try:
            return self._by_pid[pid]
        except KeyError:
            self._set_aside(but=pid)
            # Atomic, in case of several threads. Not a lock: a thread of the parent may have held
            # it at the fork.
            return self._by_pid.setdefault(pid, _Clients())

    def _set_aside(self, but: int | None = None) -> None:
        """Move the clients of other processes out of sight."""
        for pid in [pid for pid in list(self._by_pid) if pid != but]:
            with contextlib.suppress(KeyError):  # another thread was faster
                self._inherited.append(self._by_pid.pop(pid))

    def get(self, settings: Hashable, build: Callable[[], Client]) -> Client:
        """Return the client for ``settings``, building it on first use.

        :raises Exception: whatever ``build()`` raises or raised within ``retry_after`` seconds.
        """
        clients = self._by_pid.get(os.getpid()) or self._clients()
        client = clients.built.get(settings)
        if client is None:
            with clients.lock:
                client = clients.built.get(settings)
                if client is None:
                    client = clients.built[settings] = self._build(clients, settings, build)
        return client

    def _build(
        self, clients: _Clients[Client], settings: Hashable, build: Callable[[], Client]
    ) -> Client:
        # An error keeps the frames alive through which it was raised, and with them the owner of
        # the client and what a request wanted to store.
        now = self._now()
        for other in list(clients.failures):  # items() would allow a collection, which changes it
            failed = clients.failures.get(other)
            if failed is not None and now - failed[0] >= self._retry_after:
                clients.failures.pop(other, None)
        failed = clients.failures.get(settings)
        if failed is not None:
            # Drop the traceback, which would grow with each raise.
            raise failed[1].with_traceback(None)
        try:
            return build()
        except Exception as error:
            if self._retry_after:
                clients.failures[settings] = (self._now(), error)
            raise

    def key_of(self, owner: Any, close: Callable[[Client], None] | None = None) -> Hashable:
        """Return a key for :meth:`get` whose client goes when its owner is collected.

        :param owner: nothing of what :meth:`get` keeps may refer to it.
        :param close: ends what the client has open.
        """
        key = object()
        weakref.finalize(owner, self._forget, key, close).atexit = False
        return key

    def _forget(self, key: Hashable, close: Callable[[Client], None] | None) -> None:
        """Give up this process's client; those of a parent are left alone."""
        clients = self._clients()
        clients.failures.pop(key, None)
        client = clients.built.pop(key, None)
        if client is not None and close is not None:
            close(client)

    _now = staticmethod(time.monotonic)
