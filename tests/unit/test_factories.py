"""Session factories load sessions from requests and save them to responses."""

from __future__ import annotations

import datetime
import re
import string
from typing import Any

import pytest
import webapp2
import webob
from support.stores import NOW, make_request, make_store, saved_headers, sign
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import (
    BackendError,
    BaseSessionFactory,
    ConfigError,
    CustomBackendSessionFactory,
    SecureCookieSerializer,
    SecureCookieSessionFactory,
    SessionDict,
    SessionStore,
    StoredSessionFactory,
    factories,
)

SID = "0123456789abcdefghijAB"


class DictFactory(StoredSessionFactory):
    """Keeps sessions in a dictionary, and writes down what it was asked."""

    records: dict[str, Any]
    log: list[tuple[Any, ...]]

    def _read(self, sid: str) -> Any:
        self.log.append(("read", sid))
        return self.records.get(sid)

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        self.log.append(("write", sid, data, lifetime))
        self.records[sid] = data


@pytest.fixture
def factory() -> type[DictFactory]:
    """A backend of the test's own, with the session SID in it."""

    class Factory(DictFactory):
        records = {SID: {"a": 1}}  # noqa: RUF012
        log = []  # noqa: RUF012

    return Factory


def sid_cookie(sid: Any = SID, name: str = "session", timestamp: int = NOW) -> str:
    """A Cookie header with a signed session id."""
    return f"{name}={sign(name, {'_sid': sid}, timestamp)}"


def stored(factory: type[Any], cookie: str | None = None, **config: Any) -> SessionStore:
    """A store whose default backend is this factory."""
    return make_store(cookie, backends={"securecookie": factory}, **config)


# The base


@pytest.mark.parametrize("attribute", ["name", "session_store", "session_args", "session"])
def test_attributes_are_none_on_the_class(attribute: str) -> None:
    """Upstream's defaults, until `__init__` runs."""
    assert getattr(BaseSessionFactory, attribute) is None


def test_a_factory_has_its_name_and_its_store() -> None:
    """A session leads to its factory and its store."""
    store = make_store()
    container = store.get_session("s").container
    assert (container.name, container.session_store) == ("s", store)
    assert container is store.sessions["s"]


def test_session_args_are_a_copy_for_each_session() -> None:
    """Handlers change the cookie arguments of one session."""
    store = make_store(cookie_args={"path": "/a"})
    store.get_session("one").container.session_args["max_age"] = 60
    assert store.get_session("one").container.session_args == {"path": "/a", "max_age": 60}
    assert store.get_session("other").container.session_args == {"path": "/a"}


@pytest.mark.parametrize("method", ["get_session", "save_session"])
def test_the_base_does_nothing(method: str) -> None:
    """A subclass says how to load and save; nothing succeeds by doing nothing."""
    base = BaseSessionFactory("s", make_store())
    arguments = [None] if method == "save_session" else []
    with pytest.raises(NotImplementedError):
        getattr(base, method)(*arguments)


@pytest.mark.parametrize(
    ("made", "method", "arguments"),
    [
        (CustomBackendSessionFactory, "_get_by_sid", [None]),
        (CustomBackendSessionFactory, "save_session", [None]),
        (StoredSessionFactory, "_read", [SID]),
        (StoredSessionFactory, "_write", [SID, {}, None]),
    ],
)
def test_hooks_of_a_backend_have_to_be_written(
    made: type[BaseSessionFactory], method: str, arguments: list[Any]
) -> None:
    """A forgotten hook raises, and is no empty session."""
    with pytest.raises(NotImplementedError):
        getattr(made("s", make_store()), method)(*arguments)


def test_factories_take_any_attribute() -> None:
    """Applications keep things on them."""
    container: Any = SecureCookieSessionFactory("s", make_store())
    container.anything = 1
    assert container.anything == 1


class DuckStore:
    """The least that a factory needs of a store."""

    def __init__(self, cookie: Any = None) -> None:
        self.config = {"cookie_args": {"path": "/"}}
        self.cookie = cookie
        self.calls: list[tuple[Any, ...]] = []

    def get_secure_cookie(self, name: str, max_age: Any = "not given") -> Any:
        self.calls.append(("get", name, max_age))
        return self.cookie

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        self.calls.append(("save", response, name, value, kwargs))


def test_a_cookie_session_needs_little_of_a_store() -> None:
    """Any object with the configuration and the two cookie methods is a store."""
    store = DuckStore({"a": 1})
    container = SecureCookieSessionFactory("s", store)
    container.get_session(max_age=5)["b"] = 2
    container.save_session("response")
    assert store.calls == [
        ("get", "s", 5),
        ("save", "response", "s", {"a": 1, "b": 2}, {"path": "/"}),
    ]


def test_a_stored_session_needs_little_of_a_store(factory: type[DictFactory]) -> None:
    """Any object with the configuration and the two cookie methods is a store."""
    store = DuckStore({"_sid": SID})
    container = factory("s", store)
    container.get_session(max_age=5)["b"] = 2
    response = webob.Response()
    container.save_session(response)
    assert store.calls == [("get", "s", 5), ("save", response, "s", {"_sid": SID}, {"path": "/"})]
    assert factory.records == {SID: {"a": 1, "b": 2}}


# Cookie sessions


def test_a_cookie_session_holds_what_the_cookie_holds() -> None:
    """A valid cookie is not new."""
    session = make_store("session=" + sign("session", {"a": 1})).get_session()
    assert (session, session.new) == ({"a": 1}, False)


def test_an_empty_cookie_session_is_not_new() -> None:
    """The visitor came with it."""
    session = make_store("session=" + sign("session", {})).get_session()
    assert (session, session.new) == ({}, False)


@pytest.mark.parametrize("cookie", [None, "session=x", "session=" + sign("s", {"a": 1})])
def test_no_valid_cookie_is_a_new_session(cookie: str | None) -> None:
    """Missing, malformed and forged cookies are alike."""
    session = make_store(cookie).get_session()
    assert (session, session.new) == ({}, True)


NO_OBJECTS = [[1], ["a"], [["a", 1]], 5, "text", "", 0, True, False, None, 1.5, []]


@pytest.mark.parametrize("value", NO_OBJECTS, ids=repr)
@pytest.mark.parametrize("stored_in", ["cookie", "backend"])
def test_a_signed_value_that_is_no_object_is_no_session(
    value: Any, stored_in: str, factory: type[DictFactory]
) -> None:
    """Another use of the same secret and name is answered by a new session."""
    cookie = "session=" + sign("session", value)
    made = factory if stored_in == "backend" else None
    session = make_store(cookie).get_session(factory=made)
    assert (session, session.new) == ({}, True)


def test_an_unmodified_cookie_session_is_not_written() -> None:
    """Reading sends no cookie."""
    store = make_store("session=" + sign("session", {"a": 1}))
    assert store.get_session()["a"] == 1
    assert saved_headers(store) == []


def test_a_modified_cookie_session_is_written() -> None:
    """The whole session goes into one signed cookie, with the session's arguments."""
    store = make_store()
    store.serializer._get_timestamp = lambda: NOW
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["httponly"] = True
    assert saved_headers(store) == [f"session={sign('session', {'a': 1})}; Path=/; HttpOnly"]


@pytest.mark.parametrize("made", [None, DictFactory])
def test_a_factory_that_was_not_opened_saves_nothing(made: Any) -> None:
    """A session that was never loaded is not touched."""
    container = (made or SecureCookieSessionFactory)("s", make_store())
    response = webapp2.Response()
    container.save_session(response)
    assert response.headers.getall("Set-Cookie") == []


def test_setting_the_session_to_none_reloads_it() -> None:
    """The next `get_session()` reads the cookie again; the changes are dropped."""
    store = make_store("session=" + sign("session", {"a": 1}))
    session = store.get_session()
    session["a"] = 2
    session.container.session = None
    again = store.get_session()
    assert again is not session
    assert (again, again.modified) == ({"a": 1}, False)


# Custom backends


class Upstreams(CustomBackendSessionFactory):
    """A backend as it is written against upstream: two methods and nothing of ours."""

    records: dict[str, Any] = {SID: {"a": 1}}  # noqa: RUF012

    def _get_by_sid(self, sid: Any) -> SessionDict:
        if self._is_valid_sid(sid) and sid in self.records:
            self.sid = sid
            return SessionDict(self, data=self.records[sid])
        self.sid = self._get_new_sid()
        return SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        if self.session is None or not self.session.modified:
            return
        self.records[str(self.sid)] = dict(self.session)
        self.session_store.save_secure_cookie(
            response, self.name, {"_sid": self.sid}, **self.session_args
        )


def test_a_backend_written_against_upstream_loads() -> None:
    """`_get_by_sid` is all that is called."""
    session = stored(Upstreams, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_a_backend_written_against_upstream_saves() -> None:
    """`save_session` is all that is called, and the next request has the session."""
    visitor = Visitor(make_app(backends={"mine": Upstreams}), backend="mine")
    sid = visitor.write({"b": 2})
    assert Upstreams.records[sid] == {"b": 2}
    assert visitor.read() == {"b": 2}


class Asked(CustomBackendSessionFactory):
    """Writes down which session ids it was asked for."""

    asked: list[Any]

    def _get_by_sid(self, sid: Any) -> SessionDict:
        type(self).asked = [sid]
        return SessionDict(self)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, None),
        ({"_sid": SID}, SID),
        ({"_sid": "short"}, "short"),
        ({"_sid": ""}, ""),
        ({}, None),
        ({"a": 1}, None),
        ({"_sid": 5}, None),
        ({"_sid": None}, None),
        ({"_sid": [SID]}, None),
        ({"_sid": {"a": 1}}, None),
        ({"_sid": True}, None),
    ],
)
def test_a_backend_is_asked_for_text_or_none(payload: Any, expected: Any) -> None:
    """A session id that is no text counts as none; whether it is valid the backend decides."""
    cookie = None if payload is None else "session=" + sign("session", payload)
    stored(Asked, cookie).get_session()
    assert Asked.asked == [expected]


@pytest.mark.parametrize(
    ("sid", "expected"),
    [
        (SID, True),
        ("_" * 22, True),
        ("", False),
        (None, False),
        (5, False),
        (SID[:-1], False),
        (SID + "0", False),
        (SID + "\n", False),
        (SID[:-1] + "\n", False),
        (SID[:-1] + "-", False),
        (SID[:-1] + " ", False),
        (SID[:-1] + "é", False),
        ("é" * 22, False),
        ("\N{ARABIC-INDIC DIGIT ONE}" * 22, False),
    ],
)
def test_valid_session_ids(sid: Any, expected: bool) -> None:
    """22 ASCII word characters, from end to end."""
    assert expected is CustomBackendSessionFactory("s", DuckStore())._is_valid_sid(sid)


def test_a_subclass_may_have_its_own_pattern() -> None:
    """`_sid_re` of a subclass is used as it is."""

    class Numbers(CustomBackendSessionFactory):
        _sid_re = re.compile(r"^\d+$")

    container = Numbers("s", DuckStore())
    assert (container._is_valid_sid("123"), container._is_valid_sid(SID)) == (True, False)


# New session ids

ALPHABET = string.digits + string.ascii_letters


def new_sid() -> str:
    """A new session id."""
    return CustomBackendSessionFactory("s", DuckStore())._get_new_sid()


def test_a_new_id_has_22_characters() -> None:
    """The length that `_sid_re` wants, of upstream's alphabet."""
    assert re.fullmatch(f"[{ALPHABET}]{{22}}", new_sid())


def test_a_new_id_is_valid() -> None:
    """What is made is accepted."""
    container = CustomBackendSessionFactory("s", DuckStore())
    assert container._is_valid_sid(container._get_new_sid()) is True


def test_ids_do_not_repeat() -> None:
    """Each is new."""
    assert len({new_sid() for _ in range(1000)}) == 1000


def test_all_characters_appear() -> None:
    """Nothing of the alphabet is missing: in 22,000 characters by less than 1 in 10**150."""
    assert set(ALPHABET) == set("".join(new_sid() for _ in range(1000)))


def test_no_character_is_more_likely() -> None:
    """Of the random bytes that are kept, each character has the same number."""
    kept = bytes(range(256)).translate(factories._TO_ALPHABET, factories._UNEVEN).decode()
    assert {character: kept.count(character) for character in kept} == dict.fromkeys(ALPHABET, 4)


def test_an_id_is_made_of_bytes_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that would favour a character are left out, and more are fetched where they miss."""
    answers = [bytes([255] * 44), bytes([248] * 23 + list(range(21))), bytes(44)]
    asked = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return answers[len(asked) - 1]

    monkeypatch.setattr("os.urandom", urandom)
    assert new_sid() == "0123456789abcdefghijk" + "0"
    assert asked == [44, 44, 44]


# Stored sessions: loading


def test_a_stored_session_is_read_by_its_id(factory: type[DictFactory]) -> None:
    """The record of the cookie's id is the session."""
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_an_empty_stored_session_is_not_new(factory: type[DictFactory]) -> None:
    """It was found."""
    factory.records[SID] = {}
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({}, False, SID)


@pytest.mark.parametrize(
    "cookie", [None, "session=x", sid_cookie("short"), sid_cookie(SID + "\n"), sid_cookie(5)]
)
def test_without_a_valid_id_nothing_is_read(cookie: str | None, factory: type[DictFactory]) -> None:
    """The backend is not asked, and the session is new with an id of its own."""
    session = stored(factory, cookie).get_session()
    assert (session, session.new, factory.log) == ({}, True, [])
    assert re.fullmatch(r"\w{22}", session.container.sid)


def test_an_unknown_id_is_not_taken_over(factory: type[DictFactory]) -> None:
    """A session that is gone comes back under another id."""
    session = stored(factory, sid_cookie("Z" * 22)).get_session()
    assert (session, session.new) == ({}, True)
    assert session.container.sid != "Z" * 22


@pytest.mark.parametrize("record", [[], ["a"], "text", 5, [("a", 1)]])
def test_a_record_that_is_no_dictionary_is_no_session(
    record: Any, factory: type[DictFactory]
) -> None:
    """It counts as none, and its id is not used."""
    factory.records[SID] = record
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new) == ({}, True)
    assert session.container.sid != SID


def test_a_stored_session_is_read_once(factory: type[DictFactory]) -> None:
    """The request keeps it."""
    store = stored(factory, sid_cookie())
    assert store.get_session() is store.get_session()
    assert factory.log == [("read", SID)]


def test_a_stored_session_is_read_again_after_none(factory: type[DictFactory]) -> None:
    """`factory.session = None` reloads."""
    store = stored(factory, sid_cookie())
    store.get_session().container.session = None
    factory.records[SID] = {"a": 2}
    assert store.get_session() == {"a": 2}


def test_a_backend_that_fails_is_no_empty_session(factory: type[DictFactory]) -> None:
    """The error comes out of `get_session()`."""

    class Failing(factory):
        def _read(self, sid: str) -> Any:
            raise BackendError("mine", "here", "no")

    with pytest.raises(BackendError):
        stored(Failing, sid_cookie()).get_session()


@pytest.mark.parametrize(("max_age", "new"), [(60, False), (59, True), (None, False)])
def test_the_age_of_the_cookie_is_checked(
    max_age: int | None, new: bool, factory: type[DictFactory]
) -> None:
    """An expired cookie opens no stored session."""
    store = stored(factory, sid_cookie(timestamp=NOW - 60), session_max_age=max_age)
    store.serializer._get_timestamp = lambda: NOW
    assert store.get_session().new is new


# Stored sessions: saving


def test_a_modified_stored_session_is_written(factory: type[DictFactory]) -> None:
    """The record is replaced, and the cookie holds exactly the id."""
    store = stored(factory, sid_cookie())
    store.serializer._get_timestamp = lambda: NOW
    store.get_session()["b"] = 2
    assert saved_headers(store) == [f"session={sign('session', {'_sid': SID})}; Path=/"]
    assert factory.records == {SID: {"a": 1, "b": 2}}


def test_what_is_written_is_a_plain_dictionary(factory: type[DictFactory]) -> None:
    """A backend pickles no session with its factory, and keeps no reference to it."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    saved_headers(store)
    session["a"] = 2
    [(_, _, data, _)] = factory.log
    assert (type(data), data) == (dict, {"a": 1})


def test_an_unmodified_stored_session_is_not_written(factory: type[DictFactory]) -> None:
    """Reading writes no record and sends no cookie."""
    store = stored(factory, sid_cookie())
    store.get_session()
    assert saved_headers(store) == []
    assert factory.log == [("read", SID)]


def test_saving_twice_writes_twice(factory: type[DictFactory]) -> None:
    """`modified` stays, as upstream."""
    store = stored(factory)
    store.get_session()["a"] = 1
    assert len(saved_headers(store)) == len(saved_headers(store)) == 1
    assert [entry[0] for entry in factory.log] == ["write", "write"]


def test_a_session_that_the_application_sets_gets_an_id(factory: type[DictFactory]) -> None:
    """`factory.session = SessionDict(...)` without loading is written under a new id."""
    store = stored(factory)
    container = factory("session", store)
    store.sessions["session"] = container
    container.session = SessionDict(container)
    container.session["a"] = 1
    assert len(saved_headers(store)) == 1
    [(_, sid, data, _)] = factory.log
    assert (sid, data) == (container.sid, {"a": 1})
    assert re.fullmatch(r"\w{22}", sid)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"foo": 1}, "session_args['foo']"),
        ({"max_age": "soon"}, "session_args['max_age']"),
        ({"samesite": "none"}, "session_args['samesite']"),
        ({"domain": 5}, "session_args['domain']"),
    ],
)
def test_nothing_is_written_where_the_cookie_cannot_be_sent(
    args: dict[str, Any], named: str, factory: type[DictFactory]
) -> None:
    """A wrong argument of this session is found out before its record is written."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args.update(args)
    with pytest.raises(ConfigError) as refused:
        saved_headers(store)
    assert (refused.value.key, factory.log) == (named, [])


def test_the_response_decides_which_arguments_can_be_sent(factory: type[DictFactory]) -> None:
    """A response class of the application's own may take more."""

    class Response(webapp2.Response):
        def set_cookie(self, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
            webob.Response.set_cookie(self, *args, **kwargs)

    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["priority"] = "high"
    store.save_sessions(Response())
    assert [entry[0] for entry in factory.log] == ["write"]


def test_no_cookie_is_set_where_writing_fails(factory: type[DictFactory]) -> None:
    """A session that may not be stored sends nobody its id."""

    class Failing(factory):
        def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
            raise BackendError("mine", "here", "no")

    store = stored(Failing)
    store.get_session()["a"] = 1
    response = webapp2.Response()
    with pytest.raises(BackendError):
        store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


def test_the_record_is_written_before_the_cookie_is_set(factory: type[DictFactory]) -> None:
    """The log shows one after the other."""

    class Store(SessionStore):
        def save_secure_cookie(self, *args: Any, **kwargs: Any) -> None:
            factory.log.append(("cookie",))

    store = Store(make_request(make_app(backends={"securecookie": factory})))
    store.get_session()["a"] = 1
    saved_headers(store)
    assert [entry[0] for entry in factory.log] == ["write", "cookie"]


# Stored sessions: how long

NOT_GIVEN = object()


@pytest.mark.parametrize(
    ("session_max_age", "max_age", "cookie_max_age", "expected"),
    [
        (None, NOT_GIVEN, None, None),
        (60, NOT_GIVEN, None, 60),
        (None, None, None, None),
        (60, None, None, None),
        (None, 60, None, None),
        (60, 30, None, 60),
        (60, 90, None, 90),
        (60, 0, None, 60),
        (0, NOT_GIVEN, None, 0),
        (None, NOT_GIVEN, 60, 60),
        (30, NOT_GIVEN, 60, 30),
        (90, NOT_GIVEN, 60, 60),
        (30, 90, 60, 60),
        (30, None, 60, 60),
        (90, NOT_GIVEN, "60", 60),
        (90, NOT_GIVEN, datetime.timedelta(minutes=1), 60),
        (90, NOT_GIVEN, datetime.timedelta(days=1), 90),
        (None, NOT_GIVEN, datetime.timedelta(days=1), 86400),
        (None, NOT_GIVEN, "60", 60),
        (None, NOT_GIVEN, 0, 0),
        (60, NOT_GIVEN, 0, 0),
        (60.5, NOT_GIVEN, None, 60.5),
    ],
)
def test_the_lifetime_follows_all_ages(
    session_max_age: Any,
    max_age: Any,
    cookie_max_age: Any,
    expected: float | None,
    factory: type[DictFactory],
) -> None:
    """The longest age with which a request may ask, or the browser's if that is shorter."""
    store = stored(factory, session_max_age=session_max_age)
    given = {} if max_age is NOT_GIVEN else {"max_age": max_age}
    session = store.get_session(**given)
    session["a"] = 1
    session.container.session_args["max_age"] = cookie_max_age
    saved_headers(store)
    assert expected == factory.log[-1][3]


@pytest.mark.parametrize("later", [{}, {"max_age": 30}])
def test_the_lifetime_follows_the_age_that_opened_the_session(
    later: dict[str, Any], factory: type[DictFactory]
) -> None:
    """The first `max_age` of a name wins, for the record as for the cookie."""
    store = stored(factory, session_max_age=60)
    store.get_session(max_age=None)["a"] = 1
    store.get_session(**later)
    saved_headers(store)
    assert factory.log[-1][3] is None


def test_the_lifetime_follows_the_age_that_reloaded_the_session(
    factory: type[DictFactory],
) -> None:
    """After `factory.session = None` the age of the next call counts."""
    store = stored(factory, session_max_age=60)
    store.get_session(max_age=None).container.session = None
    store.get_session(max_age=90)["a"] = 1
    saved_headers(store)
    assert factory.log[-1][3] == 90


def test_a_factory_that_opens_its_session_itself_lives_as_configured(
    factory: type[DictFactory],
) -> None:
    """`get_session()` without an age means `session_max_age`."""
    store = stored(factory, session_max_age=60)
    container = factory("session", store)
    store.sessions["session"] = container
    container.get_session()["a"] = 1
    saved_headers(store)
    assert factory.log[-1][3] == 60


def test_the_cookie_of_a_stored_session_is_upstreams(factory: type[DictFactory]) -> None:
    """Any serializer with the secret reads the id from it."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    [header] = saved_headers(store)
    value = header.partition("=")[2].partition(";")[0]
    expected = {"_sid": session.container.sid}
    assert expected == SecureCookieSerializer(SECRET).deserialize("session", value)
