"""Who is signed in: a new id at sign-in, the end of the record at sign-out, on each backend."""

from __future__ import annotations

import base64
import copy
import time
from typing import Any

import pytest
import webapp2
from support.contract import Backend
from support.implementations import Clock
from support.visits import SECRET, Visitor, make_app
from webapp2_extras import auth

from webapp2_sessions import SessionStore, get_store
from webapp2_sessions.testing import MemorySessionFactory


@pytest.fixture
def visitor(backend: Backend) -> Visitor:
    """A visitor of an application whose users are in the key "user_id"."""
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind cannot renew")
    return backend.configured(user_key="user_id").visitor()


def copied(visitor: Visitor) -> Visitor:
    """Somebody who has a copy of the visitor's cookies."""
    copy_of = Visitor(visitor.app, **visitor.options)
    copy_of.cookies = copy.copy(visitor.cookies)
    return copy_of


def sid_of(visitor: Visitor) -> str | None:
    """The id of the visitor's session, ``None`` in a cookie."""
    with visitor.visit() as session:
        return getattr(session.container, "sid", None)


def sign_out(visitor: Visitor) -> None:
    """Sign out as most applications do."""
    with visitor.visit() as session:
        session.pop("user_id")


@pytest.mark.parametrize("user", [(5, "ada"), {5: "ada"}, [(5, "ada")]], ids=str)
def test_a_user_whom_json_changes_stays_the_same(
    visitor: Visitor, backend: Backend, user: Any
) -> None:
    """The application sets him in each request; the tokens of forms stay, as the id does."""
    visitor.write({"user_id": user})
    with visitor.visit() as session:
        token = session.get_csrf_token()
    visitor.write({"user_id": user})
    with visitor.visit() as session:
        assert session.check_csrf_token(token)


def test_who_has_planted_a_cookie_does_not_see_who_signs_in_over_it(visitor: Visitor) -> None:
    visitor.write({"cart": ["assam"]})
    attacker = copied(visitor)
    visitor.write({"user_id": 5})
    assert visitor.read() == {"cart": ["assam"], "user_id": 5}
    assert "user_id" not in attacker.read()


def test_somebody_else_gets_another_id(visitor: Visitor, backend: Backend) -> None:
    visitor.write({"user_id": 5})
    former, before = copied(visitor), sid_of(visitor)
    visitor.write({"user_id": 6})
    assert visitor.read() == {"user_id": 6}
    if not backend.is_cookie:
        assert sid_of(visitor) != before
        assert former.read() == {}


def test_id_stays_as_long_as_the_user_does(visitor: Visitor, backend: Backend) -> None:
    visitor.write({"user_id": 5})
    before = sid_of(visitor)
    visitor.write({"user_id": 5, "a": 1})
    visitor.write({"user_id": 5, "a": 2})
    assert sid_of(visitor) == before


def test_sign_out_ends_the_record_and_keeps_what_is_left(
    visitor: Visitor, backend: Backend
) -> None:
    visitor.write({"user_id": 5, "language": "fr"})
    former, before = copied(visitor), sid_of(visitor)
    sign_out(visitor)
    assert visitor.read() == {"language": "fr"}
    if not backend.is_cookie:
        assert sid_of(visitor) != before
        assert former.read() == {}


def test_sign_out_that_leaves_nothing_expires_the_cookie(
    visitor: Visitor, backend: Backend
) -> None:
    visitor.write({"user_id": 5})
    former = copied(visitor)
    sign_out(visitor)
    assert visitor.cookies == {}
    assert visitor.read() == {}
    if not backend.is_cookie:
        assert former.read() == {}


def test_sign_in_after_sign_out_in_one_request(visitor: Visitor, backend: Backend) -> None:
    visitor.write({"user_id": 5})
    former = copied(visitor)
    with visitor.visit() as session:
        session.destroy()
        session["user_id"] = 6
    assert visitor.read() == {"user_id": 6}
    if not backend.is_cookie:
        assert former.read() == {}


def test_a_late_request_of_who_was_signed_in_changes_nothing(
    visitor: Visitor, backend: Backend
) -> None:
    """It has begun before the sign-out, and is saved after it."""
    if not backend.is_stored or backend.is_cookie:
        pytest.skip("a copy of a cookie is valid")
    visitor.write({"user_id": 5})
    late = copied(visitor)
    with late.visit() as session:
        session["seen"] = True
        sign_out(visitor)
    assert visitor.read() == {}
    assert late.read() == {}


def test_messages_for_after_the_sign_out_are_kept(visitor: Visitor) -> None:
    visitor.write({"user_id": 5})
    with visitor.visit() as session:
        del session["user_id"]
        session.add_flash("You are signed out.")
    with visitor.visit() as session:
        assert [value for value, _ in session.get_flashes()] == ["You are signed out."]


class BrokenFactory(MemorySessionFactory):
    """A session that cannot be saved."""

    def save_session(self, response: Any) -> None:
        """Fail."""
        raise RuntimeError("it cannot be saved")


@pytest.mark.parametrize("is_first", [True, False], ids=["before it", "after it"])
def test_sign_out_is_one_also_if_another_session_cannot_be_saved(
    visitor: Visitor, backend: Backend, is_first: bool
) -> None:
    visitor.write({"user_id": 5, "language": "fr"})
    former = copied(visitor)
    store = SessionStore(visitor.request())
    if is_first:
        store.get_session("other", factory=BrokenFactory)
    session = store.get_session(backend=backend.keyword)
    if not is_first:
        store.get_session("other", factory=BrokenFactory)
    del session["user_id"]
    response = webapp2.Response()
    with pytest.raises(RuntimeError):
        store.save_sessions(response)
    visitor.take(response)
    assert visitor.cookies == {}
    if not backend.is_cookie:
        assert former.read() == {}


def test_nothing_happens_without_a_user_key(backend: Backend) -> None:
    visitor = backend.visitor()
    visitor.write({"user_id": 5})
    before = sid_of(visitor)
    visitor.write({"user_id": 6})
    assert sid_of(visitor) == before


# With tokens against forged requests


def test_a_token_that_is_shown_at_sign_in_is_that_of_the_new_id(visitor: Visitor) -> None:
    """The page that answers a sign-in has forms, and is made before the session is saved."""
    visitor.write({"cart": ["assam"]})
    attacker = copied(visitor)
    with attacker.visit() as session:
        known = session.get_csrf_token()
    with visitor.visit() as session:
        session["user_id"] = 5
        shown = session.get_csrf_token()
    with visitor.visit() as session:
        assert (dict(session)["user_id"], session.check_csrf_token(shown)) == (5, True)
        assert not session.check_csrf_token(known)
        session["a"] = 1
    with visitor.visit() as session:
        assert session.check_csrf_token(shown)


def test_a_token_that_is_shown_at_sign_out_is_that_of_what_is_left(visitor: Visitor) -> None:
    visitor.write({"user_id": 5, "language": "fr"})
    with visitor.visit() as session:
        before = session.get_csrf_token()
    with visitor.visit() as session:
        del session["user_id"]
        shown = session.get_csrf_token()
    with visitor.visit() as session:
        assert session["language"] == "fr"
        assert session.check_csrf_token(shown)
        assert not session.check_csrf_token(before)


@pytest.mark.parametrize("is_there", [True, False], ids=["token from before", "no token yet"])
def test_a_token_that_is_made_anew_at_sign_in_fits_later(visitor: Visitor, is_there: bool) -> None:
    with visitor.visit() as session:
        session["a"] = 1
        if is_there:
            session.new_csrf_token()
    with visitor.visit() as session:
        session["user_id"] = 5
        shown = session.new_csrf_token()
    with visitor.visit() as session:
        assert session.check_csrf_token(shown)


def test_a_token_that_is_made_anew_at_sign_out_fits_later(visitor: Visitor) -> None:
    visitor.write({"user_id": 5, "language": "fr"})
    with visitor.visit() as session:
        del session["user_id"]
        shown = session.new_csrf_token()
    with visitor.visit() as session:
        assert session["language"] == "fr"
        assert session.check_csrf_token(shown)


@pytest.mark.parametrize("is_there", [True, False], ids=["kept", "made of the id"])
def test_a_token_from_before_the_sign_in_is_void_in_the_same_request(
    visitor: Visitor, is_there: bool
) -> None:
    visitor.write({"a": 1})
    with visitor.visit() as session:
        known = session.new_csrf_token() if is_there else session.get_csrf_token()
    with visitor.visit() as session:
        assert session.check_csrf_token(known)
        session["user_id"] = 5
        assert not session.check_csrf_token(known)


# A changed password


class Passwords:
    """The users' passwords; `stamp` is a `user_stamp`."""

    def __init__(self) -> None:
        self.hashes = {5: "a hash", 6: "another hash"}

    def stamp(self, user: int) -> str | None:
        return self.hashes.get(user)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def member(backend: Backend, passwords: Passwords) -> Visitor:
    """A visitor who is signed in as user 5."""
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")
    visitor = backend.configured(user_key="user_id", user_stamp=passwords.stamp).visitor()
    visitor.write({"user_id": 5})
    return visitor


def test_a_new_password_ends_the_sessions_from_before(
    member: Visitor, passwords: Passwords
) -> None:
    thief = copied(member)
    assert member.read() == thief.read() == {"user_id": 5}
    passwords.hashes[5] = "the hash of a new one"
    with member.visit() as session:
        assert (dict(session), session.new, session.destroyed) == ({}, True, True)
    assert member.cookies == {}
    assert thief.read() == {}
    member.write({"user_id": 5})
    assert member.read() == {"user_id": 5}


def test_the_session_that_changes_the_password_may_stay(
    member: Visitor, passwords: Passwords
) -> None:
    other = copied(member)
    with member.visit() as session:
        passwords.hashes[5] = "the hash of a new one"
        session.regenerate_id()
    assert member.read() == {"user_id": 5}
    assert other.read() == {}


def test_a_request_that_saw_the_former_password_does_not_outlive_it(
    member: Visitor, passwords: Passwords
) -> None:
    """A thief's that has begun before the password is changed, and is saved after it."""
    thief = copied(member)
    with thief.visit() as session:
        passwords.hashes[5] = "the hash of a new one"
        session["seen"] = True
    assert thief.read() == {}


def test_the_password_counts_that_is_there_when_a_new_id_is_saved(
    member: Visitor, passwords: Passwords
) -> None:
    with member.visit() as session:
        session.regenerate_id()
        session.get_csrf_token()
        passwords.hashes[5] = "the hash of a new one"
    assert member.read()["user_id"] == 5


def test_nothing_is_written_if_the_stamp_of_who_signs_in_cannot_be_had(
    member: Visitor, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a database does not answer. The session from before stays."""
    with member.visit() as session:
        del session["user_id"]
        session["cart"] = ["assam"]
    monkeypatch.setattr(passwords, "hashes", None)
    with pytest.raises(AttributeError):
        member.write({"user_id": 5})
    assert member.read() == {"cart": ["assam"]}


def test_another_cookie_of_the_name_opens_a_session_with_the_age_it_has(
    passwords: Passwords, clock: Clock
) -> None:
    """The newest is of a session from before a change of the password."""
    visitor = stored(user_key="user_id", user_stamp=passwords.stamp)
    with visitor.visit() as session:
        session["user_id"] = 6
        session.set_max_age(1000)
    newer = Visitor(visitor.app, **visitor.options)
    clock.advance(1)
    newer.write({"user_id": 5})
    passwords.hashes[5] = "the hash of a new one"
    visitor.cookies["session"] += f"; session={newer.cookies['session']}"
    with visitor.visit() as session:
        assert session.get_expiry_age() == 999
        session["a"] = 1
    assert "Max-Age=1000" in visitor.set_cookies[0]


def test_a_user_who_is_gone_is_signed_out(member: Visitor, passwords: Passwords) -> None:
    del passwords.hashes[5]
    assert member.read() == {}


def test_a_session_from_before_there_were_stamps_gets_one(
    backend: Backend, passwords: Passwords
) -> None:
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind follows nobody")
    visitor = backend.visitor()
    visitor.write({"user_id": 5})
    visitor.app.config["webapp2_extras.sessions"].update(
        user_key="user_id", user_stamp=passwords.stamp
    )
    assert visitor.read() == {"user_id": 5}
    visitor.write({"a": 1})
    passwords.hashes[5] = "the hash of a new one"
    assert visitor.read() == {}


def test_a_stamp_survives_a_new_key(passwords: Passwords) -> None:
    visitor = stored(user_key="user_id", user_stamp=passwords.stamp)
    visitor.write({"user_id": 5})
    settings = visitor.app.config["webapp2_extras.sessions"]
    settings.update(secret_key=SECRET[::-1], secret_key_fallbacks=[SECRET])
    assert visitor.read() == {"user_id": 5}
    visitor.write({"a": 1})
    assert visitor.read() == {"user_id": 5, "a": 1}
    passwords.hashes[5] = "the hash of a new one"
    assert visitor.read() == {}


@pytest.mark.parametrize("stamp", [b"hash", bytearray(b"hash"), "\udce9", None, 5])
def test_a_stamp_may_be_what_databases_give(stamp: Any) -> None:
    """A memoryview of the bytes is another object each time."""
    kept = []

    def user_stamp(user: int) -> Any:
        kept.append(memoryview(stamp) if isinstance(stamp, bytearray) else stamp)
        return kept[-1]

    visitor = stored(user_key="user_id", user_stamp=user_stamp)
    visitor.write({"user_id": 5})
    assert visitor.read() == {"user_id": 5}
    stamp = "another"
    assert visitor.read() == {}


def test_a_stamp_is_looked_up_once_in_a_request(passwords: Passwords) -> None:
    """And once more for a new id."""
    asked: list[int] = []
    visitor = stored(user_key="user_id", user_stamp=asked.append)
    counts = []
    for change in [
        lambda session: session.update(user_id=5, token=session.get_csrf_token()),
        dict,
        lambda session: session.update(a=1),
        lambda session: (session.regenerate_id(), session.get_csrf_token()),
    ]:
        asked.clear()
        with visitor.visit() as session:
            change(session)
        counts.append(len(asked))
    assert counts == [1, 1, 1, 2]


def test_nobody_has_a_stamp(passwords: Passwords) -> None:
    visitor = Visitor(make_app(user_key="user_id", user_stamp=passwords.stamp))
    plain = Visitor(make_app())
    for each in (visitor, plain):
        each.write({"a": 1})
    assert len(visitor.cookies["session"]) == len(plain.cookies["session"])
    visitor.write({"user_id": 5})
    assert "hash" not in str(base64.b64decode(visitor.cookies["session"].partition("|")[0]))


# What tells who is signed in


def stored(**config: Any) -> Visitor:
    """A visitor whose sessions are kept in this process."""
    backends = {"memory": MemorySessionFactory}
    return Visitor(make_app(backends=backends, **config), backend="memory")


@pytest.mark.parametrize(
    ("user_key", "first", "second", "third"),
    [
        ("user", "ann@example.com", "ann@example.com", "bob@example.com"),
        ("user", {"id": 5}, {"id": 5}, {"id": 6}),
        (lambda session: (session.get("user") or {}).get("id"), {"id": 5}, {"id": 5, "x": 1}, {}),
        ("_user", [5, 1, "token", 1, 2], [5, 1, "another", 3, 4], [6, 1, "token", 1, 2]),
        ({"session": "user", "cart": "owner"}, 5, 5, 6),
    ],
    ids=["text", "dictionary", "function", "auth", "by name"],
)
def test_the_user_may_be_kept_in_many_ways(
    user_key: Any, first: Any, second: Any, third: Any
) -> None:
    key = user_key if isinstance(user_key, str) else "user"
    visitor = stored(user_key=user_key)
    ids = []
    for user in (None, first, second, third):
        visitor.write({"a": 1} if user is None else {key: user})
        ids.append(sid_of(visitor))
    anonymous, one, same, other = ids
    assert anonymous != one == same != other


def test_sessions_of_other_names_are_left_alone() -> None:
    visitor = stored(user_key={"auth": "user"})
    visitor.write({"user": 5})
    before = sid_of(visitor)
    visitor.write({"user": 6})
    assert sid_of(visitor) == before


class Incomparable:
    """A user that does not let itself be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


def test_users_that_cannot_be_compared_count_as_others() -> None:
    visitor = stored(user_key="user")
    visitor.write({"user": Incomparable()})
    before = sid_of(visitor)
    visitor.write({"user": Incomparable()})
    assert sid_of(visitor) != before


def test_a_change_inside_a_value_is_noticed_and_saved() -> None:
    visitor = stored(user_key=lambda session: session["user"]["id"] if session else None)
    visitor.write({"user": {"id": None}})
    before = sid_of(visitor)
    with visitor.visit() as session:
        session["user"]["id"] = 5
    assert visitor.read() == {"user": {"id": 5}}
    assert sid_of(visitor) != before


@pytest.mark.parametrize("detection", ["flag", "content"])
@pytest.mark.parametrize(
    ("user", "change"),
    [
        ({"id": None}, {"id": 5}),
        ([{"id": None}], {"id": 5}),
        (({"id": None},), {"id": 5}),
        ({"who": [None]}, {"who": [5]}),
    ],
    ids=["dictionary", "in a list", "in a tuple", "list in it"],
)
def test_a_user_that_is_changed_inside_is_another_one(
    user: Any, change: dict[str, Any], detection: str
) -> None:
    visitor = stored(user_key="user", change_detection=detection)
    visitor.write({"user": user})
    attacker = copied(visitor)
    with visitor.visit() as session:
        inner = session["user"] if isinstance(user, dict) else session["user"][0]
        for key, value in change.items():
            if isinstance(value, list):
                inner[key][:] = value
            else:
                inner[key] = value
        if detection == "flag":
            session.mark_changed()
    assert "5" in str(visitor.read())
    assert attacker.read() == {}


def test_a_user_of_parts_that_equal_nothing_else_stays() -> None:
    visitor = stored(user_key="user")
    visitor.write({"user": {"id": 5, "proof": Incomparable()}})
    before = sid_of(visitor)
    visitor.write({"a": 1})
    assert sid_of(visitor) == before


def test_destroyed_session_ends_whatever_a_function_of_the_user_does() -> None:
    """It is not asked about an empty session."""
    visitor = stored(user_key=lambda session: session["user"]["id"])
    visitor.write({"user": {"id": 5}})
    former = copied(visitor)
    with visitor.visit() as session:
        session.destroy()
    assert (visitor.cookies, former.read()) == ({}, {})


def test_destroyed_session_ends_though_what_came_after_it_fails() -> None:
    visitor = stored(user_key=lambda session: session["user"]["id"])
    visitor.write({"user": {"id": 5}})
    former = copied(visitor)
    store = SessionStore(visitor.request())
    session = store.get_session(**visitor.options)
    session.destroy()
    session["user"] = None
    with pytest.raises(TypeError):
        store.save_sessions(webapp2.Response())
    assert former.read() == {}


# webapp2_extras.auth


class User:
    """A user as webapp2_extras.auth asks for one."""

    @classmethod
    def get_by_auth_token(cls, user_id: int, token: str) -> Any:
        return None, None

    @classmethod
    def create_auth_token(cls, user_id: int) -> str:
        return f"token of {user_id}"

    @classmethod
    def delete_auth_token(cls, user_id: int, token: str) -> None:
        """Nothing is kept of it."""


class Account(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """As an application has it that was written for webapp2_extras."""

    def dispatch(self) -> None:
        store = get_store(request=self.request)
        try:
            super().dispatch()
        finally:
            store.save_sessions(self.response)

    def get(self) -> None:
        now = int(time.time())
        signed_in = auth.get_auth(request=self.request)
        if self.request.path == "/sign-in":
            user = {"user_id": 7}
            signed_in.set_session(user, token_ts=now, cache_ts=now, remember=True)
        elif self.request.path == "/sign-out":
            signed_in.unset_session()
        elif self.request.path == "/plant":
            signed_in.session["a"] = 1
        user = signed_in.get_user_by_session()
        self.response.write(user["user_id"] if user else "nobody")


class Member:
    """A browser that visits it."""

    def __init__(self, app: webapp2.WSGIApplication) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> str:
        """What a page answers."""
        pairs = [f"{name}={value}" for name, value in self.cookies.items()]
        response = self.app.get_response(path, headers={"Cookie": "; ".join(pairs)})
        for header in response.headers.getall("Set-Cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        return str(response.text)


def test_auth_gives_a_new_id_with_no_line_of_the_application_changed() -> None:
    """Fixation: the planted cookie is one of the attacker's own session."""
    app = webapp2.WSGIApplication(
        [("/.*", Account)],
        config={
            "webapp2_extras.sessions": {
                "secret_key": SECRET,
                "user_key": "_user",
                "backends": {"memory": MemorySessionFactory},
            },
            "webapp2_extras.auth": {"user_model": User, "session_backend": "memory"},
        },
    )
    attacker, visitor = Member(app), Member(app)
    attacker.get("/plant")
    visitor.cookies.update(attacker.cookies)
    assert visitor.get("/sign-in") == visitor.get("/") == "7"
    assert attacker.get("/") == "nobody"
    thief = Member(app)
    thief.cookies.update(visitor.cookies)
    assert thief.get("/") == "7"
    visitor.get("/sign-out")
    assert (visitor.get("/"), thief.get("/")) == ("nobody", "nobody")
