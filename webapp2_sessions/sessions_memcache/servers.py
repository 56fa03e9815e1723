"""Talking to memcached: connections, waiting that is bounded, and what a failure means."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    MissingDependency,
    SessionTooLarge,
)
from webapp2_sessions.sessions_memcache.connections import Connections, StaleConnection
from webapp2_sessions.sessions_memcache.serdes import check_client
from webapp2_sessions.sessions_memcache.words import hide_keys, known_words
from webapp2_sessions.stored.clients import ClientRegistry

try:
    from pymemcache.exceptions import (
        MemcacheError,
        MemcacheServerError,
        MemcacheUnexpectedCloseError,
    )
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

__all__ = ["Node", "OwnClient", "Server"]

#: Seconds for which a server that was silent is not asked again.
_PAUSE = 1.0

#: Questions that a proxy may not understand. One that gets no answer tells nothing of the server.
_OPTIONAL = frozenset({"raw_command", "stats"})

#: What stores a value, which is the second argument.
_STORING = frozenset({"add", "cas", "replace", "set"})

#: The server's words for a value that is larger than its items.
_TOO_LARGE = b"object too large for cache"

#: Seconds for reaching a server that is told something without waiting for its answer.
_TELL_TIMEOUT = 0.05

#: Item size of a server that does not tell it: memcached's default.
_DEFAULT_ITEM_SIZE = 1024 * 1024

#: What the key (250 at most) and memcached's own fields take of an item.
_ITEM_OVERHEAD = 512

#: Seconds after which a server that has not told its item size is asked again.
_ASK_AGAIN = 60.0

_clients: ClientRegistry[Any] = ClientRegistry()


class Node:
    """A place in memcached, through a client with pymemcache's methods."""

    #: How errors name it.
    address: str

    #: Counts the connections that were lost. memcached counts its compare-and-set tokens from 1
    #: again after a restart, so that a token from before may fit another value.
    lost = 0

    #: Its item size, and how many connections had been lost when it was told.
    _item_size: tuple[int, int | None] = (_DEFAULT_ITEM_SIZE, None)
    #: When it may be asked for it again, if it has not told.
    _asked_for_size_again = 0.0

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        raise NotImplementedError()

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value without waiting for an answer, also to a server that is silent.

        One that is stopped, and not gone, finds it when it goes on.
        """
        raise NotImplementedError()

    def item_size(self) -> int:
        """Return the size in bytes of the largest item that it takes, by its option ``-I``.

        Asked once, and again when connections were lost, since it may have been restarted. Where
        that gets no answer, as through a proxy, the last one counts, or memcached's default.
        """
        lost = self.lost
        if self._item_size[1] != lost and self._now() >= self._asked_for_size_again:
            size = self._ask_item_size()
            if size is None:
                self._asked_for_size_again = self._now() + _ASK_AGAIN
            else:
                self._item_size = (size, lost)
        return self._item_size[0]

    def largest_value(self) -> int:
        """Return the size in bytes of the largest value that it is known to take."""
        return self.item_size() - _ITEM_OVERHEAD

    def _ask_item_size(self) -> int | None:
        try:
            settings = self.call("stats", "settings")
        except (AttributeError, BackendError, TypeError):
            # Not every client has "stats", and HashClient's takes no arguments.
            return None
        size = settings.get(b"item_size_max") if isinstance(settings, dict) else None
        return size if isinstance(size, int) else None

    def unavailable(self, problem: str) -> BackendUnavailable:
        """Return the error for a server that cannot be used."""
        return BackendUnavailable("memcache", self.address, problem)

    def _refused(self, error: MemcacheError, operation: str, args: tuple[Any, ...]) -> BackendError:
        words = _words(error)
        if words == _TOO_LARGE.decode("ascii") and operation in _STORING:
            # What was not known: it does not tell, or was restarted with another limit.
            size = len(args[1])
            limit = min(self.largest_value(), size - 1)
            return SessionTooLarge("memcache", self.address, size, limit)
        problem = f"the server refused ({words or type(error).__name__})"
        return BackendError("memcache", self.address, problem)

    def _now(self) -> float:
        return time.monotonic()


class Server(Node):
    """One memcached server, through a pool of connections for each process.

    After a timeout the server is not asked for a second: a silent server costs its timeout once
    a second and process, not once a call.

    :param address: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting and for each answer.
    :param tls_context: for connections by TLS.
    """

    def __init__(
        self, address: str, timeout: float, tls_context: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._tls_context = tls_context
        #: When it may be asked again, 0 if it answers.
        self._asked_again = 0.0

    @property
    def lost(self) -> int:  # type: ignore[override]  # nobody else counts
        """How many connections were lost."""
        count: int = self._client().lost
        return count

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        A ``cas`` whose connection broke counts as refused: it may have been carried out, or the
        token may by now fit another value.
        """
        is_optional = operation in _OPTIONAL
        if self._asked_again:
            self._wait_for_turn(is_optional)
        try:
            result = getattr(self._client(), operation)(*args)
        except (StaleConnection, ConnectionError, MemcacheUnexpectedCloseError) as error:
            if isinstance(error, StaleConnection):
                raise self.unavailable(self._silent()) from error
            self._asked_again = 0.0
            if isinstance(error, ConnectionRefusedError):
                raise self.unavailable("the server refused the connection") from error
            if operation == "cas":
                return False
            raise self.unavailable("the server closed the connection") from error
        except OSError as error:
            raise self._unreachable(error, is_optional) from error
        except MemcacheError as error:
            self._asked_again = 0.0
            raise self._refused(error, operation, args) from error
        self._asked_again = 0.0
        return result

    def _wait_for_turn(self, is_optional: bool) -> None:
        """Let one caller a second through to a server that was silent."""
        now = self._now()
        if is_optional or now < self._asked_again:
            raise self.unavailable(
                f"the server did not answer, and is not asked again for {_PAUSE:g} s"
            )
        self._asked_again = now + self._timeout + _PAUSE

    def _unreachable(self, error: OSError, is_optional: bool) -> BackendUnavailable:
        if not isinstance(error, (TimeoutError, socket.gaierror)):
            return self.unavailable(f"the server cannot be reached ({type(error).__name__})")
        if not is_optional:
            self._asked_again = self._now() + _PAUSE
        if isinstance(error, TimeoutError):
            return self.unavailable(self._silent())
        if error.errno == socket.EAI_AGAIN:
            return self.unavailable("the server's name could not be looked up in time")
        return self.unavailable("the server's name was not found")

    def _silent(self) -> str:
        return f"the server did not answer within {self._timeout} s"

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value by a connection of its own, without waiting for an answer."""
        try:
            self._client().tell(key, value, seconds, min(_TELL_TIMEOUT, self._timeout))
        except (OSError, MemcacheError) as error:
            raise self.unavailable("the server cannot be reached") from error

    def _client(self) -> Any:
        return _clients.get(self, self._connect)

    def _connect(self) -> Connections:
        return Connections(self.address, self._timeout, self._tls_context)


class OwnClient(Node):
    """An application's own client; which server it asks, and for how long, is its affair.

    :param client: an object with the methods of pymemcache's clients, or a function without
        arguments that makes one, called once in each process.
    """

    address = "config['memcache']['client']"

    #: Methods that return at once, as if all went well, unless told otherwise.
    _SILENT = frozenset({"add", "delete", "replace", "set", "touch"})

    def __init__(self, client: Any) -> None:
        self._given = client

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client; what it raises because of a server becomes our error.

        :raises ConfigError: the client would decode what it reads.
        """
        kwargs = {"noreply": False} if operation in self._SILENT else {}
        try:
            client = _clients.get(self, self._make)
            result = getattr(client, operation)(*args, **kwargs)
        except MemcacheUnexpectedCloseError as error:
            raise self.unavailable("the server closed the connection") from error
        except MemcacheError as error:
            hide_keys(error)
            raise self._refused(error, operation, args) from error
        except (OSError, RuntimeError, KeyError) as error:
            # The latter two: a pool without a free connection, and a broken answer.
            hide_keys(error)
            raise self.unavailable(f"the client failed ({type(error).__name__})") from error
        if operation == "gets" and not isinstance(result, tuple):
            raise self.unavailable("the client has no server for the key")  # HashClient's way
        if operation in ("get", "gets"):
            self._check_value(result if operation == "get" else result[0])
        return result

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value; the client decides how long it waits."""
        if not self.call("set", key, value, seconds):  # as a client does that has given a server up
            raise self.unavailable("the client did not store the value")

    def _make(self) -> Any:
        client = self._given if hasattr(self._given, "get") else self._given()
        check_client(client)
        return client

    def _check_value(self, value: object) -> None:
        if value is not None and type(value) is not bytes:
            raise BackendError(
                "memcache",
                self.address,
                f"the client returned {type(value).__name__} and not the bytes that are stored",
            )


def _words(error: MemcacheError) -> str:
    """What an error says; only known words of the server's hold no key."""
    words = error.args[0] if isinstance(error, MemcacheServerError) and error.args else None
    return known_words(words).decode("ascii") if isinstance(words, bytes) else ""
