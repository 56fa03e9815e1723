"""The memcached servers of a configuration: which has a key, and what their failures mean."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
import sys
import time
from collections.abc import Mapping
from operator import methodcaller
from typing import Any

from webapp2_sessions.config.imports import import_object
from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    MissingDependency,
    SessionTooLarge,
)
from webapp2_sessions.sessions_memcache.client_check import check_client
from webapp2_sessions.sessions_memcache.connection import Connections
from webapp2_sessions.sessions_memcache.protocol import known_words, redact
from webapp2_sessions.stored.breaker import Breaker
from webapp2_sessions.stored.clients import ClientRegistry, Identity

try:
    from pymemcache.exceptions import (
        MemcacheError,
        MemcacheServerError,
        MemcacheUnexpectedCloseError,
    )
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

#: Replaces a record that is revoked. Nobody signs it: where it stays for a moment, it counts as no
#: session.
TAKEN = b"ended"

#: Commands that a proxy may not understand. If one gets no answer, the server may be well.
_OPTIONAL = frozenset({"raw_command", "stats"})

#: Commands that store a value, which is their second argument.
_STORING = frozenset({"add", "cas", "fill", "replace", "set"})

#: The server's words for a value that is larger than its items.
_TOO_LARGE = b"object too large for cache"

#: Seconds for sending a value without waiting for an answer.
_NOREPLY_TIMEOUT = 0.05

#: Item size of a server that does not tell it: memcached's default.
_DEFAULT_ITEM_SIZE = 1024 * 1024

#: Bytes of an item for the key (250 at most) and memcached's own fields.
_ITEM_OVERHEAD = 512

#: Seconds after which a server that did not tell its item size is asked again.
_ASK_AGAIN = 60.0

_clients: ClientRegistry[Any] = ClientRegistry()


def nodes_of(settings: Mapping[str, Any]) -> Nodes:
    """Return the servers of ``config["memcache"]``; the same object for the same settings.

    :param settings: with ``servers``, ``timeout``, ``tls_context`` and ``client``.
    """
    client = settings["client"]
    if isinstance(client, str):  # "appengine"
        # By its name, because it needs the SDK.
        appengine = import_object("webapp2_sessions.sessions_memcache.appengine.AppEngineMemcache")
        return Nodes([appengine(settings["timeout"])])
    if client is not None:
        return _custom_client(client if isinstance(client, Identity) else Identity(client))
    return _servers(tuple(settings["servers"]), settings["timeout"], settings["tls_context"])


@functools.lru_cache(maxsize=64)
def _custom_client(client: Identity) -> Nodes:
    return Nodes([CustomClient(client.value)])


@functools.lru_cache(maxsize=64)
def _servers(servers: tuple[str, ...], timeout: float, tls_context: ssl.SSLContext | None) -> Nodes:
    return Nodes([Server(address, timeout, tls_context) for address in servers])


class Nodes:
    """Servers among which the keys are distributed by rendezvous hashing (Thaler and Ravishankar).

    A server that is added or removed for good moves no other keys than its own. One that fails
    keeps its keys: another one would begin with empty sessions, and the first would come back with
    old ones.

    :param nodes: one at least.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self._first = nodes[0]
        # A single server needs no hash, of which some systems allow only a few.
        several = nodes if len(nodes) > 1 else ()
        self._hashes = [(_hash(node.address.encode("utf-8")), node) for node in several]

    def node_of(self, key: bytes) -> Node:
        """Return the server that has a key."""
        if not self._hashes:
            return self._first
        return max(self._hashes, key=lambda pair: _weight(pair[0], key))[1]


def _hash(data: bytes) -> Any:
    """BLAKE2b, which fixes the place of each key; SHA-256 where Python has no such hash.

    Pythons that are restricted to FIPS 140 lack it, refuse it, or do not know its arguments.
    """
    try:
        return hashlib.blake2b(data, digest_size=8)
    except (AttributeError, TypeError, ValueError):
        return hashlib.sha256(data)


def _weight(address: Any, key: bytes) -> bytes:
    weight = address.copy()
    weight.update(key)
    digest: bytes = weight.digest()
    return digest


class Node:
    """Base of what has keys: one server, or a client of the application's own."""

    #: How errors name it.
    address: str

    #: Counts the connections that were lost. memcached counts its compare-and-set tokens from 1
    #: again after a restart, so that a token from before may fit another value.
    lost = 0

    #: Its item size, and how many connections had been lost when it was told.
    _item_size: tuple[int, int | None] = (_DEFAULT_ITEM_SIZE, None)
    #: When it may be asked for it again, if it did not tell.
    _asked_for_size_again = 0.0

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        raise NotImplementedError()

    def set_noreply(self, key: bytes, value: bytes, seconds: int) -> None:
        """Fire and forget a value; a paused server applies it when it resumes.

        :raises BackendUnavailable: it could not be sent.
        """
        raise NotImplementedError()

    def largest_value(self) -> int:
        """Return the size in bytes of the largest value that it is known to take.

        The size of its items (option ``-I``) is asked once, and again when connections were lost,
        since it may have been restarted. Where that gets no answer, as through a proxy, the
        previous one counts, or memcached's default.
        """
        lost = self.lost
        if self._item_size[1] != lost and self._now() >= self._asked_for_size_again:
            size = None
            # Not every client has "stats", and HashClient's takes no arguments.
            with contextlib.suppress(AttributeError, BackendError, LookupError, TypeError):
                size = self.call("stats", "settings")[b"item_size_max"]
            if isinstance(size, int):
                self._item_size = (size, lost)
            else:
                self._asked_for_size_again = self._now() + _ASK_AGAIN
        return self._item_size[0] - _ITEM_OVERHEAD

    def unavailable(self, problem: str) -> BackendUnavailable:
        """Return the error for a server that cannot be used."""
        return BackendUnavailable("memcache", self.address, problem)

    def _refused(self, error: MemcacheError, operation: str, args: tuple[Any, ...]) -> BackendError:
        """Return the error for a server that answered with one."""
        words = b""
        if isinstance(error, MemcacheServerError) and error.args:
            words = known_words(error.args[0]) if isinstance(error.args[0], bytes) else b""
        if words == _TOO_LARGE and operation in _STORING:
            # The limit was unknown, or is another one since a restart.
            size = len(args[1])
            limit = min(self.largest_value(), size - 1)
            return SessionTooLarge("memcache", self.address, size, limit)
        problem = f"the server refused ({words.decode('ascii') or type(error).__name__})"
        return BackendError("memcache", self.address, problem)

    _now = staticmethod(time.monotonic)


class Server(Node, Breaker):
    """One memcached server, through a pool of connections for each process.

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
        self._key = _clients.key_of(self, methodcaller("close"))

    @property
    def lost(self) -> int:  # type: ignore[override]  # nobody else counts
        """How many connections were lost."""
        count: int = _clients.get(self._key, self._connect).lost
        return count

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        A ``cas`` whose connection broke counts as refused: it may have been carried out, or the
        token may by now fit another value.
        """
        is_optional = operation in _OPTIONAL
        if self._asked_again:
            self._take_turn(is_optional)
        try:
            result = getattr(_clients.get(self._key, self._connect), operation)(*args)
        except (ConnectionError, MemcacheUnexpectedCloseError) as error:
            self._asked_again = 0.0
            if isinstance(error, ConnectionRefusedError):
                raise self.unavailable("the server refused the connection") from error
            if operation in ("cas", "fill"):
                return False
            raise self.unavailable("the server closed the connection") from error
        except OSError as error:
            raise self._unreachable(error, is_optional) from error
        except MemcacheError as error:
            self._asked_again = 0.0
            raise self._refused(error, operation, args) from error
        self._asked_again = 0.0
        return result

    def set_noreply(self, key: bytes, value: bytes, seconds: int) -> None:
        """Fire and forget a value, by a connection of its own."""
        try:
            client = _clients.get(self._key, self._connect)
            client.set_noreply(key, value, seconds, min(_NOREPLY_TIMEOUT, self._timeout))
        except (OSError, MemcacheError) as error:
            raise self.unavailable("the server cannot be reached") from error

    def _connect(self) -> Connections:
        return Connections(self.address, self._timeout, self._tls_context)


class CustomClient(Node):
    """A client of the application's own, which decides what server it asks, and for how long.

    :param client: an object with the methods of pymemcache's clients, or a function without
        arguments that makes one, called once in each process.
    """

    address = "config['memcache']['client']"

    #: Methods that return at once, as if all went well, unless told otherwise.
    _NOREPLY_BY_DEFAULT = frozenset({"add", "delete", "replace", "set", "touch"})

    def __init__(self, client: Any) -> None:
        self._given = client
        self._key = _clients.key_of(self)

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client; what it raises because of a server becomes our error.

        :raises ConfigError: the client would decode what it reads.
        """
        operation = "add" if operation == "fill" else operation
        handled = sys.exc_info()[1]
        kwargs = {"noreply": False} if operation in self._NOREPLY_BY_DEFAULT else {}
        try:
            client = _clients.get(self._key, self._make)
            result = getattr(client, operation)(*args, **kwargs)
        except MemcacheUnexpectedCloseError as error:
            self.lost += 1
            raise self.unavailable("the server closed the connection") from error
        except MemcacheError as error:
            self.lost += 1
            redact(error, handled)
            raise self._refused(error, operation, args) from error
        except (OSError, RuntimeError, KeyError) as error:
            self.lost += 1
            # The latter two: a pool without a free connection, and a broken answer.
            redact(error, handled)
            raise self.unavailable(f"the client failed ({type(error).__name__})") from error
        if operation == "gets" and not isinstance(result, tuple):
            raise self.unavailable("the client has no server for the key")  # HashClient's way
        if operation in ("get", "gets"):
            value = result if operation == "get" else result[0]
            if value is not None and type(value) is not bytes:
                kind = type(value).__name__
                problem = f"the client returned {kind} and not the bytes that are stored"
                raise BackendError("memcache", self.address, problem)
        return result

    def set_noreply(self, key: bytes, value: bytes, seconds: int) -> None:
        """Send a value; the client decides how long it waits."""
        # A client that has given up on its server stores nothing, and says so.
        if not self.call("set", key, value, seconds):
            raise self.unavailable("the client did not store the value")

    def _make(self) -> Any:
        client = self._given if hasattr(self._given, "get") else self._given()
        check_client(client)
        return client
