"""Which backends can be used now: is the library there, is a server named, does it answer?

If not, the answer has the commands that change that.

Nothing here writes anything, and each question gives up after a short time: a page waits for
the answers.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: Seconds that a server may take to answer.
PATIENCE = 0.5

#: Where Datastore is when no emulator is named.
DATASTORE = "datastore.googleapis.com:443"

#: Where the commands that we show start an emulator, and the demo that uses it.
EMULATOR = "127.0.0.1:8081"
DEMO_WITH_EMULATOR = f"DATASTORE_EMULATOR_HOST={EMULATOR} make demo"


@dataclass(frozen=True)
class Answer:
    """Whether a backend can be used, and a sentence that says why, or why not."""

    usable: bool
    reason: str
    #: What to type so that it can be used.
    commands: tuple[str, ...] = ()


def securecookie() -> Answer:
    """Always usable: there is no server."""
    return Answer(True, "It needs no server and no library.")


def encryptedcookie() -> Answer:
    """Usable where the library is: there is no server."""
    if not installed("cryptography"):
        return lacks("cryptography", "encryption")
    return Answer(True, "It needs no server. The library cryptography is installed.")


def memcached(address: str) -> Answer:
    """Ask the memcached at `address` (``host:port``) for its version."""
    if not installed("pymemcache"):
        return lacks("pymemcache", "memcache")
    try:
        with connection(address) as server:
            server.sendall(b"version\r\n")
            reply = server.recv(100)
    except (OSError, ValueError):
        command = "memcached -l {} -p {}"
        return Answer(False, f"No memcached answers at {address}.", start(command, address))
    if not reply.startswith(b"VERSION "):
        return Answer(False, f"What answers at {address} is no memcached.")
    version = reply.removeprefix(b"VERSION ").decode("ascii", "replace").strip()
    return Answer(True, f"memcached {version} answers at {address}.")


def redis(url: str) -> Answer:
    """Ask the Redis or Valkey at `url` for its version."""
    if not installed("redis"):
        return lacks("redis", "redis")
    from redis import exceptions

    address = address_in(url)
    try:
        with redis_client(url) as server:
            told = server.info("server")
    except exceptions.NoPermissionError:  # its user may do what sessions need, and not this
        told = {}
    except (
        exceptions.AuthenticationError,
        exceptions.InvalidResponse,
        exceptions.ResponseError,
    ) as error:
        reason = f"What answers at {address} cannot be used ({type(error).__name__})."
        return Answer(False, reason)
    except (exceptions.RedisError, ValueError):
        command = "redis-server --bind {} --port {} --save ''"
        return Answer(False, f"No Redis answers at {address}.", start(command, address))
    name = "valkey" if "valkey_version" in told else "redis"
    version = told.get(f"{name}_version", "of a version that it does not tell")
    return Answer(True, f"{name.title()} {version} answers at {address}.")


def datastore(project: str | None) -> Answer:
    """Look for the Datastore emulator that the environment names, else for the service."""
    if not installed("google.cloud.ndb"):
        return lacks("google-cloud-ndb", "datastore")
    emulator = os.environ.get("DATASTORE_EMULATOR_HOST")
    if not emulator and not project:
        reason = "Neither DATASTORE_EMULATOR_HOST nor GOOGLE_CLOUD_PROJECT is set."
        return Answer(False, reason, (*start_emulator(EMULATOR), DEMO_WITH_EMULATOR))
    try:
        with connection(emulator or DATASTORE) as server:
            # The emulator greets; the service speaks TLS, so being there has to do.
            if emulator and not greets(server):
                return Answer(False, f"What answers at {emulator} is no Datastore emulator.")
    except (OSError, ValueError):
        commands = start_emulator(emulator) if emulator else ()
        return Answer(False, f"No Datastore answers at {emulator or DATASTORE}.", commands)
    if emulator:
        return Answer(True, f"The Datastore emulator answers at {emulator}.")
    return Answer(True, f"Datastore can be reached, for the project {project}.")


def lacks(library: str, extra: str) -> Answer:
    """The answer where a library is missing."""
    reason = f"The library {library} is not installed."
    return Answer(False, reason, (f"pip install 'webapp2_sessions[{extra}]'",))


def start(command: str, address: str) -> tuple[str, ...]:
    """The command that starts a server at that address, if it is one of this machine."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdecimal():
        return ()
    return (command.format(host, port),)


def start_emulator(address: str) -> tuple[str, ...]:
    """The command that starts a Datastore emulator at that address."""
    return (f"gcloud beta emulators datastore start \\\n    --host-port={address}",)


def installed(module: str) -> bool:
    """Whether `module` could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package that would contain it is missing
        return False


def connection(address: str) -> socket.socket:
    """Connect to ``host:port``; :class:`ValueError` if it is not of that form."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)


def address_in(url: str) -> str:
    """Where the server of a URL is, without user and password; "" if it does not say that."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else ""
    except ValueError:
        return ""


def redis_client(url: str) -> Any:
    """Redis's client, which gives up soon and repeats nothing; it is a context manager."""
    from redis import Redis  # only where this backend is used
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    never = Retry(NoBackoff(), 0)
    timeouts = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    return Redis.from_url(url, retry=never, **timeouts)


def greets(server: socket.socket) -> bool:
    """Whether an HTTP server answers 200 to a plain request."""
    server.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    return b" 200 " in server.recv(100).partition(b"\r\n")[0]


class Remembered:
    """A probe whose answer is used again for some seconds, whoever asks."""

    def __init__(self, probe: Callable[[], Answer], seconds: float) -> None:
        self._probe = probe
        self._seconds = seconds
        self._lock = threading.Lock()
        self._answer: Answer | None = None
        self._until = 0.0

    def __call__(self) -> Answer:
        # One thread asks and the others wait for its answer: that is as fast as asking, too.
        with self._lock:
            if self._answer is None or time.monotonic() >= self._until:
                self._answer = self._probe()
                self._until = time.monotonic() + self._seconds
            return self._answer
