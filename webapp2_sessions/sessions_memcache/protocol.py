"""The answers of memcached's text protocol: read in chunks, and shown without the keys in them."""

from __future__ import annotations

import itertools
import socket
import time

from webapp2_sessions.errors import MissingDependency

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

#: Bytes that are received at first, more than most sessions have, and then at most.
FIRST_CHUNK = 4096
_LARGEST_CHUNK = 256 * 1024

#: No line of an answer is as long, nor are statistics.
_LONGEST_LINE = 1024
_LONGEST_STATISTICS = 64 * 1024

CRLF = b"\r\n"
END = b"END\r\n"
VALUE_END = b"\r\nEND\r\n"

#: A value and the last word of the line before it; ``None`` twice for a miss.
Value = tuple["bytes | None", "bytes | None"]


class ResponseReader:
    """Reads an answer that arrives in several chunks.

    :param connection: has a timeout, which bounds the wait for each chunk.
    :param chunk: the first one.
    :param timeout: seconds from now after which no further chunk is accepted.
    """

    def __init__(self, connection: socket.socket, chunk: bytes, timeout: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + timeout
        self._data = bytearray()
        self._add(chunk)

    def line(self) -> bytes:
        """Return all that has arrived, as soon as it begins with a whole line."""
        while CRLF not in self._data:
            if len(self._data) > _LONGEST_LINE:
                raise error_of(b"")
            self._receive(FIRST_CHUNK)
        return bytes(self._data)

    def statistics(self) -> bytes:
        """Return the lines that answer ``stats``, up to the one that ends them."""
        while not self._data.endswith(END):
            if len(self._data) > _LONGEST_STATISTICS or not b"STAT ".startswith(self._data[:5]):
                raise error_of(bytes(self._data))
            self._receive(FIRST_CHUNK)
        return bytes(self._data)

    def value(self, key: bytes, words: int) -> Value:
        """Return the value, and the last of the given number of words in the line before it."""
        begun = self.line()
        if begun == END:
            return None, None
        end_of_line = begun.index(CRLF)
        line = begun[:end_of_line].split(b" ")
        if len(line) != words or line[0] != b"VALUE" or line[1] != key or not line[3].isdigit():
            raise error_of(begun)
        start = end_of_line + len(CRLF)
        end = start + int(line[3])
        size = end + len(VALUE_END)
        while len(self._data) < size:
            self._receive(min(size - len(self._data), _LARGEST_CHUNK))
        if self._data[end:] != VALUE_END:
            raise error_of(b"")
        return bytes(self._data[start:end]), line[-1]

    def _receive(self, size: int) -> None:
        self._add(self._connection.recv(size))

    def _add(self, chunk: bytes) -> None:
        if not chunk:
            raise MemcacheUnexpectedCloseError()
        if time.monotonic() > self._deadline:
            raise TimeoutError("the answer came too slowly")
        self._data += chunk


def error_of(answer: bytes) -> MemcacheError:
    """Return the error for an answer that does not fit the command, with known words only."""
    kind, _, message = answer.partition(CRLF)[0].partition(b" ")
    words = known_words(message)
    if kind == b"SERVER_ERROR":
        return MemcacheServerError(words)
    if kind in (b"CLIENT_ERROR", b"ERROR"):
        return MemcacheClientError(words)
    return MemcacheUnknownError("the answer is none to the command")


#: The words of memcached's messages, and of those of its proxies twemproxy and mcrouter.
_KNOWN = frozenset(
    b"aborted again bad busy by cache cannot chunk closed command connect connection connections"
    b" data down during error exceeded failed failure for format get grow host in internal invalid"
    b" is item key large line long many memory no not object objects of open out peer pool"
    b" preparing processing read reading refused remote request reset response route server"
    b" shutdown size storing supported temporary timed timeout tko to token too unauthenticated"
    b" unavailable unknown unreachable unsupported valid value while write writing".split()
)


def known_words(message: bytes) -> bytes:
    """Return a server's message up to its first unknown word.

    A server may repeat the command in its message, and with it a session's id.
    """
    words = message.split()
    known = itertools.takewhile(lambda word: word.lower().strip(b".,:;") in _KNOWN, words)
    return b" ".join(known).rstrip(b".,:;")


def redact(error: BaseException, handled: BaseException | None) -> None:
    """Remove all but known words from another library's error, and from those that led to it.

    It becomes the cause of the BackendError, and is logged with it.

    :param handled: what was being handled before, which is none of the library's.
    """
    seen = {id(handled)}
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        pending += [each.__cause__, each.__context__]
        if not isinstance(each, OSError):  # whose words are the system's
            each.args = tuple(filter(None, map(_redacted, each.args)))


def _redacted(argument: object) -> object:
    if isinstance(argument, bytes):
        return known_words(argument)
    if isinstance(argument, str):
        return known_words(argument.encode("utf-8", "replace")).decode("ascii")
    return argument if isinstance(argument, (int, float)) else type(argument).__name__
