"""Which cookies of a request are accepted, and by which age."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.implementations import Clock, stopped_clock
from support.stores import NOW, make_request, sign, sign_payload, sign_with
from support.visits import SECRET

from webapp2_sessions import SecureCookieSerializer
from webapp2_sessions.cookies import read_values
from webapp2_sessions.securecookie.cookie_data import OpenCookie
from webapp2_sessions.sessions.signed_cookies import open_cookies


def received(
    header: str, max_age: int | None = None, serializer: Any = None
) -> tuple[list[OpenCookie], bool]:
    """The cookies that are accepted a minute after NOW, and whether others were refused."""
    request = make_request(cookie=header)
    serializer = serializer or SecureCookieSerializer(SECRET)
    with stopped_clock(Clock(NOW + 60)):
        found, refused = open_cookies(serializer, "s", read_values(request, "s"), max_age)
    return found, refused is not None


def accepted(header: str, max_age: int | None = None) -> list[Any]:
    """What these cookies hold."""
    return [cookie.data for cookie in received(header, max_age)[0]]


@pytest.mark.parametrize("data", [{"a": 1}, {}, [1], "text", None])
def test_accepted_cookie(data: Any) -> None:
    """What it holds, when it was signed, and its value; an empty session is one."""
    value = sign("s", data)
    assert received(f"s={value}") == ([OpenCookie(data, NOW, value)], False)


def test_no_cookie_is_no_damage() -> None:
    """Most visitors come without."""
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
    """It is told from one that did not come."""
    assert received(f"s={value}") == ([], True)


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_quotes_are_undone_once(times: int) -> None:
    """As WebOb does; what is quoted again is no signed value."""
    value = sign("s", {"a": 1})
    for _ in range(times):
        value = '"' + value.replace('"', '\\"') + '"'
    assert accepted(f"s={value}") == [{"a": 1}] * (times < 2)


def test_valid_cookie_is_found_among_damaged_ones() -> None:
    """Wherever it stands."""
    valid = sign("s", {"a": 1})
    for header in (f"s=x; s={valid}", f"s={valid}; s=x"):
        assert received(header) == ([OpenCookie({"a": 1}, NOW, valid)], True)


@pytest.mark.parametrize(("max_age", "is_accepted"), [(60, True), (59, False), (None, True)])
def test_age(max_age: int | None, is_accepted: bool) -> None:
    """A cookie that is too old is damaged."""
    found, damaged = received(f"s={sign('s', {'a': 1})}", max_age)
    assert (len(found), damaged) == (is_accepted, not is_accepted)


@pytest.mark.parametrize("time", [b"soon", b"-1", b"", b"9" * 400, b"1e9"])
def test_time_that_is_none(time: bytes) -> None:
    """It is not known, and matters only where there is a limit."""
    value = sign_payload("s", b"e30=", time)
    assert received(f"s={value}", None) == ([OpenCookie({}, None, value)], False)


@pytest.mark.parametrize("time", [b"soon", b"-1", b"", b"1e9"])
def test_time_that_is_none_is_too_old(time: bytes) -> None:
    """Where there is a limit."""
    value = sign_payload("s", b"e30=", time)
    assert received(f"s={value}", 60) == ([], True)


# Several cookies


@given(st.lists(st.sampled_from([-5, 0, 5, 20]), max_size=5))
def test_order_is_that_of_the_times(ages: list[int]) -> None:
    """The one that was signed last first; of several, the last in the header."""
    values = [sign("s", {"n": number}, NOW - age) for number, age in enumerate(ages)]
    header = "; ".join(f"s={value}" for value in values)
    expected = sorted(range(len(ages)), key=lambda number: (ages[number], -number))
    assert [data["n"] for data in accepted(header)] == expected


def test_cookie_without_a_time_comes_last() -> None:
    """Any other is newer."""
    timeless = sign_payload("s", b"e30=", b"soon")
    first, last = sign("s", {"a": 1}, 1), sign("s", {"a": 2}, 0)
    assert accepted(f"s={timeless}; s={first}; s={last}") == [{"a": 1}, {"a": 2}, {}]
    assert accepted(f"s={last}; s={first}; s={timeless}") == [{"a": 1}, {}, {"a": 2}]


def test_each_cookie_goes_by_its_own_age() -> None:
    """One that is too old leaves the others."""
    old, remembered = sign("s", {"a": 1}), sign_with("s", {"a": 2}, {"max_age": 90}, NOW - 20)
    header = f"s={old}; s={remembered}"
    assert accepted(header, 59) == [{"a": 2}]
    assert accepted(header, 60) == [{"a": 1}, {"a": 2}]


# Attributes


def test_attributes_are_beside_the_data() -> None:
    """All that a cookie may have, and no others."""
    attributes = {"max_age": 90, "began": NOW - 5, "spilled": "x" * 22}
    value = sign_with("s", {"a": 1}, {**attributes, "else": 5})
    [cookie] = received(f"s={value}")[0]
    assert cookie == OpenCookie({"a": 1}, NOW, value, attributes)


@pytest.mark.parametrize("data", [{}, {"max_age": 5, "began": 1, "__max_age__": 5}, [{}, {}]])
def test_data_is_never_taken_for_attributes(data: Any) -> None:
    """Whatever an application puts into a session, or signs under the name of its cookie."""
    [cookie] = received(f"s={sign('s', data)}", 60)[0]
    assert (cookie.data, cookie.attributes) == (data, {})


@pytest.mark.parametrize(
    ("attribute", "wrong"),
    [
        *(("max_age", value) for value in ("60", None, 60.5, True, 0, -1, 2**31, 10**400, [60])),
        *(("began", value) for value in ("soon", None, 1.5, True, -1, 2**32 + 1, 10**400, [NOW])),
        *(("spilled", value) for value in (None, 5, ["x"], {"x": 1})),
    ],
)
def test_attribute_that_is_none(attribute: str, wrong: Any) -> None:
    """It counts as not given, and the others stay."""
    sound = {"max_age": 90, "began": 1, "spilled": "x"}
    value = sign_with("s", {"a": 1}, {**sound, attribute: wrong})
    [cookie] = received(f"s={value}")[0]
    del sound[attribute]
    assert cookie.attributes == sound


@pytest.mark.parametrize(("own", "is_accepted"), [(60, True), (59, False), (2**31 - 1, True)])
@pytest.mark.parametrize("max_age", [None, 10, 10**6])
def test_own_age(own: int, is_accepted: bool, max_age: int | None) -> None:
    """It goes before the limit, where sessions may have one."""
    header = f"s={sign_with('s', {'a': 1}, {'max_age': own})}"
    assert accepted(header, max_age) == [{"a": 1}] * is_accepted


def test_own_age_of_a_cookie_without_a_time() -> None:
    """It is too old, whatever it says."""
    payload = base64.b64encode(b'[{},{"max_age":60}]')
    header = f"s={sign_payload('s attributes', payload, b'soon')}"
    assert received(header, None) == ([], True)


# Serializers of an application's own


class Own:
    """Accepts everything but "bad"."""

    def deserialize(self, name: str, value: str, max_age: Any = None) -> Any:
        return None if value == "bad" else {"value": value, "max_age": max_age}


def test_serializer_of_the_applications_own() -> None:
    """It is asked with the limit, and the time is not known."""
    data = {"value": "1", "max_age": 5}
    assert received("s=1", 5, Own()) == ([OpenCookie(data, None, "1")], False)
    assert received("s=bad", 5, Own()) == ([], True)


class Renamed(SecureCookieSerializer):
    """The package's own, of which a method was replaced."""

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        return super().deserialize(name, value, max_age)


@pytest.mark.parametrize(("own", "is_accepted"), [(60, True), (59, False)])
def test_attributes_by_another_serializer(own: int, is_accepted: bool) -> None:
    """They are read as by the package's own, and so is the time."""
    value, serializer = sign_with("s", {"a": 1}, {"max_age": own}), Renamed(SECRET)
    found, damaged = received(f"s={value}", 10, serializer)
    assert found == [OpenCookie({"a": 1}, NOW, value, {"max_age": own})] * is_accepted
    assert damaged == (not is_accepted)
    forged = sign_with("s", {"a": 1}, {}, secret="another")
    assert received(f"s={forged}", None, serializer) == ([], True)
