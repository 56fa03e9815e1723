"""The places that requests race for, and the processes that race."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.racing import Racers
from support.stores_under_test import CachedDatastore, StoreUnderTest

#: The servers of a store, by the names of their fixtures, and how it is made.
_MEMCACHED = ("memcached", "second_memcached", "third_memcached")

Ask = Callable[[str], object]


def _in_memcached(ask: Ask, *servers: str, **config: object) -> StoreUnderTest:
    addresses = [ask(name).address for name in servers]  # type: ignore[attr-defined]
    return StoreUnderTest("memcache", memcache={"servers": addresses}, **config)


def _in_redis(ask: Ask, server: str = "redis_server", **config: object) -> StoreUnderTest:
    url = ask(server).url  # type: ignore[attr-defined]
    return StoreUnderTest("redis", redis={"url": url}, **config)


def _in_datastore(ask: Ask, emulator: str) -> StoreUnderTest:
    ask(emulator)
    return StoreUnderTest("datastore")


def _in_cached_datastore(ask: Ask, emulator: str) -> StoreUnderTest:
    ask(emulator)
    return CachedDatastore(ask("memcached"))  # type: ignore[arg-type]


TARGETS: dict[str, Callable[[Ask], StoreUnderTest]] = {
    "memcached": lambda ask: _in_memcached(ask, "memcached"),
    "three memcacheds": lambda ask: _in_memcached(ask, *_MEMCACHED),
    "memcached, JSON": lambda ask: _in_memcached(ask, "memcached", serializer="json"),
    "Redis": _in_redis,
    "Redis, JSON": lambda ask: _in_redis(ask, serializer="json"),
    "Valkey": lambda ask: _in_redis(ask, "valkey_server"),
    "Datastore": lambda ask: _in_datastore(ask, "datastore"),
    "Firestore": lambda ask: _in_datastore(ask, "firestore"),
    "cached Datastore": lambda ask: _in_cached_datastore(ask, "datastore"),
    "cached Firestore": lambda ask: _in_cached_datastore(ask, "firestore"),
}


@pytest.fixture(params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> StoreUnderTest:
    """Each backend, with its servers running."""
    return TARGETS[request.param](request.getfixturevalue)


@pytest.fixture
def in_memcached(memcached: object) -> StoreUnderTest:
    """The fastest store, for what is the same in all of them."""
    return _in_memcached(lambda name: memcached, "memcached")


@pytest.fixture(scope="session")
def racers() -> Iterator[Racers]:
    """Processes that race, shared by the whole run."""
    racers = Racers()
    yield racers
    racers.stop()
