"""What sessions in Datastore cost: requests to the servers, contexts of ndb, threads."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import entities
from support.servers import PROJECT, DatastoreEmulator, Memcached
from support.steps import Steps
from support.visits import Visitor, make_app

from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Counts what the servers are asked."""
    return Steps(monkeypatch)


@pytest.fixture
def uncached(datastore: DatastoreEmulator) -> Visitor:
    """A visitor of an application whose sessions are in Datastore."""
    return Visitor(make_app(), backend="datastore")


@pytest.fixture
def cached(datastore: DatastoreEmulator, memcached: Memcached) -> Visitor:
    """A visitor of an application with the cache."""
    return cached_visitor(memcached)


def cached_visitor(memcached: Memcached, **settings: Any) -> Visitor:
    """A visitor of an application with the cache and these settings of Datastore."""
    app = make_app(
        memcache={"servers": [memcached.address]}, datastore={"cache": "memcache", **settings}
    )
    return Visitor(app, backend="datastore")


def asked(steps: Steps, visit: Callable[[], Any]) -> list[str]:
    """What a visit asks the servers, in order."""
    with steps.counted(lambda step: None):
        visit()
    return steps.operations


# Requests


def test_requests_without_the_cache(uncached: Visitor, steps: Steps) -> None:
    """A read is one request to Datastore, and so is a write."""
    assert asked(steps, lambda: uncached.write({"a": 1})) == ["Commit"]
    assert asked(steps, uncached.read) == ["Lookup"]
    assert asked(steps, lambda: uncached.write({"a": 2})) == ["Lookup", "Commit"]


def test_requests_with_the_cache(cached: Visitor, memcached: Memcached, steps: Steps) -> None:
    """A read is one request to memcached; only a write, or a miss, is one to Datastore."""
    assert asked(steps, lambda: cached.write({"a": 1})) == ["gets", "Commit", "fill"]
    assert asked(steps, cached.read) == ["get"]
    assert asked(steps, lambda: cached.write({"a": 2})) == ["get", "gets", "Commit", "cas"]
    memcached.flush()
    assert asked(steps, cached.read) == ["get", "Lookup", "fill"]


# Contexts


@pytest.fixture
def no_contexts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets every attempt to open a context of ndb fail from now on."""

    def use(context: Any) -> Any:
        raise AssertionError("a context was opened")

    return lambda: monkeypatch.setattr(ndb.Context, "use", use)


def test_hit_enters_no_context(cached: Visitor, no_contexts: Callable[[], None]) -> None:
    """What is in memcached is read without ndb's machinery."""
    cached.write({"a": 1})
    no_contexts()
    assert cached.read() == {"a": 1}


def test_hit_of_the_model_enters_no_context(
    cached: Visitor, no_contexts: Callable[[], None]
) -> None:
    """The same where the application asks the model itself."""
    sid = cached.write({"a": 1})
    no_contexts()
    cached.app.set_globals(app=cached.app, request=webapp2.Request.blank("/"))
    try:
        assert Session.get_by_sid(str(sid)) == {"a": 1}
    finally:
        cached.app.clear_globals()


def test_miss_enters_a_context(
    cached: Visitor, memcached: Memcached, no_contexts: Callable[[], None]
) -> None:
    """What is not there needs one: the tests above would notice it."""
    cached.write({"a": 1})
    memcached.flush()
    no_contexts()
    with pytest.raises(AssertionError, match="a context was opened"):
        cached.read()


class NeedsContext:
    """A value that can be decoded in a context of ndb only."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        ndb.get_context()
        vars(self).update(state)


def test_value_that_needs_a_context(cached: Visitor, steps: Steps) -> None:
    """It is read from Datastore, in a context, whatever the cache holds."""
    value = NeedsContext()
    value.number = 7
    cached.write({"value": value})
    assert asked(steps, lambda: _check_number(cached)) == ["get", "Lookup"]
    with entities.context():
        assert asked(steps, lambda: _check_number(cached)) == ["get"]


def _check_number(visitor: Visitor) -> None:
    assert visitor.read()["value"].number == 7


# Places


class Tenant(ndb.Client):  # type: ignore[misc] # ndb has no types
    """A client whose contexts have a namespace that the client does not tell."""

    namespace_of_contexts = "default"

    def context(self, *args: Any, **options: Any) -> Any:
        """As the parent's."""
        return super().context(*args, **{"namespace": self.namespace_of_contexts, **options})


@contextlib.contextmanager
def in_transaction(namespace: str = "") -> Any:
    """A context that is in a transaction, of which Datastore need not know."""
    with entities.context(namespace) as context, context.new(transaction=b"", retry=None).use():
        yield


def new_namespace() -> str:
    """A namespace that no other test uses."""
    return uuid.uuid4().hex


PLACES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no context": contextlib.nullcontext,
    "context": entities.context,
    "namespace": lambda: entities.context("shop"),
    "transaction": in_transaction,
    "transaction in a namespace": lambda: in_transaction("shop"),
}

SETTINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "default": dict,
    "namespace": lambda: {"namespace": new_namespace()},
    "database": lambda: {"database": "sessions"},
    "own client": lambda: {"client": ndb.Client(project=PROJECT, namespace=new_namespace())},
    "maker of a client": lambda: {"client": lambda: ndb.Client(project=PROJECT)},
    "client with contexts of its own": lambda: {"client": Tenant(project=PROJECT)},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.usefixtures("datastore")
def test_hit_wherever_the_session_is(
    memcached: Memcached,
    steps: Steps,
    settings: Callable[[], dict[str, Any]],
    place: Callable[[], AbstractContextManager[Any]],
) -> None:
    """The reader finds the entry that the writer has left, and needs nothing else."""
    visitor = cached_visitor(memcached, **settings())
    with place():
        visitor.write({"a": 1})
        assert asked(steps, lambda: visitor.write({"b": 2})) == ["get", "gets", "Commit", "cas"]
        assert asked(steps, visitor.read) == ["get"]
        assert visitor.read() == {"a": 1, "b": 2}


@pytest.mark.usefixtures("datastore")
def test_client_that_changes_its_namespace(memcached: Memcached) -> None:
    """A tenant's session is not found in the cache by another tenant."""
    client = Tenant(project=PROJECT)
    visitor = cached_visitor(memcached, client=client)
    visitor.write({"of": "default"})
    client.namespace_of_contexts = "other"
    assert visitor.read() == {}
    client.namespace_of_contexts = "default"
    assert visitor.read() == {"of": "default"}


def test_hit_in_a_transaction_goes_on(cached: Visitor, steps: Steps) -> None:
    """After it the application is in its transaction, and can commit it."""
    cached.write({"a": 1})

    def checkout() -> dict[Any, Any]:
        before = ndb.get_context()
        data: list[dict[Any, Any]] = []
        assert asked(steps, lambda: data.append(cached.read())) == ["get"]
        assert ndb.get_context() is before
        assert before.in_transaction()
        return data[0]

    with entities.context():
        assert ndb.transaction(checkout) == {"a": 1}


# Models with methods of their own


def test_own_get_by_sid_is_called(datastore: DatastoreEmulator, memcached: Memcached) -> None:
    """A model's own method is called in a context of ndb, on a hit as well."""
    visitor = cached_visitor(memcached)
    in_context: list[bool] = []
    with entities.kinds_restored():

        class OwnSession(Session):
            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                in_context.append(ndb.get_context(raise_context_error=False) is not None)
                return super().get_by_sid(sid)

        class OwnFactory(DatastoreSessionFactory):
            session_model = OwnSession

        visitor.options = {"factory": OwnFactory}
        visitor.write({"a": 1})
        assert visitor.read() == {"a": 1}
    assert in_context == [True]


def test_inherited_get_by_sid_is_ours(
    cached: Visitor, steps: Steps, no_contexts: Callable[[], None]
) -> None:
    """A model that adds properties alone is read as fast."""
    with entities.kinds_restored():

        class UserSession(Session):
            user = ndb.StringProperty()

        class UserFactory(DatastoreSessionFactory):
            session_model = UserSession

        cached.options = {"factory": UserFactory}
        cached.write({"a": 1})
        no_contexts()
        assert asked(steps, cached.read) == ["get"]


def test_replaced_get_by_sid_is_called(cached: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that was put in place of Session's."""
    cached.write({"a": 1})
    replaced = classmethod(lambda cls, sid: {"replaced": sid == cached_sid})
    with cached.visit() as session:
        cached_sid = session.container.sid
    monkeypatch.setattr(Session, "get_by_sid", replaced)
    assert cached.read() == {"replaced": True}


# Threads


def test_requests_start_no_threads(uncached: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks Datastore waits for the answer; gRPC's futures take a thread each."""
    uncached.write({"a": 1})
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    uncached.write({"b": 2})
    assert uncached.read() == {"a": 1, "b": 2}
    assert started == []
    with entities.context():  # a future, to show that it is noticed
        ndb.Key("Session", "nobody").get()
    assert started != []
