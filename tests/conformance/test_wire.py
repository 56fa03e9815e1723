"""CONTRACT section 3: cookies are upstream's byte for byte, and each reads the other's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import webapp2
from hypothesis import given
from hypothesis import strategies as st
from support.implementations import (
    OURS,
    SECRET,
    SIDES,
    UPSTREAM,
    Clock,
    Side,
    cookie_pair,
    save,
    stopped_clock,
)

from webapp2_sessions import StoredSessionFactory

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
secrets = st.text(min_size=1) | st.binary(min_size=1)


@given(
    secret=secrets.filter(lambda s: s.isascii() if isinstance(s, str) else True),
    name=st.text(max_size=10),
    value=json_values,
)
def test_serialized_values_are_alike_and_read_by_the_other(
    secret: Any, name: str, value: Any
) -> None:
    """Any value is signed to the same bytes and comes back the same on the other side."""
    with stopped_clock(Clock()):
        serializers = [side.securecookie.SecureCookieSerializer(secret) for side in SIDES]
        upstream, ours = (serializer.serialize(name, value) for serializer in serializers)
        assert upstream == ours
        assert serializers[1].deserialize(name, upstream) == serializers[0].deserialize(name, ours)


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_value_is_what_the_format_says(side: Side) -> None:
    """The format, written down a second time with the standard library."""
    with stopped_clock(Clock(1_700_000_000)):
        signed = side.securecookie.SecureCookieSerializer("schlüssel").serialize(
            "session", {"é": ["</", 1, None]}
        )
    payload = base64.b64encode(rb'{"\u00e9":["<\/",1,null]}')
    message = b"session|" + payload + b"|1700000000"
    signature = hmac.new("schlüssel".encode(), message, hashlib.sha1).hexdigest().encode()
    assert signed == payload + b"|1700000000|" + signature


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"max_age": 3600},
        {"max_age": "60"},
        {"path": "/a%3Bb%20c"},
        {"domain": ".example.com", "secure": True, "httponly": True},
        {"samesite": "lax"},
        {"samesite": "None", "secure": True},
        {"comment": "x", "overwrite": True},
    ],
)
def test_set_cookie_headers_are_alike(args: dict[str, Any]) -> None:
    """With any cookie arguments that browsers take the headers are upstream's, in order."""
    headers = []
    for side in SIDES:
        with stopped_clock(Clock()):
            store = side.store(side.app(cookie_args=args))
            store.get_session("two")["b"] = "x y"
            store.get_session("one")["a"] = 1
            headers.append(save(store))
    assert headers[0] == headers[1]
    assert [header.partition("=")[0] for header in headers[1]] == ["two", "one"]


def test_header_is_what_webob_writes() -> None:
    """The Set-Cookie header is that of ``webob.Response.set_cookie``."""
    args = {"max_age": 60, "domain": "example.com", "path": "/p", "secure": True}
    with stopped_clock(Clock()):
        store = OURS.store(OURS.app(cookie_args=args))
        store.get_session()["a"] = 1
        [ours] = save(store)
        response = webapp2.Response()
        response.set_cookie("session", store.serializer.serialize("session", {"a": 1}), **args)
    assert ours == response.headers["Set-Cookie"]


def test_order_is_that_of_opening_not_of_writing() -> None:
    """Headers come in the order in which the sessions were first opened."""
    orders = []
    for side in SIDES:
        store = side.store(side.app())
        for name in ("c", "a", "b"):
            store.get_session(name)
        for name in ("a", "b", "c"):
            store.get_session(name)["x"] = 1
        orders.append([header.partition("=")[0] for header in save(store)])
    assert orders == [["c", "a", "b"]] * 2


@pytest.mark.parametrize("writer", SIDES, ids=str)
@pytest.mark.parametrize("reader", SIDES, ids=str)
def test_session_cookies_are_read_by_the_other(writer: Side, reader: Side) -> None:
    """A visitor keeps the session when the application moves either way."""
    store = writer.store(writer.app())
    session = store.get_session()
    session["user"] = {"id": 5, "name": "Zoë"}
    session.add_flash("hello", "info")
    [header] = save(store)
    session = reader.store(reader.app(), cookie_pair(header)).get_session()
    expected = {"user": {"id": 5, "name": "Zoë"}, "_flash": [["hello", "info"]]}
    assert (session, session.new) == (expected, False)


def test_quoted_cookie_is_read() -> None:
    """A cookie that a browser sends back in quotes is the same cookie, on both sides."""
    for side in SIDES:
        app = side.app()
        value = side.store(app).serializer.serialize("session", {"a": 1}).decode()
        escaped = value.replace("=", "\\075").replace("|", "\\174")
        for cookie in (f'session="{value}"', f'session="{escaped}"'):
            assert side.store(app, cookie).get_session() == {"a": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value + "0",
        lambda value: value.swapcase(),
        lambda value: value.replace("|", "||"),
        lambda value: "|".join(reversed(value.split("|"))),
        lambda value: value.rpartition("|")[0],
        lambda value: "|" + value,
        lambda value: "x",
        lambda value: "||",
        lambda value: "",
    ],
)
def test_damaged_values_are_none_on_both_sides(change: Any) -> None:
    """Malformed and forged values count as no cookie."""
    for side in SIDES:
        serializer = side.securecookie.SecureCookieSerializer(SECRET)
        value = change(serializer.serialize("session", {"a": 1}).decode())
        assert serializer.deserialize("session", value) is None


def test_value_of_another_name_or_key_is_none() -> None:
    """The name is signed, and so is the key's owner."""
    signed = UPSTREAM.securecookie.SecureCookieSerializer(SECRET).serialize("session", {})
    ours = OURS.securecookie.SecureCookieSerializer
    assert ours(SECRET).deserialize("session", signed) == {}
    assert ours(SECRET).deserialize("other", signed) is None
    assert ours(SECRET + "x").deserialize("session", signed) is None


PYTHON2_COOKIES = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "python2" / "cookies.json").read_text("ascii")
)


@pytest.mark.parametrize("cookie", PYTHON2_COOKIES)
def test_cookies_of_python_2_are_read(cookie: dict[str, Any]) -> None:
    """What upstream signed on Python 2.7 is read, in quotes as well."""
    serializer = OURS.securecookie.SecureCookieSerializer(cookie["secret"])
    assert serializer.deserialize("session", cookie["signed"]) == cookie["value"]
    assert serializer.deserialize("session", f'"{cookie["signed"]}"') == cookie["value"]


@pytest.mark.parametrize("cookie", PYTHON2_COOKIES)
def test_cookies_for_python_2_have_its_bytes(cookie: dict[str, Any]) -> None:
    """Python 2 orders keys by their hashes; but for that, it would have written our bytes."""
    serializer = OURS.securecookie.SecureCookieSerializer(cookie["secret"])
    payload = cookie["signed"].partition("|")[0].encode()
    ordered = json.loads(base64.b64decode(payload))
    with stopped_clock(Clock(1_400_000_000)):
        assert serializer.serialize("session", ordered).decode() == cookie["signed"]


@pytest.mark.parametrize("age", [0, 9, 10, 11, 10_000])
@pytest.mark.parametrize("max_age", [None, 0, 10, 10.5, -1])
def test_ageing_is_alike(age: int, max_age: float | None) -> None:
    """To the second, both sides take a value for expired or not."""
    results = []
    for side in SIDES:
        with stopped_clock(Clock()) as clock:
            serializer = side.securecookie.SecureCookieSerializer(SECRET)
            signed = serializer.serialize("session", {"a": 1})
            clock.advance(age)
            results.append(serializer.deserialize("session", signed, max_age=max_age))
    assert results[0] == results[1]


def test_server_side_cookie_holds_the_id_only() -> None:
    """The payload is exactly ``{"_sid": ...}``."""

    class Factory(StoredSessionFactory):
        def _read(self, sid: str) -> Any:
            return None

        def _write(self, sid: str, data: Any, lifetime: Any) -> None:
            pass

    store = OURS.store(OURS.app())
    session = store.get_session(factory=Factory)
    session["a"] = 1
    [header] = save(store)
    payload = base64.b64decode(cookie_pair(header).partition("=")[2].partition("|")[0])
    assert json.loads(payload) == {"_sid": session.container.sid}
