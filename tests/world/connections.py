"""Connections to memcached or Redis: how many are idle, and which are waited for in vain."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from redis import RedisError

from webapp2_sessions.config import memcache_settings, redis_settings
from webapp2_sessions.sessions_memcache import servers
from webapp2_sessions.sessions_redis.cache import session_cache
from webapp2_sessions.sessions_redis.servers import server_of
from webapp2_sessions.stored.connections import ConnectionPool
from world.applications import Application

__all__ = ["Waits", "connections_of", "fill", "servers_of", "take"]


def servers_of(app: Application) -> list[Any]:
    """Return what an application knows of its server: for sessions, and for the cache."""
    if app.place == "redis":
        cache = session_cache(app.config, "datastore")._server
        return [server_of(redis_settings(app.config)), cache]
    return [servers.nodes_of(memcache_settings(app.config)).node_of(b"any")]


def connections_of(app: Application) -> list[ConnectionPool[Any]]:
    """Return the connections of an application, which all its threads share."""
    if app.place == "redis":
        return [each._connections() for each in servers_of(app)]
    return [servers._clients.get(each._key, each._connect) for each in servers_of(app)]


def take(connections: ConnectionPool[Any]) -> None:
    """Take the idle connection that is used next, as a thread does that sends a command now."""
    if connections._idle:
        connections._idle.pop()[1].close()


def fill(connections: ConnectionPool[Any], count: int) -> None:
    """Have so many idle connections at least, as after so many threads at once."""
    for _ in range(count - len(connections)):
        with contextlib.suppress(OSError, RedisError):  # on a machine that is too slow
            connections._idle.append((time.monotonic(), connections._open()))


#: Commands that are sent again after silence, as docs/reliability.md says.
_REPEATED = ("get", "gets", "delete", "touch", "pexpire", "persist", "exists")


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
        # Not by their ports, which later connections may have again.
        self._owners: WeakKeyDictionary[socket.socket, int] = WeakKeyDictionary()
        receive = socket.socket.recv

        def recv(connection: socket.socket, *args: int) -> bytes:
            try:
                return receive(connection, *args)
            except TimeoutError:
                number = self._owners.get(connection)
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
            for connections in connections_of(app):
                for _, connection in connections._idle:
                    plain = getattr(connection, "_sock", connection)  # of redis-py, or itself
                    self._owners[plain] = app.number
