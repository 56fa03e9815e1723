"""Sessions in real Datastore emulators: entities, contexts, old data, and the cache in front."""

from __future__ import annotations

import datetime
import pickle
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import entities
from support.entries import Entries, entries_of
from support.python2_values import EXPECTED, PROTOCOLS, describe, pickled
from support.servers import PROJECT, Emulator, Memcached, free_port
from support.stores import sign_with
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SecureCookieSerializer,
)
from webapp2_sessions.errors import SessionTooLarge, UnreadableSession
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session, model
from webapp2_sessions.stored.serializers import dump_pickle

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0

SID = "0123456789abcdefghijkl"


@pytest.fixture(params=["datastore", "firestore"])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Each of the two emulators; the environment points to it."""
    emulator: Emulator = request.getfixturevalue(request.param)
    return emulator


@pytest.fixture
def visitor(emulator: Emulator) -> Visitor:
    """A visitor of an application whose sessions are in Datastore."""
    return Visitor(make_app(), backend="datastore")


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What the shared memcached holds."""
    with entries_of(memcached) as entries:
        yield entries


def caching_app(memcached: Memcached, **config: Any) -> webapp2.WSGIApplication:
    """An application with the cache in front of Datastore."""
    datastore = {"cache": "memcache", **config.pop("datastore", {})}
    return make_app(memcache={"servers": [memcached.address]}, datastore=datastore, **config)


@pytest.fixture
def cached(emulator: Emulator, memcached: Memcached) -> Visitor:
    """A visitor of an application with the cache."""
    return Visitor(caching_app(memcached), backend="datastore")


def cookie_for(sid: object) -> str:
    """A cookie that the application would have signed for a session id."""
    return SecureCookieSerializer(SECRET).serialize("session", {"_sid": sid}).decode("ascii")


def visitor_with(sid: str, app: webapp2.WSGIApplication | None = None, **config: Any) -> Visitor:
    """A visitor who came with this session before."""
    visitor = Visitor(app or make_app(**config), backend="datastore")
    visitor.cookies["session"] = cookie_for(sid)
    return visitor


def new_sid() -> str:
    """A session id that no other test uses."""
    return uuid.uuid4().hex[:22]


@pytest.fixture
def activate() -> Iterator[Callable[[webapp2.WSGIApplication], None]]:
    """Makes an application the active one, as webapp2 does during a request."""
    active: list[webapp2.WSGIApplication] = []

    def set_active(app: webapp2.WSGIApplication) -> None:
        app.set_globals(app=app, request=webapp2.Request.blank("/"))
        active.append(app)

    yield set_active
    for app in active:
        app.clear_globals()


# Round trip


def test_unmodified_session_is_not_written(visitor: Visitor) -> None:
    """A request that only reads leaves the entity as it was and sends no cookie."""
    sid = visitor.write({"a": 1})
    before = entities.raw_entity(sid)
    visitor.read()
    assert (entities.raw_entity(sid), visitor.set_cookies) == (before, [])


def test_entity_that_is_gone_gives_a_new_session(visitor: Visitor) -> None:
    """Where a purge has removed the entity, the visitor starts again with another id."""
    sid = visitor.write({"a": 1})
    entities.delete(sid)
    with visitor.visit() as session:
        assert (dict(session), session.new) == ({}, True)
        assert session.container.sid != sid


@pytest.mark.parametrize("sid", ["x" * 22 + "\n", "x" * 21 + "é", "x" * 23, "", None, 7], ids=ascii)
def test_id_that_is_none_of_ours_asks_nobody(monkeypatch: pytest.MonkeyPatch, sid: object) -> None:
    """A signed cookie with anything but 22 ASCII characters does not reach Datastore."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    visitor = visitor_with(SID, make_app(datastore={"project": PROJECT}))
    with pytest.raises(BackendUnavailable):
        visitor.read()  # a valid id does
    visitor.cookies["session"] = cookie_for(sid)
    assert visitor.read() == {}


# The entity


def test_kind_and_key_name(visitor: Visitor) -> None:
    """The entity's kind is Session and its key's name the session's id."""
    sid = visitor.write({"a": 1})
    entity = entities.raw_entity(sid)
    assert entity is not None
    (element,) = entity.key.path
    assert (element.kind, element.name) == ("Session", sid)


def test_properties(visitor: Visitor) -> None:
    """The entity has the two properties of the old library and no other."""
    entity = entities.raw_entity(visitor.write({"a": 1}))
    assert entity is not None
    assert set(entity.properties) == {"updated", "data"}


def test_data_is_an_unindexed_pickle(visitor: Visitor) -> None:
    """The session is a blob that holds a pickle by protocol 2, not indexed."""
    entity = entities.raw_entity(visitor.write({"a": (1, 2)}))
    assert entity is not None
    data = entity.properties["data"]
    assert data.exclude_from_indexes is True
    assert data.blob_value[:2] == b"\x80\x02"
    assert pickle.loads(data.blob_value) == {"a": (1, 2)}


def test_updated_is_indexed(visitor: Visitor) -> None:
    """Entities can be found by the time of their last write."""
    entity = entities.raw_entity(visitor.write({"a": 1}))
    assert entity is not None
    assert entity.properties["updated"].exclude_from_indexes is False


def test_updated_is_the_time_of_writing_in_utc(visitor: Visitor) -> None:
    """`updated` is a naive time in UTC, whatever the zone of the machine."""
    before = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    sid = visitor.write({"a": 1})
    after = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    with entities.context():
        updated = ndb.Key(Session, sid).get().updated
    assert updated.tzinfo is None
    assert before <= updated <= after


def test_updated_follows_each_write(visitor: Visitor) -> None:
    """A write sets `updated` again."""
    sid = visitor.write({"a": 1})
    with entities.context():
        first = ndb.Key(Session, sid).get().updated
    visitor.write({"a": 1})
    with entities.context():
        assert ndb.Key(Session, sid).get().updated > first


def test_updated_follows_a_put_of_the_application(visitor: Visitor) -> None:
    """An entity that the application reads and puts back has a new time too."""
    sid = visitor.write({"a": 1})
    with entities.context():
        entity = ndb.Key(Session, sid).get()
        before = entity.updated
        entity._put()
        assert ndb.Key(Session, sid).get().updated > before


@pytest.fixture
def far_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is not set to UTC."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_time_zone")
def test_time_zone_of_the_machine_does_not_matter(visitor: Visitor) -> None:
    """On a machine that is not set to UTC `updated` is in UTC as well."""
    entity = entities.raw_entity(visitor.write({"a": 1}))
    assert entity is not None
    updated = entity.properties["updated"].timestamp_value
    assert abs(updated - datetime.datetime.now(datetime.timezone.utc)).total_seconds() < 60


# The model, used by the application


@pytest.mark.usefixtures("emulator")
def test_get_by_sid_gives_the_data() -> None:
    """get_by_sid() returns the dict, not the entity."""
    sid = new_sid()
    with entities.context():
        Session(id=sid, data={"a": 1})._put()
        assert Session.get_by_sid(sid) == {"a": 1}


@pytest.mark.usefixtures("emulator")
def test_get_by_sid_needs_no_context() -> None:
    """get_by_sid() works in code that knows nothing of ndb's contexts."""
    sid = new_sid()
    with entities.context():
        Session(id=sid, data={"a": 1})._put()
    assert Session.get_by_sid(sid) == {"a": 1}


@pytest.mark.usefixtures("emulator")
def test_get_by_sid_of_nothing() -> None:
    """get_by_sid() of an id that is not there gives None."""
    assert Session.get_by_sid(new_sid()) is None


def test_get_by_sid_reads_what_a_visit_wrote(visitor: Visitor) -> None:
    """A cron handler finds the sessions of visitors."""
    assert Session.get_by_sid(visitor.write({"a": 1})) == {"a": 1}


@pytest.mark.usefixtures("emulator")
def test_visit_reads_what_the_application_put() -> None:
    """A session that the application puts itself is a session."""
    sid = new_sid()
    with entities.context():
        Session(id=sid, data={"a": 1})._put()
    assert visitor_with(sid).read() == {"a": 1}


def test_get_by_sid_uses_the_active_application(
    emulator: Emulator, activate: Callable[[webapp2.WSGIApplication], None]
) -> None:
    """Outside of a session factory the active application's configuration holds."""
    app = make_app(datastore={"namespace": "shop"})
    sid = Visitor(app, backend="datastore").write({"a": 1})
    assert Session.get_by_sid(sid) is None
    activate(app)
    assert Session.get_by_sid(sid) == {"a": 1}


def test_get_by_sid_in_an_application_without_sessions(
    emulator: Emulator, activate: Callable[[webapp2.WSGIApplication], None]
) -> None:
    """A cron service that has no session configuration reads with the defaults."""
    sid = Visitor(make_app(), backend="datastore").write({"a": 1})
    activate(webapp2.WSGIApplication())
    assert Session.get_by_sid(sid) == {"a": 1}


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return "ns-" + uuid.uuid4().hex


def test_query_finds_old_sessions(emulator: Emulator, namespace: str) -> None:
    """Session.query(Session.updated <= t) gives the sessions that were last written before t."""
    app = make_app(datastore={"namespace": namespace})
    first = Visitor(app, backend="datastore").write({"a": 1})
    between = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    Visitor(app, backend="datastore").write({"a": 2})
    with entities.context(namespace):
        found = Session.query(Session.updated <= between).fetch()
    assert [(entity.key.id(), entity.data) for entity in found] == [(first, {"a": 1})]


def test_purge_by_query(emulator: Emulator, namespace: str) -> None:
    """What a query found can be deleted; its visitor then has a new session."""
    visitor = Visitor(make_app(datastore={"namespace": namespace}), backend="datastore")
    visitor.write({"a": 1})
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    with entities.context(namespace):
        ndb.delete_multi(Session.query(Session.updated <= now).fetch(keys_only=True))
    assert visitor.read() == {}


class UserSession(Session):
    """A session that can be found by its user."""

    user = ndb.StringProperty()

    def _pre_put_hook(self) -> None:
        self.user = self.data.get("user")


class UserSessionFactory(DatastoreSessionFactory):
    """Keeps sessions as UserSession entities."""

    session_model = UserSession


def test_model_with_a_further_property(emulator: Emulator, namespace: str) -> None:
    """A subclass of Session with its own property is used through session_model."""
    visitor = Visitor(make_app(datastore={"namespace": namespace}), factory=UserSessionFactory)
    sid = visitor.write({"user": "alice"})
    Visitor(visitor.app, factory=UserSessionFactory).write({"user": "bob"})
    with entities.context(namespace):
        found = UserSession.query(UserSession.user == "alice").fetch()
    assert [entity.key.id() for entity in found] == [sid]
    assert visitor.read() == {"user": "alice"}


def test_model_of_another_kind_is_apart(visitor: Visitor) -> None:
    """The entities of a subclass have its kind, and Session does not see them."""
    visitor.options = {"factory": UserSessionFactory}
    sid = visitor.write({"user": "alice"})
    assert entities.raw_entity(sid, kind="UserSession") is not None
    assert (UserSession.get_by_sid(sid), Session.get_by_sid(sid)) == ({"user": "alice"}, None)


@pytest.mark.usefixtures("emulator")
def test_model_with_overridden_methods() -> None:
    """A model that reads and writes by itself, as for the old library, finds an ndb context."""
    with entities.kinds_restored():

        class OwnSession(ndb.Model):
            data = ndb.JsonProperty()

            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                entity = cls.get_by_id(sid)
                return entity and entity.data

            def _put(self) -> None:
                self.put()

        class OwnFactory(DatastoreSessionFactory):
            session_model = OwnSession

        visitor = Visitor(make_app(), factory=OwnFactory)
        visitor.write({"a": 1})
        assert visitor.read() == {"a": 1}


def test_clashing_kind_is_named(visitor: Visitor) -> None:
    """An application's own model of kind Session is an error that names it."""
    visitor.write({"a": 1})
    with entities.kinds_restored():

        class Session(ndb.Model):
            title = ndb.StringProperty()

        with pytest.raises(ConfigError, match=f"session_model: {__name__}.*Session.*rename"):
            visitor.read()


# Entities of other libraries and times


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_entity_of_a_pickle_property(compressed: bool) -> None:
    """An entity that google-cloud-ndb's own PickleProperty wrote is a session."""
    sid = new_sid()
    with entities.kinds_restored(), entities.context():

        class OldSession(ndb.Model):
            updated = ndb.DateTimeProperty()
            data = ndb.PickleProperty(compressed=compressed)

            @classmethod
            def _get_kind(cls) -> str:
                return "Session"

        OldSession(id=sid, data={"a": (1, b"\xff", "é")}).put()
    assert visitor_with(sid).read() == {"a": (1, b"\xff", "é")}


def test_pickle_property_reads_our_entity(visitor: Visitor) -> None:
    """What we write is read by google-cloud-ndb's own PickleProperty."""
    sid = visitor.write({"a": (1, b"\xff", "é")})
    with entities.kinds_restored(), entities.context():

        class OldSession(ndb.Model):
            data = ndb.PickleProperty()

            @classmethod
            def _get_kind(cls) -> str:
                return "Session"

        assert ndb.Key("Session", sid).get().data == {"a": (1, b"\xff", "é")}


@pytest.mark.usefixtures("datastore")
@pytest.mark.parametrize("name", EXPECTED)
def test_entity_of_python2(name: str) -> None:
    """A session that Python 2.7 wrote is read, in each of its protocols."""
    for protocol in PROTOCOLS:
        sid = new_sid()
        entities.put_raw(sid, pickled(name, protocol))
        assert describe(visitor_with(sid).read()) == describe(EXPECTED[name])


@pytest.mark.usefixtures("emulator")
def test_entity_of_python2_is_replaced() -> None:
    """A visitor of the old application goes on with the same session."""
    sid = new_sid()
    entities.put_raw(sid, pickled("auth", 2))
    visitor = visitor_with(sid)
    assert visitor.write({"more": 1}) == sid
    assert visitor.read() == {**EXPECTED["auth"], "more": 1}


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(
    "data", [None, pickle.dumps(42), pickle.dumps(["a"]), pickle.dumps(None)], ids=repr
)
def test_entity_without_a_dict_is_no_session(data: bytes | None) -> None:
    """An entity whose data is no dict counts as none, and is left alone."""
    sid = new_sid()
    entities.put_raw(sid, data)
    before = entities.raw_entity(sid)
    visitor = visitor_with(sid)
    assert visitor.read() == {}
    assert visitor.write({"a": 1}) != sid
    assert entities.raw_entity(sid) == before


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"ccollections\nVanished\n.", zlib.compress(pickle.dumps({"a": 1}))],
    ids=["empty", "garbage", "missing class", "compressed without saying so"],
)
def test_entity_that_cannot_be_read_is_an_error(data: bytes) -> None:
    """A stored session that cannot be decoded is not replaced by an empty one."""
    sid = new_sid()
    entities.put_raw(sid, data)
    with pytest.raises(UnreadableSession, match=r"datastore backend at .* cannot be decoded") as e:
        visitor_with(sid).read()
    assert ("collections.Vanished" in str(e.value)) == (b"Vanished" in data)


# Age


@pytest.mark.parametrize(
    ("max_age", "found"), [(None, {"a": 1}), (7200, {"a": 1}), (3600, {}), (60, {})]
)
@pytest.mark.parametrize("cache", [None, "memcache"])
@pytest.mark.usefixtures("emulator")
def test_old_entity_is_not_read(
    memcached: Memcached, max_age: int | None, found: dict[str, Any], cache: str | None
) -> None:
    """An entity that nobody has deleted yet counts as none if it is older than a session may be."""
    sid = new_sid()
    hours_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1.1)
    entities.put_raw(sid, dump_pickle({"a": 1}), hours_ago.replace(tzinfo=None))
    visitor = visitor_with(
        sid,
        session_max_age=max_age,
        datastore={"cache": cache},
        memcache={"servers": [memcached.address]},
    )
    assert [visitor.read(), visitor.read()] == [found, found]


@pytest.mark.parametrize(("configured", "own", "found"), [(3600, 7200, {}), (7200, 60, {"a": 1})])
@pytest.mark.usefixtures("emulator")
def test_max_age_in_the_cookie_is_not_the_entitys(
    configured: int, own: int, found: dict[str, Any]
) -> None:
    """One that the entity does not have was taken back, or the old library knew nothing of it."""
    sid = new_sid()
    hours_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1.1)
    entities.put_raw(sid, dump_pickle({"a": 1}), hours_ago.replace(tzinfo=None))
    visitor = visitor_with(sid, session_max_age=configured)
    cookie = sign_with("session", {"_sid": sid}, {"max_age": own}, int(time.time()))
    visitor.cookies["session"] = cookie
    assert visitor.read() == found


def test_renewal_makes_the_entity_as_good_as_new(visitor: Visitor) -> None:
    """Its time is that of the renewal, and its data stays as it was."""
    sid = new_sid()
    data = dump_pickle({"a": 1})
    entities.put_raw(sid, data, datetime.datetime(2020, 1, 1))
    renewing = visitor_with(sid, refresh_after=0.001)
    assert [renewing.read(), renewing.read()] == [{"a": 1}] * 2
    entity = entities.raw_entity(sid)
    assert entity is not None
    assert entity.properties["data"].blob_value == data
    assert entity.properties["updated"].timestamp_value.year > 2020


@pytest.mark.usefixtures("emulator")
def test_renewal_keeps_further_properties() -> None:
    """A model's own are written as they were."""
    with entities.kinds_restored():

        class Owned(Session):
            owner = ndb.StringProperty()

        class Factory(DatastoreSessionFactory):
            session_model = Owned

        sid = new_sid()
        with entities.context():
            Owned(id=sid, data={"a": 1}, owner="me").put()
        app = make_app(backends={"datastore": Factory}, refresh_after=0.001)
        assert visitor_with(sid, app).read() == {"a": 1}
        entity = entities.raw_entity(sid, kind="Owned")
    assert entity is not None
    assert entity.properties["owner"].string_value == "me"


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.usefixtures("emulator")
def test_entity_that_was_deleted_is_written_anew(on_conflict: str) -> None:
    """What the application deletes itself, past the session, is there again, as with upstream."""
    visitor = Visitor(make_app(on_conflict=on_conflict), backend="datastore")
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session["b"] = 2
        entities.delete(str(sid))
    assert visitor.read() == {"a": 1, "b": 2}


def test_destroyed_session_leaves_a_mark(visitor: Visitor) -> None:
    """The entity is gone, and another kind has one of its id."""
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session.destroy()
    assert entities.raw_entity(str(sid)) is None
    assert entities.raw_entity(str(sid), kind="SessionEnded") is not None


# Contexts of the application


def test_works_without_a_context(visitor: Visitor) -> None:
    """Plain WSGI code that knows nothing of ndb has sessions, and is left without a context."""
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert ndb.get_context(raise_context_error=False) is None


def test_works_in_a_context(visitor: Visitor) -> None:
    """An application that wraps each request into a context has the same sessions."""
    with entities.context():
        sid = visitor.write({"a": 1})
    with entities.context():
        assert visitor.read() == {"a": 1}
    assert (visitor.read(), Session.get_by_sid(sid)) == ({"a": 1}, {"a": 1})


def test_namespace_of_the_context(visitor: Visitor) -> None:
    """In a context of the application the session goes to the context's namespace."""
    with entities.context("shop"):
        sid = visitor.write({"a": 1})
        assert visitor.read() == {"a": 1}
    assert entities.raw_entity(sid) is None
    assert entities.raw_entity(sid, namespace="shop") is not None


def test_configured_namespace_and_database(emulator: Emulator, namespace: str) -> None:
    """Without a context the configured namespace holds."""
    visitor = Visitor(make_app(datastore={"namespace": namespace}), backend="datastore")
    sid = visitor.write({"a": 1})
    assert entities.raw_entity(sid) is None
    assert entities.raw_entity(sid, namespace=namespace) is not None
    assert visitor.read() == {"a": 1}


def test_configured_database(emulator: Emulator) -> None:
    """Sessions of one database are not those of another."""
    visitor = Visitor(make_app(datastore={"database": "other"}), backend="datastore")
    sid = visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert entities.raw_entity(sid) is None


def test_change_in_place_is_not_seen_by_others(visitor: Visitor) -> None:
    """In one long context, what a request does to its session's values stays its own."""
    visitor.write({"list": [1]})
    with entities.context():
        visitor.read()["list"].append(2)
        assert visitor.read() == {"list": [1]}


class RollBackError(Exception):
    """Makes a transaction fail."""


class Order(ndb.Model):
    """An entity of the application."""

    total = ndb.IntegerProperty()


def test_session_survives_a_rollback(visitor: Visitor) -> None:
    """A session that was saved in a transaction that fails is saved all the same."""
    order = new_sid()

    def checkout() -> None:
        Order(id=order, total=5).put()
        visitor.write({"tried": True})
        raise RollBackError

    with entities.context():
        with pytest.raises(RollBackError):
            ndb.transaction(checkout)
        assert ndb.Key(Order, order).get() is None
    assert visitor.read() == {"tried": True}


def test_session_is_read_in_a_transaction(visitor: Visitor) -> None:
    """In a transaction the session is found, and the transaction can be committed."""
    visitor.write({"a": 1})
    order = new_sid()

    def checkout() -> dict[Any, Any]:
        Order(id=order, total=5).put()
        return visitor.read()

    with entities.context():
        assert ndb.transaction(checkout) == {"a": 1}
        assert ndb.Key(Order, order).get().total == 5


def test_session_in_a_transaction_keeps_the_namespace(visitor: Visitor) -> None:
    """A session that is saved beside a transaction goes to the context's namespace too."""
    with entities.context("shop"):
        sid = ndb.transaction(lambda: visitor.write({"a": 1}))
    assert entities.raw_entity(sid, namespace="shop") is not None


# Size


def test_large_session_is_stored(visitor: Visitor) -> None:
    """A session may be much larger than a cookie."""
    visitor.write({"text": "x" * 1_000_000})
    assert visitor.read() == {"text": "x" * 1_000_000}


def test_oversize_session_is_an_error(visitor: Visitor) -> None:
    """A session above Datastore's limit of 1 MB raises, and the browser gets no cookie."""
    with pytest.raises(SessionTooLarge, match=r"datastore backend at .*'text' \(") as caught:
        visitor.write({"text": "x" * 1_100_000})
    assert caught.value.size > caught.value.limit
    assert visitor.set_cookies == []


def test_session_of_the_largest_size(visitor: Visitor) -> None:
    """What is below the limit that the error tells is stored, and nothing above it is sent."""
    overhead = len(dump_pickle({"text": "x" * 1_000_000})) - 1_000_000
    limit = model._LARGEST
    visitor.write({"text": "x" * (limit - overhead)})
    assert len(visitor.read()["text"]) == limit - overhead
    with pytest.raises(SessionTooLarge):
        visitor.write({"text": "x" * (limit - overhead + 1)})


def test_oversize_session_leaves_the_stored_one(visitor: Visitor) -> None:
    """What was stored before is still there."""
    visitor.write({"a": 1})
    with pytest.raises(BackendError):
        visitor.write({"text": "x" * 1_100_000})
    assert visitor.read() == {"a": 1}


def test_value_that_cannot_be_pickled_sets_no_cookie(visitor: Visitor) -> None:
    """What pickle refuses is the caller's error, and the browser gets no cookie."""
    with pytest.raises((pickle.PicklingError, AttributeError)), visitor.visit() as session:
        session["function"] = lambda: None
    assert visitor.set_cookies == []


# The cache


@pytest.fixture
def without_datastore(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Points the environment to a port where no Datastore is."""

    def go_away() -> None:
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")

    return go_away


@pytest.mark.parametrize("values", [{"a": 1}, {}], ids=["full", "empty"])
def test_cache_hit_asks_no_datastore(
    cached: Visitor, without_datastore: Callable[[], None], values: dict[str, int]
) -> None:
    """A session that is in memcached is read although there is no Datastore."""
    with cached.visit() as session:
        session.update(values)
    without_datastore()
    with cached.visit() as session:
        assert (dict(session), session.new) == (values, False)


@pytest.mark.parametrize("values", [{"a": 1}, {}], ids=["full", "empty"])
def test_read_fills_the_cache(
    cached: Visitor,
    memcached: Memcached,
    without_datastore: Callable[[], None],
    values: dict[str, int],
) -> None:
    """After one read from Datastore the next one needs memcached only."""
    with cached.visit() as session:
        session.update(values)
    memcached.flush()
    cached.read()
    without_datastore()
    assert cached.read() == values


def test_miss_asks_datastore(
    cached: Visitor, memcached: Memcached, without_datastore: Callable[[], None]
) -> None:
    """Without an entry and without Datastore there is an error, not an empty session."""
    cached.write({"a": 1})
    memcached.flush()
    without_datastore()
    with pytest.raises(BackendUnavailable):
        cached.read()


def test_write_replaces_the_entry(cached: Visitor) -> None:
    """A reader sees each write at once."""
    for turn in range(5):
        cached.write({"turn": turn})
        assert cached.read() == {"turn": turn}


def test_entity_is_written_with_the_cache(cached: Visitor) -> None:
    """The cache does not take the place of Datastore."""
    sid = cached.write({"a": 1})
    entity = entities.raw_entity(sid)
    assert entity is not None
    assert pickle.loads(entity.properties["data"].blob_value) == {"a": 1}


def test_failed_put_leaves_the_old_session(cached: Visitor) -> None:
    """After a put that Datastore refused, readers see what is stored, not what was tried."""
    cached.write({"a": 1})
    with pytest.raises(BackendError):
        cached.write({"text": "x" * 1_100_000})
    assert cached.read() == {"a": 1}


def test_failed_first_put_leaves_nothing(cached: Visitor) -> None:
    """A session that was never stored is not found in the cache either."""
    with pytest.raises(BackendError), cached.visit() as session:
        session["text"] = "x" * 1_100_000
    assert visitor_with(session.container.sid, cached.app).read() == {}


def test_session_that_memcached_cannot_hold(cached: Visitor) -> None:
    """An entry too large for memcached is no error, and readers get the entity."""
    cached.write({"a": 1})
    cached.write({"text": "x" * 1_048_000})
    assert cached.read() == {"a": 1, "text": "x" * 1_048_000}


def cache_key(sid: str, namespace: str = "") -> bytes:
    """Where the entry of a session is."""
    return f"session:{PROJECT}//{namespace}/Session/{sid}".encode("ascii")


def test_entry_is_under_the_prefix(cached: Visitor, entries: Entries) -> None:
    """The entry's key begins with the prefix and names the entity."""
    sid = cached.write({"a": 1})
    assert entries.get(cache_key(sid)) is not None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 3600),
        ({"session_max_age": 1800}, 1800),
        ({"session_max_age": 90 * 86400}, 3600),
        ({"cookie_args": {"max_age": 600}}, 600),
    ],
    ids=str,
)
def test_entry_expires(
    datastore: Emulator,
    memcached: Memcached,
    entries: Entries,
    config: dict[str, Any],
    expected: int,
) -> None:
    """An entry lives as long as the session, and an hour at most."""
    sid = Visitor(caching_app(memcached, **config), backend="datastore").write({"a": 1})
    left = entries.seconds_left(cache_key(sid))
    assert left is not None
    assert abs(left - expected) <= 10


@pytest.mark.parametrize(
    "entry",
    [b"garbage", b"", pickle.dumps({"admin": True}), b"\x01" + bytes(32) + pickle.dumps({"x": 1})],
    ids=["garbage", "unsettled", "pickle", "false signature"],
)
def test_forged_entry_is_ignored(cached: Visitor, entries: Entries, entry: bytes) -> None:
    """An entry that we did not write is not believed; the entity is."""
    sid = cached.write({"a": 1})
    entries.put(cache_key(sid), entry)
    assert cached.read() == {"a": 1}


class Bomb:
    """Its pickle makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_forged_entry_is_not_unpickled(cached: Visitor, entries: Entries, tmp_path: Path) -> None:
    """A pickle that somebody put into memcached is never executed."""
    sid = cached.write({"a": 1})
    entries.put(cache_key(sid), pickle.dumps(Bomb(tmp_path / "crater")))
    cached.read()
    assert list(tmp_path.iterdir()) == []


def test_entry_of_another_session_is_ignored(cached: Visitor, entries: Entries) -> None:
    """An entry that was copied from another session is not believed."""
    mine = cached.write({"name": "mine"})
    theirs = Visitor(cached.app, backend="datastore").write({"name": "theirs"})
    entries.put(cache_key(mine), entries.get(cache_key(theirs)) or b"")
    assert cached.read() == {"name": "mine"}


def test_namespaces_do_not_share_entries(cached: Visitor) -> None:
    """The same id in two namespaces is two sessions in the cache too."""
    sid = cached.write({"in": "default"})
    with entities.context("shop"):
        Session(id=sid, data={"in": "shop"}).put()
        assert cached.read() == {"in": "shop"}
    assert cached.read() == {"in": "default"}


def test_get_by_sid_uses_the_cache(
    cached: Visitor,
    without_datastore: Callable[[], None],
    activate: Callable[[webapp2.WSGIApplication], None],
) -> None:
    """The model reads through the cache of the active application."""
    sid = cached.write({"a": 1})
    activate(cached.app)
    without_datastore()
    assert Session.get_by_sid(sid) == {"a": 1}


def test_put_updates_the_cache(
    cached: Visitor, activate: Callable[[webapp2.WSGIApplication], None]
) -> None:
    """The model writes through the cache of the active application."""
    sid = cached.write({"a": 1})
    activate(cached.app)
    with entities.context():
        Session(id=sid, data={"a": 2})._put()
    assert cached.read() == {"a": 2}


@pytest.mark.parametrize("writer", ["memcache", "datastore"])
def test_backends_do_not_read_each_other(cached: Visitor, writer: str) -> None:
    """A session of one backend is no session of the other, although they share id and server."""
    reader = {"memcache": "datastore", "datastore": "memcache"}[writer]
    cached.write({"a": 1}, backend=writer)
    assert cached.read(backend=reader) == {}


def test_same_id_in_both_backends(cached: Visitor) -> None:
    """Two backends may hold different sessions under one id."""
    sid = cached.write({"in": "datastore"})

    other = visitor_with(sid, cached.app)
    with other.visit(backend="memcache") as session:
        session.container.sid = sid
        session["in"] = "memcache"
    assert (cached.read(), other.read(backend="memcache")) == (
        {"in": "datastore"},
        {"in": "memcache"},
    )


#: Races of each kind.
ROUNDS = 40


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(("writers", "readers"), [(1, 3), (4, 0), (2, 2)])
def test_cache_agrees_after_a_race(cached: Visitor, writers: int, readers: int, warm: bool) -> None:
    """However writers and readers meet, what is read through the cache is what is stored."""
    uncached = make_app()
    at_start = threading.Barrier(writers + readers)

    def write(sid: str, number: int) -> None:
        with Visitor(cached.app, backend="datastore").visit() as session:
            session.container.sid = sid  # so that it is not read before
            session["writer"] = number
            at_start.wait(PATIENCE)

    def read(sid: str, number: int) -> None:
        at_start.wait(PATIENCE)
        visitor_with(sid, cached.app).read()

    wrong = []
    with ThreadPoolExecutor(writers + readers) as pool:
        for _ in range(ROUNDS):
            first = Visitor(cached.app if warm else uncached, backend="datastore")
            sid = first.write({"writer": None})
            actors = [pool.submit(write, sid, number) for number in range(writers)]
            actors += [pool.submit(read, sid, number) for number in range(readers)]
            for actor in actors:
                actor.result(PATIENCE)
            stored, seen = visitor_with(sid, uncached).read(), visitor_with(sid, cached.app).read()
            if stored != seen:
                wrong.append((stored, seen))
    assert wrong == []
