"""Writes that ask for a version of a session's entity, and models of an application's own."""

from __future__ import annotations

import contextvars
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import webapp2
from google.api_core import exceptions as api_errors
from google.cloud import ndb
from support import entities
from support.servers import PROJECT, Emulator, Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import SessionStore
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session
from webapp2_sessions.sessions_ndb.client import Datastore, VersionConflict
from webapp2_sessions.sessions_ndb.stub import ABSENT, ANY, EntityVersion

OPTIONS: dict[str, Any] = {"timeout": 10, "retries": 0}


@pytest.fixture(params=["datastore", "firestore"], autouse=True)
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Each of the two emulators; the environment points to it."""
    emulator: Emulator = request.getfixturevalue(request.param)
    return emulator


@pytest.fixture
def name() -> str:
    """An entity's name that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    """Models of a test are gone after it."""
    with entities.kinds_restored():
        yield


class Item(ndb.Model):
    """Any entity."""

    value = ndb.IntegerProperty()


@pytest.fixture
def connection() -> Datastore:
    """A connection without a context."""
    return Datastore({"project": None, "namespace": None, "database": None, "timeout": 10.0})


def put(connection: Datastore, name: str, value: int, expected: int | None = ANY) -> int | None:
    """Write an entity if it has the expected version; gives the new version."""
    entity = EntityVersion("Item", name, expected)
    connection.run(lambda: Item(id=name, value=value).put(**OPTIONS), entity=entity)
    return entity.current


def get(connection: Datastore, name: str) -> tuple[int | None, int | None]:
    """An entity's value and version; None twice where it does not exist."""
    entity = EntityVersion("Item", name)
    item = connection.run(lambda: ndb.Key(Item, name).get(**OPTIONS), entity=entity)
    return (None if item is None else item.value), entity.current


def delete(connection: Datastore, name: str) -> None:
    """Remove an entity."""
    connection.run(lambda: ndb.Key(Item, name).delete(**OPTIONS))


# Versions


def test_version_of_a_write_is_the_one_that_is_read(connection: Datastore, name: str) -> None:
    """The next writer can ask for it without reading first."""
    version = put(connection, name, 1)
    assert version is not None
    assert get(connection, name) == (1, version)


def test_write_of_the_present_version(connection: Datastore, name: str) -> None:
    """It is done, and gives another version."""
    first = put(connection, name, 1)
    second = put(connection, name, 2, first)
    assert get(connection, name) == (2, second)
    assert first != second


def test_write_of_a_stale_version(connection: Datastore, name: str) -> None:
    """It fails, and what another has written stays."""
    stale = put(connection, name, 1)
    put(connection, name, 2)
    with pytest.raises(VersionConflict):
        put(connection, name, 3, stale)
    assert get(connection, name)[0] == 2


def test_write_of_what_was_deleted(connection: Datastore, name: str) -> None:
    """It fails, and nothing is there."""
    version = put(connection, name, 1)
    delete(connection, name)
    with pytest.raises(VersionConflict):
        put(connection, name, 2, version)
    assert get(connection, name) == (None, None)


def test_write_of_what_was_deleted_and_written_anew(connection: Datastore, name: str) -> None:
    """Another entity of the same name has another version."""
    version = put(connection, name, 1)
    delete(connection, name)
    put(connection, name, 2, ABSENT)
    with pytest.raises(VersionConflict):
        put(connection, name, 3, version)
    assert get(connection, name)[0] == 2


def test_insert(connection: Datastore, name: str) -> None:
    """It is done where nothing is, and fails where something is."""
    put(connection, name, 1, ABSENT)
    with pytest.raises(VersionConflict):
        put(connection, name, 2, ABSENT)
    assert get(connection, name)[0] == 1


def test_conflict_names_its_cause(connection: Datastore, name: str) -> None:
    """What Datastore said is in the chain of causes."""
    put(connection, name, 1)
    with pytest.raises(VersionConflict) as caught:
        put(connection, name, 2, ABSENT)
    assert isinstance(caught.value.__cause__, api_errors.AlreadyExists)


def test_other_entities_have_no_version(connection: Datastore, name: str) -> None:
    """What an operation reads and writes besides is as without a version."""
    version = put(connection, name, 1)
    put(connection, f"{name}-other", 1)

    entity = EntityVersion("Item", name, version)

    def operation() -> None:
        Item(id=name, value=2).put(**OPTIONS)
        written = entity.current
        Item(id=f"{name}-other", value=2).put(**OPTIONS)
        Item(value=3).put(**OPTIONS)
        ndb.Key(Item, f"{name}-other").get(**OPTIONS)
        assert written == entity.current != version

    connection.run(operation, entity=entity)
    assert get(connection, f"{name}-other")[0] == 2


# Contexts


@pytest.mark.parametrize("namespace", ["", "other"])
def test_context_of_the_application(connection: Datastore, name: str, namespace: str) -> None:
    """Its client and its namespace are used, in a context of our own."""
    with entities.context(namespace) as active:
        stale = put(connection, name, 1)
        put(connection, name, 2, stale)
        with pytest.raises(VersionConflict):
            put(connection, name, 3, stale)
        assert ndb.get_context() is active
        assert ndb.Key(Item, name).get(use_cache=False).value == 2
    for each in {"", "other"}:
        there = entities.raw_entity(name, "Item", each) is not None
        assert there == (each == namespace)


def test_client_of_the_application_is_used(connection: Datastore, name: str) -> None:
    """Also where our own would ask another place, and it keeps its stub."""
    client = ndb.Client(project=PROJECT, namespace="from-the-client")
    stub = client.stub
    with client.context():
        put(connection, name, 1, ABSENT)
    assert client.stub is stub
    assert entities.raw_entity(name, "Item", "from-the-client") is not None


def test_transaction_of_the_application(connection: Datastore, name: str) -> None:
    """What is written stays where the transaction is rolled back."""
    with entities.context():

        @ndb.transactional(retries=0)
        def fail() -> None:
            put(connection, name, 1, ABSENT)
            raise LookupError("roll back")

        with pytest.raises(LookupError, match="roll back"):
            fail()
    assert get(connection, name)[0] == 1


# Models of an application's own, where changes are merged


def visitor_of(model: type[Any], **config: Any) -> Visitor:
    """A visitor of an application whose sessions are of this model."""

    class Factory(DatastoreSessionFactory):
        session_model = model

    return Visitor(make_app(on_conflict="merge", **config), factory=Factory)


def two_requests(visitor: Visitor) -> dict[Any, Any]:
    """What is stored after two requests at once, the first of which saved twice."""
    visitor.write({"a": 1, "cart": []})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    for number, store in enumerate(stores, 1):
        store.get_session(**visitor.options)[f"own {number}"] = number
    for store in stores:
        store.save_sessions(webapp2.Response())
    session = stores[0].get_session(**visitor.options)
    session["cart"].append("book")
    session.modified = True
    stores[0].save_sessions(webapp2.Response())
    return visitor.read()


MERGED = {"a": 1, "cart": ["book"], "own 1": 1, "own 2": 2}


def test_model_with_a_property_and_its_own_put() -> None:
    """Its `_put` is called, and the property is written with what was merged."""

    class UserSession(Session):
        keys = ndb.StringProperty(repeated=True)

        def _put(self) -> None:
            self.keys = sorted(self.data)
            super()._put()

    visitor = visitor_of(UserSession)
    assert two_requests(visitor) == MERGED
    with entities.context(), visitor.visit() as session:
        entity = ndb.Key(UserSession, session.container.sid).get()
        assert entity.keys == sorted(MERGED)


def test_model_that_writes_other_entities() -> None:
    """What its `_put` writes before and after the session does not have the session's version."""

    class Item(ndb.Model):
        value = ndb.IntegerProperty()

    class CountingSession(Session):
        def _put(self) -> None:
            Item(id="last").put(**OPTIONS)
            super()._put()
            Item().put(**OPTIONS)

    assert two_requests(visitor_of(CountingSession)) == MERGED


def test_model_that_adds_something_on_reading() -> None:
    """What its `get_by_sid` makes of the data is what requests have, and merge with."""

    class GreetingSession(Session):
        @classmethod
        def get_by_sid(cls, sid: str) -> Any:
            data = super().get_by_sid(sid)
            return data and {**data, "greeting": "hello"}

    assert two_requests(visitor_of(GreetingSession)) == MERGED | {"greeting": "hello"}


class Upside(ndb.Model):
    """A base for models that are no Session: data is JSON, and `_put` is ndb's."""

    data = ndb.JsonProperty()

    def _put(self) -> None:  # ndb has a method of that name, which put() is
        ndb.Model.put(self, **OPTIONS)


def test_model_that_looks_itself_up() -> None:
    """A model that reads by ndb's means only, as for the old library."""

    class OwnSession(Upside):
        @classmethod
        def get_by_sid(cls, sid: str) -> Any:
            entity = cls.get_by_id(sid)
            return entity and entity.data

    assert two_requests(visitor_of(OwnSession)) == MERGED


def test_model_that_queries() -> None:
    """The answer to a query has no version here; it is looked up where it is needed."""

    class QueriedSession(Upside):
        @classmethod
        def get_by_sid(cls, sid: str) -> Any:
            entity = cls.query(cls.key == ndb.Key(cls, sid)).get()
            return entity and entity.data

    assert two_requests(visitor_of(QueriedSession)) == MERGED


def test_model_that_reads_elsewhere() -> None:
    """A model that keeps its data in a place of its own beside the entity is merged there."""
    elsewhere: dict[str, dict[Any, Any]] = {}

    class ElsewhereSession(Upside):
        @classmethod
        def get_by_sid(cls, sid: str) -> Any:
            return elsewhere.get(sid)

        def _put(self) -> None:
            super()._put()
            elsewhere[self.key.id()] = self.data

    assert two_requests(visitor_of(ElsewhereSession)) == MERGED


def test_stored_value_that_is_no_session() -> None:
    """The visitor gets another session, which can be saved."""
    visitor = visitor_of(Session)
    sid = visitor.write({"a": 1})
    entities.put_raw(str(sid), b"\x80\x02K\x05.")  # a pickle of 5
    assert visitor.write({"b": 2}) != sid
    assert visitor.read() == {"b": 2}


def cached_visitor(memcached: Memcached, **config: Any) -> Visitor:
    """A visitor of an application with the cache in front of Datastore."""
    return Visitor(
        make_app(
            datastore={"cache": "memcache"}, memcache={"servers": [memcached.address]}, **config
        ),
        backend="datastore",
    )


def test_entry_of_the_cache_without_a_version(memcached: Memcached) -> None:
    """One that a writer left who does not merge is merged with all the same."""
    visitor = cached_visitor(memcached, on_conflict="merge")
    overwriting = cached_visitor(memcached)
    overwriting.write({"a": 1})
    visitor.cookies = overwriting.cookies
    assert two_requests(visitor) == MERGED


@pytest.mark.parametrize("writer", ["merge", "overwrite"])
def test_stale_entry_of_the_cache(memcached: Memcached, writer: str) -> None:
    """Changes that the cache does not know are merged with, whoever left the entry."""
    visitor = cached_visitor(memcached, on_conflict="merge")
    former = cached_visitor(memcached, on_conflict=writer)
    sid = former.write({"a": 1})
    visitor.cookies = former.cookies
    entities.put_raw(str(sid), pickle.dumps({"a": 1, "b": 2}, 2))
    assert visitor.read() == {"a": 1}
    visitor.write({"c": 3})
    assert visitor.read() == {"a": 1, "b": 2, "c": 3}


# Renewing


def test_renewal_while_another_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves what the other wrote, which has renewed the session, and sends the cookie."""
    visitor = visitor_of(Session, refresh_after=1e-9)
    visitor.write({"a": 1})
    real = Session._put

    def put_after_another(self: Any) -> None:
        monkeypatch.setattr(Session, "_put", real)
        visitor.write({"b": 2})
        real(self)

    monkeypatch.setattr(Session, "_put", put_after_another)
    assert renewal(visitor) != []
    assert visitor.read() == {"a": 1, "b": 2}


def test_renewal_while_another_destroys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session stays destroyed, and no cookie is sent."""
    visitor = visitor_of(Session, refresh_after=1e-9)
    sid = visitor.write({"a": 1})
    real = Session._put

    def put_after_another(self: Any) -> None:
        monkeypatch.setattr(Session, "_put", real)
        contextvars.Context().run(entities.delete, str(sid))
        real(self)

    monkeypatch.setattr(Session, "_put", put_after_another)
    assert (renewal(visitor), entities.raw_entity(str(sid))) == ([], None)


def renewal(visitor: Visitor) -> list[str]:
    """Set-Cookie headers of a request that only renews the session."""
    store = SessionStore(visitor.request())
    store.get_session(**visitor.options)
    response = webapp2.Response()
    store.save_sessions(response)
    return list(response.headers.getall("Set-Cookie"))
