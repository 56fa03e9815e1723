"""Sessions in Datastore whose cache, or Datastore behind it, fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.fault_injection import Relay
from support.faults import BOUND, CARD
from support.servers import DatastoreEmulator, Memcached, wait_until
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendUnavailable
from webapp2_sessions.sessions_memcache.records import session_memcached
from webapp2_sessions.stored.cache import CoherentCache


@pytest.fixture
def cached(server: Memcached, datastore: DatastoreEmulator) -> Visitor:
    """A visitor of an application with that memcached in front of Datastore."""
    app = make_app(
        memcache={"servers": [server.address], "timeout": 0.3}, datastore={"cache": "memcache"}
    )
    return Visitor(app, backend="datastore")


def stored(visitor: Visitor) -> dict[Any, Any]:
    """What stands in Datastore itself."""
    uncached = Visitor(make_app(), backend="datastore")
    uncached.cookies = dict(visitor.cookies)
    return uncached.read()


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_is_no_error_at_load(server: Memcached, cached: Visitor, harm: str) -> None:
    """Without its cache the session is read from Datastore."""
    cached.write({"a": 1})
    getattr(server, harm)()
    assert cached.read() == {"a": 1}


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_is_no_error_at_save(server: Memcached, cached: Visitor, harm: str) -> None:
    """Without its cache the session is stored in Datastore."""
    cached.write({"a": 1})
    with cached.visit() as session:
        getattr(server, harm)()
        session["b"] = 2
    assert stored(cached) == {"a": 1, "b": 2}


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_at_first_contact(server: Memcached, cached: Visitor, harm: str) -> None:
    """An application that starts without its cache works."""
    getattr(server, harm)()
    cached.write({"a": 1})
    assert cached.read() == {"a": 1}


def test_frozen_cache_delays_by_its_timeouts_only(server: Memcached, cached: Visitor) -> None:
    """A request that loads and saves waits for the silent cache a few times, not without end."""
    server.freeze()
    started = time.monotonic()
    cached.write({"a": 1})
    assert time.monotonic() - started < BOUND


def test_cache_restarted_between_requests(server: Memcached, cached: Visitor) -> None:
    """A cache that lost everything is filled again."""
    cached.write({"a": 1})
    server.restart()
    assert [cached.read(), cached.read()] == [{"a": 1}] * 2


def test_thawed_cache_does_not_bring_the_old_session_back(
    server: Memcached, cached: Visitor, monkeypatch: pytest.MonkeyPatch, closed_port: str
) -> None:
    """What was written while the cache was silent is seen by readers once it goes on."""
    cached.write({"a": 1})
    server.freeze()
    cached.write({"a": 2})
    server.thaw()
    # What the cache was told before it fell silent is done now, beside the reader's question.
    assert wait_until(lambda: cached.read() == {"a": 2}, BOUND)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)  # only the cache can answer now
    with contextlib.suppress(BackendUnavailable):  # it holds nothing, which is as good
        assert cached.read() == {"a": 2}


@pytest.mark.usefixtures("datastore")
def test_entry_that_is_delayed_until_after_the_end(
    server: Memcached, cached: Visitor, launch: Callable[[Relay], Relay]
) -> None:
    """A reader's entry that reaches the cache four seconds after a sign-out signs nobody in."""
    relay = launch(Relay(server))
    app = make_app(
        memcache={"servers": [relay.address], "timeout": 0.3}, datastore={"cache": "memcache"}
    )
    cached.write({"user": "ada"})
    reader = Visitor(app, backend="datastore")
    reader.cookies = dict(cached.cookies)
    server.flush()
    relay.hold_entries()
    assert reader.read() == {"user": "ada"}
    assert wait_until(lambda: relay.holds_entries, BOUND)
    with cached.visit() as session:
        session.destroy()
    relay.let_entries_through()
    cached.cookies = dict(reader.cookies)
    with cached.visit() as session:
        assert (session.new, dict(session)) == (True, {})


def test_datastore_refuses_behind_a_warm_cache(
    cached: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: str,
    fails: Callable[..., Any],
) -> None:
    """A cached session can be read without Datastore, but a change of it is an error."""
    sid = cached.write({"card": CARD})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    assert cached.read() == {"card": CARD}
    with fails("datastore", closed_port, sid):
        cached.write({"more": CARD})


def test_failed_change_is_not_in_the_cache(
    cached: Visitor,
    datastore: DatastoreEmulator,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: str,
) -> None:
    """A change that Datastore did not get is seen by nobody."""
    cached.write({"a": 1})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    with pytest.raises(BackendUnavailable):
        cached.write({"a": 2})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
    assert cached.read() == {"a": 1}


def test_miss_is_not_filled_after_a_restart(server: Memcached) -> None:
    """What was read may have ended since, and the tombstone is gone: nobody may ever get it."""
    memcache = {"servers": [server.address]}
    memcached = session_memcached({"secret_key": SECRET, "memcache": memcache}, "datastore")

    def load() -> dict[str, int]:
        server.restart()
        return {"a": 1}

    assert CoherentCache(memcached).read("session", load) == {"a": 1}
    assert memcached.get(memcached.key("session")) is None


@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_session_ends_in_the_cache_from_which_it_was_read(
    server: Memcached, cached: Visitor, second_memcached: Memcached, end: str
) -> None:
    """The configuration names another one since; other processes do not know of that yet."""
    cached.write({"user": "ada"})
    former = Visitor(cached.app, backend="datastore")
    former.cookies = dict(cached.cookies)
    other = make_app(memcache={"servers": [second_memcached.address]})
    with Visitor(other).visit() as session:
        elsewhere = session.container.session_store.config["memcache"]
    with cached.visit() as session:
        config = session.container.session_store.config
        before, config["memcache"] = config["memcache"], elsewhere
        getattr(session, end)()
    config["memcache"] = before
    assert former.read() == {}
