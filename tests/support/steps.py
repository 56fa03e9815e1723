"""Counting the operations that an application sends to its servers, with a hook before each.

The operations are counted where they are sent: in our connections to memcached and to Redis, in
pymemcache's `Client`, which stands below its pools and its clients of several servers, and in
gRPC's calls, which stand below all of Google's clients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc._channel
import pytest
from pymemcache.client.base import Client

from webapp2_sessions.sessions_memcache.connection import Connections
from webapp2_sessions.sessions_redis.connection import Connections as RedisConnections

__all__ = ["GRPC", "OURS", "Steps"]

#: Every method of pymemcache's client that asks the server something.
_MEMCACHED = (
    *("get", "get_many", "gets", "gets_many", "gat", "gats", "set", "set_many", "add", "replace"),
    *("append", "prepend", "cas", "touch", "incr", "decr", "delete", "delete_many", "stats"),
    "raw_command",
)

#: Every method of our connections that waits for an answer.
OURS = (
    *("get", "gets", "set", "add", "fill", "replace", "cas", "delete", "touch"),
    *("stats", "raw_command"),
)

#: Every way in which gRPC sends a request that has one answer.
GRPC = ("__call__", "with_call", "future")


class Steps:
    """The operations that are sent to servers while it counts.

    :param monkeypatch: undoes the counting after the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: The operations so far, e.g. `gets`, `EVALSHA` and `Lookup`.
        self.operations: list[str] = []
        #: The address of the first memcached that was asked.
        self.first_memcached: str | None = None
        self._before: Callable[[int], object] | None = None
        for kind, names in ((Client, _MEMCACHED), (Connections, OURS)):
            for name in filter(functools.partial(hasattr, kind), names):
                counted = self._counted(getattr(kind, name), self._ask_memcached, name)
                monkeypatch.setattr(kind, name, counted)
        exchange = RedisConnections.exchange

        def exchanging(connections: RedisConnections, resend: int, *command: Any) -> Any:
            if self._before is not None:
                self._step(command[0])
            return exchange(connections, resend, *command)

        monkeypatch.setattr(RedisConnections, "exchange", exchanging)
        calls = grpc._channel._UnaryUnaryMultiCallable
        for name in GRPC:
            counted = self._counted(getattr(calls, name), self._ask_google, name)
            monkeypatch.setattr(calls, name, counted)

    @contextmanager
    def counted(self, before: Callable[[int], object]) -> Iterator[None]:
        """Count as long as the block runs; `before` is called with the number of each step."""
        self.operations, self.first_memcached, self._before = [], None, before
        try:
            yield
        finally:
            self._before = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count as long as the block runs."""
        before, self._before = self._before, None
        try:
            yield
        finally:
            self._before = before

    def _counted(
        self, method: Callable[..., Any], ask: Callable[[Any, str], None], name: str
    ) -> Callable[..., Any]:
        def counting(caller: Any, *args: Any, **kwargs: Any) -> Any:
            if self._before is not None:
                ask(caller, name)
            return method(caller, *args, **kwargs)

        return counting

    def _ask_memcached(self, client: Any, operation: str) -> None:
        if self.first_memcached is None:
            self.first_memcached = "{}:{}".format(*client.server)
        self._step(operation)

    def _ask_google(self, call: Any, _: str) -> None:
        self._step(call._method.decode("ascii").rpartition("/")[2])

    def _step(self, operation: str) -> None:
        before = self._before
        assert before is not None
        self.operations.append(operation)
        with self.paused():  # what `before` does is no step
            before(len(self.operations) - 1)
