"""Talking to memcached: connections, waiting that is bounded, and what a failure means."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from webapp2_sessions.clients import ClientRegistry
from webapp2_sessions.errors import BackendError, BackendUnavailable, MissingDependency
from webapp2_sessions.memcached_connections import MOST_IDLE, Connections

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

#: A restarted server may leave all connections that are kept; each fails once.
_ATTEMPTS = range(MOST_IDLE + 1)

#: Seconds for reaching a server that is told something without waiting for its answer.
_TELL_TIMEOUT = 0.05

#: Item size of a server that does not tell it: memcached's default.
_DEFAULT_ITEM_SIZE = 1024 * 1024

_clients: ClientRegistry[Any] = ClientRegistry()


class Node:
    """A place in memcached, through a client with pymemcache's methods."""

    #: How errors name it.
    address: str

    #: Counts the connections that were lost. memcached counts its compare-and-set tokens from 1
    #: again after a restart, so that a token from before may fit another value.
    lost = 0

    #: Its item size, and how many connections had been lost when it was asked.
    _item_size: tuple[int, int] | None = None

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

        Asked once, and again when connections were lost, since it may have been restarted.
        """
        lost = self.lost
        if self._item_size is None or self._item_size[1] != lost:
            self._item_size = (self._ask_item_size(), lost)
        return self._item_size[0]

    def _ask_item_size(self) -> int:
        settings = self.call("stats", "settings")
        size = settings.get(b"item_size_max") if isinstance(settings, dict) else None
        return size if isinstance(size, int) else _DEFAULT_ITEM_SIZE

    def unavailable(self, problem: str) -> BackendUnavailable:
        """Return the error for a server that cannot be used."""
        return BackendUnavailable("memcache", self.address, problem)

    def _refused(self, error: MemcacheError) -> BackendError:
        return BackendError("memcache", self.address, f"the server refused ({_reason(error)})")


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

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        Connections that the server has closed, as it does when it restarts, are replaced; a
        ``cas`` is not repeated then.
        """
        if self._asked_again:
            self._wait_for_turn()
        client = _clients.built.get(self) or _clients.get(self, self._connect)
        method = getattr(client, operation)
        for _ in _ATTEMPTS:
            try:
                result = method(*args)
            except (ConnectionRefusedError, ConnectionError, MemcacheUnexpectedCloseError) as error:
                self._asked_again = 0.0
                self.lost += 1
                closed: Exception = error
                if isinstance(error, ConnectionRefusedError):
                    raise self.unavailable("the server refused the connection") from error
                if operation == "cas":
                    return False
            except OSError as error:
                raise self._unreachable(error) from error
            except MemcacheError as error:
                self._asked_again = 0.0
                raise self._refused(error) from error
            else:
                self._asked_again = 0.0
                return result
        raise self.unavailable("the server closes every connection") from closed

    def _wait_for_turn(self) -> None:
        """Let one caller a second through to a server that was silent."""
        now = self._now()
        if now < self._asked_again:
            raise self.unavailable(
                f"the server did not answer, and is not asked again for {_PAUSE:g} s"
            )
        self._asked_again = now + self._timeout + _PAUSE

    def _unreachable(self, error: OSError) -> BackendUnavailable:
        if not isinstance(error, (TimeoutError, socket.gaierror)):
            return self.unavailable(f"the server cannot be reached ({type(error).__name__})")
        self._asked_again = self._now() + _PAUSE
        if isinstance(error, TimeoutError):
            return self.unavailable(f"the server did not answer within {self._timeout} s")
        return self.unavailable("the server's name was not found")

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value by a connection of its own, without waiting for an answer."""
        client = _clients.get(self, self._connect)
        try:
            client.tell(key, value, seconds, min(_TELL_TIMEOUT, self._timeout))
        except (OSError, MemcacheError) as error:
            raise self.unavailable("the server cannot be reached") from error

    def _connect(self) -> Connections:
        return Connections(self.address, self._timeout, self._tls_context)

    def _now(self) -> float:
        return time.monotonic()


class OwnClient(Node):
    """An application's own client; which server it asks, and for how long, is its affair.

    :param client: an object with the methods of pymemcache's clients, or a function without
        arguments that makes one, called once in each process.
    """

    address = "config['memcache']['client']"

    #: Methods that return at once, as if all went well, unless told otherwise.
    _SILENT = frozenset({"add", "delete", "replace", "set", "touch"})

    def __init__(self, client: Any) -> None:
        self._client: Callable[[], Any] = (lambda: client) if hasattr(client, "get") else client

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client; what it raises because of a server becomes our error."""
        kwargs = {"noreply": False} if operation in self._SILENT else {}
        try:
            client = _clients.get(self, self._client)
            result = getattr(client, operation)(*args, **kwargs)
        except MemcacheUnexpectedCloseError as error:
            raise self.unavailable("the server closed the connection") from error
        except MemcacheError as error:
            raise self._refused(error) from error
        except (OSError, RuntimeError, KeyError) as error:
            # The latter two: a pool without a free connection, and a broken answer.
            raise self.unavailable(f"the client failed ({type(error).__name__})") from error
        if operation == "gets" and not isinstance(result, tuple):
            raise self.unavailable("the client has no server for the key")  # HashClient's way
        return result

    def tell(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value; the client decides how long it waits."""
        self.call("set", key, value, seconds)

    def _ask_item_size(self) -> int:
        # Not every client has "stats", and HashClient's takes no arguments.
        try:
            return super()._ask_item_size()
        except (AttributeError, TypeError, BackendError):
            return _DEFAULT_ITEM_SIZE


def _reason(error: MemcacheError) -> str:
    """What an error says; only the server's own words are known to hold no key."""
    words = error.args[0] if isinstance(error, MemcacheServerError) and error.args else None
    return words.decode("ascii", "replace") if isinstance(words, bytes) else type(error).__name__
