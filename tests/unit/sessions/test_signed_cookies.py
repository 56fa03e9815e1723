"""Which cookies of a request are accepted, and by which age."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.implementations import Clock, stopped_clock
from support.stores import NOW, make_store, saved_headers, sign, sign_payload, sign_with
from support.visits import SECRET

from webapp2_sessions import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import LARGEST_TIME, OpenCookie


def received(
    header: str, max_age: int | None = None, serializer: Any = None
) -> tuple[list[OpenCookie], bool]:
    """The cookies that are accepted a minute after NOW, and whether none is and one expires."""
    store = make_store(header, on_damaged_cookie="expire")
    if serializer is not None:
        store.serializer = serializer
    with stopped_clock(Clock(NOW + 60)):
        found = store.open_session_cookies("s", max_age)
        return found, saved_headers(store) != []


def accepted(header: str, max_age: int | None = None) -> list[Any]:
    """What these cookies hold."""
    return [cookie.data for cookie in received(header, max_age)[0]]


@pytest.mark.parametrize("data", [{"a": 1}, {}, [1], "text"])
def test_accepted_cookie_comes_with_its_time_and_value(data: Any) -> None:
    value = sign("s", data)
    assert received(f"s={value}") == ([OpenCookie(data, NOW, value)], False)


def test_no_cookie_is_no_damage() -> None:
    assert received("other=1") == ([], False)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "a|b|c",
        sign("s", {"a": 1}, secret="another"),
        sign("t", {"a": 1}),
        sign_with("s", {"a": 1}, {}, secret="another"),
        sign_with("t", {"a": 1}, {}),
        sign("s attributes", {"a": 1}),
        sign("s attributes", [{"a": 1}]),
        sign("s attributes", [{"a": 1}, []]),
        sign("s attributes", [[], {}]),
    ],
)
def test_damaged_cookie_is_refused(value: str) -> None:
    assert received(f"s={value}") == ([], True)


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_quotes_are_undone_once(times: int) -> None:
    # As WebOb does; what is quoted again is no signed value.
    value = sign("s", {"a": 1})
    for _ in range(times):
        value = '"' + value.replace('"', '\\"') + '"'
    assert accepted(f"s={value}") == [{"a": 1}] * (times < 2)


@pytest.mark.parametrize("header", ["s=x; s={}", "s={}; s=x"])
def test_valid_cookie_is_found_among_damaged_ones(header: str) -> None:
    valid = sign("s", {"a": 1})
    assert received(header.format(valid)) == ([OpenCookie({"a": 1}, NOW, valid)], False)


@pytest.mark.parametrize(("max_age", "is_accepted"), [(60, True), (59, False), (None, True)])
def test_cookie_that_is_too_old_is_damaged(max_age: int | None, is_accepted: bool) -> None:
    found, damaged = received(f"s={sign('s', {'a': 1})}", max_age)
    assert (len(found), damaged) == (is_accepted, not is_accepted)


@pytest.mark.parametrize("time", [b"soon", b"", b"1e9"])
def test_time_that_is_none_matters_only_where_there_is_a_limit(time: bytes) -> None:
    value = sign_payload("s", b"e30=", time)
    assert received(f"s={value}", None) == ([OpenCookie({}, None, value)], False)
    assert received(f"s={value}", 60) == ([], True)


@pytest.mark.parametrize(
    ("time", "signed_at", "is_young"), [(b"-1", -1, False), (b"9" * 400, LARGEST_TIME, True)]
)
def test_time_that_no_clock_shows_is_compared_as_a_number(
    time: bytes, signed_at: int, is_young: bool
) -> None:
    value = sign_payload("s", b"e30=", time)
    cookies = [OpenCookie({}, signed_at, value)]
    assert received(f"s={value}", None) == (cookies, False)
    assert received(f"s={value}", 60) == (cookies * is_young, not is_young)


@given(st.lists(st.sampled_from([-5, 0, 5, 20]), max_size=4))
def test_cookie_that_was_signed_last_comes_first(ages: list[int]) -> None:
    values = [sign("s", {"n": number}, NOW - age) for number, age in enumerate(ages)]
    header = "; ".join(f"s={value}" for value in values)
    # Of those of one second, the last in the header.
    expected = sorted(range(len(ages)), key=lambda number: (ages[number], -number))
    assert [data["n"] for data in accepted(header)] == expected


def test_cookie_without_a_time_comes_last() -> None:
    timeless = sign_payload("s", b"e30=", b"soon")
    first, last = sign("s", {"a": 1}, 1), sign("s", {"a": 2}, 0)
    assert accepted(f"s={timeless}; s={first}; s={last}") == [{"a": 1}, {"a": 2}, {}]
    assert accepted(f"s={last}; s={first}; s={timeless}") == [{"a": 1}, {}, {"a": 2}]


def test_each_cookie_goes_by_its_own_age() -> None:
    old, remembered = sign("s", {"a": 1}), sign_with("s", {"a": 2}, {"max_age": 90}, NOW - 20)
    header = f"s={old}; s={remembered}"
    assert accepted(header, 59) == [{"a": 2}]
    assert accepted(header, 60) == [{"a": 1}, {"a": 2}]


def test_attributes_are_beside_the_data() -> None:
    attributes = {"max_age": 90, "began": NOW - 5, "spilled": "x" * 22}
    value = sign_with("s", {"a": 1}, {**attributes, "else": 5})
    [cookie] = received(f"s={value}")[0]
    assert cookie == OpenCookie({"a": 1}, NOW, value, attributes)


@pytest.mark.parametrize("data", [{}, {"max_age": 5, "began": 1, "__max_age__": 5}, [{}, {}]])
def test_data_is_never_taken_for_attributes(data: Any) -> None:
    [cookie] = received(f"s={sign('s', data)}", 60)[0]
    assert (cookie.data, cookie.attributes) == (data, {})


@pytest.mark.parametrize(("own", "is_accepted"), [(60, True), (59, False), (2**31 - 1, True)])
@pytest.mark.parametrize("max_age", [None, 10, 10**6])
def test_own_age_takes_precedence(own: int, is_accepted: bool, max_age: int | None) -> None:
    header = f"s={sign_with('s', {'a': 1}, {'max_age': own})}"
    assert accepted(header, max_age) == [{"a": 1}] * is_accepted


def test_cookie_with_an_own_age_and_without_a_time_is_too_old() -> None:
    payload = base64.b64encode(b'[{},{"max_age":60}]')
    header = f"s={sign_payload('s attributes', payload, b'soon')}"
    assert received(header, None) == ([], True)


class Own:
    """Accepts everything but "bad"."""

    def deserialize(self, name: str, value: str, max_age: Any = None) -> Any:
        return None if value == "bad" else {"value": value, "max_age": max_age}


def test_serializer_of_another_kind_is_asked_with_the_limit_and_tells_no_time() -> None:
    data = {"value": "1", "max_age": 5}
    assert received("s=1", 5, Own()) == ([OpenCookie(data, None, "1")], False)
    assert received("s=bad", 5, Own()) == ([], True)


class Renamed(SecureCookieSerializer):
    """The package's own, of which a method was replaced."""

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        return super().deserialize(name, value, max_age)


@pytest.mark.parametrize(("own", "is_accepted"), [(60, True), (59, False)])
def test_attributes_are_read_by_another_serializer_too(own: int, is_accepted: bool) -> None:
    value, serializer = sign_with("s", {"a": 1}, {"max_age": own}), Renamed(SECRET)
    found, damaged = received(f"s={value}", 10, serializer)
    assert found == [OpenCookie({"a": 1}, NOW, value, {"max_age": own})] * is_accepted
    assert damaged == (not is_accepted)
    forged = sign_with("s", {"a": 1}, {}, secret="another")
    assert received(f"s={forged}", None, serializer) == ([], True)
