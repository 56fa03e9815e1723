"""JSON of cookies: what comes out, and what is raised, is what ``json`` gives."""

from __future__ import annotations

import base64
import json
import json.encoder
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp2_sessions import plain_json
from webapp2_sessions.plain_json import decode_json, decode_payload, encode_json, encode_payload

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner)
    ),
)


def outcome(call: Any, *args: Any) -> tuple[str, str]:
    """The result, as text, since nan is not equal to itself; or the error."""
    try:
        return "returned", repr(call(*args))
    except Exception as error:
        return type(error).__name__, str(error)


def cycle() -> list[Any]:
    """A list that contains itself."""
    found: list[Any] = []
    found.append(found)
    return found


@given(value=values)
def test_encoding_is_that_of_json(value: object) -> None:
    """Byte for byte."""
    assert encode_json(value) == json.dumps(value, separators=(",", ":"))


def text_of(payload: bytes) -> str:
    """The JSON of a payload."""
    return base64.b64decode(payload, validate=True).decode("ascii")


@given(value=values)
def test_payloads_hold_the_same_json(value: object) -> None:
    """But that it can stand in a script."""
    expected = json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
    payload = encode_payload(value)
    assert text_of(payload) == expected
    assert outcome(decode_payload, payload) == outcome(json.loads, expected)


@pytest.mark.parametrize("encode", [encode_json, encode_payload])
@pytest.mark.parametrize(
    "value", [{1}, {"a": b"x"}, {(1,): 1}, cycle(), [object], {"a": [1, {2}]}], ids=repr
)
def test_what_is_refused_is_refused_alike(value: object, encode: Any) -> None:
    """The error has the same type and text, or tells of the cycle."""
    kind, _ = expected = outcome(lambda: json.dumps(value, separators=(",", ":")))
    assert outcome(encode, value)[0] == kind
    if kind == "TypeError":
        assert outcome(encode, value) == expected


@given(value=values)
def test_decoding_undoes_encoding(value: object) -> None:
    """As ``json.loads()`` would."""
    text = encode_json(value)
    assert outcome(decode_json, text) == outcome(json.loads, text)


@given(text=st.text() | st.text('{}[]",:0123456789.eE+-nulltrefas \t\n'))
def test_any_text_is_read_alike(text: str) -> None:
    """Spaces around it, two values, or no JSON at all."""
    kind, found = outcome(decode_json, text)
    expected_kind, expected = outcome(json.loads, text)
    assert (kind, found if kind == "returned" else "") == (
        expected_kind,
        expected if kind == "returned" else "",
    )


@pytest.mark.parametrize("broken", [None, lambda *args: lambda value, level: ("other",), 5])
def test_without_cpythons_encoder(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing or different, the public one is used."""
    theirs = SimpleNamespace(
        c_make_encoder=broken, encode_basestring_ascii=json.encoder.encode_basestring_ascii
    )
    monkeypatch.setattr(plain_json, "json", SimpleNamespace(encoder=theirs))
    monkeypatch.setattr(plain_json, "_chunks_of", plain_json._make_chunks_of())
    value = {"a": [1, None], "</": "é"}
    assert json.loads(encode_json(value)) == json.loads(text_of(encode_payload(value))) == value
    for encode in (encode_json, encode_payload):
        assert outcome(encode, cycle())[0] == "ValueError"
