"""Commands that applications send to servers, with something to do before and after each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import grpc
import grpc._channel
import pytest
from support.steps import GRPC, OURS

from webapp2_sessions.sessions_memcache.connection import Connections
from webapp2_sessions.sessions_redis.connection import Connections as RedisConnections

__all__ = ["Unavailable", "watch_commands"]

#: Commands about sessions; the others ask about the server.
_MEMCACHED = [name for name in OURS if name not in ("stats", "raw_command")]


class Unavailable(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """The error of a call that got no answer."""

    def code(self) -> grpc.StatusCode:
        """UNAVAILABLE, as of a connection that broke."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """A text without an id."""
        return "the connection broke"

    def initial_metadata(self) -> tuple[()]:
        """Nothing."""
        return ()

    def trailing_metadata(self) -> tuple[()]:
        """Nothing."""
        return ()

    def is_active(self) -> bool:
        """No."""
        return False

    def time_remaining(self) -> None:
        """Unknown."""

    def cancel(self) -> bool:
        """It has ended."""
        return False

    def result(self, timeout: float | None = None) -> Any:
        """Raise itself: interceptors take it for the call."""
        raise self

    def add_callback(self, callback: Any) -> bool:
        """It has ended."""
        return False


def watch_commands(
    monkeypatch: pytest.MonkeyPatch, notice: Callable[[str, str, str], None]
) -> None:
    """Call `notice(server, command, "before" or "after")` around each command.

    :param notice: may raise; after a command of Datastore, as if its answer were lost.
    """

    def watched(method: Callable[..., Any], server: str, name: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(caller: Any, *args: Any, **kwargs: Any) -> Any:
            command = name
            if server == "datastore":
                command = caller._method.decode("ascii").rpartition("/")[2]
            notice(server, command, "before")
            result = method(caller, *args, **kwargs)
            if name == "future":
                result.exception()  # what is lost is the answer, and not the command
            notice(server, command, "after")
            return result

        return call

    for name in _MEMCACHED:
        method = getattr(Connections, name)
        monkeypatch.setattr(Connections, name, watched(method, "memcached", name))
    exchange = RedisConnections.exchange

    def exchange_watched(caller: Any, resend: int, *command: Any) -> Any:
        name = command[0].lower()
        notice("redis", name, "before")
        answer = exchange(caller, resend, *command)
        notice("redis", name, "after")
        return answer

    monkeypatch.setattr(RedisConnections, "exchange", exchange_watched)
    calls = grpc._channel._UnaryUnaryMultiCallable
    for name in GRPC:
        monkeypatch.setattr(calls, name, watched(getattr(calls, name), "datastore", name))
