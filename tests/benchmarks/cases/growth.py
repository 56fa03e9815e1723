"""How the cost grows with the session, and with the number of sessions that are stored."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from benchmarks.bench import KEYS, Bench
from benchmarks.cases.codec import column
from benchmarks.measure import Contender, Samples, compare
from benchmarks.peers import BASELINE, CONTROL, OURS
from benchmarks.results import Table, table_of
from benchmarks.sites import Site, call, environ

__all__ = ["SIZES", "STORED", "bend", "run_sizes", "run_stored"]

#: Numbers of keys of a session.
SIZES = (1, 50, 100, 200, 300, 400)

#: Numbers of sessions in one memcached.
STORED = (10, 1_000, 20_000)

#: A row and a column.
Place = tuple[str, str]

#: Of more sessions, so many take turns.
_VISITED = 500


def run_sizes(bench: Bench) -> Table:
    """By the keys of a session in memcached."""
    sites = _sites(bench, bench.memcached.address, (BASELINE, CONTROL, OURS))
    grid = {
        (site.name, column(keys)): site.contender("/modify", site.checked(keys))
        for keys in SIZES
        for site in sites
    }
    samples = _measured(bench, grid)
    columns = {
        column(keys): compare(
            {site.name: samples[site.name, column(keys)] for site in sites}, BASELINE
        )
        for keys in SIZES
    }
    notes = [
        f"{name}: at most {bend(SIZES, [figures[name].value for figures in columns.values()]):.0%} "
        f"off a straight line through {SIZES[0]} and {SIZES[-1]} keys."
        for name in (BASELINE, OURS)
    ]
    title = "A request that modifies a session in memcached, by the session's keys"
    return table_of("growth", title, columns, notes=notes, is_growth=True)


def run_stored(bench: Bench) -> Table:
    """By the sessions that are stored, of which random ones are visited."""
    grid = {
        (site.name, f"{stored:,} sessions"): _visits(bench, site, stored)
        for stored in STORED
        for site in _sites(bench, bench.start_memcached().address, (BASELINE, OURS))
    }
    samples = _measured(bench, grid)
    names = [f"{stored:,} sessions" for stored in STORED]
    of_each = {
        site: compare({name: samples[site, name] for name in names}, names[0])
        for site in (BASELINE, OURS)
    }
    columns = {name: {site: figures[name] for site, figures in of_each.items()} for name in names}
    title = f"A request that modifies a session of {KEYS} keys in memcached, by sessions stored"
    notes = [f"Ratios are to {STORED[0]} sessions."]
    return table_of("growth-stored", title, columns, notes=notes, is_growth=True)


def _measured(bench: Bench, grid: dict[Place, Contender]) -> dict[Place, Samples]:
    """All take turns with each other, since the columns are compared too."""
    named = {"|".join(place): place for place in grid}
    contenders = [Contender(name, grid[at].run, grid[at].bare) for name, at in named.items()]
    samples = bench.samples(contenders, columns=len(grid) // 2)
    return {named[name]: own for name, own in samples.items()}


def bend(places: Sequence[float], values: Sequence[float]) -> float:
    """How far values are from the straight line through the first and the last, as a share."""
    slope = (values[-1] - values[0]) / (places[-1] - places[0])
    line = [values[0] + slope * (place - places[0]) for place in places]
    return max(abs(value - on) / on for value, on in zip(values, line, strict=True))


def _sites(bench: Bench, address: str, names: Sequence[str]) -> list[Site]:
    return [site for site in bench.peers.memcached_sites(address) if site.name in names]


def _visits(bench: Bench, site: Site, stored: int) -> Contender:
    """Requests of random visitors, after so many have come."""
    cookies = [site.filled(KEYS) for _ in range(stored)]
    visited = [bench.chance.choice(cookies) for _ in range(_VISITED)]
    return Contender(site.name, _in_turn(site.app, visited), _in_turn(site.bare, visited))


def _in_turn(app: object, cookies: Sequence[str]) -> functools.partial[object]:
    requests = itertools.cycle([environ("/modify", cookie) for cookie in cookies])
    return functools.partial(_next, app, requests)


def _next(app: object, requests: itertools.cycle[object]) -> object:
    return call(app, next(requests))
