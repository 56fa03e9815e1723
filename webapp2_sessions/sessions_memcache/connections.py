"""Connections to one memcached: what is asked on them, and when it is asked again.

pymemcache's clients take more time for a session than the exchange itself, and connect to the
first address of a name only.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TypeVar

from webapp2_sessions.errors import MissingDependency
from webapp2_sessions.sessions_memcache.addresses import Addresses
from webapp2_sessions.sessions_memcache.answers import (
    AFTER_VALUE,
    EOL,
    FIRST_PIECE,
    NOTHING,
    Found,
    Incoming,
    refusal,
)
from webapp2_sessions.sessions_memcache.pool import Pool
from webapp2_sessions.sessions_memcache.sockets import connected, is_closed, send_and_wait

try:
    from pymemcache.client.base import normalize_server_spec
    from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheUnexpectedCloseError
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

__all__ = ["Connections", "StaleConnection"]

#: Seconds for statistics, of which a proxy may drop the question.
_STATISTICS_TIMEOUT = 0.25

#: What the line that answers a command means, in pymemcache's way.
_STORED = {b"STORED\r\n": True, b"NOT_STORED\r\n": False}
_COMPARED = {b"STORED\r\n": True, b"EXISTS\r\n": False, b"NOT_FOUND\r\n": None}
_DELETED = {b"DELETED\r\n": True, b"NOT_FOUND\r\n": False}
_TOUCHED = {b"TOUCHED\r\n": True, b"NOT_FOUND\r\n": False}

Expected = TypeVar("Expected")
Result = TypeVar("Result")

_is_key = re.compile(rb"[!-~]{1,250}\Z").match


class StaleConnection(TimeoutError):
    """A connection that was kept gave no answer, and the command must not be repeated.

    It does not tell whether the server is silent, nor whether the command was carried out.
    """


class _Unsent(ConnectionResetError):
    """A connection that was kept had been closed before anything was sent."""


class Connections:
    """Asks one memcached; its methods are those of pymemcache's clients, and raise their errors.

    A connection is kept after an answer that was understood to its last byte, and no other, so
    that what comes late is never taken for the answer to another question.

    Where a kept connection fails, the server was restarted, or something between has forgotten
    the connection and drops what is sent on it. The others are no better: all are closed, and the
    command is sent once more on a new one, unless it might be carried out twice. A second ``add``
    or ``cas`` is answered otherwise than the first; a ``set`` or ``replace`` that was only delayed
    would overwrite what somebody has written since.

    :param address: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting, for sending a command, and for its answer.
    :param tls_context: for connections by TLS.
    """

    def __init__(
        self, address: str, timeout: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        #: A path, or host and port, as pymemcache's clients have it.
        self.server: str | tuple[str, int] = normalize_server_spec(address)
        self._place = self.server if isinstance(self.server, str) else Addresses(*self.server)
        self._timeout = timeout
        self._tls_context = tls_context
        self._pool = Pool()

    @property
    def lost(self) -> int:
        """How many times connections were lost; unchanged as long as the server is the same."""
        return self._pool.lost

    def get(self, key: bytes) -> bytes | None:
        """Return what is stored under ``key``."""
        return self._exchange(key, b"get %b\r\n" % key, self._found, 4)[0]

    def gets(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """Return what is stored under ``key``, and its token for :meth:`cas`."""
        return self._exchange(key, b"gets %b\r\n" % key, self._found, 5)

    def set(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value."""
        command = b"set %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, self._meaning, _STORED, writes=True)

    def add(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none; whether it was stored."""
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        try:
            return self._exchange(key, command, self._meaning, _STORED, once=True)
        except _Unsent:
            return self._exchange(key, command, self._meaning, _STORED, once=True)

    def replace(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is one; whether it was stored."""
        command = b"replace %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, self._meaning, _STORED, writes=True)

    def cas(self, key: bytes, value: bytes, token: bytes, seconds: int) -> bool | None:
        """Store a value where the token holds; ``None`` where there is none any more.

        :raises ConnectionError: it may have been stored; and the server may have been restarted,
            and have given the token to another value.
        """
        command = b"cas %b 0 %d %d %b\r\n%b\r\n" % (key, seconds, len(value), token, value)
        return self._exchange(key, command, self._meaning, _COMPARED, once=True)

    def delete(self, key: bytes) -> bool | None:
        """Delete a value; whether there was one."""
        return self._exchange(key, b"delete %b\r\n" % key, self._meaning, _DELETED)

    def touch(self, key: bytes, seconds: int) -> bool | None:
        """Give a value another expiry; whether there is one."""
        return self._exchange(key, b"touch %b %d\r\n" % (key, seconds), self._meaning, _TOUCHED)

    def stats(self, *arguments: str) -> dict[bytes, bytes | int]:
        """Return what the server tells of itself.

        By a connection of its own: a proxy may close it, or not answer.
        """
        command = " ".join(("stats", *arguments)).encode("ascii") + EOL
        timeout = min(self._timeout, _STATISTICS_TIMEOUT)
        answer = self._ask_apart(command, timeout, Incoming.statistics)
        lines = (line.split(b" ", 2) for line in answer.split(EOL))
        found = {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == b"STAT"}
        return {name: int(text) if text.isdigit() else text for name, text in found.items()}

    def raw_command(self, command: bytes) -> bytes:
        """Return the line that answers any other command, by a connection of its own."""
        answer = self._ask_apart(command + EOL, self._timeout, Incoming.line)
        return answer.partition(EOL)[0]

    def tell(self, key: bytes, value: bytes, seconds: int, timeout: float) -> None:
        """Store a value by a connection of its own, without waiting for an answer.

        :param timeout: seconds for connecting and for sending.
        """
        with closing(connected(self._place, timeout, self._tls_context)) as connection:
            connection.settimeout(timeout)
            connection.sendall(
                b"set %b 0 %d %d noreply\r\n%b\r\n" % (key, seconds, len(value), value)
            )

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close()

    def _ask_apart(
        self, command: bytes, timeout: float, read: Callable[[Incoming], bytes]
    ) -> bytes:
        """Send a command by a connection of its own; returns what ``read`` finds in the answer."""
        with closing(connected(self._place, timeout, self._tls_context)) as connection:
            connection.settimeout(timeout)
            connection.sendall(command)
            return read(Incoming(connection, connection.recv(FIRST_PIECE), timeout))

    def _exchange(
        self,
        key: bytes,
        command: bytes,
        understand: Callable[[socket.socket, bytes, bytes, Expected], Result],
        expected: Expected,
        once: bool = False,
        writes: bool = False,
    ) -> Result:
        """Send a command; returns what ``understand`` makes of the answer's first piece.

        :param understand: called with the connection, the piece, the key and ``expected``.
        :param once: whether the command must not be sent twice.
        :param writes: whether it must not be sent again after silence: the first one may reach the
            server later, when others have written or ended what it stores.
        """
        if not _is_key(key):
            raise MemcacheIllegalInputError("memcached would misread the key")
        kept = self._pool.take()
        if kept is not None:
            try:
                if once and is_closed(kept):
                    kept.close()
                    raise _Unsent()
                return self._ask(kept, key, command, understand, expected)
            except (OSError, MemcacheUnexpectedCloseError) as error:
                self._pool.drop()
                if (once or writes) and isinstance(error, TimeoutError):
                    raise StaleConnection() from error
                if once:
                    raise
        try:
            connection = connected(self._place, self._timeout, self._tls_context)
            return self._ask(connection, key, command, understand, expected)
        except (OSError, MemcacheUnexpectedCloseError):
            self._pool.drop()
            raise

    def _ask(
        self,
        connection: socket.socket,
        key: bytes,
        command: bytes,
        understand: Callable[[socket.socket, bytes, bytes, Expected], Result],
        expected: Expected,
    ) -> Result:
        """Send a command on this connection, which is kept after a whole answer.

        Whatever ends it early, an interrupt included, closes the connection, on which the rest of
        the answer may come yet.
        """
        try:
            sent = 0
            try:
                sent = connection.send(command)
                if sent < len(command):
                    raise BlockingIOError
                answer = connection.recv(FIRST_PIECE)
            except BlockingIOError:  # not at once
                answer = send_and_wait(connection, command[sent:], FIRST_PIECE, self._timeout)
            result = understand(connection, answer, key, expected)
        except BaseException:
            connection.close()
            raise
        self._pool.put(connection)
        return result

    def _meaning(
        self,
        connection: socket.socket,
        answer: bytes,
        key: bytes,
        meanings: Mapping[bytes, bool | None],
    ) -> bool | None:
        """Return what the line means that answers a command."""
        if answer not in meanings:
            answer = Incoming(connection, answer, self._timeout).line()
            if answer not in meanings:
                raise refusal(answer)
        return meanings[answer]

    def _found(self, connection: socket.socket, answer: bytes, key: bytes, words: int) -> Found:
        """Return the value, and the last of so many words of the line before it."""
        line, _, rest = answer.partition(EOL)
        # How the answer to "get" looks if all is well, and has come at once.
        if line == b"VALUE %b 0 %d" % (key, len(rest) - 7) and rest[-7:] == AFTER_VALUE:
            return rest[:-7], None
        if answer == NOTHING:
            return None, None
        return Incoming(connection, answer, self._timeout).found(key, words)
