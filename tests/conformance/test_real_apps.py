"""CONTRACT section 2: what real applications use without its being documented.

Each test runs on upstream as well, so that it shows what is kept, and not what we wish.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
from support.implementations import (
    OURS,
    SIDES,
    UPSTREAM,
    Side,
    cookie_pair,
    outcome,
    records_factory,
    request,
    save,
)

pytestmark = pytest.mark.parametrize("side", SIDES, ids=str)


def open_session(side: Side, cookie: str | None = None, **config: Any) -> Any:
    """Return the default session of a new request."""
    return side.store(side.app(**config), cookie).get_session()


# session -> factory -> store


def test_session_leads_to_its_factory_and_store(side: Side) -> None:
    """``session.container`` is the factory in ``store.sessions`` and knows name and store."""
    store = side.store(side.app())
    session = store.get_session("shop")
    container = session.container
    assert container is store.sessions["shop"]
    assert container.name == "shop"
    assert container.session_store is store
    assert container.session is session


def test_session_args_are_a_copy_for_each_session(side: Side) -> None:
    """An application that sets ``session_args['max_age']`` changes that session's cookie only."""
    store = side.store(side.app(cookie_args={"path": "/shop"}))
    one, two = store.get_session("one"), store.get_session("two")
    one.container.session_args["max_age"] = 60
    one["a"] = two["a"] = 1
    headers = save(store)
    assert ["; Max-Age=60; Path=/shop" in header for header in headers] == [True, False]
    assert store.config["cookie_args"] == {"path": "/shop"}


def test_sid_is_on_the_container(side: Side) -> None:
    """``session.container.sid`` is the id that the cookie holds."""
    records: dict[str, Any] = {}
    store = side.store(side.app())
    session = store.get_session(factory=records_factory(side, records))
    session["a"] = 1
    save(store)
    assert records == {session.container.sid: {"a": 1}}


def test_container_can_be_saved_by_itself(side: Side) -> None:
    """``session.container.save_session(response)`` sets that session's cookie."""
    store = side.store(side.app())
    session = store.get_session()
    session["a"] = 1
    response = webapp2.Response()
    session.container.save_session(response)
    assert response.headers["Set-Cookie"].startswith("session=")


def test_store_has_serializer_config_and_request(side: Side) -> None:
    """Applications sign values of their own with ``store.serializer``."""
    app = side.app()
    store = side.sessions.SessionStore(incoming := request(app))
    assert store.request is incoming
    assert store.config is app.config["webapp2_extras.sessions"]
    signed = store.serializer.serialize("x", [1])
    assert store.serializer.deserialize("x", signed) == [1]
    assert store.serializer is store.serializer


@pytest.mark.parametrize("where", ["store", "subclass", "class"])
@pytest.mark.parametrize("name", ["session", "other"])
def test_serializer_of_another_class(
    side: Side, where: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that packs values differently reads what it has written, from whatever it is derived."""
    base = side.securecookie.SecureCookieSerializer
    read, write = base.deserialize, base.serialize

    class Hexadecimal(base):  # type: ignore[misc,valid-type] # of either side
        def serialize(self, name: str, value: Any) -> bytes:
            return bytes(write(self, name, value).hex(), "ascii")

        def deserialize(self, name: str, value: str, max_age: Any = None) -> Any:
            return read(self, name, bytes.fromhex(value).decode(), max_age)

    class Store(side.sessions.SessionStore):
        serializer = Hexadecimal("k")

    def store(cookie: str | None = None) -> Any:
        if where == "subclass":
            return Store(request(app, cookie))
        result = side.store(app, cookie)
        if where == "store":
            result.serializer = Hexadecimal("k")
        return result

    app = side.app()
    if where == "class":
        monkeypatch.setattr(base, "serialize", Hexadecimal.serialize)
        monkeypatch.setattr(base, "deserialize", Hexadecimal.deserialize)
    first = store()
    first.get_session(name)["a"] = 1
    [header] = save(first)
    cookie = cookie_pair(header)
    assert "|" not in cookie
    assert store(cookie).get_session(name, max_age=60) == {"a": 1}
    assert store(cookie).get_secure_cookie(name, max_age=60) == {"a": 1}


def test_values_that_json_has_not(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that packs all values in another way, by two methods of the class."""
    base = side.securecookie.SecureCookieSerializer

    def encode(self: Any, value: Any) -> bytes:
        return base64.b64encode(repr(value).encode())

    def decode(self: Any, value: bytes) -> Any:
        return ast.literal_eval(base64.b64decode(value).decode())

    monkeypatch.setattr(base, "_encode", encode)
    monkeypatch.setattr(base, "_decode", decode)
    app = side.app()
    store = side.store(app)
    store.get_session()["a"] = {1, 2}
    [header] = save(store)
    assert side.store(app, cookie_pair(header)).get_session() == {"a": {1, 2}}
    signed = store.serializer.serialize("x", {3})
    assert store.serializer.deserialize("x", signed) == {3}


@pytest.mark.parametrize("is_read_by_the_serializer", [False, True])
def test_another_signature(
    side: Side, is_read_by_the_serializer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that signs by another hash function, by a method of the class."""

    def sign(self: Any, *parts: bytes) -> Any:
        signature = hmac.new(b"k", b"|".join(parts), hashlib.sha256).hexdigest()
        return signature.encode()

    app = side.app()
    first, second = side.store(app), side.store(app)
    first.get_session()["a"] = 1
    [before] = save(first)
    monkeypatch.setattr(side.securecookie.SecureCookieSerializer, "_get_signature", sign)
    second.get_session()["a"] = 1
    [after] = save(second)
    seen = []
    for header in (before, after):
        name, _, value = cookie_pair(header).partition("=")
        if is_read_by_the_serializer:
            seen.append(side.store(app).serializer.deserialize(name, value))
        else:
            seen.append(dict(side.store(app, f"{name}={value}").get_session()))
    assert seen == [None if is_read_by_the_serializer else {}, {"a": 1}]
    assert len(after) == len(before) + 24


@pytest.mark.parametrize("is_saved", [False, True])
def test_store_has_the_request_of_its_handler(side: Side, is_saved: bool) -> None:
    """As long as the handler runs, and afterwards where somebody has the request."""
    seen: list[Any] = []

    class Page(webapp2.RequestHandler):
        def get(self) -> None:
            store = side.sessions.get_store(request=self.request)
            store.get_session()["a"] = 1
            if is_saved:
                store.save_sessions(self.response)
            self.response.app_iter = self.body(store)

        def body(self, store: Any) -> Any:
            """Made while it is being sent."""
            seen.append(store.request is self.request)
            yield store.request.path.encode()

    app = side.app()
    app.router.add(("/page", Page))
    assert request(app, path="/page").get_response(app).body == b"/page"
    assert seen == [True]


# SessionDict


def test_new_and_modified_are_read_and_assigned(side: Side) -> None:
    """``modified = True`` sends the cookie of a session in which nothing was assigned."""
    store = side.store(side.app())
    session = store.get_session()
    assert (session.new, session.modified) == (True, False)
    session.modified = True
    assert len(save(store)) == 1


def test_pop_takes_no_keyword_default(side: Side) -> None:
    """``pop(key, default=None)`` is a TypeError, as it is for a dict."""
    kind, _ = outcome(open_session(side).pop, "a", default=None)
    assert kind == "TypeError"


def test_pop_of_a_missing_key_does_not_modify(side: Side) -> None:
    """Neither with nor without a default."""
    session = open_session(side)
    assert session.pop("a", 5) == 5
    assert outcome(session.pop, "a") == ("KeyError", "'a'")
    assert session.modified is False


def test_get_flashes_of_an_empty_session_does_not_modify(side: Side) -> None:
    """A page that only looks for messages sends no cookie."""
    session = open_session(side)
    assert session.get_flashes() == []
    assert session.modified is False


def test_setdefault_always_modifies(side: Side) -> None:
    """Also where the key is there already."""
    session = side.sessions.SessionDict(None, {"a": 1})
    assert session.setdefault("a", 2) == 1
    assert session.modified is True


def test_session_is_a_plain_dictionary_to_others(side: Side) -> None:
    """It is falsy when empty, JSON takes it, and it equals a dict of the same items."""
    session = side.sessions.SessionDict(None, {"a": [1]})
    assert (bool(session), bool(side.sessions.SessionDict(None))) == (True, False)
    assert json.dumps(session) == '{"a": [1]}'
    assert session == {"a": [1]}
    assert isinstance(session, dict)


def test_container_may_be_any_object(side: Side) -> None:
    """Tests of applications pass ``None`` or a mock."""
    for container in (None, "text", SimpleNamespace()):
        assert side.sessions.SessionDict(container).container is container


def test_data_may_be_pairs_and_comes_unmodified(side: Side) -> None:
    """Initial data is whatever ``dict()`` takes, and does not count as a change."""
    session = side.sessions.SessionDict(None, [("a", 1)], True)
    assert (session, session.new, session.modified) == ({"a": 1}, True, False)


# Factory hooks


def test_two_methods_make_a_backend(side: Side) -> None:
    """A subclass with ``_get_by_sid`` and ``save_session`` only needs none of our hooks."""
    records: dict[str, Any] = {}
    app, factory = side.app(), records_factory(side, records)
    store = side.store(app)
    store.get_session(factory=factory)["n"] = 1
    [header] = save(store)
    store = side.store(app, cookie_pair(header))
    session = store.get_session(factory=factory)
    assert (session, session.new) == ({"n": 1}, False)


def test_factory_is_constructed_with_name_and_store(side: Side) -> None:
    """A subclass may extend ``__init__(name, session_store)`` and set attributes."""
    seen = []

    class Factory(side.sessions.SecureCookieSessionFactory):
        def __init__(self, name: str, session_store: Any) -> None:
            super().__init__(name, session_store)
            self.attribute_of_its_own = 1
            seen.append((name, session_store, self.session, self.session_args))

    store = side.store(side.app(cookie_args={"path": "/x"}))
    store.get_session("shop", factory=Factory)
    assert seen == [("shop", store, None, {"path": "/x"})]


def test_get_session_is_called_with_max_age(side: Side) -> None:
    """A subclass that overrides ``get_session(max_age=...)`` gets the resolved age."""
    seen = []

    class Factory(side.sessions.SecureCookieSessionFactory):
        def get_session(self, max_age: Any = None) -> Any:
            seen.append(max_age)
            return super().get_session(max_age=max_age)

    store = side.store(side.app(session_max_age=7))
    store.get_session(factory=Factory)
    store.get_session(factory=Factory, max_age=None)
    assert seen == [7, None]


def test_base_custom_factory_calls_only_get_by_sid(side: Side) -> None:
    """``CustomBackendSessionFactory.get_session()`` hands ``_get_by_sid`` what the cookie has."""
    seen = []

    class Factory(side.sessions.CustomBackendSessionFactory):
        def _get_by_sid(self, sid: Any) -> Any:
            seen.append(sid)
            return "whatever it returns"

    app = side.app()
    signed = side.store(app).serializer.serialize("session", {"_sid": "not even a valid one"})
    for cookie in (None, f"session={signed.decode()}"):
        store = side.store(app, cookie)
        assert store.get_session(factory=Factory) == "whatever it returns"
    assert seen == [None, "not even a valid one"]


def test_own_sid_pattern_is_honoured(side: Side) -> None:
    """A subclass's ``_sid_re`` decides, matched from the start as upstream does."""

    class Factory(side.sessions.CustomBackendSessionFactory):
        _sid_re = re.compile(r"^[0-9a-f]{8}")

    factory = Factory("session", side.store(side.app()))
    valid = [bool(factory._is_valid_sid(sid)) for sid in ("0123abcd", "0123abcdXYZ", "xyz", "")]
    assert valid == [True, True, False, False]


def test_ids_are_22_letters_and_digits(side: Side) -> None:
    """``_get_new_sid()`` gives ids of upstream's form, which ``_is_valid_sid()`` takes."""
    factory = side.sessions.CustomBackendSessionFactory("session", side.store(side.app()))
    sids = {factory._get_new_sid() for _ in range(50)}
    assert len(sids) == 50
    assert all(re.fullmatch("[0-9A-Za-z]{22}", sid) for sid in sids)
    assert all(factory._is_valid_sid(sid) for sid in sids)


def test_own_new_sid_is_used(side: Side) -> None:
    """A subclass may make ids of its own."""
    records: dict[str, Any] = {}

    class Factory(records_factory(side, records)):
        def _get_new_sid(self) -> str:
            return "x" * 22

    store = side.store(side.app())
    store.get_session(factory=Factory)["a"] = 1
    save(store)
    assert list(records) == ["x" * 22]


def test_session_none_makes_the_factory_load_again(side: Side) -> None:
    """``container.session = None`` forgets unsaved changes."""
    store = side.store(side.app())
    session = store.get_session()
    session["a"] = 1
    session.container.session = None
    assert store.get_session() == {}


def test_factory_works_on_a_duck_typed_store(side: Side) -> None:
    """A store needs ``config['cookie_args']`` and two methods, no more."""

    class Store:
        config = {"cookie_args": {"path": "/"}}  # noqa: RUF012 # as applications write it

        def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
            return {"name": name}

        def save_secure_cookie(self, response: Any, name: str, value: Any, **kw: Any) -> None:
            response.append((name, value, kw))

    factory = side.sessions.SecureCookieSessionFactory("shop", Store())
    factory.get_session()["a"] = 1
    response: list[Any] = []
    factory.save_session(response)
    assert response == [("shop", {"name": "shop", "a": 1}, {"path": "/"})]


def test_base_methods_are_not_implemented(side: Side) -> None:
    """The base classes say so, also in ``_get_by_sid(None)``."""
    store = side.store(side.app())
    base = side.sessions.BaseSessionFactory("x", store)
    custom = side.sessions.CustomBackendSessionFactory("x", store)
    for call in (base.get_session, lambda: base.save_session(None), custom.get_session):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        custom._get_by_sid(None)


def test_factory_may_be_any_callable(side: Side) -> None:
    """``factory=`` takes a function, and ``backends`` may hold classes."""
    store = side.store(side.app(backends={"mine": side.sessions.SecureCookieSessionFactory}))
    made = store.get_session(
        "one", factory=lambda *args: side.sessions.SecureCookieSessionFactory(*args)
    )
    assert made == {}
    assert store.get_session("two", backend="mine") == {}


# SessionStore


def test_store_is_subclassed_with_another_init(side: Side) -> None:
    """A subclass may take other arguments and pass ``config`` on."""

    class Store(side.sessions.SessionStore):
        def __init__(self, handler: Any, extra: str) -> None:
            super().__init__(handler.request, config={"cookie_name": extra})

    store = Store(SimpleNamespace(request=request(side.app())), "own")
    store.get_session()["a"] = 1
    assert [header.partition("=")[0] for header in save(store)] == ["own"]


def test_store_subclass_may_set_everything_itself(side: Side) -> None:
    """A subclass that does not call the base's ``__init__`` works as well."""

    class Store(side.sessions.SessionStore):
        def __init__(self, incoming: Any) -> None:
            self.request = incoming
            self.sessions = {}
            self.config = {
                "secret_key": "own",
                "cookie_name": "own",
                "session_max_age": None,
                "cookie_args": {"path": "/"},
                "backends": {"securecookie": side.sessions.SecureCookieSessionFactory},
            }

    store = Store(request(side.app()))
    store.get_session()["a"] = 1
    assert [header.partition("=")[0] for header in save(store)] == ["own"]


def test_store_methods_can_be_overridden(side: Side) -> None:
    """Sessions are read and written by the store's own ``*_secure_cookie`` methods."""
    written = []

    class Store(side.sessions.SessionStore):
        def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
            return {"read": name}

        def save_secure_cookie(self, response: Any, name: str, value: Any, **kw: Any) -> None:
            written.append((name, value))

    store = Store(request(side.app()))
    store.get_session()["a"] = 1
    save(store)
    assert written == [("session", {"read": "session", "a": 1})]


def test_secure_cookie_methods_work_by_themselves(side: Side) -> None:
    """``save_secure_cookie`` and ``get_secure_cookie(name, max_age=)`` need no session."""
    app = side.app()
    response = webapp2.Response()
    side.store(app).save_secure_cookie(response, "own", {"a": 1}, path="/x", max_age=60)
    header = response.headers["Set-Cookie"]
    assert "Max-Age=60; Path=/x" in header
    store = side.store(app, cookie_pair(header))
    assert store.get_secure_cookie("own") == {"a": 1}
    assert store.get_secure_cookie("own", max_age=-60) is None


def test_set_secure_cookie_merges_and_is_seen_in_the_next_request(side: Side) -> None:
    """It updates the session of that name; the request's own cookie stays what it was (b25)."""
    app = side.app()
    store = side.store(app)
    store.set_secure_cookie("own", {"old": 1})
    store = side.store(app, cookie_pair(save(store)[0]))
    store.set_secure_cookie("own", {"new": 2})
    assert store.get_secure_cookie("own") == {"old": 1}
    store = side.store(app, cookie_pair(save(store)[0]))
    assert store.get_secure_cookie("own") == {"old": 1, "new": 2}


# Module


def test_default_config_is_mutated_at_import_time(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applications change the defaults, nested ones too, before they load."""
    monkeypatch.setitem(side.sessions.default_config, "cookie_name", "own")
    monkeypatch.setitem(side.sessions.default_config["cookie_args"], "httponly", True)
    store = side.store(side.app())
    store.get_session()["a"] = 1
    [header] = save(store)
    assert header.startswith("own=")
    assert header.endswith("; HttpOnly")


def test_default_value_is_the_sentinel_of_signatures(side: Side) -> None:
    """Overrides of ``get_session`` import ``_default_value`` for their own default."""
    store = side.store(side.app(session_max_age=5))
    container = store.get_session(max_age=side.sessions._default_value).container
    assert container.name == "session"


def test_store_is_registered_once(side: Side) -> None:
    """``get_store`` gives the same store for a request, made by ``factory``."""
    incoming = request(side.app())
    store = side.sessions.get_store(request=incoming)
    assert side.sessions.get_store(request=incoming) is store
    assert list(incoming.registry) == ["webapp2_extras.sessions.SessionStore"]
    made = side.sessions.get_store(lambda given: ["made", given], "own key", incoming)
    assert made == ["made", incoming]


def test_get_store_tests_the_truth_of_what_is_registered(side: Side) -> None:
    """A falsy store is made again, as upstream does (b48)."""
    incoming = request(side.app())
    side.sessions.set_store([], request=incoming)
    assert side.sessions.get_store(request=incoming) != []


def test_set_store_registers_any_object(side: Side) -> None:
    """Applications put a mock, or a store of their own, in its place."""
    incoming = request(side.app())
    side.sessions.set_store("a store", request=incoming)
    assert side.sessions.get_store(request=incoming) == "a store"


def test_active_request_is_the_default(side: Side) -> None:
    """Inside an application's request, ``get_store()`` needs no argument."""
    app = side.app()
    incoming = request(app)
    app.set_globals(app=app, request=incoming)
    try:
        assert side.sessions.get_store() is side.sessions.get_store(request=incoming)
    finally:
        app.clear_globals()


def test_auth_payload_is_kept(side: Side) -> None:
    """What webapp2_extras.auth keeps under ``_user`` comes back item by item."""
    app = side.app()
    store = side.store(app)
    user = [12, True, "token", 1400000000, 1400000001]
    store.get_session("auth")["_user"] = user
    store = side.store(app, cookie_pair(save(store)[0]))
    assert store.get_session("auth")["_user"] == user


def test_sides_are_what_they_are_called(side: Side) -> None:
    """The tests above did run on both implementations."""
    expected = {UPSTREAM: "webapp2_extras.sessions", OURS: "webapp2_sessions.sessions"}
    assert side.sessions.__name__ == expected[side]


def test_factory_without_a_cookie_takes_any_name(side: Side) -> None:
    """A session that is kept elsewhere may have a name that no cookie could have."""

    class Factory(side.sessions.BaseSessionFactory):
        def get_session(self, max_age: Any = None) -> Any:
            return {"name": self.name}

        def save_session(self, response: Any) -> None:
            pass

    store = side.store(side.app())
    assert store.get_session("of any kind", factory=Factory) == {"name": "of any kind"}
    assert save(store) == []
