"""CONTRACT section 5, item 10: stored sessions, with upstream's behaviour beside ours.

Upstream's backends run over a stand-in for App Engine's memcache and the real Datastore emulator,
ours on real servers.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import webapp2
from google.api_core.exceptions import InvalidArgument
from google.cloud import ndb
from support import appengine
from support.entries import Entries, entries_of
from support.implementations import OURS, UPSTREAM, Side, cookie_pair, outcome, save
from support.servers import PROJECT, DatastoreEmulator, Memcached, free_port

from webapp2_sessions.sessions_ndb import factory as sessions_ndb

MODULES = {"memcache": "sessions_memcache", "datastore": "sessions_ndb"}


class Visits:
    """A visitor of one side's application on a backend."""

    def __init__(self, side: Side, backend: str, app: webapp2.WSGIApplication) -> None:
        self._side = side
        self._app = app
        self.backend = backend
        self.cookie: str | None = None

    def open(self) -> Any:
        """Return the store and the session of a new request."""
        store = self._side.store(self._app, self.cookie)
        return store, store.get_session(backend=self.backend)

    def write(self, **values: Any) -> str:
        """Update the session in a request; returns its id."""
        store, session = self.open()
        session.update(values)
        [header] = save(store)
        self.cookie = cookie_pair(header)
        return str(session.container.sid)

    def read(self) -> Any:
        """Return the session of a request that only reads."""
        return self.open()[1]


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What our memcached holds."""
    with entries_of(memcached) as entries:
        yield entries


@pytest.fixture
def visits(memcached: Memcached, datastore: DatastoreEmulator) -> Iterator[Callable[..., Visits]]:
    """Make a visitor of a side; while upstream's is used, its model has the kind."""
    with ExitStack() as at_end:

        def make(side: Side, backend: str, **config: Any) -> Visits:
            if side is UPSTREAM:
                module = appengine.upstream_backend(MODULES[backend])
                if backend == "datastore":
                    kinds = {"Session": module.Session}
                    at_end.enter_context(mock.patch.dict(ndb.Model._kind_map, kinds))
                    at_end.enter_context(appengine.context(namespace="upstream"))
            else:
                settings = {
                    "memcache": {"servers": [memcached.address]},
                    "datastore": {"project": PROJECT, "cache": "memcache"},
                }
                config = {**settings, **config}
            return Visits(side, backend, side.app(**config))

        yield make


def test_b40_upstreams_records_stay_without_end(
    visits: Callable[..., Visits], entries: Entries
) -> None:
    """In memcached ours go with the session."""
    sid = visits(UPSTREAM, "memcache", session_max_age=60).write(a=1)
    assert appengine.MEMCACHE._entries["", sid][1] == float("inf")
    sid = visits(OURS, "memcache", session_max_age=60).write(a=1)
    left = entries.seconds_left(f"session:{sid}".encode())
    assert left is not None
    assert 50 < left <= 61


def test_b41_write_that_did_not_happen(visits: Callable[..., Visits]) -> None:
    """Upstream sends the cookie of a session that is stored nowhere; ours raises."""
    upstream = visits(UPSTREAM, "memcache")
    api = sys.modules["google.appengine.api.memcache"]
    with mock.patch.object(api, "set", return_value=False):
        upstream.write(a=1)
    assert upstream.read() == {}
    ours = visits(OURS, "memcache", memcache={"servers": [f"127.0.0.1:{free_port()}"]})
    assert outcome(ours.write, a=1)[0] == "BackendUnavailable"
    assert ours.cookie is None


@pytest.mark.parametrize(("side", "expected"), [(UPSTREAM, {"a": 2}), (OURS, {"a": 1})], ids=str)
def test_b42_entity_that_could_not_be_put(
    visits: Callable[..., Visits], side: Side, expected: dict[str, int]
) -> None:
    """Upstream's cache then holds what was never committed; ours what was."""
    visitor = visits(side, "datastore")
    visitor.write(a=1)

    def refuse(*args: Any, **options: Any) -> None:
        raise InvalidArgument("too large")

    with mock.patch.object(ndb.Model, "put", refuse):
        assert outcome(visitor.write, a=2)[0] in ("InvalidArgument", "BackendError")
    assert visitor.read() == expected


def test_b43_keys_and_values_of_each_backend_are_its_own(
    visits: Callable[..., Visits], entries: Entries
) -> None:
    """Upstream's key is the bare id, and what one backend wrote the other reads."""
    memcache, datastore = visits(UPSTREAM, "memcache"), visits(UPSTREAM, "datastore")
    sid = memcache.write(a=1)
    datastore.cookie = memcache.cookie
    assert (appengine.MEMCACHE.get(sid), datastore.read()) == ({"a": 1}, {"a": 1})


def test_b43_ours_has_a_prefix(visits: Callable[..., Visits], entries: Entries) -> None:
    """And the other backend does not read it."""
    memcache, datastore = visits(OURS, "memcache"), visits(OURS, "datastore")
    sid = memcache.write(a=1)
    datastore.cookie = memcache.cookie
    held = [entries.get(prefix + sid.encode()) is not None for prefix in (b"", b"session:")]
    assert (held, datastore.read()) == ([False, True], {})


@pytest.mark.parametrize(("side", "lookups"), [(UPSTREAM, 3), (OURS, 0)], ids=str)
def test_b44_empty_session_in_the_cache(
    visits: Callable[..., Visits], side: Side, lookups: int
) -> None:
    """Upstream asks Datastore for it on each request."""
    visitor = visits(side, "datastore")
    visitor.write(a=1)
    store, session = visitor.open()
    session.clear()
    save(store)
    with mock.patch.object(ndb.Key, "get", autospec=True, side_effect=ndb.Key.get) as get:
        assert [visitor.read() for _ in range(3)] == [{}] * 3
    assert get.call_count == lookups


@pytest.mark.parametrize("value", [5, "text", ["a"]])
def test_b63_value_that_is_no_session(
    visits: Callable[..., Visits], entries: Entries, value: Any
) -> None:
    """Upstream raises for an entry of the application's own under the id; for ours it is none."""
    upstream = visits(UPSTREAM, "memcache")
    appengine.MEMCACHE.set(upstream.write(a=1), value)
    assert outcome(upstream.read)[0] in ("TypeError", "ValueError")
    ours = visits(OURS, "memcache")
    sid = ours.write(a=1)
    entries.put(f"session:{sid}".encode(), pickle.dumps(value))
    session = ours.read()
    assert (session, session.new, session.container.sid != sid) == ({}, True, True)


def test_kind_is_ours_again() -> None:
    """The tests above leave the process with our model of the kind."""
    assert ndb.Model._kind_map["Session"] is sessions_ndb.Session
