"""Connections to memcached: how many are idle, and which are waited for in vain."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter

import pytest

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.sessions_memcache import servers
from webapp2_sessions.sessions_memcache.connection import Connections
from world.applications import Application

__all__ = ["Waits", "connections_of", "fill", "take"]


def connections_of(app: Application) -> Connections:
    """Return the connections of an application, which all its threads share."""
    node = servers.nodes_of(memcache_settings(app.config)).node_of(b"any")
    assert isinstance(node, servers.Server)
    found: Connections = servers._clients.get(node, node._connect)
    return found


def take(connections: Connections) -> None:
    """Take the idle connection that is used next, as a thread does that sends a command now."""
    if connections._idle:
        connections._idle.pop()[1].close()


def fill(connections: Connections, count: int) -> None:
    """Have so many idle connections at least, as after so many threads at once."""
    used = []
    for _ in range(count):
        with contextlib.suppress(OSError, IndexError):  # on a machine that is too slow
            connections.get(b"any")
            used.append(connections._idle.pop())
    connections._idle[:] = [*connections._idle, *used]


#: Commands that are sent again after silence, as docs/reliability.md says.
_REPEATED = ("get", "gets", "delete", "touch")


class Waits:
    """Counts the answers that were waited for in vain.

    :param monkeypatch: undoes it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: The command that was sent last.
        self.command = ""
        #: How many may be errors: others are sent again on a new connection.
        self.errors = 0
        #: How many there were on connections that are forgotten, by the application.
        self.forgotten: Counter[int] = Counter()
        #: Whether any were forgotten.
        self.is_used = False
        self._places: dict[object, int] = {}
        receive = socket.socket.recv

        def recv(connection: socket.socket, *args: int) -> bytes:
            try:
                return receive(connection, *args)
            except TimeoutError:
                number = self._places.get(connection.getsockname())
                if number is not None:
                    self.forgotten[number] += 1
                self.errors += number is None or self.command not in _REPEATED
                raise

        monkeypatch.setattr(socket.socket, "recv", recv)

    def forget(self, apps: list[Application]) -> None:
        """Note which connections are idle, and forgotten from now on."""
        self.is_used = True
        self.forgotten.clear()
        for app in apps:
            for _, connection in connections_of(app)._idle:
                self._places[connection.getsockname()] = app.number
