"""What a session's cookie keeps beside the data, and what is taken for it.

Stores and serializers of an application's own are in tests/conformance/test_replaced_parts.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.implementations import stopped_clock
from support.stores import NOW, make_store, saved_headers
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import SecureCookieSerializer, SessionStore
from webapp2_sessions.cookies.rules import is_name
from webapp2_sessions.securecookie.cookie_data import (
    CookieData,
    attributes_name,
    read_value,
    sign_cookie,
)
from webapp2_sessions.testing import MemorySessionFactory


@pytest.mark.parametrize("name", ["session", "s|t", b"session", "caf\xe9", ""])
def test_no_cookie_has_the_name_that_is_signed(name: Any) -> None:
    # So no application signs a visitor's value under it by setting a cookie.
    signed = attributes_name(name)
    assert type(signed) is type(name)
    assert not is_name(signed if isinstance(signed, str) else signed.decode())


def test_data_with_attributes_is_a_dictionary() -> None:
    data = CookieData({"a": 1}, {"max_age": 60})
    assert (data, json.dumps(data), data.attributes) == ({"a": 1}, '{"a": 1}', {"max_age": 60})


def test_what_is_signed_with_attributes_comes_back() -> None:
    serializer = SecureCookieSerializer(SECRET)
    value = sign_cookie(serializer, "session", {"a": 1}, {"began": NOW})
    found = serializer.deserialize("session", value)
    assert (found, found.attributes) == ({"a": 1}, {"began": NOW})
    held = serializer.deserialize(attributes_name("session"), value)
    assert held == [{"a": 1}, {"began": NOW}]


@pytest.mark.parametrize(
    "held", [None, {}, [], [{}], [{}, []], [{}, {}, {}], "text", [1, {}], [[], {}]]
)
def test_what_is_no_list_of_two_dictionaries_holds_no_session(held: Any) -> None:
    with pytest.raises(ValueError, match=r"no list of two|no value with"):
        read_value(held)


@pytest.mark.parametrize(
    ("key", "sound", "unsound"),
    [
        ("max_age", [1, 60, 2**31 - 1], [0, -1, 2**31, 10**400, "60", 1.5, True, None]),
        ("began", [0, NOW, 2**32], [-1, 2**33, 10**400, "1", 1.5, True, None]),
        ("spilled", ["x" * 22], [None, 5, ["x"], {"x": 1}]),
        ("other", [], [1, "x"]),
    ],
)
def test_senseless_attributes_are_left_out(key: str, sound: list[Any], unsound: list[Any]) -> None:
    for value in sound:
        assert read_value([{}, {key: value}]) == ({}, {key: value})
    for value in unsound:
        assert read_value([{}, {key: value}]) == ({}, {})


def test_secure_cookie_shows_the_data_alone() -> None:
    store = make_store(absolute_max_age=60)
    store.get_session()["a"] = 1
    [header] = saved_headers(store)
    again = make_store(header.partition(";")[0], absolute_max_age=60)
    assert again.get_secure_cookie("session") == {"a": 1}


def test_store_without_sessions_sets_cookies() -> None:
    class Store(SessionStore):
        def __init__(self, config: Any) -> None:
            self.config = config

    response = webapp2.Response()
    Store(make_store().config).save_secure_cookie(response, "other", {"a": 1})
    assert response.headers["Set-Cookie"].startswith("other=")


# The key under which upstream's cookies hold an id


def test_id_that_is_data_stays_data_when_only_the_age_begins_again() -> None:
    app = make_app(refresh_after=60, backends={"memory": MemorySessionFactory})
    sid = Visitor(app, backend="memory").write({"user": "ada"})
    attacker = Visitor(app)
    with stopped_clock() as clock:
        attacker.write({"_sid": sid})
        clock.now += 100
        assert attacker.read() == {"_sid": sid}
        assert attacker.set_cookies != []
        assert attacker.read(backend="memory") == {}


@pytest.mark.parametrize(
    "open_session",
    [
        lambda store: store.get_session(),
        lambda store: store.set_secure_cookie("session", {"theme": "dark"}),
    ],
)
@pytest.mark.parametrize(("sid", "expected"), [(None, {"user": "ada"}), ("s" * 22, {})])
def test_id_stays_when_a_stored_session_is_opened_as_one_in_a_cookie(
    open_session: Callable[[SessionStore], Any], sid: str | None, expected: dict[str, str]
) -> None:
    # As with ``webapp2_extras``; another one in its place is data.
    visitor = Visitor(make_app(backends={"memory": MemorySessionFactory}))
    visitor.write({"user": "ada"}, backend="memory")
    store = SessionStore(visitor.request())
    open_session(store)
    store.get_session().update({"a": 1} if sid is None else {"_sid": sid})
    response = webapp2.Response()
    store.save_sessions(response)
    visitor.take(response)
    assert visitor.read(backend="memory") == expected
