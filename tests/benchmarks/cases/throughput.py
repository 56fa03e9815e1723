"""Requests a second on a real server, with sessions and without."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from support.gunicorn import Gunicorn

from benchmarks.bench import KEYS, Bench, Missing, on_one_cpu
from benchmarks.measure import PARTS, Samples, compare
from benchmarks.peers import BASELINE, OURS
from benchmarks.results import Table, table_of
from benchmarks.serving import BARE
from benchmarks.visiting import Visitor, stay_off_the_last_cpu, visit

__all__ = ["COOKIE_SITES", "VISITORS", "Served", "best", "measure", "run"]

#: Visitors of a site at once, so that the server never waits for one.
VISITORS = 4

#: Seconds for which a site is visited until it is another one's turn; short, because what else
#: the machine does comes and goes.
_ROUND = 0.1

#: Of so many turns the best counts: other work on the machine can only take from it.
_TURNS = 5

_COLUMNS = {"read only": "/read", "read + modify": "/modify"}

WITHOUT = "without sessions"


@dataclass(frozen=True, eq=False)
class Served:
    """A site on the server.

    :param name: how reports call it.
    :param backend: keyword of the backend of this package, or what `serving` knows besides.
    :param cache, redis, datastore: whether it needs these servers.
    :param settings: session configuration beyond where memcached and Redis are.
    :param warm_up: requests before any are counted.
    """

    name: str
    backend: str
    cache: bool = False
    redis: bool = False
    datastore: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_up: int = 200

    def config(self, bench: Bench) -> dict[str, Any]:
        """The session configuration; the servers that it needs run afterwards.

        :raises Missing: they are not installed.
        """
        config = dict(self.settings)
        if self.datastore:
            assert bench.emulator.address
        if self.cache:
            config["memcache"] = {"servers": [bench.memcached.address]}
        if self.redis:
            config["redis"] = {"url": bench.redis.url}
        return config


#: Sites that need no server besides.
COOKIE_SITES = (
    Served(WITHOUT, BARE),
    Served(f"{WITHOUT} again", BARE),
    Served(BASELINE, BASELINE),
    Served(f"{OURS}, securecookie", "securecookie"),
    Served(f"{OURS}, encryptedcookie", "encryptedcookie"),
)

#: A just started emulator is slow until it has done some thousand operations.
_EMULATED: dict[str, Any] = {"backend": "datastore", "datastore": True, "warm_up": 1500}

_CACHED = {"datastore": {"cache": "memcache"}}

SITES = (
    *COOKIE_SITES,
    Served(f"{OURS}, memcache", "memcache", cache=True),
    Served(f"{OURS}, redis", "redis", redis=True),
    Served(f"{OURS}, datastore", **_EMULATED),
    Served(f"{OURS}, datastore with cache", cache=True, settings=_CACHED, **_EMULATED),
)


class OneWorker(Gunicorn):
    """A gunicorn with one worker, which answers one request after the other."""

    application: ClassVar[str] = "benchmarks.serving:app"


def run(bench: Bench) -> Table:
    """Requests that read the session, and that read and modify it."""
    samples = measure(bench, SITES)
    columns = {column: compare(best(samples[column]), WITHOUT) for column in _COLUMNS}
    title = f"Requests a second of one gunicorn worker, with a session of {KEYS} keys"
    return table_of("throughput", title, columns, unit="requests/s", more_is_better=True)


def best(samples: Mapping[str, Samples]) -> dict[str, Samples]:
    """The best of each five turns that a site has had one after the other."""
    return {
        name: [max(own[first : first + _TURNS]) for first in range(0, len(own), _TURNS)]
        for name, own in samples.items()
    }


def measure(
    bench: Bench, sites: Sequence[Served], seconds: float = _ROUND
) -> dict[str, dict[str, Samples]]:
    """Requests a second in each round, by column and site.

    A site whose servers are missing is left out, with a line among those of `bench.peers`.
    """
    configs = dict(_configs(bench, sites))
    apps = {
        str(number): {"backend": site.backend, "config": configs[site]}
        for number, site in enumerate(configs)
    }
    server = OneWorker(apps, workers=1, threads=1)
    with on_one_cpu():
        bench.start(server)
    with _visits(server.port) as visited:
        crowds = {site: _crowd(str(number), site) for number, site in enumerate(configs)}
        for site in configs:
            crowds[site] = _warm(visited, site, crowds[site], seconds)
        return _rounds(bench, visited, crowds, seconds)


#: Sends a crowd to a path for some seconds: the crowd afterwards, and what it counted.
Visits = Callable[[str, Sequence[Visitor], float], tuple[Sequence[Visitor], int, float]]


def _configs(bench: Bench, sites: Sequence[Served]) -> Iterator[tuple[Served, dict[str, Any]]]:
    for site in sites:
        try:
            yield site, site.config(bench)
        except Missing as reason:
            bench.peers.missing.append(f"left out: {site.name} ({reason})")


@contextmanager
def _visits(port: int) -> Iterator[Visits]:
    """The visitors have a process of their own, beside that of the server."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit clients of servers
    with ProcessPoolExecutor(1, context, stay_off_the_last_cpu) as pool:
        yield lambda *round_: pool.submit(visit, port, *round_).result()


def _crowd(path: str, site: Served) -> Sequence[Visitor]:
    return [Visitor(path, counts=site.backend != BARE) for _ in range(VISITORS)]


def _warm(
    visited: Visits, site: Served, crowd: Sequence[Visitor], seconds: float
) -> Sequence[Visitor]:
    """Fill the sessions, and use them for a while."""
    crowd, answers, _ = visited(f"/fill?keys={KEYS}", crowd, 0)
    while answers < site.warm_up:
        crowd, more, _ = visited("/modify", crowd, seconds)
        answers += more
    return crowd


def _rounds(
    bench: Bench, visited: Visits, crowds: dict[Served, Sequence[Visitor]], seconds: float
) -> dict[str, dict[str, Samples]]:
    turns = [(column, site) for column in _COLUMNS for site in crowds]
    samples: dict[str, dict[str, Samples]] = {
        column: {site.name: [] for site in crowds} for column in _COLUMNS
    }
    rounds, deadline = 0, time.monotonic() + bench.seconds * len(_COLUMNS)
    while rounds < PARTS or time.monotonic() < deadline:
        bench.chance.shuffle(turns)
        for column, site in turns:
            crowds[site], answers, taken = visited(_COLUMNS[column], crowds[site], seconds)
            samples[column][site.name].append(answers / taken)
        rounds += 1
    return samples
