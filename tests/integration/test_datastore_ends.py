"""What was ended in Datastore does not return, whoever writes or reads it meanwhile."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import entities
from support.entries import Entries, entries_of
from support.servers import PROJECT, DatastoreEmulator, Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import BackendUnavailable, SessionStore
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session
from webapp2_sessions.stored.cache import CoherentCache


@pytest.fixture(params=[None, "memcache"], ids=["uncached", "cached"])
def cache(request: pytest.FixtureRequest) -> str | None:
    """What stands in front of Datastore."""
    name: str | None = request.param
    return name


@pytest.fixture(params=["overwrite", "merge"])
def visitor(
    request: pytest.FixtureRequest,
    datastore: DatastoreEmulator,
    memcached: Memcached,
    cache: str | None,
) -> Visitor:
    """A visitor, with and without cache and merging."""
    return visitor_of(memcached, cache, on_conflict=request.param)


def visitor_of(memcached: Memcached, cache: str | None = "memcache", **config: Any) -> Visitor:
    """A visitor of an application that has the cache."""
    app = make_app(datastore={"cache": cache}, memcache={"servers": [memcached.address]}, **config)
    return Visitor(app, backend="datastore")


class Opened:
    """A request that has opened its session, and ends when the test says so."""

    def __init__(self, visitor: Visitor) -> None:
        self._store = SessionStore(visitor.request())
        self.session: Any = self._store.get_session(**visitor.options)

    def save(self) -> list[str]:
        """Save the session; gives the Set-Cookie headers."""
        response = webapp2.Response()
        self._store.save_sessions(response)
        return list(response.headers.getall("Set-Cookie"))


# In Datastore


def test_end_just_before_the_session_is_written_once_more(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that the application has deleted itself is written again, unless it is ended then.

    The end comes when the writer has asked for it, and has not written yet.
    """
    sid = str(visitor.write({"user": "ada"}))
    late, ending = Opened(visitor), Opened(visitor)
    entities.delete(sid)
    late.session["late"] = 1
    ending.session.destroy()
    real, tries = Session._put, []

    def put(entity: Any) -> None:
        tries.append(entity)
        if len(tries) == 2:  # the first one finds no entity to replace
            contextvars.Context().run(ending.save)
        real(entity)

    monkeypatch.setattr(Session, "_put", put)
    assert (late.save(), len(tries)) == ([], 2)
    assert entities.raw_entity(sid) is None
    assert visitor.read() == {}


def test_when_a_session_got_another_id(visitor: Visitor) -> None:
    """The factory tells it in Unix seconds; and nothing of a session that did not."""
    sid = str(visitor.write({"a": 1}))
    opened = Opened(visitor)
    assert opened.session.container._superseded_at(sid) is None
    before = time.time()
    opened.session.regenerate_id()
    opened.save()
    superseded_at = Opened(visitor).session.container._superseded_at(sid)
    assert before - 1 <= superseded_at <= time.time() + 1


def test_session_that_was_destroyed_got_no_other_id(visitor: Visitor) -> None:
    """Requests that come late with its cookie get no grace."""
    sid = str(visitor.write({"a": 1}))
    opened = Opened(visitor)
    opened.session.destroy()
    opened.save()
    assert Opened(visitor).session.container._superseded_at(sid) is None


def test_deleted_session_was_not_ended(visitor: Visitor) -> None:
    """What the application deletes itself leaves no mark."""
    sid = str(visitor.write({"a": 1}))
    entities.delete(sid)
    assert Opened(visitor).session.container._superseded_at(sid) is None


# In the cache


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What the memcached holds."""
    with entries_of(memcached) as entries:
        yield entries


def key_of(sid: str) -> bytes:
    """Where the entry of a session is."""
    return f"session:{PROJECT}///Session/{sid}".encode("ascii")


@pytest.fixture
def four_seconds_pass(entries: Entries) -> Callable[[str], None]:
    """Four seconds pass for memcached: an entry that lives no longer has gone."""

    def drop_what_is_short_lived(sid: str) -> None:
        left = entries.seconds_left(key_of(sid))
        if left is not None and 0 <= left <= 4:
            entries.drop(key_of(sid))

    return drop_what_is_short_lived


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.usefixtures("datastore")
def test_late_reader_of_an_ended_session(
    memcached: Memcached,
    monkeypatch: pytest.MonkeyPatch,
    four_seconds_pass: Callable[[str], None],
    on_conflict: str,
) -> None:
    """Its entry reaches memcached seconds after the sign-out, and nobody is signed in by it."""
    visitor = visitor_of(memcached, on_conflict=on_conflict)
    sid = str(visitor.write({"user": "ada"}))
    ending = Opened(visitor)
    memcached.flush()
    real = CoherentCache._fill

    def offer_late(*args: Any, **options: Any) -> bool:
        monkeypatch.setattr(CoherentCache, "_fill", real)
        ending.session.destroy()
        contextvars.Context().run(ending.save)
        four_seconds_pass(sid)
        return real(*args, **options)

    monkeypatch.setattr(CoherentCache, "_fill", offer_late)
    assert visitor.read() == {"user": "ada"}  # it was there when that was read
    assert Opened(visitor).session.new


@pytest.mark.usefixtures("datastore")
def test_late_writer_of_an_ended_session(
    memcached: Memcached,
    four_seconds_pass: Callable[[str], None],
    entries: Entries,
) -> None:
    """It writes nothing, and leaves the tombstone as it is."""
    visitor = visitor_of(memcached)
    sid = str(visitor.write({"user": "ada"}))
    late, ending = Opened(visitor), Opened(visitor)
    late.session["late"] = 1
    ending.session.destroy()
    ending.save()
    assert late.save() == []
    four_seconds_pass(sid)
    assert entries.get(key_of(sid)) == b"closed"
    assert Opened(visitor).session.new


@pytest.mark.usefixtures("datastore")
def test_renewal_of_an_ended_session(
    memcached: Memcached, four_seconds_pass: Callable[[str], None], entries: Entries
) -> None:
    """Nor does a request bring it back that has only read it, and would keep it for longer."""
    visitor = visitor_of(memcached, refresh_after=1e-9)
    sid = str(visitor.write({"user": "ada"}))
    late, ending = Opened(visitor), Opened(visitor)
    ending.session.destroy()
    ending.save()
    assert late.save() == []
    four_seconds_pass(sid)
    assert entries.get(key_of(sid)) == b"closed"
    assert Opened(visitor).session.new


def test_sign_out_that_the_cache_does_not_hear_of(
    datastore: DatastoreEmulator, launch: Callable[[Memcached], Memcached]
) -> None:
    """It is an error, also with ``degrade``; the session is gone from Datastore by then."""
    server = launch(Memcached())
    visitor = visitor_of(server, on_backend_error="degrade")
    sid = str(visitor.write({"user": "ada"}))
    opened = Opened(visitor)
    opened.session.destroy()
    server.kill()
    with pytest.raises(
        BackendUnavailable, match=r"memcache backend .*is deleted.*an hour"
    ) as caught:
        opened.save()
    assert sid not in str(caught.value)
    assert entities.raw_entity(sid) is None
    server.start()
    assert Opened(visitor).session.new


# What a model's own method may give

SHAPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "mapping": MappingProxyType,
    "pairs": lambda data: list(data.items()),
    "iterator": lambda data: iter(data.items()),
    "view": lambda data: data.items(),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_model_that_gives_another_shape(visitor: Visitor, shape: Callable[..., Any]) -> None:
    """A mapping or pairs are a session's data, also where it is merged."""
    with entities.kinds_restored():

        class Shaped(Session):
            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                entity = cls.get_by_id(sid)
                return None if entity is None else shape(entity.data)

        visitor.options = {
            "factory": type("Factory", (DatastoreSessionFactory,), {"session_model": Shaped})
        }
        visitor.write({"a": 1, "list": [1]})
        mine, theirs = Opened(visitor), Opened(visitor)
        theirs.session["b"] = 2
        theirs.save()
        mine.session["c"] = 3
        mine.save()
        expected = {"a": 1, "list": [1], "c": 3}
        if visitor.app.config["webapp2_extras.sessions"]["on_conflict"] == "merge":
            expected["b"] = 2
        assert visitor.read() == expected


def test_model_that_gives_nothing_of_a_session(visitor: Visitor) -> None:
    """What is neither a mapping nor pairs is no session."""
    with entities.kinds_restored():

        class Odd(ndb.Model):
            @classmethod
            def get_by_sid(cls, sid: str) -> Any:
                return 42

        visitor.options = {
            "factory": type("Factory", (DatastoreSessionFactory,), {"session_model": Odd})
        }
        visitor.cookies = dict(cookies_of_another(visitor))
        assert Opened(visitor).session.new


def cookies_of_another(visitor: Visitor) -> dict[str, str]:
    """Cookies that lead to a session of the usual model."""
    other = Visitor(visitor.app, backend="datastore")
    other.write({"a": 1})
    return other.cookies
