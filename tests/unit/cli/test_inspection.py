"""Cookies are found in any text, read without a key, and verified by those of a configuration."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import NOW, make_store, sign, sign_payload, sign_with

from webapp2_sessions import SecureCookieSerializer
from webapp2_sessions.cli.inspection import (
    CookieText,
    Inspection,
    Limit,
    inspect_cookie,
    read_cookies,
)
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

# Cookies in a text

VALUE = sign("session", {"user": 5})
TOKEN = EncryptedCookieSerializer("k").serialize("session", {}).decode("ascii")

TEXTS = {
    "value": (VALUE, [(None, VALUE, None)]),
    "token": (TOKEN, [(None, TOKEN, None)]),
    "quoted value": (f'"{VALUE}"', [(None, f'"{VALUE}"', None)]),
    "pair": (f"session={VALUE}\n", [("session", VALUE, None)]),
    "pair of a token": (f"session={TOKEN}", [("session", TOKEN, None)]),
    "empty pair": ("session=", [("session", "", None)]),
    "pairs": (f"a=1; session={VALUE}", [("a", "1", None), ("session", VALUE, None)]),
    "cookie header": (f"Cookie: a=1;session={VALUE}", [("a", "1", None), ("session", VALUE, None)]),
    "set-cookie header": (
        f"set-cookie: session={VALUE}; Path=/; HttpOnly",
        [("session", VALUE, ("Path=/", "HttpOnly"))],
    ),
    "what stands in a set-cookie header": (
        f"session={VALUE}; Path=/",
        [("session", VALUE, ("Path=/",))],
    ),
    "response": (
        f"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX: y\r\nSet-Cookie: session={VALUE}\r\n\r\n"
        "<p>b=2; c=3</p>",
        [("a", "1", ("Path=/",)), ("session", VALUE, ())],
    ),
    "headers of a log": (
        f"\n\n \t* > Cookie: a=1\r\n\r\n\xa0Cookie:b={VALUE}\nx Cookie: c=3\n",
        [("a", "1", None), ("b", VALUE, None)],
    ),
    "curl -v": (f"> Cookie: a=1\n< Set-Cookie: b={VALUE}", [("a", "1", None), ("b", VALUE, ())]),
    "word": ("abc", [(None, "abc", None)]),
    "nothing": (" \n", []),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_headers_pairs_and_values_are_told_apart(
    text: str, expected: list[tuple[object, ...]]
) -> None:
    assert read_cookies(text) == [CookieText(*each) for each in expected]  # type: ignore[arg-type]


@given(st.text() | st.text(alphabet='aA=;|" \\:\n-') | st.just("Cookie: ").flatmap(st.just))
def test_no_text_raises(text: str) -> None:
    """Whatever it is, there is an answer, and none of the names is lost."""
    for cookie in read_cookies(text):
        assert cookie.size() >= len(cookie.value)


def test_size_counts_name_value_and_attributes_as_browsers_do() -> None:
    assert CookieText("ab", "cd", ("Path=/", "Secure")).size() == len("ab=cd; Path=/; Secure")
    assert CookieText(None, "\xe9").size() == 2


# What a cookie tells

OLD, NEW = "the key of last year, long", "the key of this year, long"


def looked_at(value: str, name: str | None = "session", **config: Any) -> Inspection:
    """What is seen of a cookie, a minute after it was signed."""
    checked = SessionConfig({"secret_key": NEW, **config}) if config else None
    return inspect_cookie(CookieText(name, value), checked, NOW + 60)


def signed(data: Any, key: str = NEW, name: str = "session") -> str:
    """A value that was signed at `NOW`."""
    return sign(name, data, NOW, key)


def encrypted(data: Any, key: str = NEW, name: str = "session") -> str:
    """An encrypted value that was made at `NOW`."""
    serializer = EncryptedCookieSerializer(key)
    serializer._get_timestamp = lambda: NOW  # type: ignore[method-assign]
    return serializer.serialize(name, data).decode("ascii")


def with_attributes(make: Any, data: Any, attributes: dict[str, Any]) -> str:
    """A value with attributes, where there are any."""
    return make([data, attributes], name="session attributes") if attributes else make(data)


@pytest.mark.parametrize(
    ("data", "kind", "sid"),
    [
        ({"user": 5}, "signed", None),
        (["a", "list"], "signed", None),
        ({"_sid": "x" * 22}, "stored", "x" * 22),
        ({"spilled": "y" * 22}, "signed", None),
        ([{"spilled": "y" * 22}, []], "signed", None),
        ({"_sid": 5}, "signed", None),
    ],
)
def test_sessions_and_ids_of_stored_ones_are_told_apart_without_a_key(
    data: Any, kind: str, sid: str | None
) -> None:
    seen = looked_at(signed(data))
    assert (seen.kind, seen.data, seen.signed_at, seen.session_id) == (kind, data, NOW, sid)
    assert (seen.problem, seen.key, seen.refused, seen.digest) == (None, None, None, "sha1")


@pytest.mark.parametrize(
    ("data", "attributes", "kind", "sid"),
    [
        ({}, {"spilled": "y" * 22}, "spilled", "y" * 22),
        ({"_sid": "x" * 22}, {"began": NOW}, "stored", "x" * 22),
        ({"user": 5}, {"max_age": 90}, "signed", None),
        ({"user": 5}, {"spilled": 5}, "signed", None),
        ({"_sid": "x" * 22}, {"is_data": True}, "signed", None),
        ({"_sid": "x" * 22}, {"is_data": True, "began": NOW}, "signed", None),
        ({"_sid": "x" * 22}, {"is_data": 1}, "stored", "x" * 22),
    ],
)
@pytest.mark.parametrize(
    ("config", "is_refused"),
    [({}, False), ({"secret_key": NEW}, False), ({"secret_key": OLD}, True)],
)
def test_attributes_are_told_from_data_with_or_without_the_key(
    data: Any,
    attributes: dict[str, Any],
    kind: str,
    sid: str | None,
    config: dict[str, Any],
    is_refused: bool,
) -> None:
    seen = looked_at(sign_with("session", data, attributes, NOW, NEW), **config)
    assert (seen.kind, seen.data, seen.signed_at, seen.session_id) == (kind, data, NOW, sid)
    assert bool(seen.refused) is is_refused


def test_data_that_looks_like_a_session_with_attributes() -> None:
    """The key tells that it was signed as something else."""
    value = signed([{"user": 5}, {"max_age": 90}])
    assert looked_at(value).own_max_age == 90
    seen = looked_at(value, **KEYS)
    assert (seen.own_max_age, seen.data) == (None, [{"user": 5}, {"max_age": 90}])
    assert seen.refused == "it holds no session, which is a dictionary"


def test_value_may_be_in_quotes_and_has_the_size_of_its_data_as_json() -> None:
    """As another writer of cookies puts them around a value."""
    seen = looked_at(f'"{signed({"user": 5})}"')
    assert (seen.data, seen.payload_size) == ({"user": 5}, len('{"user":5}'))


@pytest.mark.parametrize(
    ("data", "attributes", "sid"),
    [
        ({"_sid": "x" * 22}, {}, None),
        ({"_sid": "x" * 22}, {"is_data": True}, None),
        ({}, {"spilled": "y" * 22}, "y" * 22),
    ],
)
def test_id_in_an_encrypted_cookie(data: Any, attributes: dict[str, Any], sid: str | None) -> None:
    """No backend reads ``_sid`` there; a session that was too large for the cookie is found."""
    seen = looked_at(with_attributes(encrypted, data, attributes), **KEYS)
    assert (seen.kind, seen.data, seen.session_id, seen.refused) == ("encrypted", data, sid, None)


def test_without_a_key_only_the_time_of_an_encrypted_cookie_is_known() -> None:
    seen = looked_at(encrypted({"user": 5}))
    assert (seen.kind, seen.signed_at, seen.data) == ("encrypted", NOW, None)


HUGE = 10**400


NOT_DECODED = "its payload is no JSON in base64, or its timestamp no integer"
DEEP = base64.b64encode(b"[" * 100_000)
PROBLEMS = {
    "": "it is empty",
    "abc": "it is no encrypted token, and a signed value has 3 parts, not 1",
    "a|b|c|d": "it is no encrypted token, and a signed value has 3 parts, not 4",
    "eyJ9%7C1%7Cff": "it is percent-encoded",
    "x|1|ff": NOT_DECODED,
    "\xe9|1|ff": NOT_DECODED,
    "e30=|x|ff": NOT_DECODED,
    "e30=|1|ff": "its signature has the form of none",
    # Digits of another alphabet make no time, as where cookies are accepted.
    sign_payload("session", b"e30=", "\u0661".encode()): NOT_DECODED,
    sign_payload("session", DEEP, str(NOW).encode(), NEW): NOT_DECODED,
}


@pytest.mark.parametrize(("value", "problem"), PROBLEMS.items(), ids=range(len(PROBLEMS)))
def test_reason_why_a_value_is_unknown_is_told(value: str, problem: str) -> None:
    assert looked_at(value) == Inspection("unknown", problem)
    assert looked_at(value, digest="sha256") == Inspection("unknown", problem)


def test_session_id_by_itself_is_no_cookie() -> None:
    assert looked_at("x" * 22).kind == "id"


@given(st.text() | st.text(alphabet="e30=|1faA_-", max_size=60))
def test_no_value_raises(value: str) -> None:
    """Whatever it is, there is an answer."""
    assert looked_at(value).kind
    assert looked_at(value, digest="sha256").kind


KEYS = {"secret_key_fallbacks": [OLD]}


@pytest.mark.parametrize("make", [signed, encrypted])
@pytest.mark.parametrize(
    ("key", "place"), [(NEW, "secret_key"), (OLD, "secret_key_fallbacks[0]"), ("other", None)]
)
def test_key_is_told_by_its_place(make: Any, key: str, place: str | None) -> None:
    seen = looked_at(make({"user": 5}, key), **KEYS)
    assert (seen.key, seen.refused is None) == (place, place is not None)
    assert key not in str(seen)


def test_cookie_is_bound_to_its_name_which_is_the_configurations_where_none_is_known() -> None:
    value = signed({"user": 5}, name="shop")
    assert looked_at(value, "shop", **KEYS).refused is None
    assert looked_at(value, None, cookie_name="shop").refused is None
    assert looked_at(value, **KEYS).refused == (
        "its signature fits none of the keys, for a cookie of the name 'session'"
    )


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_digest_that_is_not_accepted_is_told_as_the_reason(digest: str) -> None:
    value = SecureCookieSerializer(NEW, digest=digest).serialize("session", {}).decode("ascii")
    seen = looked_at(value, **KEYS)
    assert (seen.key, seen.digest) == ("secret_key", digest)
    assert seen.refused == (
        f"it is signed with {digest}, which 'digest' and 'digest_fallbacks' do not name"
    )
    assert looked_at(value, digest_fallbacks=[digest]).refused is None


AGES = [
    ({}, {"session_max_age": 60}, Limit("session_max_age", NOW + 60), None),
    ({}, {"session_max_age": 59}, Limit("session_max_age", NOW + 59), "session_max_age"),
    ({}, {"session_max_age": None}, None, None),
    ({}, {"session_max_age": float("inf")}, None, None),
    ({"max_age": 90}, {"session_max_age": 5}, Limit("set_max_age()", NOW + 90), None),
    ({"max_age": 9}, {"session_max_age": 90}, Limit("set_max_age()", NOW + 9), "set_max_age()"),
    ({"max_age": "9"}, {"session_max_age": 90}, Limit("session_max_age", NOW + 90), None),
    (
        {"began": NOW - 100},
        {"session_max_age": 90, "absolute_max_age": 150},
        Limit("absolute_max_age", NOW + 50),
        "absolute_max_age",
    ),
    ({"began": "x"}, {"absolute_max_age": 90}, Limit("absolute_max_age", NOW + 90), None),
    ({}, {"absolute_max_age": 90}, Limit("absolute_max_age", NOW + 90), None),
]


@pytest.mark.parametrize("make", [signed, encrypted])
@pytest.mark.parametrize(("attributes", "config", "limit", "by"), AGES)
def test_age_that_comes_first_counts_and_is_named(
    make: Any, attributes: dict[str, Any], config: Any, limit: Limit | None, by: str | None
) -> None:
    seen = looked_at(with_attributes(make, {"user": 5}, attributes), **config)
    assert (seen.limit, seen.refused) == (limit, by and f"it is too old, by {by}")


def test_ages_are_those_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told agrees with what a request finds, to the second."""
    for age in (59, 60, 61):
        monkeypatch.setattr("time.time", lambda age=age: float(NOW + age))
        for config in ({"session_max_age": 60}, {"absolute_max_age": 60}):
            value = sign("session", {"user": 5}, NOW)
            store = make_store(f"session={value}", **config)
            seen = inspect_cookie(CookieText("session", value), store.config, float(NOW + age))
            assert (seen.refused is None) == (store.get_session() == {"user": 5})
