"""Fault injection: failures of real servers in the middle of a request, and recovery."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

from support.processes import HOST, wait_until
from support.servers import Memcached, Redis, Server, ServerError

__all__ = [
    "DATASTORE_FAULTS",
    "MEMCACHED_FAULTS",
    "REDIS_FAULTS",
    "Fault",
    "OptionalMemcached",
    "Relay",
]

#: Sizes of values that share memcached's memory with sessions of 1 to 4 kB.
_SIZES = (900, 1100, 1400, 1700, 2100, 2700, 3400, 4200)

#: Seconds within which a server reacts to a signal or a command.
_PATIENCE = 10.0


class OptionalMemcached(Memcached):
    """A memcached with additional command line options.

    :param options: they take precedence; a restart applies changes.
    """

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.options = options

    def command(self, folder: Path) -> list[str]:
        """Return the command line with the options."""
        return [*super().command(folder), *self.options]


class Relay(Server):
    """A TCP proxy in front of a server, which injects network faults.

    :param target: the server.
    :param statistics: what happens to the command `stats`, as in proxies that do not support it:
        "refuses", "closes", "drops", or "" if it is passed on.
    """

    name = "relay"
    stop_signal = signal.SIGKILL

    def __init__(self, target: Server, statistics: str = "") -> None:
        super().__init__()
        self.target = target
        self.statistics = statistics

    @classmethod
    def missing(cls) -> str | None:
        """None: it needs nothing but Python."""
        return None

    def command(self, folder: Path) -> list[str]:
        """Return a new interpreter; `-S` and `-E` make it start fast."""
        program = Path(__file__).with_name("run_relay.py")
        ports = [str(self.port), str(self.target.port)]
        options = [self.statistics] if self.statistics else []
        return [sys.executable, "-S", "-E", str(program), *ports, *options]

    def answers(self) -> bool:
        """Return whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1.0):
            return True
        return False

    def lose_answer(self) -> None:
        """Pass on the next request, and close the connection in place of the response."""
        self._order(signal.SIGUSR1)

    def forget(self) -> None:
        """Silently drop whatever is sent on existing connections."""
        self._order(signal.SIGUSR2)

    def delay_answer(self) -> None:
        """Pass on the next request, and hold the response back."""
        self._order(signal.SIGALRM)

    def deliver_answer(self) -> None:
        """Send the response that was held back, to whoever still listens."""
        self._order(signal.SIGALRM)

    def close_connections(self) -> None:
        """Close all existing connections."""
        self._order(signal.SIGVTALRM)

    def hold_entries(self) -> None:
        """Hold back each `add` command; clients time out."""
        self._order(signal.SIGHUP)

    def let_entries_through(self) -> None:
        """Deliver them four seconds later, by the server's clock."""
        _let_seconds_pass(self.target, 4)
        self._order(signal.SIGHUP)
        assert wait_until(self._has_passed_entries, _PATIENCE, 0.001)

    @property
    def holds_entries(self) -> bool:
        """Whether it holds back any commands."""
        return not self._has_passed_entries()

    def _has_passed_entries(self) -> bool:
        said = self.output()
        return said.count("holds an entry") == said.count("passed an entry")

    def _order(self, number: int) -> None:
        confirmed = self.output().count("\n")
        self._signal(number)
        assert wait_until(lambda: self.output().count("\n") > confirmed, _PATIENCE, 0.001)


def _nothing(_: Any) -> None:
    """Do nothing: the fault ends by itself."""


@dataclass(frozen=True)
class Fault:
    """A failure of a server.

    :param name: its name in reports.
    :param do: injects it.
    :param undo: recovers the server.
    :param loses: whose records it may lose: "nothing", "own" (the one that was being written),
        "all".
    :param refuses: whether the server goes on and answers with an error.
    :param passes: whether it ends when the request has loaded its session, not with the request.
    :param relayed: whether it is injected into a relay in front of the server.
    :param level: how thorough a test run has to be to include it: "few", "all", "slow".
    :param options: command line options of the memcached.
    """

    name: str
    do: Callable[[Any], object]
    undo: Callable[[Any], object] = _nothing
    loses: str = "nothing"
    refuses: bool = False
    passes: bool = False
    relayed: bool = False
    level: str = "few"
    options: tuple[str, ...] = ()


def _evict(server: OptionalMemcached) -> None:
    """Store other values until memcached has evicted every session."""
    held = {key for key in _keys(server) if not key.startswith("filler")}
    for batch in itertools.count():
        _store(server, batch)
        if not held & _keys(server):
            return
        assert batch < 100, "memcached evicts nothing"


def _fill(server: OptionalMemcached) -> None:
    """Store other values until memcached, without eviction, refuses more."""
    for batch in itertools.count():
        _store(server, batch)
        if _is_full(server):
            return
        assert batch < 100, "memcached is never full"


def _store(server: OptionalMemcached, batch: int) -> None:
    """Store 200 values of each size."""
    with _client(server) as client:
        for size in _SIZES:
            values = {f"filler-{size}-{batch}-{i}": b"x" * size for i in range(200)}
            client.set_many(values, noreply=True)


def _is_full(server: OptionalMemcached) -> bool:
    """Return whether memcached refuses a value of each size."""
    refused = 0
    with _client(server) as client:
        for size in _SIZES:
            try:
                client.set(f"filler-{size}-more", b"x" * size)
            except MemcacheServerError:
                refused += 1
    return refused == len(_SIZES)


def _empty(server: OptionalMemcached) -> None:
    """Delete what `_fill` has stored."""
    with _client(server) as client:
        client.delete_many([key for key in _keys(server) if key.startswith("filler")], True)
        client.version()  # all are deleted when this is answered


def _keys(server: OptionalMemcached) -> set[str]:
    """Return the keys of the larger entries."""
    return {entry["key"] for entry in _listed(server) if int(entry["size"]) >= _SIZES[0]}


def _listed(server: Server) -> list[dict[str, str]]:
    """Return what memcached tells of each entry; to list them does not count as using them."""
    listed = b""
    with socket.create_connection((HOST, server.port), _PATIENCE) as connection:
        connection.sendall(b"lru_crawler metadump all\r\n")
        while not listed.endswith(b"END\r\n") and (received := connection.recv(65536)):
            listed += received
    lines = [line for line in listed.decode("ascii").splitlines() if line[:4] == "key="]
    return [dict(each.split("=", 1) for each in line.split()) for line in lines]


def _let_seconds_pass(server: Server, seconds: int) -> None:
    """Delete what will have expired by then, without waiting."""
    then = time.time() + seconds
    gone = [entry["key"] for entry in _listed(server) if 0 < int(entry["exp"]) <= then]
    with _client(server) as client:
        for key in gone:
            client.delete(unquote(key))


def _client(server: Server) -> contextlib.closing[Client]:
    return contextlib.closing(Client(server.address, timeout=_PATIENCE, default_noreply=False))


def _shrink(server: OptionalMemcached) -> None:
    """Restart memcached such that it takes only small values."""
    server.stop()
    # Of bytes, which newer memcacheds take for kilobytes, and refuse as too many.
    for largest in 1024, 1:
        server.options = ("-I", "1k", "-o", f"slab_chunk_max={largest}")
        with contextlib.suppress(ServerError):
            server.start()
            return
    server.start()  # to tell why it does not


def _widen(server: OptionalMemcached) -> None:
    """Restart memcached as it was."""
    server.options = ()
    server.restart()


class _Crowd:
    """Connections of other clients, as many as memcached accepts."""

    def __init__(self) -> None:
        self._connections: list[socket.socket] = []

    def come(self, server: OptionalMemcached) -> None:
        """Close existing connections, and take all places."""
        server.restart()
        while not self._is_full(server):
            connection = socket.create_connection((HOST, server.port), _PATIENCE)
            self._connections.append(connection)

    def go(self, server: OptionalMemcached) -> None:
        """Close the connections, and wait until memcached has noticed."""
        while self._connections:
            self._connections.pop().close()
        wait_until(server.answers, _PATIENCE)

    def _is_full(self, server: OptionalMemcached) -> bool:
        """Return whether memcached refuses connections, even when asked several times."""
        return not any(server.answers() for _ in range(3))


_CROWD = _Crowd()

# Options of memcached: less memory, no protection of what is often used, few connections.
_SMALL_MEMORY = ("-m", "2")
_PLAIN_LRU = ("-o", "no_lru_maintainer")
_FEW_PLACES = ("-c", "32")

#: Faults of memcached.
MEMCACHED_FAULTS = (
    Fault("killed", Server.kill, Server.start, loses="all"),
    Fault("killed shortly", Server.kill, Server.start, loses="all", passes=True),
    Fault("restarted", Server.restart, loses="all", level="all"),
    Fault("frozen", Server.freeze, Server.thaw),
    Fault("evicting", _evict, loses="all", level="all", options=(*_SMALL_MEMORY, *_PLAIN_LRU)),
    Fault("full", _fill, _empty, loses="own", refuses=True, options=(*_SMALL_MEMORY, "-M")),
    Fault("smaller", _shrink, _widen, loses="all", refuses=True, level="all"),
    Fault("crowded", _CROWD.come, _CROWD.go, "all", refuses=True, level="all", options=_FEW_PLACES),
    Fault("answer lost", Relay.lose_answer, Server.restart, relayed=True),
    Fault("forgotten", Relay.forget, relayed=True),
    Fault(
        *("entry delayed", Relay.hold_entries, Relay.let_entries_through),
        relayed=True,
        level="all",
    ),
)


def _limit(server: Redis) -> None:
    """Let Redis take nothing more, and keep what it has."""
    server.ask("CONFIG", "SET", "maxmemory", "1")


def _unlimit(server: Redis) -> None:
    """Let it take everything again."""
    server.ask("CONFIG", "SET", "maxmemory", "0")


def _demote(server: Redis) -> None:
    """Make it a replica of a server that is away, as after a failover."""
    server.ask("REPLICAOF", HOST, "1")


def _promote(server: Redis) -> None:
    """Make it a primary again."""
    server.ask("REPLICAOF", "NO", "ONE")


def _hang_up(server: Redis) -> None:
    """Close the connections of all clients."""
    server.ask("CLIENT", "KILL", "TYPE", "normal")


def _forget_scripts(server: Redis) -> None:
    """Drop all scripts."""
    server.ask("SCRIPT", "FLUSH")


#: Faults of Redis, which keeps nothing over a restart here.
REDIS_FAULTS = (
    Fault("killed", Server.kill, Server.start, loses="all"),
    Fault("killed shortly", Server.kill, Server.start, loses="all", passes=True),
    Fault("restarted", Server.restart, loses="all", level="all"),
    Fault("emptied", Redis.flush, loses="all", level="all"),
    Fault("frozen", Server.freeze, Server.thaw),
    Fault("full", _limit, _unlimit, refuses=True),
    Fault("replica", _demote, _promote, refuses=True),
    Fault("hanging up", _hang_up),
    Fault("without scripts", _forget_scripts),
    Fault("answer lost", Relay.lose_answer, Server.restart, relayed=True),
    Fault("forgotten", Relay.forget, relayed=True),
)

#: Faults of Datastore; the emulator loses all data when it stops.
DATASTORE_FAULTS = (
    Fault("frozen", Server.freeze, Server.thaw),
    Fault("cut off", Server.kill, Server.start, relayed=True),
    Fault("cut off shortly", Server.kill, Server.start, passes=True, relayed=True),
    Fault("reconnected", Server.restart, relayed=True, level="all"),
    Fault("answer lost", Relay.lose_answer, Server.restart, relayed=True),
    Fault("killed", Server.kill, Server.start, loses="all", level="slow"),
    Fault("restarted", Server.restart, loses="all", level="slow"),
)
