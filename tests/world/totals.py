"""What happened in many worlds: steps, and which things met in one world."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world.world import World

__all__ = ["Totals"]


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

    def unmet(self) -> list[tuple[str, str]]:
        """Return the pairs of features that never met."""
        pairs = itertools.combinations(sorted(self.features), 2)
        return [pair for pair in pairs if not self.pairs[pair]]

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
        pairs = len(self.features) * (len(self.features) - 1) // 2
        lines.append(f"{pairs - len(self.unmet())} of {pairs} pairs met")
        lines += [f"          never: {one!r} with {other!r}" for one, other in self.unmet()]
        return "\n".join(lines)
