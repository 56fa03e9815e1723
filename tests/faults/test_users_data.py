"""What servers have of users: lost, foreign, from other clocks, keys and places, or very much."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from google.cloud import ndb
from support.appengine_namespaces import in_namespace
from support.implementations import Clock, stopped_clock
from support.servers import PROJECT, DatastoreEmulator, Redis
from support.visits import Visitor, make_app

from webapp2_sessions import BackendError
from webapp2_sessions.users import UserSession, end_user_sessions, user_sessions

DAY = 24 * 3600

#: Seconds within which a server with thousands of entities has to answer.
PATIENCE = 120.0

_numbers = itertools.count()


class Site:
    """An application whose users are listed.

    :param config: of its sessions.
    """

    def __init__(self, backend: str, **config: Any) -> None:
        listing = {"user_key": "user_id", "user_index": True, "default_backend": backend}
        self.backend = backend
        self.app = make_app(**{**listing, **config})
        self.config: dict[str, Any] = self.app.config["webapp2_extras.sessions"]

    def signed_in(self, user: Any = "ada", key: str = "user_id") -> Visitor:
        """Return a browser in which a user is signed in."""
        visitor = Visitor(self.app, backend=self.backend)
        visitor.write({key: user})
        return visitor

    def listed(self, user: Any = "ada", **options: Any) -> list[UserSession]:
        """Return what is listed of a user."""
        return user_sessions(user, config=self.config, **options)

    def end(self, user: Any = "ada", **options: Any) -> int:
        """Sign a user out everywhere."""
        return end_user_sessions(user, config=self.config, **options)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock of the application; the server goes by the real one, from which it starts."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        yield clock


@pytest.fixture
def redis(redis_server: Redis) -> Redis:
    """A Redis without anything in it."""
    redis_server.flush()
    return redis_server


@pytest.fixture
def site(redis: Redis) -> Site:
    """An application whose sessions are there, and can be revoked."""
    return Site("redis", redis={"url": redis.url}, revocation="redis")


def key_of_index(redis: Redis) -> bytes:
    """The key of the only index."""
    [key] = [key for key in redis.ask("KEYS", "*") if b"users/" in key]
    return bytes(key)


# An index that is lost or foreign


def test_session_whose_note_is_lost_is_listed_again_after_a_later_save(
    redis: Redis, site: Site, clock: Clock
) -> None:
    """It opens all the time, and a day goes by before it is noted again."""
    visitor = site.signed_in()
    redis.ask("DEL", key_of_index(redis))
    visitor.write({"a": 1})
    assert (site.listed(), visitor.read()) == ([], {"user_id": "ada", "a": 1})
    clock.now += DAY
    visitor.write({"a": 2})
    assert len(site.listed()) == 1


def test_session_whose_note_is_lost_ends_by_revocation(redis: Redis, site: Site) -> None:
    """It is not counted among what has ended."""
    visitor = site.signed_in()
    redis.ask("DEL", key_of_index(redis))
    assert site.end() == 0
    assert visitor.read() == {}


def test_other_type_in_place_of_the_index_is_an_error(redis: Redis, site: Site) -> None:
    """Nobody signs in without being listed; who is in stays, and can be signed out."""
    visitor, key = site.signed_in(), key_of_index(redis)
    redis.ask("DEL", key)
    redis.ask("SET", key, "a text")
    attempts: list[Callable[[], object]] = [site.listed, site.signed_in, site.end]
    visitor.write({"a": 1})
    assert visitor.read() == {"user_id": "ada", "a": 1}
    for attempt in attempts:
        with pytest.raises(BackendError, match="the server refused"):
            attempt()
    assert visitor.read() == {}
    redis.ask("DEL", key)
    assert (len(site.listed()), bool(site.signed_in()), len(site.listed())) == (0, True, 1)


@pytest.mark.parametrize(
    "member",
    ["junk", b"\xff\xfe 12", "a b c", "x 999999999999999", "y -5", "", " 5", "z " + "9" * 30],
)
def test_foreign_member_of_an_index_is_passed_over(
    redis: Redis, site: Site, member: str | bytes
) -> None:
    """It is neither listed nor in the way of an end."""
    visitor = site.signed_in()
    redis.ask("ZADD", key_of_index(redis), 9e15, member)
    assert len(site.listed()) == 1
    assert site.end() == 1
    assert (site.listed(), visitor.read()) == ([], {})


def test_id_of_somebody_else_in_an_index_is_neither_listed_nor_opened(
    redis: Redis, site: Site
) -> None:
    """A list tells nothing of Bob's session."""
    site.signed_in("bob")
    [noted] = redis.ask("ZRANGE", key_of_index(redis), 0, -1)
    site.signed_in()
    redis.ask("ZADD", "session:users/session/ada", 9e15, noted)
    assert (len(site.listed()), len(site.listed("bob"))) == (1, 1)


@pytest.mark.parametrize("value", ["text", "", "-5", "1.5", "9" * 20])
def test_foreign_value_in_place_of_a_moment_is_an_error(
    redis: Redis, site: Site, value: str
) -> None:
    """Nobody knows whether a session counts; it is not lost."""
    visitor = site.signed_in()
    redis.ask("SET", "session:{signed-out}session:/ada", value)
    with pytest.raises(BackendError, match="none of this package's values"):
        visitor.read()
    visitor.app.config["webapp2_extras.sessions"]["on_backend_error"] = "degrade"
    with visitor.visit() as session:
        assert (session.degraded, dict(session)) == (True, {})
        session["a"] = 1
    redis.ask("DEL", "session:{signed-out}session:/ada")
    assert visitor.read() == {"user_id": "ada"}


# Clocks, keys and places


def test_clock_that_is_put_back(site: Site, clock: Clock) -> None:
    """Sessions from before and after are listed, open, and end."""
    before = site.signed_in()
    clock.now -= 3600
    before.write({"a": 1})
    after = site.signed_in()
    assert len(site.listed()) == 2
    clock.now += 3600
    assert [len(site.listed()), before.read()["a"], bool(after.read())] == [2, 1, True]
    clock.now += 1
    assert site.end() == 2
    assert [before.read(), after.read()] == [{}, {}]


@pytest.mark.parametrize("has_fallback", [True, False])
def test_new_secret_key(site: Site, has_fallback: bool) -> None:
    """What is listed is what opens: with the former key all sessions, without it none."""
    visitor = site.signed_in()
    [former] = site.listed()
    fallbacks = (site.config["secret_key"],) if has_fallback else ()
    keys = {"secret_key": secrets.token_hex(32), "secret_key_fallbacks": fallbacks}
    site = Site("redis", **{**site.config, **keys})
    visitor.app = site.app
    assert (len(site.listed()), bool(visitor.read())) == (has_fallback, has_fallback)
    assert site.end(handle=former.handle) == has_fallback
    assert visitor.read() == {}


def test_two_names_have_lists_of_their_own(redis: Redis) -> None:
    """The first one of ``user_key`` is meant where none is given."""
    names = {"session": "user_id", "admin": "operator"}
    site = Site("redis", redis={"url": redis.url}, user_key=names)
    visitor = site.signed_in()
    with visitor.visit(name="admin") as session:
        session["operator"] = "ada"
    assert [len(site.listed(name=name)) for name in ("session", "admin")] == [1, 1]
    assert site.end(name="admin") == 1
    assert (len(site.listed()), site.listed(name="admin")) == (1, [])
    assert visitor.read() == {"user_id": "ada"}


def test_user_of_webapp2_extras_auth(redis: Redis) -> None:
    """The user's id is the first item of the list that is kept under "_user"."""
    site = Site("redis", redis={"url": redis.url}, user_key={"session": "_user"})
    visitor = site.signed_in([5, False, 1_700_000_000, "token", 1_700_000_000, "name"], "_user")
    visitor.write({"_user": [5, True, 1_700_000_001, "another token", 1_700_000_001, "name"]})
    assert len(site.listed(5)) == len(site.listed("5")) == 1
    assert site.end(5) == 1
    assert visitor.read() == {}


#: How a tenant gets its own users: what is configured, and what is entered.
Tenant = tuple[dict[str, Any], Callable[[], AbstractContextManager[Any]]]


def _configured(section: str) -> Callable[[str], Tenant]:
    return lambda name: ({section: {"namespace": name}}, nullcontext)


def _in_ndb(name: str) -> Tenant:
    return {}, lambda: ndb.Client(project=PROJECT).context(namespace=name)


def _in_app_engine(name: str) -> Tenant:
    return {}, lambda: in_namespace(name)


@pytest.mark.parametrize(
    ("backend", "tenant"),
    [
        ("redis", _configured("redis")),
        ("redis", _in_ndb),
        ("redis", _in_app_engine),
        ("datastore", _configured("datastore")),
        ("datastore", _in_ndb),
        ("datastore", _in_app_engine),
    ],
    ids=["redis", "redis ndb", "redis gae", "datastore", "datastore ndb", "datastore gae"],
)
@pytest.mark.usefixtures("datastore")
def test_users_of_two_tenants_are_different_people(
    redis: Redis, backend: str, tenant: Callable[[str], Tenant]
) -> None:
    """Who is signed out everywhere at one stays at the other, by the index and by revocation."""
    number, tenants = next(_numbers), []
    for name in (f"one{number}", f"other{number}"):
        config, entered = tenant(name)
        sections = {"redis": {"url": redis.url, **config.get("redis", {})}}
        if "datastore" in config:
            sections["datastore"] = config["datastore"]
        tenants.append((Site(backend, **sections, revocation=backend), entered))
    visitors = []
    for site, entered in tenants:
        with entered():
            visitors.append(site.signed_in())
    for site, entered in tenants:
        with entered():
            assert len(site.listed()) == 1
    (site, entered), (other, other_entered) = tenants
    with entered():
        assert site.end() == 1
        assert (site.listed(), visitors[0].read()) == ([], {})
    with other_entered():
        assert (len(other.listed()), visitors[1].read()) == (1, {"user_id": "ada"})


# Very many

MANY = 10_000 if os.environ.get("EXHAUSTIVE") else 250


def _sites(redis: Redis) -> dict[str, Site]:
    datastore = {"project": PROJECT, "timeout": PATIENCE, "namespace": f"many{next(_numbers)}"}
    return {
        "redis": Site("redis", redis={"url": redis.url, "timeout": PATIENCE}),
        "datastore": Site("datastore", datastore=datastore),
    }


@pytest.mark.parametrize("backend", ["redis", "datastore"])
def test_user_with_very_many_sessions(
    redis: Redis,
    datastore: DatastoreEmulator,
    backend: str,
    record_property: Callable[[str, object], None],
) -> None:
    """All are listed and end; the list of an account page shows a hundred."""
    site = _sites(redis)[backend]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: site.signed_in(), range(MANY)))
    visitor = site.signed_in()
    times: dict[str, float] = {}

    def timed(what: str, operation: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = operation()
        times[what] = round(time.perf_counter() - started, 2)
        return found

    assert len(timed("list of 100", site.listed)) == 100
    assert len({each.handle for each in timed("list", lambda: site.listed(limit=None))}) == MANY + 1
    assert timed("end", site.end) == MANY + 1
    record_property("seconds", times)
    assert (site.listed(), visitor.read()) == ([], {})
