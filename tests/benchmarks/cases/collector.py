"""Objects that requests leave to the cycle collector."""

from __future__ import annotations

import gc

from benchmarks.bench import KEYS, Bench
from benchmarks.measure import Figure
from benchmarks.peers import BASELINE, OURS
from benchmarks.results import Table, table_of
from benchmarks.sites import Site, call, environ

__all__ = ["run"]

_PATHS = {"read + modify": "/modify", "read only": "/read", "idle": "/idle"}

_REQUESTS = 200

#: Why there are any.
_NOTES = [
    "A session has its factory and a store its factories, where applications look for them, and "
    "each of these knows the one that it came from: store, factory and session wait for the "
    "collector. The request, the response and what they hold do not, since a store does not keep "
    "its request alive while webapp2 answers it.",
]


def run(bench: Bench) -> Table:
    """Counted, not timed: what is left of a request when nobody refers to it any more."""
    sites = [site for site in bench.peers.cookie_sites() if site.name in (BASELINE, OURS)]
    sites.append(Site("webapp2 without sessions", sites[0].bare, sites[0].bare))
    cookies = {site.name: site.filled(KEYS) for site in sites[:2]}
    columns = {
        column: {site.name: Figure(_left(site, path, cookies.get(site.name, ""))) for site in sites}
        for column, path in _PATHS.items()
    }
    title = "Objects that a request with a signed cookie leaves to the cycle collector"
    return table_of("collector", title, columns, unit="objects", notes=_NOTES)


def _left(site: Site, path: str, cookie: str) -> float:
    values = environ(path, cookie)
    call(site.app, values)
    gc.collect()
    gc.disable()
    try:
        for _ in range(_REQUESTS):
            call(site.app, values)
        return gc.collect() / _REQUESTS
    finally:
        gc.enable()
