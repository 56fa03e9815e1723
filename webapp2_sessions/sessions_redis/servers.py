"""The Redis server of a configuration, and what its failures mean."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import logging
import ssl
import sys
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    MissingDependency,
)
from webapp2_sessions.sessions_redis.connection import Connections, address_in
from webapp2_sessions.stored.breaker import Breaker
from webapp2_sessions.stored.clients import ClientRegistry, Identity
from webapp2_sessions.stored.connections import IF_SILENT, IF_UNSENT

try:
    from redis import exceptions
except ImportError as _error:
    raise MissingDependency("redis", "redis") from _error

logger: logging.Logger = logging.getLogger(__name__)

#: A cluster's client asks its servers while it is made. Where that fails, all wait no more often
#: than once a second.
_clients: ClientRegistry[Any] = ClientRegistry(retry_after=1.0)


class Script:
    """A script of the server, which is sent by its hash where the server has it already."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha: str = hashlib.sha1(text.encode("ascii"), usedforsecurity=False).hexdigest()


#: Stores ARGV[3] for ARGV[4] milliseconds (0: for ever) if the value begins with ARGV[2].
#: ARGV[1] is the index of the last byte of that.
_COMPARE_AND_SET = Script("""
local now = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
if now ~= ARGV[2] then return 0 end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1
""")

#: What errors of the server mean, by their class in redis-py, and what to do.
_MEANINGS: dict[str, str] = {
    "NoPermissionError": "the user of the URL may not do this: see what docs/backends/redis.md "
    "says of an ACL",
    "OutOfMemoryError": "it is full, and evicts nothing",
    "ReadOnlyError": "it is a replica, which takes no writes",
    "MovedError": "it is one of a cluster: give a RedisCluster as redis['client']",
}

#: What a client of the application's own may raise: a pool without a free connection, a wrapper
#: that does not expect bytes.
_CLIENT_ERRORS = (AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError)

#: The same, of what passes by itself.
_PASSING: dict[str, str] = {
    "ClusterDownError": "its cluster is down",
    "MasterDownError": "it is a replica that has lost its primary",
    "TryAgainError": "its cluster moves the key",
}


def server_of(settings: Mapping[str, Any]) -> RedisServer | CustomRedis:
    """Return the server of ``config["redis"]``; the same object for the same settings.

    :param settings: with ``url``, ``timeout``, ``tls_context`` and ``client``.
    """
    client = settings["client"]
    if client is not None:
        return _custom(client if isinstance(client, Identity) else Identity(client))
    return _server(settings["url"], settings["timeout"], settings["tls_context"])


@functools.lru_cache(maxsize=64)
def _custom(client: Identity) -> CustomRedis:
    return CustomRedis(client.value)


@functools.lru_cache(maxsize=64)
def _server(url: str, timeout: float, tls_context: ssl.SSLContext | None) -> RedisServer:
    return RedisServer(url, timeout, tls_context)


class Redis(Breaker):
    """Base of what has keys: a server, or a client of the application's own."""

    #: How errors name it.
    address: str

    def call(self, resend: int, *command: Any) -> Any:
        """Send a command and return what answers it, with a bounded wait.

        :param resend: after which failures it is sent again, see :mod:`.stored.connections`.
        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        answer = self._answer(resend, *command)
        if isinstance(answer, exceptions.ResponseError):
            raise self._refused(answer)
        return answer

    def get(self, key: bytes) -> Any:
        """Return a value, ``None`` for none or what we cannot have written, as a list."""
        answer = self._answer(IF_SILENT, "GET", key)
        if isinstance(answer, exceptions.ResponseError):
            if str(answer).startswith("WRONGTYPE "):
                return None
            raise self._refused(answer)
        return answer

    def compare_and_set(
        self, key: bytes, begin: bytes, data: bytes, milliseconds: int | None
    ) -> bool:
        """Store ``data`` if the value begins with ``begin``; whether it was stored.

        :param milliseconds: the lifetime, ``None`` for ever.
        """
        arguments = len(begin) - 1, begin, data, milliseconds or 0
        return bool(self.run(IF_UNSENT, _COMPARE_AND_SET, key, *arguments) == 1)

    def run(self, resend: int, script: Script, key: bytes, *arguments: Any) -> Any:
        """Run a script on one key and return what answers it; errors are those of :meth:`call`."""
        answer = self._answer(resend, "EVALSHA", script.sha, 1, key, *arguments)
        if isinstance(answer, exceptions.NoScriptError):  # after a restart, or SCRIPT FLUSH
            answer = self._answer(resend, "EVAL", script.text, 1, key, *arguments)
        if isinstance(answer, exceptions.ResponseError):
            raise self._refused(answer)
        return answer

    def unavailable(self, problem: str) -> BackendUnavailable:
        """Return the error for a server that cannot be used."""
        return BackendUnavailable("redis", self.address, problem)

    def _answer(self, resend: int, *command: Any) -> Any:
        """Send a command; return what answers it, an error that the server answers as well."""
        raise NotImplementedError()

    def _refused(self, error: Any) -> BackendError:
        """Return the error for a server that answered with one.

        Its words are left out: they may repeat the command, and with it a session's id.
        """
        # redis-py 5 knows this one in its cluster client alone.
        kind, words = type(error).__name__, str(error)
        if words.startswith("MOVED "):
            kind = "MovedError"
        if "can't run this command" in words:  # in a script
            kind = "NoPermissionError"
        if kind in _PASSING:
            return self.unavailable(f"the server refused ({kind}): {_PASSING[kind]}")
        meaning = _MEANINGS.get(kind, "")
        text = f"the server refused ({kind}){': ' if meaning else ''}{meaning}"
        return BackendError("redis", self.address, text)

    def _failed(self, error: Exception, handled: BaseException | None) -> BackendError:
        """Return the error for a server that could not be asked.

        :param handled: what the application is handling, which is no cause of it.
        """
        # redis-py raises its own errors while it handles those of sockets.
        cause = error if isinstance(error, OSError) else error.__context__
        cause = None if cause is handled else cause
        if isinstance(error, exceptions.AuthenticationError):
            return BackendError("redis", self.address, "the server refused user name or password")
        if isinstance(error, exceptions.BusyLoadingError):
            return self.unavailable("the server is still loading its data")
        if isinstance(cause, ConnectionRefusedError):
            return self.unavailable("the server refused the connection")
        if isinstance(error, exceptions.TimeoutError) and not isinstance(cause, TimeoutError):
            cause = TimeoutError()
        if isinstance(cause, OSError) and not isinstance(cause, ConnectionError):
            return self._unreachable(cause)
        kind = type(error).__name__
        if kind not in ("ConnectionError", "TimeoutError") and not isinstance(cause, OSError):
            return self.unavailable(f"the connection failed ({kind})")  # e.g. no primary was found
        return self.unavailable("the server closed the connection")


class RedisServer(Redis):
    """One Redis server, through a pool of connections for each process.

    :param url: ``"redis://host:port/db"``, ``"rediss://..."`` by TLS, or ``"unix:///path"``.
    :param timeout: seconds for connecting and for each part of an answer.
    :param tls_context: for ``rediss://``.
    """

    def __init__(self, url: str, timeout: float, tls_context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._timeout = timeout
        self._tls_context = tls_context
        self._key = _clients.key_of(self, methodcaller("close"))
        self.address: str = address_in(url)

    def _answer(self, resend: int, *command: Any) -> Any:
        if self._asked_again:
            self._take_turn()
        handled = sys.exc_info()[1]
        try:
            answer = self._connections().exchange(resend, *command)
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            if not isinstance(error, (exceptions.TimeoutError, TimeoutError)):
                self._asked_again = 0.0
            raise self._failed(error, handled) from error
        except (exceptions.InvalidResponse, OverflowError, RecursionError) as error:
            self._asked_again = 0.0
            raise BackendError("redis", self.address, "what answers is no Redis server") from error
        except exceptions.ResponseError as error:  # while connecting
            self._asked_again = 0.0
            answer = error
        self._asked_again = 0.0
        return answer

    def _refused(self, error: Any) -> BackendError:
        # After a failover its name may stand for another server.
        if isinstance(error, (exceptions.ReadOnlyError, exceptions.MasterDownError)):
            self._connections().close()
        return super()._refused(error)

    def _connections(self) -> Any:
        return _clients.get(self._key, self._connect)

    def _connect(self) -> Connections:
        return Connections(self._url, self._timeout, self._tls_context)


class CustomRedis(Redis):
    """A client of the application's own, which decides what server it asks, and for how long.

    :param client: an object with redis-py's ``execute_command()``, also a ``RedisCluster`` or what
        ``Sentinel.master_for()`` returns, or a function without arguments that makes one, called
        once in each process.
    """

    address = "config['redis']['client']"

    def __init__(self, client: Any) -> None:
        self._given = client
        self._key = _clients.key_of(self)

    def _answer(self, resend: int, *command: Any) -> Any:
        handled = sys.exc_info()[1]
        try:
            return _clients.get(self._key, self._make).execute_command(*command)
        except ConfigError:
            raise
        except exceptions.ResponseError as error:
            return error.with_traceback(None)
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            problem = self._failed(error, handled)
        except (exceptions.RedisError, exceptions.RedisClusterException, *_CLIENT_ERRORS) as error:
            problem = self.unavailable(f"the client failed ({type(error).__name__})")
        raise problem  # without what the client has raised, which may tell the key

    def _unreachable(self, error: OSError, is_optional: bool = False) -> BackendUnavailable:
        return self.unavailable(f"the client failed ({type(error).__name__})")

    def _make(self) -> Any:
        # A class makes clients.
        is_client = hasattr(self._given, "execute_command") and not isinstance(self._given, type)
        make: Callable[[], Any] = self._given
        client = self._given if is_client else make()
        _check(client)
        return client


def _check(client: Any) -> None:
    """Refuse a client that does not give the bytes that are stored.

    :raises ConfigError: it decodes them, asks replicas, or is one of asyncio.
    """
    if not callable(getattr(client, "execute_command", None)):
        kind = type(client).__name__
        raise ConfigError("redis['client']", f"must have execute_command(), which {kind} has not")
    if inspect.iscoroutinefunction(client.execute_command):
        raise ConfigError("redis['client']", "must be a client of redis, and not of redis.asyncio")
    get_encoder = getattr(client, "get_encoder", None)
    encoder = get_encoder() if get_encoder is not None else None
    if getattr(encoder, "decode_responses", False) is True:
        raise ConfigError(
            "redis['client']",
            "must be a client without decode_responses=True: what is stored is bytes, not text",
        )
    if _reads_from_replicas(client):
        raise ConfigError(
            "redis['client']",
            "must be a client that reads from the primary: a replica has not heard yet of what was "
            "just saved, or ended",
        )
    if _repeats(client):
        logger.warning(
            "The client in config['redis']['client'] sends a command again whose answer was lost: "
            "a session that gets a new id is gone then, without an error. Give it "
            "retry=Retry(NoBackoff(), 0)"
        )


def _reads_from_replicas(client: Any) -> bool:
    """Return whether a client of redis-py is known to ask replicas, in a cluster or by Sentinel."""
    pool = getattr(client, "connection_pool", None)
    return (
        getattr(client, "read_from_replicas", False) is True
        or getattr(client, "load_balancing_strategy", None) is not None
        or getattr(pool, "is_master", True) is False
    )


def _repeats(client: Any) -> bool:
    """Return whether a client of redis-py is known to send a command again."""
    found = [getattr(client, "retry", None)]
    with contextlib.suppress(AttributeError):  # a cluster's client of redis-py 5 may raise it
        found.append(client.get_retry())
    return any(getattr(each, "_retries", 0) != 0 for each in found)
