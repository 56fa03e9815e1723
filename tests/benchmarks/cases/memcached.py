"""Requests whose session is in a memcached, and what they ask it."""

from __future__ import annotations

from support.entries import Entries, entries_of

from benchmarks.bench import KEYS, Bench
from benchmarks.results import Table, table_of
from benchmarks.sites import Site, call, environ

__all__ = ["commands", "run"]

#: memcached's counters: `gets` counts as get; add, replace and cas count as set.
_COUNTERS = {"get": "cmd_get", "set": "cmd_set", "touch": "cmd_touch"}

#: Requests over which commands are counted.
_REQUESTS = 10


def run(bench: Bench) -> Table:
    """A request that reads and modifies its session, and one that only reads."""
    server = bench.memcached
    sites = bench.peers.memcached_sites(server.address)
    modify, read = bench.measure_sites(sites, ("/modify", "/read"))
    with entries_of(server) as entries:
        notes = {site.name: commands(site, entries) for site in sites}
    return table_of(
        "memcached",
        f"A request with a session of {KEYS} keys in memcached, less the same without",
        {"read + modify": modify, "read only": read},
        notes,
        notes=["The note has the commands that memcached counted for a request of either kind."],
    )


def commands(site: Site, entries: Entries) -> str:
    """What a site asks for a request that modifies and for one that reads."""
    cookie = site.filled(KEYS)
    return " / ".join(_counted(site, path, cookie, entries) for path in ("/modify", "/read"))


def _counted(site: Site, path: str, cookie: str, entries: Entries) -> str:
    """The commands of a request, not counting those of a connection's first one."""
    call(site.app, environ(path, cookie))
    before = {name: entries.counted(counter) for name, counter in _COUNTERS.items()}
    for _ in range(_REQUESTS):
        call(site.app, environ(path, cookie))
    counts = {
        name: (entries.counted(counter) - before[name]) / _REQUESTS
        for name, counter in _COUNTERS.items()
    }
    return " + ".join(f"{count:g} {name}" for name, count in counts.items() if count) or "none"
