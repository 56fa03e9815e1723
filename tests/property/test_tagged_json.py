"""Any value of the types that are kept comes back exactly, and any bytes are read or refused."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.exact import exact

from webapp2_sessions.stored.json_tags import MAX_DIGITS, SCALARS
from webapp2_sessions.stored.tagged_json import dumps, loads

TAGS = ["!dict", "!tuple", "!set", "!frozenset", "!unknown", "!", *SCALARS]

texts = (
    st.text(max_size=8)
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from([*TAGS, "\ud800", "\ud83d\ude00", "\U0001f600", "\\u0021tuple"])
    | st.integers(MAX_DIGITS - 1, MAX_DIGITS + 2).map("7".__mul__)
)
offsets = st.timedeltas(datetime.timedelta(-1, 0, 1), datetime.timedelta(1, 0, -1))
zones = (
    st.none()
    | st.builds(datetime.timezone, offsets)
    | st.builds(datetime.timezone, st.integers(-23, 23).map(lambda h: datetime.timedelta(hours=h)))
    | st.builds(datetime.timezone, offsets, texts)
    # A system without time zones has none of these.
    | st.sampled_from(sorted({"Europe/Berlin", "UTC"} & zoneinfo.available_timezones())).map(
        zoneinfo.ZoneInfo
    )
)


def refold(moment: Any, fold: int) -> Any:
    """The time with this fold, which Hypothesis seldom draws."""
    return moment.replace(fold=fold)


def near_a_power(exponent: int, distance: int, sign: int) -> int:
    """An int that has about so many digits, as decimal or hex."""
    return sign * (10**exponent + distance)


digits = st.sampled_from([MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1, 4000])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.builds(near_a_power, digits, st.integers(-2, 2), st.sampled_from([-1, 1]))
    | st.floats()
    | st.complex_numbers()
    | texts
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.builds(refold, st.times(timezones=zones), st.integers(0, 1))
    | st.builds(refold, st.datetimes(timezones=zones), st.integers(0, 1))
)
flat = st.lists(scalars, max_size=3)
keys = scalars | flat.map(tuple) | flat.map(frozenset)
values = st.recursive(
    scalars | st.decimals() | st.binary(max_size=8).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(st.sampled_from(TAGS), inner, min_size=1, max_size=1)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
@settings(deadline=None)
def test_values_come_back(value: Any) -> None:
    """Equal, of the same types, in the same order, nan and lone surrogates included."""
    assert exact(value) == exact(loads(dumps(value)))


@given(values)
@settings(deadline=None)
def test_the_bytes_are_json(value: Any) -> None:
    """Any program reads them, and a session that is loaded and saved unchanged is the same."""
    data = dumps(value)
    parsed = json.loads(data.decode("utf-8"))
    assert data.decode("utf-8") == json.dumps(parsed, ensure_ascii=False, separators=(",", ":"))
    assert data == dumps(loads(data))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(plain)
@settings(deadline=None)
def test_plain_values_are_plain_json(value: Any) -> None:
    """What JSON knows is written as the standard library writes it."""
    assume('"!' not in json.dumps(value))
    assert dumps(value).decode() == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Bytes that were not written by us


def read_or_refused(data: bytes) -> None:
    """Load bytes: a ValueError, or a value that can be stored."""
    try:
        value = loads(data)
    except ValueError:
        return
    assert exact(value) == exact(loads(dumps(value)))


#: What the format is made of.
PIECES = [
    *[f'{{"{tag}":'.encode() for tag in TAGS],
    *[b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b" ", b"\\u0021", b"\\ud800", b'{"a":'],
    *[b"0", b"1", b"-", b"1e999", b"1.5", b"null", b"true", b"NaN", b"Infinity", b"9" * 700],
    *[b'"nan"', b'"inf"', b'"YQ=="', b'"7aCA"', b'"UTC"', b'"2024-05-06"', b'"07:08:09"'],
    *[b'"2024-05-06T07:08:09+00:00"', b'"1E+5"', b"[1,2,3]", b"[1.0,2.0]", b'["a",1]', b"\xff"],
    *[b"0" * 32, b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"!"],
]


@given(st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join))
@settings(deadline=None)
@example(b"[" * 100_000)
@example(b'{"!tuple":[' * 100_000)
@example(b'{"!set":[' * 300 + b"]}" * 300)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but a ValueError comes out."""
    read_or_refused(data)


def json_of(tag: str, state: Any) -> bytes:
    """A tag with contents of any type."""
    return json.dumps({"a": {tag: state}}, separators=(",", ":")).encode()


states = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.text("0123456789abcdefnT:-+.=/ ", max_size=40)
    | st.sampled_from(["2024-05-06T07:08:09", "07:08:09", "YQ==", "UTC", "Europe/Berlin", "nan"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(TAGS) | st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.builds(json_of, st.sampled_from(TAGS), states))
@settings(deadline=None)
def test_any_contents_of_a_tag_are_read_or_refused(data: bytes) -> None:
    """No type in a tag is one that its reader trips over."""
    read_or_refused(data)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """What was written, with some places cut out or overwritten."""
    data = dumps(draw(values))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 4)))
        data = data[:start] + draw(st.binary(max_size=2) | st.sampled_from(PIECES)) + data[end:]
    return data


@given(damaged())
@settings(deadline=None)
def test_damaged_bytes_are_read_or_refused(data: bytes) -> None:
    """Damage at some places is no other error than damage everywhere."""
    read_or_refused(data)
