"""What is put under load: backends, their configuration, their servers, and how these fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from support.gunicorn import Gunicorn
from support.servers import PROJECT, DatastoreEmulator, Memcached, Redis, Server, wait_until

from load.checker import Outage

__all__ = ["BACKENDS", "Backend", "Servers", "servers_of"]

#: Seconds for which a server is away; less than the library's timeout for Datastore.
AWAY = 1.5
#: Seconds for gunicorn to replace a worker.
PATIENCE = 20.0


@dataclass
class Servers:
    """The servers of one run."""

    memcached: Sequence[Memcached]
    redis: Redis | None
    datastore: DatastoreEmulator | None
    gunicorn: Gunicorn


def restart_memcached(servers: Servers) -> Outage:
    """Kill the first memcached and start it again, empty."""
    return _restart(servers.memcached[0])


def restart_redis(servers: Servers) -> Outage:
    """Kill Redis and start it again, empty."""
    assert servers.redis is not None
    return _restart(servers.redis)


def _restart(server: Server) -> Outage:
    began = time.monotonic()
    server.kill()
    gone = time.monotonic()
    time.sleep(AWAY)
    server.start()
    return Outage(began, time.monotonic(), gone)


def freeze_datastore(servers: Servers) -> Outage:
    """Stop the Datastore emulator for a while; it would keep nothing over a restart."""
    assert servers.datastore is not None
    began = time.monotonic()
    servers.datastore.freeze()
    time.sleep(AWAY)
    servers.datastore.thaw()
    return Outage(began, time.monotonic())


def kill_a_worker(servers: Servers) -> Outage:
    """Kill a worker of gunicorn, which starts another one."""
    began = time.monotonic()
    servers.gunicorn.kill_worker(servers.gunicorn.worker_ids()[0])
    if not wait_until(servers.gunicorn.answers, PATIENCE):
        raise TimeoutError("gunicorn did not replace the worker that was killed")
    return Outage(began, time.monotonic())


@dataclass(frozen=True)
class Backend:
    """One entry of the table."""

    name: str
    #: What `get_session(backend=...)` is given.
    keyword: str
    #: What fails in the middle.
    outage: Callable[[Servers], Outage]
    #: Session configuration beyond where the servers are.
    config: dict[str, Any]
    memcached: int = 0
    redis: bool = False
    datastore: bool = False
    #: Whether sessions may begin again after the outage.
    forgets: bool = False
    #: Whether visitors see nothing of the outage, not even errors.
    hides: bool = False
    #: Whether an empty session may stand in for one that cannot be reached.
    degrades: bool = False
    #: Whether changes of one session at once are all kept.
    merges: bool = False
    #: Seconds after the outage until clients must have found their server again.
    recovery: float = 0.0

    def session_config(self, memcached: Sequence[str], redis: str | None) -> dict[str, Any]:
        """The whole session configuration, for memcached at these addresses, Redis at this URL."""
        config = dict(self.config)
        if memcached:
            config["memcache"] = {"servers": list(memcached)}
        if redis:
            config["redis"] = {"url": redis}
        if self.datastore:
            config["datastore"] = {"project": PROJECT, **config.get("datastore", {})}
        return config


_memcache: dict[str, Any] = {
    "keyword": "memcache",
    "outage": restart_memcached,
    "memcached": 1,
    "forgets": True,
}
_redis: dict[str, Any] = {
    "keyword": "redis",
    "outage": restart_redis,
    "redis": True,
    "forgets": True,
}
_datastore: dict[str, Any] = {
    "keyword": "datastore",
    "outage": freeze_datastore,
    "datastore": True,
    "hides": True,
}
_cached: dict[str, Any] = {
    **_datastore,
    "outage": restart_memcached,
    "memcached": 1,
    "config": {"datastore": {"cache": "memcache"}},
}
_cached_in_redis: dict[str, Any] = {
    **_datastore,
    "outage": restart_redis,
    "redis": True,
    "config": {"datastore": {"cache": "redis"}},
}

#: Each backend under load, in the order of the table.
BACKENDS = (
    Backend("securecookie", "securecookie", kill_a_worker, {}, recovery=0.5),
    Backend("memcache", config={}, **_memcache),
    Backend("memcache-json", config={"serializer": "json"}, **_memcache),
    Backend("memcache-merge", config={"on_conflict": "merge"}, **_memcache, merges=True),
    Backend(
        "memcache-degrade",
        config={"on_backend_error": "degrade"},
        **_memcache,
        hides=True,
        degrades=True,
        recovery=2.0,
    ),
    Backend("memcache-nodes", config={}, **{**_memcache, "memcached": 3}, recovery=2.0),
    Backend("redis", config={}, **_redis),
    Backend("redis-merge", config={"on_conflict": "merge"}, **_redis, merges=True),
    Backend("datastore", config={}, **_datastore),
    Backend("datastore-cached", **_cached),
    Backend("datastore-cached-in-redis", **_cached_in_redis),
    Backend("datastore-json", config={"serializer": "json"}, **_datastore),
    Backend("datastore-merge", config={"on_conflict": "merge"}, **_datastore, merges=True),
)


def servers_of(backend: Backend) -> list[type[Server]]:
    """The kinds of servers that a backend needs."""
    kinds: list[tuple[type[Server], object]] = [
        (Gunicorn, True),
        (Memcached, backend.memcached),
        (Redis, backend.redis),
        (DatastoreEmulator, backend.datastore),
    ]
    return [kind for kind, needed in kinds if needed]
