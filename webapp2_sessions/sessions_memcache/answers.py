"""What memcached answers, and how it is read when it comes in pieces."""

from __future__ import annotations

import socket
import time

from webapp2_sessions.errors import MissingDependency
from webapp2_sessions.sessions_memcache.sockets import send_and_wait
from webapp2_sessions.sessions_memcache.words import known_words

try:
    from pymemcache.exceptions import (
        MemcacheClientError,
        MemcacheError,
        MemcacheServerError,
        MemcacheUnexpectedCloseError,
        MemcacheUnknownError,
    )
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

__all__ = ["AFTER_VALUE", "EOL", "FIRST_PIECE", "NOTHING", "Found", "Incoming", "refusal"]

#: Bytes that are read at first, more than most sessions have, and of what is larger at once.
FIRST_PIECE = 4096
_LARGEST_PIECE = 256 * 1024

#: No line of an answer is as long, nor are statistics.
_LONGEST_LINE = 1024
_LONGEST_STATISTICS = 64 * 1024

EOL = b"\r\n"
NOTHING = b"END\r\n"
AFTER_VALUE = b"\r\nEND\r\n"

#: A value and the last word of the line before it; ``None`` twice where nothing is stored.
Found = tuple["bytes | None", "bytes | None"]


class Incoming:
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
        while EOL not in self._data:
            if len(self._data) > _LONGEST_LINE:
                raise refusal(b"")
            self._wait_for(FIRST_PIECE)
        return bytes(self._data)

    def statistics(self) -> bytes:
        """Return all lines of statistics, the last of which says that it is the last."""
        while not self._data.endswith(NOTHING):
            if len(self._data) > _LONGEST_STATISTICS or not b"STAT ".startswith(self._data[:5]):
                raise refusal(bytes(self._data))
            self._wait_for(FIRST_PIECE)
        return bytes(self._data)

    def found(self, key: bytes, words: int) -> Found:
        """Return the value, and the last of so many words of the line before it."""
        begun = self.line()
        if begun == NOTHING:
            return None, None
        end_of_line = begun.index(EOL)
        line = begun[:end_of_line].split(b" ")
        if len(line) != words or line[0] != b"VALUE" or line[1] != key or not line[3].isdigit():
            raise refusal(begun)
        start = end_of_line + len(EOL)
        end = start + int(line[3])
        answer = self._of_size(end + len(AFTER_VALUE))
        if answer[end:] != AFTER_VALUE:
            raise refusal(b"")
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


def refusal(answer: bytes) -> MemcacheError:
    """Return the error for an answer that is none to the command, with known words alone."""
    kind, _, message = answer.partition(EOL)[0].partition(b" ")
    words = known_words(message)
    if kind == b"SERVER_ERROR":
        return MemcacheServerError(words)
    if kind in (b"CLIENT_ERROR", b"ERROR"):
        return MemcacheClientError(words)
    return MemcacheUnknownError("the answer is none to the command")
