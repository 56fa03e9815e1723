"""Where a user is signed in, and signed out everywhere: on each backend that can tell."""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import webapp2
from support.contract import BACKENDS, Backend
from support.implementations import Clock
from support.visits import Visitor

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionDict,
    get_store,
)
from webapp2_sessions.stored.connections import IF_SILENT
from webapp2_sessions.stored.factory import Noted
from webapp2_sessions.testing import memory_sessions
from webapp2_sessions.users import (
    UserSession,
    end_all_sessions,
    end_user_sessions,
    user_sessions,
)

#: Numbers that keep the users of tests on one Datastore apart.
_numbers = itertools.count()


def can_list(backend: Backend) -> bool:
    return backend.keyword in ("memory", "redis", "datastore")


def in_own_namespace(backend: Backend, **config: Any) -> Backend:
    """Return a backend that shares no Datastore's namespace with another test."""
    datastore = {**backend._config.get("datastore", {}), **config.pop("datastore", {})}
    if datastore:
        config["datastore"] = {**datastore, "namespace": f"users{os.getpid()}x{next(_numbers)}"}
    return backend.configured(default_backend=backend.keyword, user_key="user_id", **config)


@pytest.fixture
def listing(backend: Backend) -> Backend:
    """A backend that can list, configured for it."""
    if not can_list(backend):
        pytest.skip("cannot list sessions")
    return in_own_namespace(backend, user_index=True)


@pytest.fixture
def app(listing: Backend) -> Any:
    return listing.app()


def signed_in(backend: Backend, app: Any, user: Any = "ada", **data: Any) -> Visitor:
    """A browser in which a user is signed in."""
    visitor = backend.visitor(app)
    visitor.write({"user_id": user, **data})
    return visitor


def listed(visitor: Visitor, **options: Any) -> list[UserSession]:
    """What the visitor's account page shows."""
    with visitor.visit() as session:
        return session.container.session_store.user_sessions(**options)  # type: ignore[no-any-return]


def end(visitor: Visitor, **options: Any) -> int:
    """Let the visitor sign out elsewhere."""
    with visitor.visit() as session:
        return session.container.session_store.end_user_sessions(**options)  # type: ignore[no-any-return]


def named(sessions: list[UserSession]) -> list[str | None]:
    return [each.label for each in sessions]


def label(visitor: Visitor, text: str) -> None:
    with visitor.visit() as session:
        session.set_label(text)


# Listing


def test_each_browser_of_a_user_is_listed_and_nobody_elses(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    label(phone, "phone")
    label(laptop, "laptop")
    signed_in(listing, app, "bob")
    assert sorted(map(str, named(listed(phone)))) == ["laptop", "phone"]
    [current] = [each for each in listed(phone) if each.is_current]
    assert current.label == "phone"


def test_sessions_of_another_name_are_listed_and_ended_by_that(listing: Backend) -> None:
    app = listing.app(user_key={"session": "user_id", "cart": "user_id"})
    visitor = signed_in(listing, app)
    with visitor.visit(name="cart") as cart:
        cart["user_id"] = "ada"
        cart.set_label("cart")
    assert [named(listed(visitor, name=name)) for name in ("session", "cart")] == [[None], ["cart"]]
    assert end(visitor, name="session", user="ada") == 1
    with visitor.visit(name="cart") as cart:
        assert cart == {"user_id": "ada"}


def test_who_is_not_signed_in_has_no_sessions(listing: Backend, app: Any) -> None:
    visitor = listing.visitor(app)
    visitor.write({"a": 1})
    assert listed(visitor) == []
    assert end(visitor) == 0
    assert visitor.read() == {"a": 1}


def test_a_list_tells_when_a_session_began_and_was_saved(
    listing: Backend, app: Any, clock: Clock
) -> None:
    visitor = signed_in(listing, app)
    began = clock.now
    clock.now += 100
    visitor.write({"a": 1})
    [session] = listed(visitor)
    assert [session.began.timestamp(), session.saved.timestamp()] == [began, clock.now]
    assert session.saved.tzinfo is datetime.timezone.utc


def test_a_handle_opens_nothing_and_tells_no_id(listing: Backend, app: Any) -> None:
    visitor = signed_in(listing, app)
    [session] = listed(visitor)
    with visitor.visit() as opened:
        assert opened.container.sid not in str(session)
    assert len(session.handle) == 32


def test_a_session_that_gets_a_new_id_is_listed_once_and_keeps_its_label(
    listing: Backend, app: Any
) -> None:
    visitor = signed_in(listing, app)
    label(visitor, "phone")
    with visitor.visit() as session:
        session.regenerate_id()
    assert named(listed(visitor)) == ["phone"]


def test_who_signs_in_next_has_no_label_of_the_former_user(listing: Backend, app: Any) -> None:
    visitor = signed_in(listing, app)
    label(visitor, "phone of Ada")
    visitor.write({"user_id": "bob"})
    assert named(listed(visitor)) == [None]
    assert named(listed(visitor, user="ada")) == []


def test_the_name_of_the_sessions_may_be_bytes(listing: Backend) -> None:
    visitor = signed_in(listing, listing.app(cookie_name=b"members"))
    assert len(listed(visitor)) == 1
    assert end(visitor) == 1


def test_a_session_that_ended_is_not_listed(listing: Backend, app: Any) -> None:
    phone, laptop, tablet = (signed_in(listing, app) for _ in range(3))
    with laptop.visit() as session:
        session.destroy()
    with tablet.visit() as session:
        del session["user_id"]
    [left] = listed(phone)
    assert left.is_current


def test_a_long_label_is_cut_and_other_types_are_refused(listing: Backend, app: Any) -> None:
    visitor = signed_in(listing, app)
    label(visitor, "x" * 1000)
    assert named(listed(visitor)) == ["x" * 200]
    with visitor.visit() as session, pytest.raises(ConfigError, match="must be text or None"):
        session.set_label(5)  # type: ignore[arg-type]
    with visitor.visit() as session:
        session.set_label(None)
    assert named(listed(visitor)) == [None]


class Escaped(str):
    """Text of a class of its own, as template engines have it."""

    def __getitem__(self, key: Any) -> Escaped:
        return Escaped(str(self)[key])


def test_an_escaped_label_is_kept_as_text(listing: Backend, app: Any) -> None:
    visitor = signed_in(listing, app)
    label(visitor, Escaped("&lt;phone&gt;"))
    [session] = listed(visitor)
    assert (session.label, type(session.label)) == ("&lt;phone&gt;", str)


def test_at_most_so_many_are_listed(listing: Backend, app: Any) -> None:
    visitor, *_ = (signed_in(listing, app) for _ in range(3))
    assert [len(listed(visitor, limit=limit)) for limit in (0, 2, 3, None)] == [0, 2, 3, 3]
    with pytest.raises(ConfigError, match="a whole number or None"):
        listed(visitor, limit=-1)


def test_what_has_expired_is_not_listed(backend: Backend, listing: Backend, clock: Clock) -> None:
    app = listing.app(absolute_max_age=1000)
    former, latter = signed_in(listing, app), signed_in(listing, app)
    with latter.visit() as session:
        session.destroy()
    clock.now += 900
    latter.write({"user_id": "ada"})
    clock.now += 200
    assert former.read() == {}
    [left] = listed(latter)
    assert left.is_current


def test_what_a_new_password_has_ended_is_not_listed(listing: Backend) -> None:
    passwords = {"ada": "a hash"}
    app = listing.app(user_stamp=passwords.get)
    signed_in(listing, app)
    passwords["ada"] = "another hash"
    visitor = signed_in(listing, app)
    [left] = listed(visitor)
    assert left.is_current


def test_what_cannot_be_read_is_not_listed_and_ends(
    listing: Backend, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not listing.pickles:
        pytest.skip("pickles alone name classes")
    signed_in(listing, app, thing=Vanishing())
    visitor = signed_in(listing, app)
    monkeypatch.delattr(f"{__name__}.Vanishing")
    [left] = listed(visitor)
    assert left.is_current
    assert end(visitor, keep=True) == 1


class Vanishing:
    """A class that is gone when its instance is read."""


def test_a_session_from_before_there_was_an_index_is_listed_once_it_is_saved(
    backend: Backend,
) -> None:
    if not can_list(backend):
        pytest.skip("cannot list sessions")
    app = in_own_namespace(backend).app()
    visitor = signed_in(backend, app)
    app.config["webapp2_extras.sessions"]["user_index"] = True
    assert listed(visitor) == []
    visitor.write({"a": 1})
    assert len(listed(visitor)) == 1


# Ending


def test_the_others_end_and_this_one_stays(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    bob = signed_in(listing, app, "bob")
    assert end(phone, keep=True) == 1
    assert [each.read() for each in (phone, laptop)] == [{"user_id": "ada"}, {}]
    assert bob.read() == {"user_id": "bob"}
    [left] = listed(phone)
    assert left.is_current


def test_all_end(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    assert end(phone) == 2
    assert [each.read() for each in (phone, laptop)] == [{}, {}]
    assert phone.cookies == {}


def test_a_sign_in_of_the_same_request_ends_as_well(listing: Backend, app: Any) -> None:
    visitor = listing.visitor(app)
    with visitor.visit() as session:
        session["user_id"] = "ada"
        session.container.session_store.end_user_sessions()
        assert session == {}
    assert visitor.read() == {}


def test_one_ends_by_its_handle(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    [other] = [each for each in listed(phone) if not each.is_current]
    assert end(phone, handle=other.handle) == 1
    assert [each.read() for each in (phone, laptop)] == [{"user_id": "ada"}, {}]
    assert end(phone, handle=other.handle) == 0
    assert end(phone, handle="no handle") == 0


def test_nobody_ends_the_session_of_somebody_else_by_its_handle(listing: Backend, app: Any) -> None:
    ada, bob = signed_in(listing, app), signed_in(listing, app, "bob")
    [session] = listed(ada)
    assert end(bob, handle=session.handle) == 0
    assert ada.read() == {"user_id": "ada"}


def test_one_stays_by_its_handle(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    [other] = [each for each in listed(phone) if not each.is_current]
    assert end(phone, keep=other.handle) == 1
    assert [each.read() for each in (phone, laptop)] == [{}, {"user_id": "ada"}]


def test_a_handle_from_before_a_new_key_is_understood(listing: Backend, app: Any) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    [other] = [each for each in listed(phone) if not each.is_current]
    settings = app.config["webapp2_extras.sessions"]
    settings.update(
        secret_key=settings["secret_key"][::-1], secret_key_fallbacks=(settings["secret_key"],)
    )
    assert end(phone, handle=other.handle) == 1
    assert laptop.read() == {}


def test_a_request_on_its_way_does_not_bring_back_what_has_ended(
    listing: Backend, app: Any
) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    with laptop.visit() as session:
        end(phone, keep=True)
        session["a"] = 1
    assert laptop.read() == {}
    assert len(listed(phone)) == 1


def test_a_request_that_renews_an_id_meanwhile_does_not_bring_it_back(
    listing: Backend, app: Any
) -> None:
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    with laptop.visit() as session:
        end(phone, keep=True)
        session.regenerate_id()
    assert laptop.read() == {}
    assert len(listed(phone)) == 1


def test_an_id_that_is_new_since_the_ids_were_read_ends_as_well(
    listing: Backend, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request renews the id after the index was read, and is done before the end."""
    phone, laptop = signed_in(listing, app), signed_in(listing, app)
    with phone.visit() as session:
        factory = type(session.container)
    noted_of_user, renewals = factory._noted_of_user, []

    def renewing(container: Any, user: str) -> Any:
        noted = [*noted_of_user(container, user)]
        if not renewals:
            renewals.append(user)
            with laptop.visit() as session:
                session.regenerate_id()
        return noted

    monkeypatch.setattr(factory, "_noted_of_user", renewing)
    assert end(phone, keep=True) == 1
    assert [bool(each.read()) for each in (phone, laptop)] == [True, False]


def test_what_a_request_sets_after_it_has_ended_its_own_session_begins_another_one(
    listing: Backend, app: Any
) -> None:
    visitor = signed_in(listing, app)
    with visitor.visit() as session:
        session.container.session_store.end_user_sessions()
        session["goodbye"] = True
    assert visitor.read() == {"goodbye": True}
    assert listed(visitor, user="ada") == []


# Outside of requests


def test_sessions_are_listed_and_ended_without_a_request(listing: Backend, app: Any) -> None:
    phone = signed_in(listing, app)
    label(phone, "phone")
    config = app.config["webapp2_extras.sessions"]
    if listing.keyword == "memory":
        pytest.skip("a memory belongs to an application")
    [session] = user_sessions("ada", config=config)
    assert (session.label, session.is_current) == ("phone", False)
    assert end_user_sessions("ada", config=config) == 1
    assert phone.read() == {}
    assert user_sessions("ada", config=config) == []


def test_memory_in_place_of_a_server_is_asked_without_a_request_too() -> None:
    redis = Backend("redis", True, default_backend="redis")
    app = redis.app(user_key="user_id", user_index=True, revocation="redis")
    with memory_sessions(app):
        visitor = signed_in(redis, app)
        assert len(user_sessions("ada", config=app.config)) == 1
        with active(app):
            assert end_user_sessions("ada") == 1
        assert visitor.read() == {}


@contextmanager
def active(app: Any) -> Iterator[None]:
    """Let an application be the active one, as in a cron handler."""
    app.set_globals(app=app, request=None)
    try:
        yield
    finally:
        app.clear_globals()


def test_the_session_counts_in_which_somebody_is_signed_in(listing: Backend, app: Any) -> None:
    request, other = Visitor(app, backend=listing.keyword).request(), Visitor(app)
    store = get_store(request=request)
    store.get_session()["a"] = 1
    store.get_session(name="members")["user_id"] = "ada"
    store.save_sessions(webapp2.Response())
    assert [each.is_current for each in store.user_sessions()] == [True]
    assert other.read() == {}


def test_auth_has_a_session_of_its_own(listing: Backend) -> None:
    visitor = listing.visitor(listing.app(user_key="_user"))
    with visitor.visit() as session:
        store = session.container.session_store
        assert store.user_sessions() == []
        assert [*store.sessions] == ["session", "auth"]


def test_digits_are_the_same_user_as_their_number(listing: Backend, app: Any) -> None:
    visitor = signed_in(listing, app, 5)
    assert len(listed(visitor, user="5")) == 1


@pytest.mark.parametrize("user", ["", "a b\n\x00", "ü" * 300, -5, 0])
def test_users_may_have_any_name(listing: Backend, app: Any, user: Any) -> None:
    visitor = signed_in(listing, app, user)
    assert len(listed(visitor)) == 1
    assert end(visitor) == 1


class Member(str, enum.Enum):
    """Users as members of an enumeration."""

    ADA = "ada"


class Number(enum.IntEnum):
    """The same, with numbers."""

    ADA = 5


@pytest.mark.parametrize("kind", [Member, Number])
def test_a_member_of_an_enumeration_is_the_same_user_as_its_value(
    listing: Backend, kind: type[enum.Enum]
) -> None:
    app = listing.app(user_key=lambda session: kind(session["user_id"]))
    visitor = signed_in(listing, app, kind["ADA"].value)
    assert len(listed(visitor, user=kind["ADA"].value)) == 1


def test_nobody_gets_at_another_users_sessions_by_a_name_that_looks_like_a_hash(
    listing: Backend, app: Any
) -> None:
    zoe = signed_in(listing, app, "Zoë")
    digest = hashlib.sha256("Zoë".encode()).hexdigest()
    attacker = signed_in(listing, app, f"sha256:{digest}")
    assert [each.is_current for each in listed(attacker)] == [True]
    assert end(attacker) == 1
    assert zoe.read() == {"user_id": "Zoë"}


def test_a_user_that_has_no_name_is_refused_and_nothing_is_stored(
    listing: Backend, app: Any
) -> None:
    visitor = listing.visitor(app)
    with pytest.raises(ConfigError, match="must lead to text, a whole number"):
        visitor.write({"user_id": {"id": 5}})
    assert visitor.cookies == {}


# Limits and notice


def test_the_oldest_ends_where_there_are_too_many(listing: Backend, clock: Clock) -> None:
    app = listing.app(max_user_sessions=2)
    visitors = []
    for _ in range(4):
        visitors.append(signed_in(listing, app))
        clock.now += 1
    assert [bool(each.read()) for each in visitors] == [False, False, True, True]


def test_sign_ins_are_told(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")
    told: list[tuple[dict[Any, Any], Any]] = []

    def on_sign_in(session: SessionDict, user: Any) -> None:
        told.append((dict(session), user))

    app = backend.app(user_key="user_id", on_sign_in=on_sign_in)
    visitor = backend.visitor(app)
    visitor.write({"a": 1})
    with caplog.at_level(logging.INFO):
        visitor.write({"user_id": "ada"})
    visitor.write({"a": 2})
    assert told == [({"a": 1, "user_id": "ada"}, "ada")]
    assert "A user has signed in to the session 'session'" in caplog.messages
    assert "ada" not in caplog.text


def test_a_function_that_fails_does_not_keep_anybody_from_signing_in(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")

    def fail(session: SessionDict, user: Any) -> None:
        raise LookupError("no mail server")

    visitor = signed_in(backend, backend.app(user_key="user_id", on_sign_in=fail))
    assert visitor.read() == {"user_id": "ada"}
    assert "config['on_sign_in'] failed when it was told of a sign-in" in caplog.messages


# Revocation


#: What is revoked: the first four by Datastore as well.
REVOKED = ("memory", "securecookie", "memcache", "datastore")
REVOKED += ("encryptedcookie", "redis", "spill", "redis-cached-datastore", "memcache-merge")


@pytest.fixture(params=["redis", "datastore"])
def revoking(request: pytest.FixtureRequest, backend: Backend) -> Backend:
    """A backend whose sessions can be revoked, by a server that need not be its own."""
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")
    kind = request.node.callspec.params["backend"]
    if kind not in REVOKED or (request.param == "datastore" and kind in REVOKED[4:]):
        pytest.skip("is revoked in the same way as others")
    other = BACKENDS[request.param](request)
    section = {
        request.param: {**other._config[request.param], **backend._config.get(request.param, {})}
    }
    return in_own_namespace(backend, revocation=request.param, **section)


def test_all_other_sessions_end_wherever_they_are_kept(revoking: Backend, clock: Clock) -> None:
    app = revoking.app()
    phone, laptop, bob = (signed_in(revoking, app, user) for user in ("ada", "ada", "bob"))
    clock.now += 1
    end(phone, keep=True)
    clock.now += 11
    assert [bool(each.read()) for each in (phone, laptop, bob)] == [True, False, True]
    assert laptop.cookies == {}
    phone.write({"a": 1})
    assert phone.read() == {"user_id": "ada", "a": 1}


def test_all_sessions_end_and_who_signs_in_again_stays(revoking: Backend, clock: Clock) -> None:
    app = revoking.app()
    phone, laptop = signed_in(revoking, app), signed_in(revoking, app)
    clock.now += 1
    end(phone)
    assert [each.read() for each in (phone, laptop)] == [{}, {}]
    clock.now += 1
    laptop.write({"user_id": "ada"})
    assert laptop.read() == {"user_id": "ada"}


def test_a_copy_of_a_cookie_opens_nothing_although_a_later_request_has_signed_it(
    revoking: Backend, clock: Clock
) -> None:
    """It counts when the user has signed in, and not when the cookie was signed."""
    app = revoking.app()
    phone, laptop = signed_in(revoking, app), signed_in(revoking, app)
    clock.now += 1
    with laptop.visit() as session:
        end(phone, keep=True)
        clock.now += 1
        session["a"] = 1
    assert laptop.read() == {}


@pytest.mark.parametrize("seconds", [1, 1000])
def test_a_former_cookie_does_no_harm_to_the_session_that_stays(
    revoking: Backend, clock: Clock, seconds: int
) -> None:
    """Of a request that was on its way, or of a copy."""
    phone = signed_in(revoking, revoking.app())
    copy = revoking.visitor(phone.app)
    copy.cookies.update(phone.cookies)
    clock.now += 1
    end(phone, keep=True)
    clock.now += seconds
    assert copy.read() == {}
    assert seconds > 10 or not copy.set_cookies  # the browser may have another one by now
    assert phone.read() == {"user_id": "ada"}


@pytest.mark.parametrize("put_back", [0, 3600], ids=["at once", "by a clock that was put back"])
def test_who_signs_in_after_the_sign_out_stays_until_the_next_one(
    revoking: Backend, clock: Clock, put_back: int
) -> None:
    phone, laptop = (signed_in(revoking, revoking.app()) for _ in range(2))
    clock.now += put_back
    end(phone)
    clock.now -= put_back
    laptop.cookies.clear()
    laptop.write({"user_id": "ada"})
    assert laptop.read() == {"user_id": "ada"}
    end(phone, user="ada")
    assert laptop.read() == {}


def test_a_session_from_before_there_was_revocation_ends(revoking: Backend, clock: Clock) -> None:
    settings = {key: each for key, each in revoking._config.items() if key != "revocation"}
    app = Backend(revoking.keyword, revoking.keeps_types, **settings).app()
    phone, laptop = signed_in(revoking, app), signed_in(revoking, app)
    app.config["webapp2_extras.sessions"]["revocation"] = revoking._config["revocation"]
    clock.now += 1
    end(phone, keep=True)
    assert [bool(each.read()) for each in (phone, laptop)] == [True, False]


def test_who_signs_in_by_the_same_request_stays(revoking: Backend, clock: Clock) -> None:
    """As after a password was reset. It may all happen within one millisecond."""
    app = revoking.app()
    visitor, other = revoking.visitor(app), signed_in(revoking, app)
    with visitor.visit() as session:
        session.container.session_store.end_user_sessions("ada")
        session["user_id"] = "ada"
    assert [bool(each.read()) for each in (visitor, other)] == [True, False]
    with visitor.visit() as session:
        session.container.session_store.end_user_sessions()
        session["user_id"] = "ada"
    assert visitor.read() == {"user_id": "ada"}


def test_who_has_just_signed_in_may_end_the_others(revoking: Backend, clock: Clock) -> None:
    app = revoking.app()
    visitor, other = revoking.visitor(app), signed_in(revoking, app)
    with visitor.visit() as session:
        session["user_id"] = "ada"
        session.container.session_store.end_user_sessions(keep=True)
    assert [bool(each.read()) for each in (visitor, other)] == [True, False]


def test_what_stays_keeps_its_own_age(revoking: Backend, clock: Clock) -> None:
    app = revoking.app(session_max_age=3600)
    visitor = revoking.visitor(app)
    with visitor.visit() as session:
        session["user_id"] = "ada"
        session.set_max_age(100_000)
    clock.now += 1
    end(visitor, keep=True)
    clock.now += 50_000
    assert visitor.read() == {"user_id": "ada"}


def test_everybody_is_signed_out(revoking: Backend, clock: Clock) -> None:
    app = revoking.app()
    ada, bob, anonymous = (
        signed_in(revoking, app),
        signed_in(revoking, app, "bob"),
        revoking.visitor(app),
    )
    anonymous.write({"a": 1})
    clock.now += 1
    end_all_sessions(config=app.config["webapp2_extras.sessions"])
    assert [each.read() for each in (ada, bob, anonymous)] == [{}, {}, {"a": 1}]


def test_who_is_not_signed_in_costs_no_command(
    revoking: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = revoking.app()
    visitor = revoking.visitor(app)
    visitor.write({"a": 1})

    def fail(*args: Any, **options: Any) -> int:
        raise AssertionError("nobody is signed in")

    monkeypatch.setattr("webapp2_sessions.users.following.moment_of", fail)
    assert visitor.read() == {"a": 1}
    with suppress(AssertionError):
        signed_in(revoking, app).read()
        pytest.fail("the test would notice")


def test_what_is_remembered_counts_for_so_many_seconds(revoking: Backend, clock: Clock) -> None:
    app, other = revoking.app(revocation_cache=60), revoking.app()
    visitor = signed_in(revoking, app)
    assert visitor.read()
    clock.now += 1
    # As another process does, whose memory is its own.
    from webapp2_sessions.users import revocation

    moments = revocation._moments(other.config["webapp2_extras.sessions"])
    moments.set(moments.here(), "ada", int(clock.now * 1000))
    assert visitor.read()
    clock.now += 61
    assert visitor.read() == {}


@pytest.mark.parametrize("user", ["ada", "ü" * 300])
def test_what_is_revoked_is_not_listed(revoking: Backend, clock: Clock, user: str) -> None:
    if not can_list(revoking):
        pytest.skip("cannot list sessions")
    app = revoking.app(user_index=True)
    phone, laptop = signed_in(revoking, app, user), signed_in(revoking, app, user)
    assert len(listed(phone)) == 2
    clock.now += 1
    with phone.visit() as session:
        store = session.container.session_store
        assert store.end_user_sessions(keep=True) == 1
        assert len(store.user_sessions()) == 1
    assert [bool(each.read()) for each in (phone, laptop)] == [True, False]
    assert len(listed(phone)) == 1


# What cannot be


def test_backends_that_cannot_list_say_so(backend: Backend) -> None:
    if can_list(backend) or not backend.is_ours:
        pytest.skip("can list, or follows nobody")
    app = backend.app(user_key="user_id", user_index=True, default_backend=backend.keyword)
    with pytest.raises(ConfigError, match="as redis and datastore, not"):
        signed_in(backend, app)


def test_a_session_in_which_nobody_signs_in_may_have_a_backend_that_cannot_list(
    listing: Backend, app: Any
) -> None:
    visitor = signed_in(listing, app)
    with visitor.visit() as session:
        store = session.container.session_store
        store.get_session(name="flashes", backend="securecookie").add_flash("welcome")
        store.set_secure_cookie("language", {"is": "fr"})
    assert [*visitor.cookies] == ["session", "flashes", "language"]
    assert visitor.read() == {"user_id": "ada"}


@pytest.mark.parametrize("key", ["user_index", "revocation"])
@pytest.mark.parametrize("attempt", [listed, end])
def test_a_backend_of_upstreams_kind_says_that_it_follows_nobody(
    key: str, attempt: Callable[[Visitor], object], request: pytest.FixtureRequest
) -> None:
    backend = BACKENDS["custom"](request)
    settings: dict[str, Any] = (
        {"user_index": True} if key == "user_index" else {"revocation": "redis"}
    )
    visitor = signed_in(backend, backend.app(user_key="user_id", **settings))
    with pytest.raises(ConfigError, match=r"not (followed by )?RecordsFactory"):
        attempt(visitor)


def test_what_is_not_configured_is_an_error(backend: Backend) -> None:
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")
    visitor = signed_in(backend, backend.app(user_key="user_id"))
    attempts: list[Callable[[], object]] = [lambda: listed(visitor), lambda: end(visitor)]
    for attempt in attempts:
        with pytest.raises(ConfigError, match="user_index: is not configured"):
            attempt()
    plain = backend.visitor()
    with pytest.raises(ConfigError, match="user_key: does not tell who is signed in"):
        listed(plain)


def test_a_plain_cookie_has_nothing_of_it() -> None:
    """Only what is configured is kept beside the data."""
    plain = Backend("securecookie", False)
    visitor = signed_in(plain, plain.app(user_key="user_id"))
    assert base64.b64decode(visitor.cookies["session"].partition("|")[0]) == b'{"user_id":"ada"}'


def unanswered(*args: Any, **options: Any) -> int:
    """What asks the server of revocations, which is down."""
    raise BackendUnavailable("redis", "a server", "it is down")


def test_nobody_is_signed_out_because_it_cannot_be_asked(
    revoking: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = signed_in(revoking, revoking.app(on_backend_error="degrade"))
    with monkeypatch.context() as patch:
        patch.setattr("webapp2_sessions.users.following.moment_of", unanswered)
        with visitor.visit() as session:
            assert session == {}
            session.get_csrf_token()  # looks at the user as well
    assert visitor.set_cookies == []
    assert visitor.read() == {"user_id": "ada"}


def test_to_end_the_sessions_of_nobody_knows_whom_is_an_error(
    revoking: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = signed_in(revoking, revoking.app(on_backend_error="degrade"))
    monkeypatch.setattr("webapp2_sessions.users.following.moment_of", unanswered)
    with pytest.raises(BackendError, match="a session that is degraded"):
        end(visitor)


def test_who_signs_in_and_ends_all_others_in_one_request_stays(
    revoking: Backend, clock: Clock
) -> None:
    """Also where no millisecond passes in between."""
    visitor = revoking.visitor(revoking.app())
    with visitor.visit() as session:
        session["user_id"] = "ada"
        session.container.session_store.end_user_sessions(keep=True)
    assert visitor.read() == {"user_id": "ada"}


@pytest.mark.parametrize("is_there", [False, True])
def test_who_is_signed_out_everywhere_and_then_in_by_one_request_stays(
    revoking: Backend, clock: Clock, is_there: bool
) -> None:
    app = revoking.app()
    elsewhere, visitor = signed_in(revoking, app), revoking.visitor(app)
    if is_there:
        visitor.write({"user_id": "ada"})
    with visitor.visit() as session:
        session.container.session_store.end_user_sessions("ada")
        session["user_id"] = "ada"
    assert [each.read() for each in (elsewhere, visitor)] == [{}, {"user_id": "ada"}]


@pytest.fixture
def both(request: pytest.FixtureRequest) -> Backend:
    """Sessions in Redis, which are listed and can be revoked."""
    return in_own_namespace(BACKENDS["redis"](request), user_index=True, revocation="redis")


def test_who_is_remembered_for_longer_once_she_has_signed_in_is_noted_for_as_long(
    both: Backend, clock: Clock
) -> None:
    app = both.app(session_max_age=3600)
    visitor = signed_in(both, app)
    with visitor.visit() as session:
        session.set_max_age(30 * 24 * 3600)
    clock.now += 24 * 3600
    signed_in(both, app)  # drops what is void by then
    assert len(listed(visitor)) == 2


def test_an_id_is_found_although_others_are_dropped_meanwhile(
    both: Backend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = both.app()
    with both.visitor(app).visit() as session:
        index = session.container._index_of("ada")
    now = int(clock.now * 1000)
    ids = [Noted(f"{number:022d}", now) for number in range(3000)]
    for noted in ids:
        index.add(noted, now, 3600 + int(noted.sid))
    call = index._server.call

    def call_slowly(*command: Any) -> Any:
        answer = call(*command)
        call(IF_SILENT, "ZREMRANGEBYRANK", index._key, 0, 99)
        return answer

    monkeypatch.setattr(index._server, "call", call_slowly)
    assert sorted(index.all()) == ids
