"""Redis as the cache in front of Datastore.

An entry belongs to the process of the server that took it. After a restart with the data of before,
or a failover, what is there may be older than what has been heard of since: to another process
other keys are sent, so that nobody finds it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from webapp2_sessions.config import datastore_settings, redis_settings
from webapp2_sessions.config.checks import check_cache
from webapp2_sessions.errors import BackendError, BackendUnavailable, MissingDependency
from webapp2_sessions.sessions_redis.connection import Connection, Connections, packed
from webapp2_sessions.sessions_redis.records import milliseconds
from webapp2_sessions.sessions_redis.servers import RedisServer
from webapp2_sessions.stored.addresses import connect
from webapp2_sessions.stored.cache import CacheStore, Token
from webapp2_sessions.stored.connections import IF_CLOSED, IF_SILENT, IF_UNSENT
from webapp2_sessions.stored.records import SignedRecords, signed_values, signing_keys
from webapp2_sessions.stored.serializers import Serializer
from webapp2_sessions.stored.signed_values import SignedValues

__all__ = ["session_cache"]

try:
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import ResponseError
except ImportError as _error:
    raise MissingDependency("redis", "redis") from _error

Result = TypeVar("Result")

#: What tells a process of a server from others, by sections of ``INFO``. The latter changes when a
#: replica becomes the primary, so that one that was the primary before is another one.
_PROCESS = (("server", b"run_id"), ("replication", b"master_replid"))

#: Bytes at the beginning of each entry that no other one has. With equal ones, a request that has
#: looked at an earlier tombstone could replace a later one.
_NONCE_SIZE = 16

#: Seconds for sending an entry without waiting for an answer.
_NOREPLY_TIMEOUT = 0.05

#: Stores ARGV[2] for ARGV[3] milliseconds under the key ARGV[1] of the present process. A server
#: that is full at least drops what is there, if it is another entry but for its first 16 bytes.
_SET_HERE = """
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local role = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local place = process .. role .. ':' .. ARGV[1]
local done = redis.pcall('SET', place, ARGV[2], 'PX', ARGV[3])
if done.err and redis.call('GETRANGE', place, 16, -1) ~= string.sub(ARGV[2], 17) then
    redis.call('DEL', place)
end
"""

#: How often a command is tried where the server is another process each time.
_TRIES = 3


def session_cache(config: Mapping[str, Any], purpose: str) -> RedisCache:
    """Return the cache of a session configuration; the same object for the same settings.

    :param purpose: values of one purpose are no values of another.
    :raises ConfigError: it has no ``secret_key``, or a client of its own for Redis.
    """
    settings = redis_settings(config)
    check_cache(datastore_settings(config), settings)
    return _session_cache(purpose, *signing_keys(config), *settings.items())


@functools.lru_cache(maxsize=64)
def _session_cache(
    purpose: str, secret_keys: tuple[Any, ...], serializer: Serializer, *items: tuple[str, Any]
) -> RedisCache:
    """Make the cache of a configuration by its values; last those of the section."""
    settings = dict(items)
    server = _CacheServer(settings["url"], settings["timeout"], settings["tls_context"])
    values = signed_values(f"redis:{purpose}", secret_keys, serializer)
    return RedisCache(server, settings["key_prefix"], *values)


class _AnotherProcess(ResponseError):  # type: ignore[misc]  # has no types
    """Stands for the answer to a command that was meant for another process."""


class _Restarted(BackendUnavailable):
    """The server is another process than the one that was meant."""


class _Connections(Connections):
    """Sends commands to one process of a server, by the beginning of their key."""

    #: The id of the process to which the last connection was opened.
    process = b""

    def _open(self) -> Connection:
        connection = super()._open()
        found = []
        for section, name in _PROCESS:
            information = super()._ask(connection, "INFO", section)
            if isinstance(information, ResponseError):
                connection.close()
                raise information
            text = information if isinstance(information, bytes) else b""
            found += re.findall(rb"^%b:(\w+)" % name, text, re.MULTILINE)
        self.process = connection.process = b"".join(found)
        return connection

    def _ask(self, connection: Connection, *command: Any) -> Any:
        if connection.process != self.process:
            raise RedisConnectionError("this connection leads to a former process")
        key = command[3 if command[0] in ("EVAL", "EVALSHA") else 1]
        if not self.process or not key.startswith(self.process + b":"):
            return _AnotherProcess()
        return super()._ask(connection, *command)

    def send(self, *command: Any) -> None:
        """Send a command by a connection of its own, and do not wait for an answer."""
        user, password = self._options.get("username"), self._options.get("password")
        commands = [command]
        if self._options.get("db"):
            commands.insert(0, ("SELECT", self._options["db"]))
        if user or password:
            commands.insert(0, ("AUTH", *filter(None, (user, password or ""))))
        timeout = min(_NOREPLY_TIMEOUT, self._timeout)
        with connect(self._place, timeout, self._tls_context) as plain:
            plain.sendall(b"".join(packed(*each) for each in commands))


class _CacheServer(RedisServer):
    """One Redis server, each of whose processes is another one."""

    @property
    def lost(self) -> bytes:
        """The id of the present process, as far as is known.

        Once it has changed, what the former one held is gone.
        """
        process: bytes = self._connections().process
        return process

    def send(self, *command: Any) -> None:
        """Send a command, and do not wait for an answer.

        :raises BackendUnavailable: it could not be sent.
        """
        try:
            self._connections().send(*command)
        except OSError as error:
            raise self.unavailable("the server cannot be reached") from error

    def _connect(self) -> _Connections:
        return _Connections(self._url, self._timeout, self._tls_context)

    def _refused(self, error: Any) -> BackendError:
        if isinstance(error, _AnotherProcess):
            return _Restarted("redis", self.address, "the server was restarted")
        return super()._refused(error)


class RedisCache(SignedRecords, CacheStore):
    """Entries in Redis. The token of one is its first bytes, and the process that has it.

    :param server: where they are.
    :param key_prefix: begins each key, after the process.
    :param values: makes and checks the values.
    :param sessions: those that are sessions, which are none here.
    """

    backend = "redis"

    def __init__(
        self,
        server: _CacheServer,
        key_prefix: str,
        values: SignedValues,
        sessions: SignedValues,
    ) -> None:
        super().__init__(key_prefix, values, sessions)
        self._server = server

    def address(self, key: bytes) -> str:
        """Return how errors name the server."""
        return self._server.address

    def absent(self, key: bytes) -> Token:
        """Return the token of nothing, after :meth:`get` has found nothing."""
        return Token(None, self._server, self._server.lost)

    def get(self, key: bytes) -> bytes | None:
        """Return an entry."""
        return self.gets(key)[0]

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        """Return what is there, and its token."""

        def get(process: bytes) -> tuple[bytes | None, Token]:
            stored = self._server.get(_at(process, key))
            if stored is None:
                return None, Token(None, self._server, process)
            token = Token(stored[:_NONCE_SIZE], self._server, process)
            return stored[_NONCE_SIZE:], token

        return self._at_present(get)

    def fill(self, key: bytes, data: bytes, token: Token, lifetime: float | None) -> bool:
        """Store an entry if the token still holds; whether it was stored."""
        place, entry, expiry = _at(token.lost, key), _entry(data), milliseconds(lifetime)
        try:
            if token.cas is None:
                arguments = "SET", place, entry, "PX", expiry, "NX"
                return bool(self._server.call(IF_UNSENT, *arguments))
            return self._server.compare_and_set(place, token.cas, entry, expiry)
        except _Restarted:
            return False  # with all that was there

    def set(self, key: bytes, data: bytes, lifetime: float) -> None:
        """Store an entry, whatever is there."""

        def put(process: bytes) -> None:
            expiry = milliseconds(lifetime)
            self._server.call(IF_CLOSED, "SET", _at(process, key), _entry(data), "PX", expiry)

        self._at_present(put)

    def drop(self, key: bytes) -> None:
        """Delete an entry; a server that is full keeps it otherwise."""
        self._at_present(lambda process: self._server.call(IF_SILENT, "DEL", _at(process, key)))

    def set_noreply(self, key: bytes, data: bytes, lifetime: float) -> None:
        """Fire and forget an entry; a paused server applies it when it resumes."""
        self._server.send("EVAL", _SET_HERE, 0, key, _entry(data), milliseconds(lifetime))

    def _at_present(self, ask: Callable[[bytes], Result]) -> Result:
        """Call a function with the present process, which is known once it was asked."""
        for _ in range(_TRIES):
            try:
                return ask(self._server.lost)
            except _Restarted as error:
                failure = error
        raise failure


def _entry(data: bytes) -> bytes:
    return os.urandom(_NONCE_SIZE) + data


def _at(process: Any, key: bytes) -> bytes:
    return bytes(process) + b":" + key
