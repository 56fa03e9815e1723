"""A session's own lifetime is kept in its entity, beside the data, and in the cache."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import webapp2
from google.cloud import ndb
from support import appengine, entities
from support.servers import PROJECT, DatastoreEmulator, Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import SessionStore
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session


@pytest.fixture(params=[None, "memcache"], ids=["uncached", "cached"])
def visitor_of(
    request: pytest.FixtureRequest, datastore: DatastoreEmulator, memcached: Memcached
) -> Callable[..., Visitor]:
    """Make a visitor of an application, with the cache or without."""

    def make(**config: Any) -> Visitor:
        settings = {"memcache": {"servers": [memcached.address]}, "datastore": {"cache": cache}}
        return Visitor(make_app(**{**settings, **config}), backend="datastore")

    cache = request.param
    return make


@pytest.fixture(params=["overwrite", "merge"])
def visitor(request: pytest.FixtureRequest, visitor_of: Callable[..., Visitor]) -> Visitor:
    """A visitor, with and without merging."""
    return visitor_of(on_conflict=request.param)


def noting(visitor: Visitor, notes: list[int | None]) -> Visitor:
    """A visitor with the same cookies, whose factory notes what it is told of the lifetime."""

    class Noting(visitor.options.get("factory", DatastoreSessionFactory)):  # type: ignore[misc]
        def _note_max_age(self, own_max_age: int | None) -> None:
            notes.append(own_max_age)

    other = Visitor(visitor.app, factory=Noting)
    other.cookies = visitor.cookies
    return other


def stored_age(visitor: Visitor) -> int | None:
    """The session's own lifetime as the next request is told it."""
    notes: list[int | None] = []
    store = SessionStore((other := noting(visitor, notes)).request())
    store.get_session(**other.options)
    return notes[-1] if notes else None  # a model of the application's own may tell nothing


def test_age_is_stored(visitor: Visitor) -> None:
    """As an unindexed number beside the data."""
    with visitor.visit() as session:
        session.set_max_age(300)
    entity = entities.raw_entity(str(session.container.sid))
    assert entity is not None
    age = entity.properties["own_max_age"]
    assert (age.integer_value, age.exclude_from_indexes) == (300, True)


def test_age_is_told_to_the_factory(visitor: Visitor) -> None:
    """Whenever the session is read: from Datastore, or from the cache."""
    notes: list[int | None] = []
    visitor.write({"a": 1})
    noting(visitor, notes).read()
    with visitor.visit() as session:
        session.set_max_age(300)
    noting(visitor, notes).read()
    noting(visitor, notes).read()
    assert notes == [None, 300, 300]


def test_age_is_told_when_another_has_set_it(visitor_of: Callable[..., Visitor]) -> None:
    """A request that merges hears what is stored by then."""
    visitor = visitor_of(on_conflict="merge")
    notes: list[int | None] = []
    visitor.write({"a": 1})
    other = noting(visitor, notes)
    store = SessionStore(other.request())
    store.get_session(**other.options)["b"] = 2
    with visitor.visit() as session:
        session.set_max_age(300)
    store.save_sessions(webapp2.Response())
    assert notes == [None, 300]


def test_age_stays_with_later_writes_and_renewals(visitor_of: Callable[..., Visitor]) -> None:
    """Whoever changes the session or renews it leaves it as it is; a new id begins without."""
    visitor = visitor_of(refresh_after=1e-9)
    with visitor.visit() as session:
        session.set_max_age(300)
    visitor.write({"a": 1})
    assert stored_age(visitor) == 300
    visitor.read()
    assert stored_age(visitor) == 300
    with visitor.visit() as session:
        session.regenerate_id()  # who planted the former session may have set its age
    assert stored_age(visitor) is None


def test_age_can_be_taken_back(visitor: Visitor) -> None:
    """Then the entity is like others again."""
    with visitor.visit() as session:
        session.set_max_age(300)
    with visitor.visit() as session:
        session.set_max_age(None)
    entity = entities.raw_entity(str(session.container.sid))
    assert entity is not None
    assert set(entity.properties) == {"updated", "data"}
    assert stored_age(visitor) is None


@pytest.mark.parametrize("age", [0, -1, 2**31, 10**30, "300", True])
def test_age_that_is_none_is_not_written(visitor: Visitor, age: Any) -> None:
    """Such a number may come with an older cookie; the session is stored as one like others."""
    sid = str(visitor.write({"a": 1}))
    with visitor.visit() as session:
        session.container.own_max_age = age
        session.container._write(sid, {"a": 2}, None)
    assert (stored_age(visitor), visitor.read()) == (None, {"a": 2})


@pytest.mark.parametrize("age", [0, -1, 2**31, 2**62, "300", 300.0, True, b"300", None], ids=repr)
def test_age_that_is_none_is_not_believed(visitor: Visitor, age: Any) -> None:
    """Whoever else has written the entity: it is a session like others."""
    sid = str(visitor.write({"a": 1}))
    put_age(sid, age)
    other = Visitor(visitor.app, **visitor.options)
    other.cookies = visitor.cookies
    other.app.config["webapp2_extras.sessions"]["session_max_age"] = 3600
    assert (stored_age(other), other.read()) == (None, {"a": 1})
    assert other.write({"b": 2}) == sid


def put_age(sid: str, age: Any, updated: datetime.datetime | None = None) -> None:
    """Write the entity as it is, past the package, with this lifetime."""
    with entities.kinds_restored(), entities.context():

        class RawSession(ndb.Expando):
            _use_cache = False
            updated = ndb.DateTimeProperty()
            data = ndb.BlobProperty()

            @classmethod
            def _get_kind(cls) -> str:
                return "Session"

        entity = ndb.Key("Session", sid).get()
        entity.own_max_age = age
        if updated is not None:
            entity.updated = updated
        entity.put(timeout=10, retries=0)


def hours_ago(hours: float) -> datetime.datetime:
    """A time as ndb keeps it."""
    time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    return time.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("configured", "own", "found"),
    [
        (3600, 7200, {"a": 1}),
        (None, 60, {}),
        (7200, 60, {}),
        (7200, None, {"a": 1}),
        (600, None, {}),
    ],
)
def test_stored_age_decides_whether_an_entity_is_too_old(
    visitor_of: Callable[..., Visitor],
    configured: int | None,
    own: int | None,
    found: dict[str, Any],
) -> None:
    """Shorter or longer than the configured one, whatever the cookie says."""
    visitor = visitor_of(session_max_age=configured)
    writer = Visitor(make_app(), backend="datastore")  # past the cache
    sid = str(writer.write({"a": 1}))
    put_age(sid, own, hours_ago(1.1))
    visitor.cookies = writer.cookies
    assert [visitor.read(), visitor.read()] == [found, found]


#: Where the session is: it has the record by its id, or its cookie has become too large.
KINDS: dict[str, dict[str, Any]] = {
    "datastore": {},
    "spilled": {"on_oversize": "datastore", "max_cookie_size": 600},
}


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("kind", KINDS)
def test_age_that_was_taken_back_is_no_cookies(
    visitor_of: Callable[..., Visitor], kind: str, on_conflict: str
) -> None:
    """Whoever kept the cookie of that age opens the session for as long as all others do."""
    backend = "datastore" if kind == "datastore" else "securecookie"
    config = {"session_max_age": 600, "on_conflict": on_conflict, **KINDS[kind]}
    writer = Visitor(make_app(**config), backend=backend)  # past the cache
    with writer.visit() as session:
        session.update(a=1, long="x" * 900)
        session.set_max_age(100_000)
    visitor = visitor_of(**config)
    visitor.options = {"backend": backend}
    visitor.cookies = dict(writer.cookies)
    with writer.visit() as session:
        session.set_max_age(None)
    container: Any = session.container
    put_age(str((getattr(container, "_spill", None) or container).sid), None, hours_ago(1.1))
    assert [visitor.read(), visitor.read()] == [{}, {}]


def test_age_that_this_request_sets_is_not_asked_of_what_it_merges_with(
    visitor_of: Callable[..., Visitor], memcached: Memcached
) -> None:
    """What is stored was old enough to be opened, and is there to be changed."""
    visitor = visitor_of(on_conflict="merge", session_max_age=None)
    overwriting = visitor_of(session_max_age=None)
    sid = str(overwriting.write({"a": 1}))
    put_age(sid, None, hours_ago(1.1))
    memcached.flush()
    assert overwriting.read() == {"a": 1}  # whose entry of the cache has no version
    visitor.cookies = overwriting.cookies
    with visitor.visit() as session:
        session["b"] = 2
        session.set_max_age(60)
        assert session.container.sid == sid
    assert (visitor.read(), stored_age(visitor)) == ({"a": 1, "b": 2}, 60)


# The old library


@pytest.mark.parametrize("config", [{}, {"user_key": "a", "user_index": True}], ids=["", "user"])
def test_old_library_reads_and_writes_the_session(
    datastore: DatastoreEmulator, config: dict[str, Any]
) -> None:
    """It knows nothing of lifetime and user, and what it writes is a session like others."""
    visitor = Visitor(make_app(datastore={"project": PROJECT}, **config), backend="datastore")
    with entities.context("shared"), visitor.visit() as session:
        session.update(a=1)
        session.set_max_age(300)
        sid = session.container.sid
    upstream = appengine.upstream_backend("sessions_ndb")
    kinds = mock.patch.dict(ndb.Model._kind_map, {"Session": upstream.Session})
    with kinds, entities.context("shared"):
        assert upstream.Session.get_by_sid(sid) == {"a": 1}
        upstream.Session(id=sid, data={"a": 2})._put()
    with entities.context("shared"):
        assert visitor.read() == {"a": 2}


def test_entity_without_an_age_is_the_old_librarys(visitor: Visitor) -> None:
    """It has the two properties of upstream, and no other."""
    entity = entities.raw_entity(str(visitor.write({"a": 1})))
    assert entity is not None
    assert set(entity.properties) == {"updated", "data"}


# Models of the application's own


def test_model_alone_keeps_the_age(visitor: Visitor) -> None:
    """An application that reads an entity and puts it back has changed nothing else."""
    with visitor.visit() as session:
        session.set_max_age(300)
    with entities.context():
        ndb.Key(Session, session.container.sid).get()._put()
    assert stored_age(visitor) == 300


def test_model_with_methods_of_its_own(visitor: Visitor) -> None:
    """One that calls Session's has the lifetime stored and read; one that does not goes without."""
    with entities.kinds_restored():

        class Calling(Session):
            user = ndb.StringProperty()

            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                return super().get_by_sid(sid)

            def _put(self) -> None:
                self.user = "me"
                super()._put()

        class Another(Session):
            def _put(self) -> None:
                Session._put(type(self)(id=self.key.id(), data=self.data))

        class Own(ndb.Model):
            data = ndb.JsonProperty()
            own_max_age = ndb.StringProperty()

            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                entity = cls.get_by_id(sid)
                return entity and entity.data

            def _put(self) -> None:
                self.put()

        for model, expected in ((Calling, 300), (Another, 300), (Own, None)):
            factory = type("Factory", (DatastoreSessionFactory,), {"session_model": model})
            visitor.options = {"factory": factory}
            visitor.cookies = {}
            with visitor.visit() as session:
                session["a"] = 1
                session.set_max_age(300)
            assert (visitor.read(), stored_age(visitor)) == ({"a": 1}, expected)
