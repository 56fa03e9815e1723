"""What happened in many worlds: steps, and which things met in one world."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world.world import World

__all__ = ["Totals"]


#: A world has one of these.
_SERVERS = {"memcache", "redis"}

#: What else no world has together.
_EXCLUSIVE = {
    ("an unreadable session", "on_unreadable: new"),  # it is begun again there
    ("spills to datastore", "spills to memcache"),  # an application spills to one place
    ("spills to datastore", "spills to redis"),
    # Such a cache must close them.
    ("backend: cached datastore", "redis: failover, connections are of no use"),
    ("backend: cached datastore", "redis: failover, connections stay"),
}


def _server_of(feature: str) -> set[str]:
    return {server for server in _SERVERS if server in feature}


class Totals:
    """Counts worlds, requests, and pairs of features that met."""

    def __init__(self) -> None:
        self.worlds = 0
        self.requests = 0
        self.features: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, world: World) -> None:
        """Add what happened in a world."""
        self.worlds += 1
        self.requests += world.requests
        met = sorted(world.happened)
        self.features.update(met)
        self.pairs.update(itertools.combinations(met, 2))

    def update(self, other: Totals) -> None:
        """Add what another process has counted."""
        self.worlds += other.worlds
        self.requests += other.requests
        self.features.update(other.features)
        self.pairs.update(other.pairs)

    def possible(self) -> list[tuple[str, str]]:
        """Return the pairs of features that can meet."""
        return [
            pair
            for pair in itertools.combinations(sorted(self.features), 2)
            if pair not in _EXCLUSIVE and _server_of(pair[0]) | _server_of(pair[1]) != _SERVERS
        ]

    def unmet(self) -> list[tuple[str, str]]:
        """Return the pairs of features that never met."""
        return [pair for pair in self.possible() if not self.pairs[pair]]

    def table(self) -> str:
        """Return how often each feature was there, and what it met least often."""
        lines = [f"{self.worlds} worlds, {self.requests} requests"]
        for feature, count in self.features.most_common():
            met = {
                other: self.pairs[min(feature, other), max(feature, other)]
                for other in self.features
                if other != feature
            }
            rarest = min(met, key=lambda other: met[other])
            lines.append(f"{count:8}  {feature}; least with {rarest!r}: {met[rarest]}")
        pairs = len(self.possible())
        lines.append(f"{pairs - len(self.unmet())} of {pairs} pairs met that can")
        lines += [f"          never: {one!r} with {other!r}" for one, other in self.unmet()]
        return "\n".join(lines)
