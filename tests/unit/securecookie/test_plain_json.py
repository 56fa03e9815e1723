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

from webapp2_sessions.errors import UnstorableValue
from webapp2_sessions.securecookie import plain_json
from webapp2_sessions.securecookie.plain_json import (
    decode_json,
    decode_payload,
    encode_json,
    encode_payload,
)

BOTH = pytest.mark.parametrize("encode", [encode_json, encode_payload])

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
    found: list[Any] = []
    found.append(found)
    return found


@given(value=values)
def test_encoding_is_that_of_json_byte_for_byte(value: object) -> None:
    text = encode_json(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert outcome(decode_json, text) == outcome(json.loads, text)


def text_of(payload: bytes) -> str:
    return base64.b64decode(payload, validate=True).decode("ascii")


@given(value=values)
def test_payloads_hold_the_same_json_that_can_stand_in_a_script(value: object) -> None:
    expected = json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
    payload = encode_payload(value)
    assert text_of(payload) == expected
    assert outcome(decode_payload, payload) == outcome(json.loads, expected)


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


REFUSED: list[tuple[Any, str, str]] = [
    ({1}, "session", "set"),
    ({"a": b"x"}, "session['a']", "bytes"),
    ({(1,): 1}, "session.keys()", "tuple"),
    ({"a": {("secret",): 1}}, "session['a'].keys()", "tuple"),
    ([object], "session[0]", "type"),
    ({"a": [1, {2}]}, "session['a'][1]", "set"),
    ({"a": ({"b": {"c": [0, 0, {"secret"}]}},)}, "session['a'][0]['b']['c'][2]", "set"),
    ({3: [SimpleNamespace(a={1})]}, "session[3][0]", "SimpleNamespace"),
    ({"a": 10**5000}, "session['a']", "int"),
    (cycle(), "session", "list"),
    ({"a": [cycle()]}, "session['a'][0]", "list"),
]


@BOTH
@pytest.mark.parametrize(("value", "path", "kind"), REFUSED)
def test_what_json_refuses_is_refused_by_the_same_type_with_its_place(
    value: Any, path: str, kind: str, encode: Any
) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        json.dumps(value, separators=(",", ":"))
    with pytest.raises(UnstorableValue) as caught:
        encode(value)
    assert isinstance(caught.value, expected.type)
    assert (caught.value.path, caught.value.kind) == (path, kind)
    assert "secret" not in str(caught.value)


@BOTH
def test_cycle_is_told_from_a_bad_value_beside_it(encode: Any) -> None:
    with pytest.raises(ValueError, match=r"session\['a'\] \(list\): it contains itself"):
        encode({"a": cycle(), "b": {1}})
    with pytest.raises(TypeError, match=r"session\['b'\] \(set\)"):
        encode({"b": {1}, "a": cycle()})


@BOTH
def test_too_deep_value_is_a_recursion_error_with_a_shortened_path(encode: Any) -> None:
    with pytest.raises(RecursionError) as caught:
        encode({"a": nested(100_000)})
    assert isinstance(caught.value, UnstorableValue)
    assert str(caught.value).startswith("session['a'][0][0][0]...[0][0][0][0] (list): too many ")


@BOTH
def test_nothing_is_looked_for_behind_a_hundred_containers(encode: Any) -> None:
    value: Any = {1}
    for _ in range(500):
        value = [value, "x" * 100]
    with pytest.raises(UnstorableValue) as caught:
        encode({"a": value})
    path = "session['a'][0][0][0]...[0][0][0][0]"
    assert (caught.value.path, caught.value.kind) == (path, "list")


@BOTH
def test_error_of_an_applications_class_stays_what_it_is(encode: Any) -> None:
    class Lazy(dict[str, Any]):
        def items(self) -> Any:
            raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        encode({"a": Lazy(b=1)})


@given(text=st.text() | st.text('{}[]",:0123456789.eE+-nulltrefas \t\n'))
def test_any_text_is_read_as_by_json(text: str) -> None:
    (kind, found), (expected_kind, expected) = outcome(decode_json, text), outcome(json.loads, text)
    assert kind == expected_kind
    assert found == expected or kind != "returned"


@pytest.mark.parametrize("broken", [None, lambda *args: lambda value, level: ("other",), 5])
def test_public_encoder_is_used_without_cpythons(
    broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = SimpleNamespace(
        c_make_encoder=broken, encode_basestring_ascii=json.encoder.encode_basestring_ascii
    )
    monkeypatch.setattr(plain_json, "json", SimpleNamespace(encoder=theirs))
    monkeypatch.setattr(plain_json, "_chunks_of", plain_json._make_chunks_of())
    value = {"a": [1, None], "</": "é"}
    assert json.loads(encode_json(value)) == json.loads(text_of(encode_payload(value))) == value
    for encode in (encode_json, encode_payload):
        assert outcome(encode, cycle())[0] == "UnwritableValue"
