"""The fault matrix: configurations of sessions combined with faults of servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.fault_injection import DATASTORE_FAULTS, MEMCACHED_FAULTS, REDIS_FAULTS, Fault

__all__ = ["Case", "Configuration", "cases"]


@dataclass(frozen=True)
class Configuration:
    """A configuration of sessions.

    :param name: its name in reports.
    :param backend: the backend's keyword.
    :param nodes: the number of memcached or Redis servers; where the backend is Datastore they
        cache.
    :param options: further values of the session configuration.
    :param cold: whether the cache holds nothing when the request comes.
    :param level: which faults are tried: "few", "all" that are quick, or those that take seconds
        ("slow") as well.
    """

    name: str
    backend: str = "memcache"
    nodes: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    cold: bool = False
    level: str = "all"

    @property
    def kind(self) -> str:
        """The kind of the servers that are no Datastore, "memcache" or "redis"."""
        return "redis" if self.backend == "redis" else "memcache"

    @property
    def degrades(self) -> bool:
        """Whether a visitor gets an empty session in place of an error."""
        return self.options.get("on_backend_error") == "degrade"

    def values(self, servers: list[str], timeouts: Mapping[str, float]) -> dict[str, Any]:
        """Return the session configuration.

        :param servers: addresses of memcached or Redis servers, none for Datastore without a cache.
        :param timeouts: seconds for an answer of "memcache", of "redis" and of "datastore".
        """
        values: dict[str, Any] = dict(self.options)
        if self.kind == "redis":
            [address] = servers
            values["redis"] = {"url": f"redis://{address}/0", "timeout": timeouts["redis"]}
        elif servers:
            values["memcache"] = {"servers": servers, "timeout": timeouts["memcache"]}
        if self.backend == "datastore":
            cache = "memcache" if servers else None
            values["datastore"] = {"timeout": timeouts["datastore"], "cache": cache}
        return values

    def victims(self) -> dict[str, tuple[Fault, ...]]:
        """Return the kinds of servers that it uses, and what can happen to them."""
        faults = {"memcache": MEMCACHED_FAULTS, "redis": REDIS_FAULTS}
        victims = {self.kind: faults[self.kind]} if self.nodes else {}
        if self.backend == "datastore":
            victims["datastore"] = DATASTORE_FAULTS
        return victims


_MERGE = {"on_conflict": "merge"}
_JSON = {"serializer": "json"}
_DEGRADE = {"on_backend_error": "degrade"}

#: A new configuration is one line.
CONFIGURATIONS = (
    Configuration("memcache"),
    Configuration("memcache-merge", options=_MERGE),
    Configuration("memcache-json", options=_JSON),
    Configuration("memcache-degrade", options=_DEGRADE),
    Configuration("memcache-nodes", nodes=3),
    Configuration("memcache-nodes-merge", nodes=3, options=_MERGE),
    Configuration("redis", "redis"),
    Configuration("redis-merge", "redis", options=_MERGE),
    Configuration("redis-degrade", "redis", options=_DEGRADE),
    Configuration("datastore", "datastore", 0, level="slow"),
    Configuration("datastore-merge", "datastore", 0, _MERGE),
    Configuration("datastore-json", "datastore", 0, _JSON),
    Configuration("datastore-degrade", "datastore", 0, _DEGRADE),
    Configuration("cached", "datastore"),
    Configuration("cached-cold", "datastore", cold=True),
    Configuration("cached-nodes", "datastore", 3, level="few"),
    Configuration("cached-merge", "datastore", 1, _MERGE, level="few"),
    Configuration("cached-degrade", "datastore", 1, _DEGRADE, level="few"),
)

_LEVELS = ("few", "all", "slow")


@dataclass(frozen=True)
class Case:
    """A configuration and a fault of one of its servers.

    :param victim: the kind of the server, "memcache", "redis" or "datastore".
    """

    configuration: Configuration
    victim: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.configuration.name}-{self.victim}-{self.fault.name.replace(' ', '-')}"

    @property
    def is_cached(self) -> bool:
        """Whether memcached stands in front of Datastore."""
        return self.configuration.backend == "datastore" and self.configuration.nodes > 0

    @property
    def is_cache_fault(self) -> bool:
        """Whether the fault affects the cache, and not Datastore itself."""
        return self.victim != self.configuration.backend

    @property
    def may_seem_ended(self) -> bool:
        """Whether a session that the server has lost cannot be told from one that was ended."""
        return self.victim == "redis" and self.may_lose("others")

    def may_lose(self, whose: str) -> bool:
        """Return whether the session that is being written ("own"), or every other, may be gone."""
        return not self.is_cache_fault and self.fault.loses in (whose, "all")


def cases() -> list[Case]:
    """Return all cases."""
    return [
        Case(configuration, victim, fault)
        for configuration in CONFIGURATIONS
        for victim, faults in configuration.victims().items()
        for fault in faults
        if _LEVELS.index(fault.level) <= _LEVELS.index(configuration.level)
    ]
