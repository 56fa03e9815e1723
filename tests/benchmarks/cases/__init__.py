"""What is measured, by name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.cases import (
    codec,
    collector,
    cookie,
    datastore,
    growth,
    imports,
    memcached,
    redis,
    throughput,
)
from benchmarks.results import Table

__all__ = ["CASES", "SEPARATE_CASES"]

#: Each case gives one table.
CASES: dict[str, Callable[[Bench], Table]] = {
    "cookie": cookie.run,
    "codec": codec.run,
    "memcached": memcached.run,
    "redis": redis.run,
    "datastore": datastore.run,
    "idle": cookie.run_idle,
    "import": imports.run,
    "collector": collector.run,
    "growth": growth.run_sizes,
    "growth-stored": growth.run_stored,
}

#: Those that take longer, and are run by themselves.
SEPARATE_CASES: dict[str, Callable[[Bench], Table]] = {"throughput": throughput.run}
