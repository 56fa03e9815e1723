"""Purges on real Datastore emulators: exactly the old sessions go, whatever happens meanwhile."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import entities
from support.servers import (
    PROJECT,
    PROXY_VARIABLES,
    DatastoreEmulator,
    Emulator,
    FirestoreEmulator,
    Memcached,
    wait_until,
)
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendUnavailable
from webapp2_sessions.sessions_ndb import Session, purging
from webapp2_sessions.sessions_ndb.purging import purge_sessions

#: The moment of each purge here.
NOW = datetime.datetime(2024, 5, 17, 12, 0, 0, 250_000)

DAY = datetime.timedelta(days=1)
MICROSECOND = datetime.timedelta(microseconds=1)

#: Seconds after which a service that does not come back is a failure.
PATIENCE = 60.0


@pytest.fixture(params=["datastore", "firestore"])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Each of the two emulators; the environment points to it."""
    emulator: Emulator = request.getfixturevalue(request.param)
    return emulator


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NOW, and nobody waits between tries."""
    monkeypatch.setattr(purging, "_utc_now", lambda: NOW)
    monkeypatch.setattr(purging, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return "ns-" + uuid.uuid4().hex


@pytest.fixture
def config(emulator: Emulator, namespace: str) -> dict[str, Any]:
    """A session configuration for that namespace of each emulator."""
    return {"datastore": {"namespace": namespace}}


def fill(count: int, namespace: str, age: datetime.timedelta = 2 * DAY, name: str = "old") -> None:
    """Store sessions that were last written so long ago."""
    times = {f"{name}{number}": NOW - age for number in range(count)}
    entities.put_aged(times, namespace=namespace)


# What goes and what stays


def test_old_sessions_go(config: dict[str, Any], namespace: str) -> None:
    """What was last written before the cutoff goes, and all else stays."""
    times = {"old": NOW - 2 * DAY, "ancient": NOW - 4000 * DAY, "young": NOW, "future": NOW + DAY}
    entities.put_aged(times, namespace=namespace)
    assert purge_sessions(DAY, config=config) == 2
    assert entities.names_of(namespace=namespace) == {"young", "future"}


def test_old_marks_go(config: dict[str, Any], namespace: str) -> None:
    """Marks of sessions that were destroyed go after a day, and are not counted."""
    times = {"old": NOW - DAY - MICROSECOND, "young": NOW - DAY + MICROSECOND}
    entities.put_aged(times, kind="SessionEnded", namespace=namespace)
    assert purge_sessions(30 * DAY, config=config) == 0
    assert entities.names_of(kind="SessionEnded", namespace=namespace) == {"young"}


def test_dry_run_leaves_old_marks(config: dict[str, Any], namespace: str) -> None:
    """It deletes nothing at all."""
    entities.put_aged({"old": NOW - 2 * DAY}, kind="SessionEnded", namespace=namespace)
    purge_sessions(30 * DAY, config=config, dry_run=True)
    assert entities.names_of(kind="SessionEnded", namespace=namespace) == {"old"}


def test_session_at_the_cutoff_stays(config: dict[str, Any], namespace: str) -> None:
    """A session of exactly that age is not older; one by a microsecond is."""
    times = {
        "older": NOW - DAY - MICROSECOND,
        "as old": NOW - DAY,
        "younger": NOW - DAY + MICROSECOND,
    }
    entities.put_aged(times, namespace=namespace)
    assert purge_sessions(DAY, config=config) == 1
    assert entities.names_of(namespace=namespace) == {"as old", "younger"}


@pytest.mark.parametrize("older_than", [3600, 3600.0, datetime.timedelta(hours=1)], ids=repr)
def test_age_in_seconds(config: dict[str, Any], namespace: str, older_than: Any) -> None:
    """A number is an age in seconds."""
    for minutes in (59, 61):
        fill(1, namespace, datetime.timedelta(minutes=minutes), f"{minutes} minutes ")
    assert purge_sessions(older_than, config=config) == 1
    assert entities.names_of(namespace=namespace) == {"59 minutes 0"}


def test_nothing_to_delete(config: dict[str, Any]) -> None:
    """A namespace without sessions is purged without a call of `progress`."""
    counts: list[int] = []
    assert purge_sessions(DAY, config=config, progress=counts.append) == 0
    assert counts == []


@pytest.mark.parametrize("count", [9, 10, 11, 20, 21])
def test_page_boundaries(config: dict[str, Any], namespace: str, count: int) -> None:
    """All go and are counted once, whether or not they fill their pages of 10."""
    fill(count, namespace)
    counts: list[int] = []
    assert purge_sessions(DAY, config=config, batch=10, progress=counts.append) == count
    assert counts == [*range(10, count, 10), count]
    assert entities.names_of(namespace=namespace) == set()


@pytest.mark.parametrize("count", [499, 501])
def test_large_pages(config: dict[str, Any], namespace: str, count: int) -> None:
    """A page holds more than the service gives for one query."""
    fill(count, namespace)
    counts: list[int] = []
    assert purge_sessions(DAY, config=config, progress=counts.append) == count
    assert counts == sorted({min(count, 500), count})
    assert entities.names_of(namespace=namespace) == set()


@pytest.mark.parametrize(
    ("limit", "gone"), [(1, 1), (9, 9), (10, 10), (11, 11), (25, 25), (99, 25)]
)
def test_limit(config: dict[str, Any], namespace: str, limit: int, gone: int) -> None:
    """No more go than the limit allows, also where it is not a whole number of pages."""
    fill(25, namespace)
    assert purge_sessions(DAY, config=config, batch=10, limit=limit) == gone
    assert len(entities.names_of(namespace=namespace)) == 25 - gone


def test_limit_takes_the_oldest(config: dict[str, Any], namespace: str) -> None:
    """Those that were not written for longest go first."""
    entities.put_aged({str(n): NOW - n * DAY for n in range(2, 7)}, namespace=namespace)
    purge_sessions(DAY, config=config, limit=2)
    assert entities.names_of(namespace=namespace) == {"2", "3", "4"}


@pytest.mark.parametrize(("limit", "expected"), [(None, 25), (12, 12)])
def test_dry_run(config: dict[str, Any], namespace: str, limit: int | None, expected: int) -> None:
    """The number is that of a real run, and nothing goes."""
    fill(25, namespace)
    fill(1, namespace, DAY, "young")
    before = entities.names_of(namespace=namespace)
    assert purge_sessions(DAY, config=config, batch=10, limit=limit, dry_run=True) == expected
    assert entities.names_of(namespace=namespace) == before


def test_time_is_up(
    config: dict[str, Any], namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page begins after the time, and the next run goes on."""
    fill(25, namespace)
    now = [0.0]
    monkeypatch.setattr(purging, "_monotonic", lambda: now[0])

    def pass_time(_count: int) -> None:
        now[0] += 30

    assert purge_sessions(DAY, config=config, batch=10, seconds=55, progress=pass_time) == 20
    assert purge_sessions(DAY, config=config, batch=10, seconds=55, progress=pass_time) == 5


# Where


def test_other_namespaces_stay(config: dict[str, Any], namespace: str) -> None:
    """A purge of one namespace leaves the sessions of others alone."""
    fill(1, namespace)
    fill(1, namespace + "-other")
    assert purge_sessions(DAY, config=config) == 1
    assert entities.names_of(namespace=namespace + "-other") == {"old0"}


def test_context_of_the_caller(config: dict[str, Any], namespace: str) -> None:
    """In an ndb context of the caller its namespace is purged, and the context stays open."""
    fill(1, namespace)
    fill(1, namespace + "-other")
    with entities.context(namespace + "-other") as context:
        assert purge_sessions(DAY, config=config) == 1
        assert ndb.get_context() is context
    assert entities.names_of(namespace=namespace + "-other") == set()
    assert entities.names_of(namespace=namespace) == {"old0"}


class RollBackError(Exception):
    """Makes a transaction fail."""


def test_transaction_of_the_caller(config: dict[str, Any], namespace: str) -> None:
    """In a transaction of the caller the purge is no part of it."""
    fill(15, namespace)

    def roll_back() -> None:
        assert purge_sessions(DAY, config=config, batch=10) == 15
        raise RollBackError

    with entities.context(namespace), pytest.raises(RollBackError):
        ndb.transaction(roll_back, retries=0)
    assert entities.names_of(namespace=namespace) == set()


@pytest.fixture
def active_app() -> Iterator[Callable[..., webapp2.WSGIApplication]]:
    """Makes an application and makes it the active one, as webapp2 does during a request."""
    active: list[webapp2.WSGIApplication] = []

    def activate(**config: Any) -> None:
        app = make_app(**config)
        app.set_globals(app=app, request=webapp2.Request.blank("/"))
        active.append(app)

    yield activate
    for app in active:
        app.clear_globals()


def test_configuration_of_the_active_application(
    emulator: Emulator, namespace: str, active_app: Callable[..., Any]
) -> None:
    """A cron handler need not tell where the application's sessions are."""
    fill(1, namespace)
    active_app(datastore={"namespace": namespace})
    assert purge_sessions(DAY) == 1
    assert entities.names_of(namespace=namespace) == set()


class ShopSession(Session):
    """A session with a property more, and so of another kind."""

    user = ndb.StringProperty()


def test_model_of_another_kind(config: dict[str, Any], namespace: str) -> None:
    """A purge of a model deletes the entities of its kind only."""
    for kind in ("Session", "ShopSession"):
        entities.put_aged({kind: NOW - 2 * DAY}, kind=kind, namespace=namespace)
    assert purge_sessions(DAY, model=ShopSession, config=config) == 1
    assert entities.names_of("ShopSession", namespace) == set()
    assert entities.names_of("Session", namespace) == {"Session"}


# Visitors


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a day after the moment at which the test's visitors come."""
    day = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + DAY
    monkeypatch.setattr(purging, "_utc_now", lambda: day)


HALF_A_DAY = DAY / 2


@pytest.mark.usefixtures("tomorrow")
def test_visitor_of_a_purged_session(config: dict[str, Any]) -> None:
    """A visitor whose session went has a new and empty one."""
    visitor = Visitor(make_app(**config), backend="datastore")
    visitor.write({"a": 1})
    assert purge_sessions(HALF_A_DAY, config=config) == 1
    assert visitor.read() == {}


@pytest.mark.usefixtures("tomorrow")
def test_visitor_of_a_younger_session(config: dict[str, Any]) -> None:
    """A visitor whose session is too young to go keeps it."""
    visitor = Visitor(make_app(**config), backend="datastore")
    visitor.write({"a": 1})
    assert purge_sessions(DAY, config=config) == 0
    assert visitor.read() == {"a": 1}


@pytest.fixture
def cached(config: dict[str, Any]) -> dict[str, Any]:
    """That configuration with memcached in front; the test names the server."""
    datastore = {**config["datastore"], "cache": "memcache"}
    return {"secret_key": SECRET, "datastore": datastore}


@pytest.mark.usefixtures("tomorrow")
@pytest.mark.parametrize("dry_run", [False, True])
def test_cached_session(cached: dict[str, Any], memcached: Memcached, dry_run: bool) -> None:
    """A session that went is not read from the cache, though somebody read it a moment before."""
    cached["memcache"] = {"servers": [memcached.address]}
    visitor = Visitor(make_app(**cached), backend="datastore")
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert purge_sessions(HALF_A_DAY, config=cached, dry_run=dry_run) == 1
    assert visitor.read() == ({"a": 1} if dry_run else {})


@pytest.mark.usefixtures("tomorrow")
@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_cache_fails(
    cached: dict[str, Any],
    namespace: str,
    launch: Callable[[Memcached], Memcached],
    harm: str,
) -> None:
    """Without its cache a purge deletes all the same."""
    server = launch(Memcached())
    cached["memcache"] = {"servers": [server.address], "timeout": 0.2}
    fill(40, namespace)
    getattr(server, harm)()
    assert purge_sessions(HALF_A_DAY, config=cached, batch=20) == 40
    assert entities.names_of(namespace=namespace) == set()


# Interrupts and failures


def interrupt(_count: int) -> None:
    """What Ctrl-C does between two pages."""
    raise KeyboardInterrupt


def test_interrupted_between_pages(config: dict[str, Any], namespace: str) -> None:
    """An interrupt leaves whole pages, and a second run finishes."""
    fill(25, namespace)
    fill(1, namespace, DAY, "young")
    with pytest.raises(KeyboardInterrupt):
        purge_sessions(DAY, config=config, batch=10, progress=interrupt)
    assert len(entities.names_of(namespace=namespace)) == 16
    assert purge_sessions(DAY, config=config, batch=10) == 15
    assert entities.names_of(namespace=namespace) == {"young0"}


def test_interrupted_within_a_page(
    cached: dict[str, Any], memcached: Memcached, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page whose deletion was interrupted is not in the cache, and a second run finishes."""
    cached["memcache"] = {"servers": [memcached.address]}
    fill(25, namespace)
    forgotten: list[int] = []
    with monkeypatch.context() as harm:
        harm.setattr(purging.ndb, "delete_multi", lambda keys, **options: interrupt(len(keys)))
        harm.setattr(purging, "forget_cached", lambda _, keys: forgotten.append(len(keys)))
        with pytest.raises(KeyboardInterrupt):
            purge_sessions(DAY, config=cached, batch=10)
    assert forgotten == [10]
    assert purge_sessions(DAY, config=cached, batch=10) == 25
    assert entities.names_of(namespace=namespace) == set()


def test_interrupted_in_a_context(config: dict[str, Any], namespace: str) -> None:
    """A caller who catches the interrupt can go on in the same ndb context."""
    fill(25, namespace)
    with entities.context(namespace):
        with pytest.raises(KeyboardInterrupt):
            purge_sessions(DAY, config=config, batch=10, progress=interrupt)
        assert purge_sessions(DAY, config=config, batch=10) == 15


@pytest.fixture(params=[DatastoreEmulator, FirestoreEmulator], ids=lambda kind: kind.__name__)
def own_emulator(
    request: pytest.FixtureRequest,
    launch: Callable[[Emulator], Emulator],
    monkeypatch: pytest.MonkeyPatch,
) -> Emulator:
    """An emulator of each sort that the test may harm; the environment points to it."""
    emulator = launch(request.param())
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", emulator.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    return emulator


def names_after_a_freeze() -> set[str]:
    """The names of all sessions, as soon as the emulator answers again."""
    found: list[set[str]] = []

    def answers() -> bool:
        try:
            found.append(entities.names_of())
        except Exception:
            return False
        return True

    assert wait_until(answers, PATIENCE)
    return found[-1]


def test_service_falls_silent_and_comes_back(own_emulator: Emulator) -> None:
    """A silent service is an error after the pages that are told; a second run finishes."""
    fill(35, "")
    fill(1, "", DAY, "young")
    counts: list[int] = []

    def harm(count: int) -> None:
        counts.append(count)
        if count == 20:
            own_emulator.freeze()

    config = {"datastore": {"timeout": 0.5}}
    with pytest.raises(BackendUnavailable, match=f"{own_emulator.address}: it did not answer"):
        purge_sessions(DAY, config=config, batch=10, progress=harm)
    assert counts == [10, 20]
    own_emulator.thaw()
    assert len(names_after_a_freeze()) == 16
    assert purge_sessions(DAY) == 15
    assert entities.names_of() == {"young0"}


# One of them will do: it takes ndb ten seconds to give up.
@pytest.mark.parametrize("own_emulator", [DatastoreEmulator], indirect=True)
def test_service_dies(own_emulator: Emulator) -> None:
    """A service that dies in the middle is an error after the pages that are told."""
    fill(35, "")
    counts: list[int] = []

    def harm(count: int) -> None:
        counts.append(count)
        if count == 20:
            own_emulator.kill()

    with pytest.raises(BackendUnavailable, match=own_emulator.address):
        purge_sessions(DAY, batch=10, progress=harm)
    assert counts == [10, 20]
