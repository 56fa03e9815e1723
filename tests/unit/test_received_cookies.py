"""Which cookies of a request are accepted, by whose ages, and what is noticed of the others."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sides import Clock, stopped_clock
from support.stores import NOW, make_request, sign, sign_payload
from support.visits import SECRET

from webapp2_sessions import SecureCookieSerializer, cookies
from webapp2_sessions.received_cookies import ReceivedCookies


def accepted(
    header: str, max_age: int | None = None, own_ages: bool = False, serializer: Any = None
) -> tuple[tuple[Any, int | None], set[str]]:
    """What is accepted of a Cookie header a minute after NOW, and the names of damaged cookies."""
    received, request = ReceivedCookies(), make_request(cookie=header)
    serializer = serializer or SecureCookieSerializer(SECRET)
    with stopped_clock(Clock(NOW + 60)):
        return received.accepted(request, serializer, "s", max_age, own_ages), received.damaged


def test_accepted_cookie() -> None:
    """What it holds; when it was signed only where ages matter."""
    header = f"s={sign('s', {'a': 1})}"
    assert accepted(header) == (({"a": 1}, None), set())
    assert accepted(header, own_ages=True) == (({"a": 1}, NOW), set())


def test_accepted_cookie_that_holds_nothing_much() -> None:
    """An empty session is one."""
    assert accepted(f"s={sign('s', {})}", own_ages=True) == (({}, NOW), set())


def test_no_cookie_is_no_damage() -> None:
    """Most visitors come without."""
    assert accepted("other=1") == ((None, None), set())


@pytest.mark.parametrize("value", ["x", "a|b|c", sign("s", {"a": 1}, secret="another")])
def test_damaged_cookie_is_noticed(value: str) -> None:
    """By its name."""
    assert accepted(f"s={value}") == ((None, None), {"s"})


def test_valid_cookie_hides_damaged_ones() -> None:
    """One of them is enough, wherever it stands."""
    valid = sign("s", {"a": 1})
    for header in (f"s=x; s={valid}", f"s={valid}; s=x"):
        assert accepted(header) == (({"a": 1}, None), set())


@pytest.mark.parametrize("own_ages", [False, True])
@pytest.mark.parametrize(("max_age", "is_accepted"), [(60, True), (59, False), (None, True)])
def test_age(max_age: int | None, is_accepted: bool, own_ages: bool) -> None:
    """A cookie that is too old is damaged."""
    found, damaged = accepted(f"s={sign('s', {'a': 1})}", max_age, own_ages)
    assert (found[0] == {"a": 1}, damaged == {"s"}) == (is_accepted, not is_accepted)


@pytest.mark.parametrize("own_ages", [False, True])
def test_time_that_is_none(own_ages: bool) -> None:
    """It matters only where there is a limit."""
    header = f"s={sign_payload('s', b'e30=', b'soon')}"
    assert accepted(header, None, own_ages) == (({}, None), set())
    assert accepted(header, 60, own_ages) == ((None, None), {"s"})


@pytest.mark.parametrize(("own", "is_accepted"), [(60, True), (59, False), ("x", False)])
def test_own_age(own: object, is_accepted: bool) -> None:
    """It goes before the limit, where sessions may have one."""
    header = f"s={sign('s', {'__max_age__': own})}"
    assert (accepted(header, 10, own_ages=True)[0][0] is not None) is is_accepted
    assert accepted(header, 10)[0] == (None, None)


class Own:
    """A serializer of an application's own."""

    def deserialize(self, name: str, value: str, max_age: Any = None) -> Any:
        """Accept everything but "bad"."""
        return None if value == "bad" else {"value": value, "max_age": max_age}


def test_serializer_of_the_applications_own() -> None:
    """It is asked with the limit, and the time is not known."""
    assert accepted("s=1", 5, True, Own()) == (({"value": "1", "max_age": 5}, None), set())
    assert accepted("s=bad", 5, True, Own()) == ((None, None), {"s"})


# The glance at the header


JUNK = st.text(st.sampled_from('abs=|; \t,"\\$/.%é'), max_size=12)


@given(before=JUNK, after=JUNK, separator=st.sampled_from(["; ", ";", ", ", " ", ""]))
def test_glance_finds_what_the_grammar_finds(before: str, after: str, separator: str) -> None:
    """Whatever stands around a valid cookie, and however it is separated."""
    header = f"{before}{separator}s={sign('s', {'a': 1})}{separator}{after}"
    expected, found = [], []
    for results, glance in ((expected, lambda *args: None), (found, cookies.only_value)):
        with mock.patch.object(cookies, "only_value", glance):
            results.append(accepted(header)[0])
    assert found == expected


@pytest.mark.parametrize(
    "header",
    [
        "s=1; s=2",
        "s=1; s =2",
        "s=1; other=s",
        "s",
        "xs=1",
        "a=1;s=1",
        "a=1,s=1",
        's="1"',
        'a="x"; s=1',
        "s=a\\054b",
        "",
        "other=1",
    ],
)
def test_header_that_needs_a_closer_look(header: str) -> None:
    """There may be several cookies of the name, or none, or something to be unquoted."""
    assert cookies.only_value(make_request(cookie=header), "s") is None


@pytest.mark.parametrize("header", ["s=1", "s=1; a=2", "a=2; s=1", "a=2; s=1; b=x"])
def test_header_that_is_seen_through(header: str) -> None:
    """The cookie stands there once and plainly."""
    assert cookies.only_value(make_request(cookie=header), "s") == "1"
