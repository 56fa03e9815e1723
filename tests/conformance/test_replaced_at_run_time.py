"""What an application replaces while it runs is used from then on, as upstream uses it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import webapp2
import webob
from support.implementations import OURS, SIDES, Clock, Side, cookie_pair, save, stopped_clock

BOTH = pytest.mark.parametrize("side", SIDES, ids=str)


@pytest.fixture(autouse=True)
def clock() -> Iterator[Clock]:
    """A clock that stands."""
    with stopped_clock() as clock:
        yield clock


def written(side: Side, app: webapp2.WSGIApplication, **data: Any) -> list[str]:
    """The Set-Cookie headers of a request that changes the session."""
    store = side.store(app)
    store.get_session().update(data)
    return save(store)


@BOTH
@pytest.mark.parametrize("before", [False, True])
def test_set_cookie_of_responses(side: Side, before: bool) -> None:
    """Also after a cookie was set in the former way."""
    app = side.app()
    if before:
        written(side, app, a=1)
    names = []
    original = webob.Response.set_cookie

    def set_cookie(self: Any, name: str, value: Any = "", **kwargs: Any) -> None:
        names.append(name)
        original(self, name, value, **{**kwargs, "comment": "audited"})

    with mock.patch.object(webob.Response, "set_cookie", set_cookie):
        [header] = written(side, app, a=2)
    assert (names[-1], "Comment=audited" in header) == ("session", True)
    assert "Comment" not in written(side, app, a=3)[0]


@BOTH
def test_method_that_is_called_on_the_class(side: Side) -> None:
    """A subclass of the serializer calls the methods it overrides as functions of the class."""
    base = side.securecookie.SecureCookieSerializer

    class Marked(base):  # type: ignore[misc,valid-type]
        def _encode(self, value: Any) -> Any:
            return base._encode(self, {"marked": value})

        def _decode(self, value: Any) -> Any:
            return base._decode(self, value)["marked"]

    key = secrets.token_hex()
    value = Marked(key).serialize("session", [1])
    assert Marked(key).deserialize("session", value) == [1]
    assert base(key).deserialize("session", value) == {"marked": [1]}


@BOTH
@pytest.mark.parametrize("method", ["_get_signature", "_get_timestamp", "_encode", "_decode"])
@pytest.mark.parametrize("on_class", [False, True])
def test_method_of_the_serializer(side: Side, method: str, on_class: bool) -> None:
    """Replaced on the object or on the class, for reading as for writing."""
    app = side.app()
    store = side.store(app)
    calls = []
    kind = side.securecookie.SecureCookieSerializer
    original = getattr(kind(secrets.token_hex()) if on_class else store.serializer, method)
    if on_class:
        original = getattr(kind, method)

    def replaced(*args: Any) -> Any:
        calls.append(method)
        return original(*args)

    with mock.patch.object(kind if on_class else store.serializer, method, replaced):
        store.get_session()["a"] = 1
        [header] = save(store)
        is_written = bool(calls)
        value = cookie_pair(header).partition("=")[2]
        assert store.serializer.deserialize("session", value, max_age=60) == {"a": 1}
    assert is_written == (method != "_decode")
    assert len(calls) == {"_get_signature": 2, "_get_timestamp": 2}.get(method, 1)


@BOTH
def test_key_that_changes_within_a_request(side: Side) -> None:
    """The request goes on with the key with which it began."""
    app = side.app()
    [header] = written(side, app, a=1)
    store = side.store(app, cookie_pair(header))
    session = store.get_session()
    store.config["secret_key"] = secrets.token_hex()
    session["b"] = 2
    [header] = save(store)
    value = cookie_pair(header).partition("=")[2]
    assert store.serializer.deserialize("session", value) == {"a": 1, "b": 2}


@BOTH
def test_configuration_of_each_tenant(side: Side) -> None:
    """``Config.load_config()`` may give each request another one."""
    app, tenant = side.app(), ["a"]
    original = app.config.load_config

    def load_config(key: str, *args: Any, **kwargs: Any) -> Any:
        return {**original(key, *args, **kwargs), "cookie_name": f"session-{tenant[0]}"}

    app.config.load_config = load_config
    names = []
    for tenant[0] in ("a", "b", "a"):
        [header] = written(side, app, a=1)
        names.append(header.partition("=")[0])
    assert names == ["session-a", "session-b", "session-a"]


@BOTH
def test_container_of_a_session(side: Side) -> None:
    """``_get_session_container`` of a store is what finds it."""
    store = side.store(side.app())
    original, asked = store._get_session_container, []

    def container(name: str, factory: Any) -> Any:
        asked.append(name)
        return original(name, factory)

    store._get_session_container = container
    store.get_session()
    assert asked == ["session"]


@BOTH
def test_serializer_that_is_deleted(side: Side) -> None:
    """The next use makes another."""
    store = side.store(side.app())
    former = store.serializer
    del store.serializer
    assert store.serializer is not former


@BOTH
def test_time_of_the_module(side: Side) -> None:
    """``time`` of ``securecookie`` tells when a cookie was signed, and how old one is."""
    app = side.app()
    with mock.patch.object(side.securecookie, "time", mock.Mock(time=lambda: 1_000.5)):
        [header] = written(side, app, a=1)
        pair = cookie_pair(header)
        assert pair.split("|")[1] == "1000"
        store = side.store(app, pair)
        assert store.get_session(max_age=10) == {"a": 1}
    store = side.store(app, pair)
    assert store.get_session(max_age=10) == {}


def test_time_is_upstreams() -> None:
    """The same module on both sides."""
    assert OURS.securecookie.time is SIDES[0].securecookie.time
