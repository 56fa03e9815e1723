"""Connections to one memcached: what is said on them, and which are kept.

pymemcache's clients take more time for a session than the exchange itself. What is rare is left
to them.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, TypeVar

from webapp2_sessions.errors import MissingDependency
from webapp2_sessions.memcached_sockets import connected, send_and_wait

try:
    from pymemcache.client.base import Client, normalize_server_spec
    from pymemcache.exceptions import (
        MemcacheClientError,
        MemcacheError,
        MemcacheIllegalInputError,
        MemcacheServerError,
        MemcacheUnexpectedCloseError,
        MemcacheUnknownError,
    )
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

__all__ = ["MOST_IDLE", "Connections"]

#: Connections that are kept for later calls; what more threads at once need is closed after use.
MOST_IDLE = 128

#: Bytes that are read at first, more than most sessions have, and of what is larger at once.
_FIRST_PIECE = 4096
_LARGEST_PIECE = 256 * 1024

#: No line of an answer is as long.
_LONGEST_LINE = 1024

_EOL = b"\r\n"
_NOTHING = b"END\r\n"
_AFTER_VALUE = b"\r\nEND\r\n"

#: What the line that answers a command means, in pymemcache's way.
_STORED = {b"STORED\r\n": True, b"NOT_STORED\r\n": False}
_COMPARED = {b"STORED\r\n": True, b"EXISTS\r\n": False, b"NOT_FOUND\r\n": None}
_DELETED = {b"DELETED\r\n": True, b"NOT_FOUND\r\n": False}
_TOUCHED = {b"TOUCHED\r\n": True, b"NOT_FOUND\r\n": False}

#: A value and the last word of the line before it; ``None`` twice where nothing is stored.
_Found = tuple["bytes | None", "bytes | None"]

Expected = TypeVar("Expected")
Result = TypeVar("Result")

_is_key = re.compile(rb"[!-~]{1,250}\Z").match


class Connections:
    """Asks one memcached; its methods are those of pymemcache's clients, and raise their errors.

    A connection is kept after an answer that was understood to its last byte, and no other, so
    that what comes late is never taken for the answer to another question.

    :param address: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting, for sending a command, and for its answer.
    :param tls_context: for connections by TLS.
    """

    def __init__(
        self, address: str, timeout: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        #: A path, or host and port, as pymemcache's clients have it.
        self.server: str | tuple[str, int] = normalize_server_spec(address)
        self._timeout = timeout
        self._tls_context = tls_context
        #: Threads need no lock, since append() and pop() of a list are atomic.
        self._idle: list[socket.socket] = []

    def get(self, key: bytes) -> bytes | None:
        """Return what is stored under ``key``."""
        return self._exchange(key, b"get %b\r\n" % key, self._found, 4)[0]

    def gets(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """Return what is stored under ``key``, and its token for :meth:`cas`."""
        return self._exchange(key, b"gets %b\r\n" % key, self._found, 5)

    def set(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value."""
        command = b"set %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, self._meaning, _STORED)

    def add(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none; whether it was stored."""
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, self._meaning, _STORED)

    def replace(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is one; whether it was stored."""
        command = b"replace %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, self._meaning, _STORED)

    def cas(self, key: bytes, value: bytes, token: bytes, seconds: int) -> bool | None:
        """Store a value where the token holds; ``None`` where there is none any more."""
        command = b"cas %b 0 %d %d %b\r\n%b\r\n" % (key, seconds, len(value), token, value)
        return self._exchange(key, command, self._meaning, _COMPARED)

    def delete(self, key: bytes) -> bool | None:
        """Delete a value; whether there was one."""
        return self._exchange(key, b"delete %b\r\n" % key, self._meaning, _DELETED)

    def touch(self, key: bytes, seconds: int) -> bool | None:
        """Give a value another expiry; whether there is one."""
        return self._exchange(key, b"touch %b %d\r\n" % (key, seconds), self._meaning, _TOUCHED)

    def stats(self, *arguments: str) -> Any:
        """Return what the server tells of itself."""
        with closing(self._client(self._timeout)) as client:
            return client.stats(*arguments)

    def raw_command(self, command: bytes) -> bytes:
        """Return the line that answers any other command."""
        with closing(self._client(self._timeout)) as client:
            line: bytes = client.raw_command(command)
            return line

    def tell(self, key: bytes, value: bytes, seconds: int, timeout: float) -> None:
        """Store a value by a connection of its own, without waiting for an answer.

        :param timeout: seconds for connecting and for sending.
        """
        with closing(self._client(timeout)) as client:
            client.set(key, value, seconds, noreply=True)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _client(self, timeout: float) -> Client:
        return Client(
            self._address,
            connect_timeout=timeout,
            timeout=timeout,
            no_delay=True,
            tls_context=self._tls_context,
        )

    def _exchange(
        self,
        key: bytes,
        command: bytes,
        understand: Callable[[socket.socket, bytes, bytes, Expected], Result],
        expected: Expected,
    ) -> Result:
        """Send a command; returns what ``understand`` makes of the answer's first piece.

        Whatever ends it early, an interrupt included, closes the connection, on which the rest of
        the answer may come yet.

        :param understand: called with the connection, the piece, the key and ``expected``.
        """
        idle = self._idle
        try:
            connection = idle.pop() if _is_key(key) else self._refused()
        except IndexError:
            connection = connected(self.server, self._timeout, self._tls_context)
        try:
            sent = 0
            try:
                sent = connection.send(command)
                if sent < len(command):
                    raise BlockingIOError
                answer = connection.recv(_FIRST_PIECE)
            except BlockingIOError:  # not at once
                answer = send_and_wait(connection, command[sent:], _FIRST_PIECE, self._timeout)
            result = understand(connection, answer, key, expected)
        except BaseException:
            connection.close()
            raise
        if len(idle) < MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()
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
            answer = _Incoming(connection, answer, self._timeout).line()
            if answer not in meanings:
                raise _refusal(answer)
        return meanings[answer]

    def _found(self, connection: socket.socket, answer: bytes, key: bytes, words: int) -> _Found:
        """Return the value, and the last of so many words of the line before it."""
        line, _, rest = answer.partition(_EOL)
        # How the answer to "get" looks if all is well, and has come at once.
        if line == b"VALUE %b 0 %d" % (key, len(rest) - 7) and rest[-7:] == _AFTER_VALUE:
            return rest[:-7], None
        if answer == _NOTHING:
            return None, None
        return _Incoming(connection, answer, self._timeout).found(key, words)

    def _refused(self) -> socket.socket:
        raise MemcacheIllegalInputError("memcached would misread the key")


class _Incoming:
    """An answer that comes in pieces.

    :param begun: the first of them.
    :param timeout: seconds for a piece, and from now on until no further one is waited for.
    """

    def __init__(self, connection: socket.socket, begun: bytes, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._data = bytearray()
        self._add(begun)

    def line(self) -> bytes:
        """Return all that has come, as soon as it begins with a whole line."""
        while _EOL not in self._data:
            if len(self._data) > _LONGEST_LINE:
                raise _refusal(b"")
            self._wait_for(_FIRST_PIECE)
        return bytes(self._data)

    def found(self, key: bytes, words: int) -> _Found:
        """Return the value, and the last of so many words of the line before it."""
        begun = self.line()
        if begun == _NOTHING:
            return None, None
        end_of_line = begun.index(_EOL)
        line = begun[:end_of_line].split(b" ")
        if len(line) != words or line[0] != b"VALUE" or line[1] != key or not line[3].isdigit():
            raise _refusal(begun)
        start = end_of_line + len(_EOL)
        end = start + int(line[3])
        answer = self._of_size(end + len(_AFTER_VALUE))
        if answer[end:] != _AFTER_VALUE:
            raise _refusal(b"")
        return answer[start:end], line[-1]

    def _of_size(self, size: int) -> bytes:
        while len(self._data) < size:
            self._wait_for(min(size - len(self._data), _LARGEST_PIECE))
        return bytes(self._data)

    def _wait_for(self, size: int) -> None:
        try:
            piece = self._connection.recv(size)
        except BlockingIOError:  # not at once
            piece = send_and_wait(self._connection, b"", size, self._timeout)
        self._add(piece)

    def _add(self, piece: bytes) -> None:
        if not piece:
            raise MemcacheUnexpectedCloseError()
        if time.monotonic() > self._deadline:
            raise TimeoutError("the answer came too slowly")
        self._data += piece


def _refusal(answer: bytes) -> MemcacheError:
    """The error for an answer that is none to the command; only the server's words are shown."""
    kind, _, words = answer.partition(_EOL)[0].partition(b" ")
    if kind == b"SERVER_ERROR":
        return MemcacheServerError(words)
    if kind in (b"CLIENT_ERROR", b"ERROR"):
        return MemcacheClientError(words)
    return MemcacheUnknownError("the answer is none to the command")
