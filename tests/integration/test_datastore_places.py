"""A session in Datastore stays where it was opened, whatever the application enters or leaves."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import entities
from support.appengine_namespaces import in_namespace
from support.servers import PROJECT, DatastoreEmulator, Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import SessionStore
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session

Enter = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(params=[None, "memcache"], ids=["uncached", "cached"])
def app_of(
    request: pytest.FixtureRequest, datastore: DatastoreEmulator, memcached: Memcached
) -> Callable[..., webapp2.WSGIApplication]:
    """Make an application, with the cache or without."""

    def make(**config: Any) -> webapp2.WSGIApplication:
        settings = {"cache": request.param, **config.pop("datastore", {})}
        return make_app(memcache={"servers": [memcached.address]}, datastore=settings, **config)

    return make


@contextmanager
def in_transaction(namespace: str) -> Iterator[None]:
    """A context in a transaction, of which Datastore need not know."""
    with entities.context(namespace) as context, context.new(transaction=b"", retry=None).use():
        yield


@contextmanager
def in_database(database: str) -> Iterator[None]:
    """A context of another database."""
    with ndb.Client(project=PROJECT, database=database).context():
        yield


@contextmanager
def of_app_engine(namespace: str) -> Iterator[None]:
    """An ndb context without a namespace, and one of App Engine's SDK."""
    with in_namespace(namespace), ndb.Client(project=PROJECT).context():
        yield


HOME, AWAY = "home-" + uuid.uuid4().hex, "away-" + uuid.uuid4().hex

#: Where a session is opened, and where it is saved.
MOVES: dict[str, tuple[Enter, Enter]] = {
    "entered": (contextlib.nullcontext, lambda: entities.context(AWAY)),
    "left": (lambda: entities.context(HOME), contextlib.nullcontext),
    "changed": (lambda: entities.context(HOME), lambda: entities.context(AWAY)),
    "to the default": (lambda: entities.context(HOME), lambda: entities.context("")),
    "another database": (lambda: entities.context(HOME), lambda: in_database("other")),
    "from a database": (lambda: in_database("other"), contextlib.nullcontext),
    "into a transaction": (contextlib.nullcontext, lambda: in_transaction(AWAY)),
    "out of a transaction": (lambda: in_transaction(HOME), lambda: entities.context(AWAY)),
    "App Engine's": (lambda: in_namespace(HOME), lambda: in_namespace(AWAY)),
    "App Engine's is set": (contextlib.nullcontext, lambda: in_namespace(AWAY)),
    "App Engine's is unset": (lambda: in_namespace(HOME), contextlib.nullcontext),
    "App Engine's in a context": (lambda: of_app_engine(HOME), lambda: of_app_engine(AWAY)),
}


@pytest.fixture(params=MOVES.values(), ids=MOVES)
def move(request: pytest.FixtureRequest) -> tuple[Enter, Enter]:
    """Each way to open a session in one place and to save it in another."""
    pair: tuple[Enter, Enter] = request.param
    return pair


@pytest.fixture(params=["overwrite", "merge"])
def visitor(
    request: pytest.FixtureRequest, app_of: Callable[..., webapp2.WSGIApplication]
) -> Visitor:
    """A visitor, with and without merging."""
    return Visitor(app_of(on_conflict=request.param), backend="datastore")


class Moving:
    """A request whose session is opened in one place, and changed and saved in another."""

    def __init__(self, visitor: Visitor, move: tuple[Enter, Enter]) -> None:
        self._visitor = visitor
        opened_in, self._saved_in = move
        self._store = SessionStore(visitor.request())
        with opened_in():
            self.session = self._store.get_session(**visitor.options)

    def end(self, act: Callable[[Any], object]) -> None:
        """Let the handler act on the session, and save it."""
        self._visitor.response = response = webapp2.Response()
        with self._saved_in():
            act(self.session)
            self._store.save_sessions(response)
        self._visitor.take(response)


def found(visitor: Visitor, place: Enter) -> dict[Any, Any]:
    """What a request sees that is in a place from its beginning to its end."""
    with place():
        return visitor.read()


def test_new_session_is_where_it_was_opened(visitor: Visitor, move: tuple[Enter, Enter]) -> None:
    """So that the next request, which opens it there, finds it."""
    Moving(visitor, move).end(lambda session: session.update(a=1))
    assert [found(visitor, place) for place in move] == [{"a": 1}, {}]


def test_changes_go_where_it_was_opened(visitor: Visitor, move: tuple[Enter, Enter]) -> None:
    """And nothing goes elsewhere."""
    with move[0]():
        visitor.write({"a": 1})
    Moving(visitor, move).end(lambda session: session.update(b=2))
    assert [found(visitor, place) for place in move] == [{"a": 1, "b": 2}, {}]


def test_it_ends_where_it_was_opened(visitor: Visitor, move: tuple[Enter, Enter]) -> None:
    """A sign-out leaves nothing behind, and a late request does not bring it back."""
    with move[0]():
        sid = visitor.write({"a": 1})
    late = Visitor(visitor.app, **visitor.options)
    late.cookies = dict(visitor.cookies)
    late_request = Moving(late, move)
    Moving(visitor, move).end(lambda session: session.destroy())
    late_request.end(lambda session: session.update(late=1))
    assert found(late, move[0]) == {}
    with move[0]():
        assert ndb_get("Session", sid) is None
        assert ndb_get("SessionEnded", sid) is not None


def ndb_get(kind: str, name: Any) -> Any:
    """An entity of the place in which this is called."""
    store = SessionStore(Visitor(make_app(), backend="datastore").request())
    factory: Any = store.get_session(backend="datastore").container
    return factory._repository().run(lambda: ndb.Key(kind, name).get(timeout=10, retries=0))


def test_it_is_renewed_where_it_was_opened(visitor: Visitor, move: tuple[Enter, Enter]) -> None:
    """A new id is one of the same place, and the former session goes from there."""
    with move[0]():
        sid = visitor.write({"a": 1})
    request = Moving(visitor, move)
    request.end(lambda session: session.regenerate_id())
    assert request.session.container.sid != sid
    assert [found(visitor, place) for place in move] == [{"a": 1}, {}]
    with move[0]():
        assert ndb_get("Session", sid) is None


def test_it_is_kept_where_it_was_opened(
    app_of: Callable[..., webapp2.WSGIApplication], move: tuple[Enter, Enter]
) -> None:
    """A session that is only read has its time there renewed."""
    visitor = Visitor(app_of(refresh_after=1e-9), backend="datastore")
    with move[0]():
        sid = visitor.write({"a": 1})
        before = ndb_get("Session", sid).updated
    Moving(visitor, move).end(lambda session: None)
    with move[0]():
        assert ndb_get("Session", sid).updated > before


def test_it_is_merged_where_it_was_opened(
    app_of: Callable[..., webapp2.WSGIApplication], move: tuple[Enter, Enter]
) -> None:
    """What another request has written meanwhile is read there, too."""
    visitor = Visitor(app_of(on_conflict="merge"), backend="datastore")
    with move[0]():
        visitor.write({"a": 1})
    mine, theirs = Moving(visitor, move), Moving(visitor, move)
    theirs.end(lambda session: session.update(theirs=1))
    mine.end(lambda session: session.update(mine=1))
    assert found(visitor, move[0]) == {"a": 1, "mine": 1, "theirs": 1}


def test_it_is_saved_twice_where_it_was_opened(visitor: Visitor, move: tuple[Enter, Enter]) -> None:
    """Each save of a request goes there."""
    opened_in, saved_in = move
    store = SessionStore(visitor.request())
    with opened_in():
        session = store.get_session(**visitor.options)
    for place in (saved_in, opened_in, saved_in):
        with place():
            session["count"] = session.get("count", 0) + 1
            response = webapp2.Response()
            store.save_sessions(response)
    visitor.take(response)
    assert [found(visitor, place) for place in move] == [{"count": 3}, {}]


def test_session_that_is_opened_again_is_where_that_happens(visitor: Visitor) -> None:
    """Whoever sets the factory's session to None begins in the place where he is."""
    with entities.context(HOME):
        visitor.write({"of": HOME})
    store = SessionStore(visitor.request())
    with entities.context(AWAY):
        factory: Any = store.get_session(**visitor.options).container
        assert factory.session == {}
    factory.session = None
    with entities.context(HOME):
        assert factory.get_session() == {"of": HOME}
        factory.session["b"] = 2
    store.save_sessions(webapp2.Response())
    assert found(visitor, lambda: entities.context(HOME)) == {"of": HOME, "b": 2}


def test_tenant_that_is_chosen_by_the_session(visitor: Visitor) -> None:
    """The context that a handler enters by what it read is for its own entities."""
    visitor.write({"tenant": AWAY})
    store = SessionStore(visitor.request())
    session = store.get_session(**visitor.options)
    with entities.context(session["tenant"]):
        order = Order().put()
        session["seen"] = True
        store.save_sessions(webapp2.Response())
    assert order.namespace() == AWAY
    assert visitor.read() == {"tenant": AWAY, "seen": True}


class Order(ndb.Model):
    """An entity of the application."""


def test_application_goes_on_where_it_was(visitor: Visitor) -> None:
    """After the save, and in it, the application's own context is the active one."""
    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    store.get_session(**visitor.options)["b"] = 2
    with entities.context(AWAY) as context:
        store.save_sessions(webapp2.Response())
        assert ndb.get_context() is context


# A model with methods of its own


@contextmanager
def own_factory() -> Iterator[tuple[type[Any], list[Any]]]:
    """A factory whose model reads and writes by itself, and the contexts in which it did."""
    contexts: list[Any] = []
    with entities.kinds_restored():

        class OwnSession(ndb.Model):
            data = ndb.JsonProperty()

            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                contexts.append(ndb.get_context())
                entity = cls.get_by_id(sid)
                return entity and entity.data

            def _put(self) -> None:
                contexts.append(ndb.get_context())
                self.put()

        class OwnFactory(DatastoreSessionFactory):
            session_model = OwnSession

        yield OwnFactory, contexts


def test_own_model_works_in_the_context_of_the_application(visitor: Visitor) -> None:
    """Where that is the place of the session, there is no other between the two."""
    visitor.app.config["webapp2_extras.sessions"]["on_conflict"] = "overwrite"
    with own_factory() as (factory, contexts), entities.context(HOME) as context:
        visitor.options = {"factory": factory}
        visitor.write({"a": 1})
        assert (visitor.read(), set(map(id, contexts))) == ({"a": 1}, {id(context)})


def test_own_model_works_where_the_session_was_opened(
    visitor: Visitor, move: tuple[Enter, Enter]
) -> None:
    """It needs to know nothing of it."""
    with own_factory() as (factory, _):
        visitor.options = {"factory": factory}
        with move[0]():
            visitor.write({"a": 1})
        Moving(visitor, move).end(lambda session: session.update(b=2))
        assert [found(visitor, place) for place in move] == [{"a": 1, "b": 2}, {}]


# Clients of the application's own


class Tenant(ndb.Client):  # type: ignore[misc] # ndb has no types
    """A client whose contexts have a namespace that changes; its method takes no arguments."""

    namespace_of_contexts = HOME

    def context(self) -> Any:
        """A context of the present namespace."""
        return super().context(namespace=self.namespace_of_contexts)


@pytest.mark.parametrize("made", [False, True], ids=["client", "maker"])
@pytest.mark.parametrize("is_new", [False, True], ids=["stored", "new"])
def test_client_that_changes_its_namespace_amid_a_request(
    app_of: Callable[..., webapp2.WSGIApplication], made: bool, is_new: bool
) -> None:
    """The session is where the client's contexts were when it was opened."""
    client = Tenant(project=PROJECT)
    visitor = Visitor(
        app_of(datastore={"client": (lambda: client) if made else client}), backend="datastore"
    )
    Visitor(visitor.app, backend="datastore").write({"other": 1})  # the maker has been called
    if not is_new:
        visitor.write({"a": 1})
    with visitor.visit() as session:
        session["a"] = session["b"] = 1
        client.namespace_of_contexts = AWAY
    assert visitor.read() == {}
    client.namespace_of_contexts = HOME
    assert visitor.read() == {"a": 1, "b": 1}


# Tenants


def tenants() -> dict[str, Callable[[str], AbstractContextManager[Any]]]:
    """The ways in which an application tells its tenants apart."""
    return {
        "ndb": entities.context,
        "App Engine": in_namespace,
        "App Engine in a context": of_app_engine,
    }


@pytest.fixture(params=tenants().values(), ids=tenants())
def tenant(request: pytest.FixtureRequest) -> Callable[[str], AbstractContextManager[Any]]:
    """Each of them."""
    way: Callable[[str], AbstractContextManager[Any]] = request.param
    return way


def test_tenants_have_sessions_of_their_own(
    visitor: Visitor, tenant: Callable[[str], AbstractContextManager[Any]]
) -> None:
    """A cookie of one tenant opens nothing of another, and cannot change or end it."""
    with tenant(HOME):
        sid = visitor.write({"user": "alice"})
    stranger = Visitor(visitor.app, **visitor.options)
    stranger.cookies = dict(visitor.cookies)
    with tenant(AWAY), stranger.visit() as session:
        assert (dict(session), session.new) == ({}, True)
        assert session.container.sid != sid
        session["user"] = "mallory"
    with tenant(AWAY):
        stranger.cookies = dict(visitor.cookies)
        with stranger.visit() as session:
            session.destroy()
        assert visitor.read() == {}
    with tenant(HOME):
        assert visitor.read() == {"user": "alice"}


def test_entity_is_in_the_namespace_of_app_engine(visitor: Visitor) -> None:
    """Where its SDK's own ndb would look for it."""
    with in_namespace(HOME):
        sid = visitor.write({"a": 1})
    assert entities.raw_entity(str(sid), namespace=HOME) is not None
    assert entities.raw_entity(str(sid)) is None


def test_context_goes_before_app_engine(visitor: Visitor) -> None:
    """A namespace that an ndb context was given counts, the default one as well."""
    for namespace in (HOME, ""):
        with in_namespace(AWAY), entities.context(namespace):
            visitor.write({"of": namespace})
        with entities.context(namespace):
            assert visitor.read() == {"of": namespace}


@pytest.mark.parametrize("fixed", ["fixed", ""], ids=repr)
def test_configured_namespace_holds_for_all_tenants(
    app_of: Callable[..., webapp2.WSGIApplication],
    tenant: Callable[[str], AbstractContextManager[Any]],
    fixed: str,
) -> None:
    """A site whose tenants share their visitors' sessions says so."""
    visitor = Visitor(app_of(datastore={"namespace": fixed}), backend="datastore")
    with tenant(HOME):
        sid = visitor.write({"a": 1})
    with tenant(AWAY):
        assert visitor.write({"b": 2}) == sid
    assert visitor.read() == {"a": 1, "b": 2}
    assert entities.raw_entity(str(sid), namespace=fixed) is not None
    for namespace in (HOME, AWAY):
        assert entities.raw_entity(str(sid), namespace=namespace) is None


def test_model_alone_uses_the_current_context(
    app_of: Callable[..., webapp2.WSGIApplication],
) -> None:
    """An application that asks the model itself says where by its context, as with any model."""
    app = app_of(datastore={"namespace": "fixed"})
    sid = uuid.uuid4().hex[:22]
    app.set_globals(app=app, request=webapp2.Request.blank("/"))
    try:
        with entities.context(HOME):
            Session(id=sid, data={"a": 1})._put()
            assert Session.get_by_sid(sid) == {"a": 1}
        assert Session.get_by_sid(sid) is None
    finally:
        app.clear_globals()
    assert entities.raw_entity(sid, namespace=HOME) is not None
