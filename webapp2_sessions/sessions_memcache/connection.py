"""The commands of memcached, and the answers to them.

pymemcache's clients take more time for a session than the exchange itself, and connect only to the
first address of a name.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from webapp2_sessions.errors import MissingDependency
from webapp2_sessions.sessions_memcache.protocol import (
    CRLF,
    END,
    FIRST_CHUNK,
    VALUE_END,
    ResponseReader,
    Value,
    error_of,
)
from webapp2_sessions.stored.addresses import Addresses, connect
from webapp2_sessions.stored.connections import (
    IF_CLOSED,
    IF_SILENT,
    IF_UNSENT,
    NEVER,
    ConnectionPool,
)

try:
    from pymemcache.client.base import normalize_server_spec
    from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheUnexpectedCloseError
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

#: Seconds for statistics; a proxy may not answer the question at all.
_STATISTICS_TIMEOUT = 0.25

#: The results of commands by the line that answers them, as in pymemcache.
_STORED = {b"STORED\r\n": True, b"NOT_STORED\r\n": False}
_COMPARED = {b"STORED\r\n": True, b"EXISTS\r\n": False, b"NOT_FOUND\r\n": None}
_DELETED = {b"DELETED\r\n": True, b"NOT_FOUND\r\n": False}
_TOUCHED = {b"TOUCHED\r\n": True, b"NOT_FOUND\r\n": False}
_MISSED: dict[bytes, Value] = {END: (None, None)}

Result = TypeVar("Result")

_is_key = re.compile(rb"[!-~]{1,250}\Z").match


class Connections(ConnectionPool[socket.socket]):
    """Sends commands to one memcached, with the commands and errors of pymemcache's clients.

    :param address: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting, for sending a command, and for its answer.
    :param tls_context: for connections by TLS.
    """

    _failures = (OSError, MemcacheUnexpectedCloseError)

    def __init__(
        self, address: str, timeout: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        #: A path, or host and port, as in pymemcache's clients.
        self.server: str | tuple[str, int] = normalize_server_spec(address)
        self._place = self.server if isinstance(self.server, str) else Addresses(*self.server)
        self._timeout = timeout
        self._tls_context = tls_context
        # Optimization: write before asking whether there is room, as sockets with a timeout do
        # (1.1 us); an idle connection has some. Only where sockets are files, and not by TLS.
        self._writes_at_once = os.name == "posix" and tls_context is None

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``."""
        return self._call(key, b"get %b\r\n" % key, _MISSED, words=4)[0]

    def gets(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """Return the value under ``key``, and its token for :meth:`cas`."""
        return self._call(key, b"gets %b\r\n" % key, _MISSED, words=5)

    def set(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value."""
        command = b"set %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._call(key, command, _STORED, IF_CLOSED)

    def add(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none; whether it was stored."""
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._call(key, command, _STORED, IF_UNSENT)

    def fill(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none, as :meth:`add`, if the server is the same as before.

        :raises ConnectionError: it may have been restarted.
        """
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._call(key, command, _STORED, NEVER)

    def replace(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is one; whether it was stored."""
        command = b"replace %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._call(key, command, _STORED, IF_CLOSED)

    def cas(self, key: bytes, value: bytes, token: bytes, seconds: int) -> bool | None:
        """Store a value where the token holds; ``None`` where there is none any more.

        :raises ConnectionError: it may have been stored; and the token may be another value's now.
        """
        command = b"cas %b 0 %d %d %b\r\n%b\r\n" % (key, seconds, len(value), token, value)
        return self._call(key, command, _COMPARED, NEVER)

    def delete(self, key: bytes) -> bool | None:
        """Delete a value; whether there was one."""
        return self._call(key, b"delete %b\r\n" % key, _DELETED)

    def touch(self, key: bytes, seconds: int) -> bool | None:
        """Change the expiry of a value; whether there is one."""
        return self._call(key, b"touch %b %d\r\n" % (key, seconds), _TOUCHED)

    def stats(self, *arguments: str) -> dict[bytes, bytes | int]:
        """Return the server's statistics.

        By a connection of its own: a proxy may close it, or not answer.
        """
        command = " ".join(("stats", *arguments)).encode("ascii") + CRLF
        timeout = min(self._timeout, _STATISTICS_TIMEOUT)
        answer = self._ask_apart(command, timeout, ResponseReader.statistics)
        lines = (line.split(b" ", 2) for line in answer.split(CRLF))
        found = {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == b"STAT"}
        return {name: int(text) if text.isdigit() else text for name, text in found.items()}

    def raw_command(self, command: bytes) -> bytes:
        """Return the line that answers any other command, by a connection of its own."""
        answer = self._ask_apart(command + CRLF, self._timeout, ResponseReader.line)
        return answer.partition(CRLF)[0]

    def set_noreply(self, key: bytes, value: bytes, seconds: int, timeout: float) -> None:
        """Store a value by a connection of its own, and do not wait for an answer.

        :param timeout: seconds for connecting and for sending.
        """
        with connect(self._place, timeout, self._tls_context) as connection:
            connection.sendall(
                b"set %b 0 %d %d noreply\r\n%b\r\n" % (key, seconds, len(value), value)
            )

    def _ask_apart(
        self, command: bytes, timeout: float, read: Callable[[ResponseReader], bytes]
    ) -> bytes:
        """Send a command by a connection of its own; return what ``read`` makes of the answer."""
        with connect(self._place, timeout, self._tls_context) as connection:
            connection.sendall(command)
            return read(ResponseReader(connection, connection.recv(FIRST_CHUNK), timeout))

    def _call(
        self,
        key: bytes,
        command: bytes,
        results: Mapping[bytes, Result],
        resend: int = IF_SILENT,
        words: int = 0,
    ) -> Result:
        """Send a command; return its parsed answer.

        :param results: the results of the command by answers that consist of one line.
        :param words: how many words the line before a value has, if a value may be the answer.
        """
        if not _is_key(key):
            raise MemcacheIllegalInputError("memcached would misread the key")
        return self.exchange(resend, key, command, results, words)  # type: ignore[no-any-return]

    def _open(self) -> socket.socket:
        return connect(self._place, self._timeout, self._tls_context)

    def _ask(
        self,
        connection: socket.socket,
        key: bytes,
        command: bytes,
        results: Mapping[bytes, Result],
        words: int,
    ) -> Any:
        sent = os.write(connection.fileno(), command) if self._writes_at_once else 0
        if sent < len(command):
            connection.sendall(command[sent:])
        answer = connection.recv(FIRST_CHUNK)
        if answer in results:
            return results[answer]
        if words:
            return self._value(connection, answer, key, words)
        answer = ResponseReader(connection, answer, self._timeout).line()
        if answer not in results:
            raise error_of(answer)
        return results[answer]

    def _is_closed(self, connection: socket.socket) -> bool:
        return is_closed(connection)

    def _value(self, connection: socket.socket, answer: bytes, key: bytes, words: int) -> Value:
        """Return the value, and the last of the given number of words in the line before it."""
        # Optimization: a whole answer in one chunk.
        line, _, rest = answer.partition(CRLF)
        begin = b"VALUE %b 0 %d" % (key, len(rest) - 7)
        if rest[-7:] == VALUE_END:
            if words == 4 and line == begin:
                return rest[:-7], None
            begin += b" "
            token = line[len(begin) :]
            if words == 5 and line.startswith(begin) and token.isdigit():
                return rest[:-7], token
        return ResponseReader(connection, answer, self._timeout).value(key, words)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server is known to have closed an idle connection; unknown by TLS."""
    if isinstance(connection, ssl.SSLSocket):
        return False
    timeout = connection.gettimeout()
    try:
        connection.settimeout(0)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        connection.settimeout(timeout)
        return False
    except OSError:
        pass
    return True  # what came is the end, or an answer to nothing
