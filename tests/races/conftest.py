"""The places that requests race for, and the processes that race."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.places import CachedDatastorePlace, Place
from support.racing import Racers

#: The servers of a place, by the names of their fixtures, and how it is made.
_MEMCACHED = ("memcached", "second_memcached", "third_memcached")

Ask = Callable[[str], object]


def _in_memcached(ask: Ask, *servers: str, **config: object) -> Place:
    addresses = [ask(name).address for name in servers]  # type: ignore[attr-defined]
    return Place("memcache", memcache={"servers": addresses}, **config)


def _in_datastore(ask: Ask, emulator: str) -> Place:
    ask(emulator)
    return Place("datastore")


def _in_cached_datastore(ask: Ask, emulator: str) -> Place:
    ask(emulator)
    return CachedDatastorePlace(ask("memcached"))  # type: ignore[arg-type]


PLACES: dict[str, Callable[[Ask], Place]] = {
    "memcached": lambda ask: _in_memcached(ask, "memcached"),
    "three memcacheds": lambda ask: _in_memcached(ask, *_MEMCACHED),
    "memcached, JSON": lambda ask: _in_memcached(ask, "memcached", serializer="json"),
    "Datastore": lambda ask: _in_datastore(ask, "datastore"),
    "Firestore": lambda ask: _in_datastore(ask, "firestore"),
    "cached Datastore": lambda ask: _in_cached_datastore(ask, "datastore"),
    "cached Firestore": lambda ask: _in_cached_datastore(ask, "firestore"),
}


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest) -> Place:
    """Each backend, with its servers running."""
    return PLACES[request.param](request.getfixturevalue)


@pytest.fixture
def in_memcached(memcached: object) -> Place:
    """The fastest place, for what is the same in all of them."""
    return _in_memcached(lambda name: memcached, "memcached")


@pytest.fixture(scope="session")
def racers() -> Iterator[Racers]:
    """Processes that race, shared by the whole run."""
    racers = Racers()
    yield racers
    racers.stop()
