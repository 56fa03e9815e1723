"""Connections to one memcached server: commands, pooling, and when a command is sent again.

pymemcache's clients take more time for a session than the exchange itself, and connect only to the
first address of a name.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

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

try:
    from pymemcache.client.base import normalize_server_spec
    from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheUnexpectedCloseError
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

#: Idle connections that are kept; what more threads at once need is closed after use.
MOST_IDLE = 128

#: Seconds after which an idle connection is not used any more. Firewalls, NAT gateways and load
#: balancers forget one after 30 s at the earliest, and then drop silently what is sent on it.
LONGEST_IDLE = 10.0

#: Seconds for statistics; a proxy may not answer the question at all.
_STATISTICS_TIMEOUT = 0.25

#: After which failures of a pooled connection a command is sent again; each includes those before.
_NEVER = 0  # The server may have been restarted, and have given the token to another value.
_IF_UNSENT = 1  # A second "add" would be answered differently from the first.
_IF_CLOSED = 2  # A write that was only delayed would overwrite what somebody has written since.
_IF_SILENT = 3  # Twice is as good as once.

#: The results of commands by the line that answers them, as in pymemcache.
_STORED = {b"STORED\r\n": True, b"NOT_STORED\r\n": False}
_COMPARED = {b"STORED\r\n": True, b"EXISTS\r\n": False, b"NOT_FOUND\r\n": None}
_DELETED = {b"DELETED\r\n": True, b"NOT_FOUND\r\n": False}
_TOUCHED = {b"TOUCHED\r\n": True, b"NOT_FOUND\r\n": False}
_MISSED: dict[bytes, Value] = {END: (None, None)}

Result = TypeVar("Result")

_is_key = re.compile(rb"[!-~]{1,250}\Z").match


class StaleConnection(TimeoutError):
    """A pooled connection gave no answer, and the command must not be sent again.

    It tells neither whether the server is silent nor whether the command was carried out.
    """


class Connections:
    """Sends commands to one memcached, with the commands and errors of pymemcache's clients.

    A connection returns to the pool only after an answer that was understood to its last byte, so
    that a late answer is never taken for that to another command. The one that was used last is
    taken first. That needs no lock, since ``append()`` and ``pop()`` of a list are atomic.

    A pooled connection fails after a restart of the server, or when a firewall has forgotten it.
    The others are no better: all are closed, and the command is sent once more on a new one if its
    kind allows that.

    :param address: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting, for sending a command, and for its answer.
    :param tls_context: for connections by TLS.
    """

    def __init__(
        self, address: str, timeout: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        #: When each idle connection was returned, and the connection; the times ascend.
        self._idle: list[tuple[float, socket.socket]] = []
        self._lost = 0
        self._lock = threading.Lock()
        #: A path, or host and port, as in pymemcache's clients.
        self.server: str | tuple[str, int] = normalize_server_spec(address)
        self._place = self.server if isinstance(self.server, str) else Addresses(*self.server)
        self._timeout = timeout
        self._tls_context = tls_context
        # Optimization: write before asking whether there is room, as sockets with a timeout do
        # (1.1 us); an idle connection has some. Only where sockets are files, and not by TLS.
        self._writes_at_once = os.name == "posix" and tls_context is None

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def lost(self) -> int:
        """How many times connections were lost or given up.

        As long as it is the same, the server is the same: a connection that was open all the time
        would have broken when the server was restarted.
        """
        with contextlib.suppress(IndexError):
            if time.monotonic() - self._idle[-1][0] > LONGEST_IDLE:
                self._drop()
        return self._lost

    def _drop(self) -> None:
        """Close all idle connections, and count that as a loss."""
        self._count_loss()
        self.close()

    def _count_loss(self) -> None:
        with self._lock:
            self._lost += 1

    def close(self) -> None:
        """Close all idle connections."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``."""
        return self._exchange(key, b"get %b\r\n" % key, _MISSED, words=4)[0]

    def gets(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """Return the value under ``key``, and its token for :meth:`cas`."""
        return self._exchange(key, b"gets %b\r\n" % key, _MISSED, words=5)

    def set(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value."""
        command = b"set %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, _STORED, _IF_CLOSED)

    def add(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none; whether it was stored."""
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, _STORED, _IF_UNSENT)

    def fill(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is none, as :meth:`add`, if the server is the same as before.

        :raises ConnectionError: it may have been restarted.
        """
        command = b"add %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, _STORED, _NEVER)

    def replace(self, key: bytes, value: bytes, seconds: int) -> bool | None:
        """Store a value where there is one; whether it was stored."""
        command = b"replace %b 0 %d %d\r\n%b\r\n" % (key, seconds, len(value), value)
        return self._exchange(key, command, _STORED, _IF_CLOSED)

    def cas(self, key: bytes, value: bytes, token: bytes, seconds: int) -> bool | None:
        """Store a value where the token holds; ``None`` where there is none any more.

        :raises ConnectionError: it may have been stored; and the token may be another value's now.
        """
        command = b"cas %b 0 %d %d %b\r\n%b\r\n" % (key, seconds, len(value), token, value)
        return self._exchange(key, command, _COMPARED, _NEVER)

    def delete(self, key: bytes) -> bool | None:
        """Delete a value; whether there was one."""
        return self._exchange(key, b"delete %b\r\n" % key, _DELETED)

    def touch(self, key: bytes, seconds: int) -> bool | None:
        """Change the expiry of a value; whether there is one."""
        return self._exchange(key, b"touch %b %d\r\n" % (key, seconds), _TOUCHED)

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

    def _exchange(
        self,
        key: bytes,
        command: bytes,
        results: Mapping[bytes, Result],
        resend: int = _IF_SILENT,
        words: int = 0,
    ) -> Result:
        """Send a command, if need be twice; return its parsed answer.

        A connection returns to the pool after a whole answer. Anything else, an interrupt included,
        closes it: the rest of the answer may be yet to come.

        :param results: the results of the command by answers that consist of one line.
        :param words: how many words the line before a value has, if a value may be the answer.
        """
        if not _is_key(key):
            raise MemcacheIllegalInputError("memcached would misread the key")
        connection: socket.socket | None
        try:
            since, connection = self._idle.pop()
        except IndexError:
            connection = None
        else:
            is_old = time.monotonic() - since > LONGEST_IDLE
            if is_old or (resend <= _IF_UNSENT and is_closed(connection)):
                connection.close()
                self._drop()  # those below are idle for longer
                connection = None
                if resend < _IF_UNSENT:
                    raise ConnectionResetError("no idle connection is open any more")
        while True:
            is_pooled = connection is not None
            try:
                connection = connection or connect(self._place, self._timeout, self._tls_context)
                sent = os.write(connection.fileno(), command) if self._writes_at_once else 0
                if sent < len(command):
                    connection.sendall(command[sent:])
                answer = connection.recv(FIRST_CHUNK)
                if answer in results:
                    result = results[answer]
                elif words:
                    result = self._value(connection, answer, key, words)  # type: ignore[assignment]
                else:
                    answer = ResponseReader(connection, answer, self._timeout).line()
                    if answer not in results:
                        raise error_of(answer)
                    result = results[answer]
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, (OSError, MemcacheUnexpectedCloseError)):
                    self._count_loss()  # it can no longer tell of a restart
                    raise
                self._drop()
                if is_pooled and isinstance(error, TimeoutError) and resend < _IF_SILENT:
                    raise StaleConnection() from error
                if not is_pooled or resend < _IF_CLOSED:
                    raise
                connection = None
            else:
                if len(self._idle) < MOST_IDLE:
                    self._idle.append((time.monotonic(), connection))
                else:
                    connection.close()
                return result

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
