"""Connections to one Redis server, made by redis-py and kept here.

redis-py knows the protocol, the URLs and how to sign in. Its pool and its client take longer for a
session than the exchange itself, and by default they repeat what must not be repeated.
"""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import urlsplit

from webapp2_sessions.errors import ConfigError, MissingDependency
from webapp2_sessions.stored.addresses import Addresses, connect
from webapp2_sessions.stored.connections import ConnectionPool

try:
    from redis.connection import AbstractConnection, SSLConnection, parse_url
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import InvalidResponse, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as _error:
    raise MissingDependency("redis", "redis") from _error

#: What a URL may say; timeouts, TLS and the rest are settings of their own.
_IN_URL = frozenset({"connection_class", "db", "host", "password", "path", "port", "username"})

_DEFAULT_PORT = 6379

_DATABASE = re.compile(r"(/\d*)?\Z", re.ASCII)


class Connection(AbstractConnection):  # type: ignore[misc]  # has no types
    """A connection to the first address of a server that can be reached, in a bounded time.

    :param place: a path, or the addresses of a host.
    :param timeout: seconds for connecting, for sending and for each part of an answer.
    :param tls_context: for a connection by TLS.
    :param options: ``db``, ``username`` and ``password``.
    """

    def __init__(
        self,
        place: str | Addresses,
        timeout: float,
        tls_context: ssl.SSLContext | None,
        **options: Any,
    ) -> None:
        timeouts = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        super().__init__(protocol=2, **timeouts, **options)
        # redis-py would tell its name and version in two commands, and wait for each answer.
        self.driver_info: Any = None
        self.lib_name: Any = None
        self.lib_version: Any = None
        # redis-py reads these after a timeout.
        self.host: Any = place if isinstance(place, str) else place.host
        self.port: Any = None
        self._place = place
        self._seconds = timeout
        self._tls_context = tls_context

    # Hooks of redis-py

    def _connect(self) -> Any:
        return connect(self._place, self._seconds, self._tls_context)

    def _host_error(self) -> str:
        return self._place if isinstance(self._place, str) else self._place.host

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the server answers.

        :raises InvalidResponse: it is no answer of Redis; its text, which may be data, is left out.
        """
        try:
            return super().read_response(*args, **kwargs)
        except (InvalidResponse, ValueError) as error:
            problem = type(error).__name__
        raise InvalidResponse(f"no answer of Redis ({problem})")

    def repr_pieces(self) -> list[tuple[str, Any]]:
        """Return what the representation tells: no password."""
        return [("place", self._host_error()), ("db", self.db)]

    def close(self) -> None:
        """Close the connection."""
        self.disconnect()


class Connections(ConnectionPool[Connection]):
    """Sends commands to one Redis server; an error that it answers is an answer like any other.

    :param url: ``"redis://host:port/db"``, ``"rediss://..."`` by TLS, or ``"unix:///path"``.
    :param timeout: seconds for connecting, for sending and for each part of an answer.
    :param tls_context: for ``rediss://``; by default one that checks the server's certificate.
    :raises ConfigError: the URL says what has no effect here.
    """

    _failures = (RedisConnectionError, RedisTimeoutError, OSError)
    _timeouts = (RedisTimeoutError, TimeoutError)

    def __init__(self, url: str, timeout: float, tls_context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        said = parsed(url)
        self._timeout = timeout
        is_tls = said.pop("connection_class", None) is SSLConnection
        self._tls_context = (tls_context or ssl.create_default_context()) if is_tls else None
        port = said.pop("port", _DEFAULT_PORT)
        host = said.pop("host", "localhost")
        self._place: str | Addresses = said.pop("path", None) or Addresses(host, port)
        self._options = said

    def _open(self) -> Connection:
        connection = Connection(self._place, self._timeout, self._tls_context, **self._options)
        connection.connect()
        return connection

    def _ask(self, connection: Connection, *command: Any) -> Any:
        connection.send_packed_command([packed(*command)], check_health=False)
        try:
            return connection.read_response()
        except ResponseError as error:
            return error.with_traceback(None)  # an answer like any other: it was read to its end

    def _is_closed(self, connection: Connection) -> bool:
        try:
            return bool(connection.can_read(0))  # what came is the end, or an answer to nothing
        except self._failures:
            return True


def packed(*command: bytes | str | int) -> bytes:
    """Return a command as it is sent, an array of strings (RESP).

    Optimization: redis-py packs in several times as many calls.
    """
    sent = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        sent.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(sent)


def address_in(url: str) -> str:
    """Return how errors name the server of a URL.

    :raises ConfigError: the URL cannot be understood.
    """
    said = parsed(url)
    parts = urlsplit(url)
    return said.get("path") or parts.netloc.rpartition("@")[2] or "localhost"


def parsed(url: str) -> dict[str, Any]:
    """Return what a URL says, by the names of redis-py's arguments.

    :raises ConfigError: it cannot be understood, or says what has no effect here.
    """
    try:
        # A lone surrogate, as an environment variable that is not UTF-8 has, could not be sent, and
        # the error of that would hold the password.
        url.encode()
        said: dict[str, Any] = parse_url(url)
        # redis-py passes over what it does not understand there, as the end of a password.
        parts = urlsplit(url)
        is_misread = (
            parts.fragment != ""
            or "@" in parts.query
            or (parts.scheme != "unix" and not _DATABASE.match(parts.path))
        )
    except ValueError:
        is_misread = True
    if is_misread:
        said = {"": None}
    unknown = sorted(said.keys() - _IN_URL)
    if unknown:
        # Not shown, because it may hold a password.
        text = "" if unknown == [""] else f"; {', '.join(map(repr, unknown))} cannot be in it"
        raise ConfigError(
            "redis['url']",
            'must be "redis://host:port/db", "rediss://host:port/db" or "unix:///path", with a '
            f"number as db, and what is special in a password written as %XX{text}",
        )
    return said
