"""Requests whose session is in Redis, beside the same in memcached, and what they ask it."""

from __future__ import annotations

import dataclasses
from collections import Counter

import redis
from support.servers import Redis

from benchmarks.bench import KEYS, Bench
from benchmarks.peers import OURS
from benchmarks.peers.webapp2_peer import our_site
from benchmarks.results import Table, table_of
from benchmarks.sites import Site, call, environ

__all__ = ["BASELINE", "CONTROL", "commands", "run"]

#: How the report calls this package's sessions in memcached, which upstream's lead to, and a second
#: site of them, which shows the noise.
BASELINE = f"{OURS}, memcache"
CONTROL = f"{BASELINE} again"

#: Requests over which commands are counted.
_REQUESTS = 10


def run(bench: Bench) -> Table:
    """A request that reads and modifies its session, and one that only reads."""
    server = bench.redis
    memcached = our_site("memcache", memcache={"servers": [bench.memcached.address]})
    in_memcached = [dataclasses.replace(memcached, name=name) for name in (BASELINE, CONTROL)]
    in_redis = bench.peers.redis_sites(server.url)
    sites = [*in_memcached, *in_redis]
    modify, read = bench.measure_sites(sites, ("/modify", "/read"), baseline=BASELINE)
    return table_of(
        "redis",
        f"A request with a session of {KEYS} keys in Redis, less the same without",
        {"read + modify": modify, "read only": read},
        {site.name: commands(site, server) for site in in_redis},
        notes=["The note has the commands that Redis counted for a request of either kind."],
    )


def commands(site: Site, server: Redis) -> str:
    """Return what a site asks for a request that modifies and for one that reads."""
    cookie = site.filled(KEYS)
    with redis.Redis.from_url(server.url) as client:
        return " / ".join(_counted(site, path, cookie, client) for path in ("/modify", "/read"))


def _counted(site: Site, path: str, cookie: str, client: redis.Redis) -> str:
    """Return the commands of a request, not counting those of a connection's first one."""
    call(site.app, environ(path, cookie))
    before = _counters(client)
    for _ in range(_REQUESTS):
        call(site.app, environ(path, cookie))
    counts = _counters(client) - before
    return " + ".join(f"{count / _REQUESTS:g} {name}" for name, count in counts.items()) or "none"


def _counters(client: redis.Redis) -> Counter[str]:
    """Return how often each command was given so far, but for the one that asks this."""
    found = client.info("commandstats")
    return Counter(
        {
            name.removeprefix("cmdstat_"): values["calls"]
            for name, values in sorted(found.items())
            if name != "cmdstat_info"
        }
    )
