"""Signed values: only those that we have signed are deserialized."""

from __future__ import annotations

import hmac
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp2_sessions.errors import BadSignature, MissingClass, RefusedFormat
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer
from webapp2_sessions.stored.signed_values import SignedValues

NAME = b"session:0123456789abcdefghijkl"


OLD, NEW = b"k" * 32, b"n" * 32


def signed_values(key: bytes = OLD, *fallbacks: bytes, writes: str = "pickle") -> SignedValues:
    """Signs with one key, and accepts others."""
    return SignedValues(key, Serializer(writes, protocol=OWN_PROTOCOL), fallbacks)


class Note:
    """A class of an application."""

    def __init__(self, text: str) -> None:
        self.text = text


class Bomb:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def signed() -> SignedValues:
    """Signs with a fixed key."""
    return signed_values()


@pytest.fixture
def crater(tmp_path: Path) -> Path:
    """The file that the bomb creates."""
    return tmp_path / "crater"


@pytest.mark.parametrize("writes", ["pickle", "json"])
@pytest.mark.parametrize("session", [{}, {"a": (1, b"\xff")}, {1: {2}}], ids=repr)
def test_signed_session_is_read_wherever_the_key_is(session: dict[Any, Any], writes: str) -> None:
    data = signed_values(writes=writes).dumps(NAME, session)
    assert session == signed_values(writes=writes).loads(NAME, data)


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_layout_of_a_signed_pickle(length: int) -> None:
    """The format is fixed: a byte, an HMAC-SHA256 over the name, its length and the pickle.

    It is the HMAC of RFC 2104, which hashes a key of more than 64 bytes.
    """
    key = bytes(range(length))
    pickled_part = pickle.dumps({"a": 1}, 5)
    mac = hmac.digest(key, b"%d:%s" % (len(NAME), NAME) + pickled_part, "sha256")
    assert b"\x01" + mac + pickled_part == signed_values(key).dumps(NAME, {"a": 1})


def test_each_form_is_read_by_its_own_reader(signed: SignedValues) -> None:
    """The first byte says what kind of value it is; everything else is the same."""
    other = SignedValues(b"k" * 32, Serializer(protocol=OWN_PROTOCOL), form=b"\x02")
    data = other.dumps(NAME, {"a": 1})
    assert data == b"\x02" + signed.dumps(NAME, {"a": 1})[1:]
    assert other.loads(NAME, data) == {"a": 1}
    for reader, written in ((signed, data), (other, signed.dumps(NAME, {"a": 1}))):
        with pytest.raises(BadSignature):
            reader.loads(NAME, written)


def test_bomb_goes_off_where_it_is_loaded(signed: SignedValues, crater: Path) -> None:
    """Loading the bomb has the effect that the tests of forgeries look for."""
    signed.loads(NAME, signed.dumps(NAME, Bomb(crater)))
    assert crater.exists()


def forgeries(crater: Path) -> dict[str, bytes]:
    """Values with the bomb in them that were not signed under NAME."""
    ours, bomb = signed_values(), Bomb(crater)
    data = ours.dumps(NAME, bomb)
    pickled_part = data[33:]
    return {
        "plain pickle": pickle.dumps(bomb),
        "plain pickle of protocol 0": pickle.dumps(bomb, 0),
        "format byte and pickle": b"\x01" + pickled_part,
        "signature of zeros": b"\x01" + bytes(32) + pickled_part,
        "signature of another value": ours.dumps(NAME, {})[:33] + pickled_part,
        "other key": signed_values(b"K" * 32).dumps(NAME, bomb),
        "empty key": signed_values(b"").dumps(NAME, bomb),
        "other name": ours.dumps(b"session:another", bomb),
        "no name": ours.dumps(b"", bomb),
        "longer name": ours.dumps(NAME + b"\x80", bomb),
        "other format": b"\x02" + data[1:],
        "no format": data[1:],
        "something before": b"\x00" + data,
        "something after": data + b"\x00",
        "last byte cut off": data[:-1],
    }


SIGNED = signed_values().dumps(NAME, {"user": 1, "cart": ["a"]})


@given(data=st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    value = bytearray(SIGNED)
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadSignature):
        signed_values().loads(NAME, bytes(value))


@given(st.binary(max_size=100) | st.integers(0, 40).map(lambda size: SIGNED[:size]))
def test_garbage_and_the_beginning_of_a_value_are_refused(data: bytes) -> None:
    with pytest.raises(BadSignature):
        signed_values().loads(NAME, data)


def test_name_and_pickle_are_kept_apart(signed: SignedValues) -> None:
    """Bytes cannot be moved between the end of the name and the start of the pickle."""
    data = signed.dumps(b"name", {})
    moved = data[:33] + data[34:]
    with pytest.raises(BadSignature):
        signed.loads(b"name" + data[33:34], moved)


def test_signed_pickle_of_a_missing_class_is_no_forgery(signed: SignedValues) -> None:
    """A signed value that cannot be unpickled raises another error, which names the class."""
    data = signed.dumps(NAME, {"note": Note("hello")}).replace(b"Note", b"Gone")
    with pytest.raises(MissingClass, match="Gone"):
        signed.loads(NAME, signed._sign(NAME, data[33:]))


def test_what_was_signed_is_seen_without_decoding_it(signed: SignedValues) -> None:
    """Only if it was signed under this name."""
    data = signed.dumps(NAME, {"a": 1})
    assert signed.opened(NAME, data) == data[33:]
    assert signed.opened(b"other", data) is None
    assert signed.opened(NAME, data[:-1]) is None
    assert signed.opened(NAME, b"") is None


def test_refusal_shows_nothing_of_the_value(signed: SignedValues) -> None:
    with pytest.raises(BadSignature) as caught:
        signed.loads(NAME, b"\x01" + bytes(32) + pickle.dumps("credit card"))
    assert str(caught.value) == "a stored value was not written by this application"


def test_signed_value_of_a_format_that_is_not_accepted_is_refused() -> None:
    with pytest.raises(RefusedFormat):
        signed_values(writes="json").loads(NAME, signed_values().dumps(NAME, {"a": 1}))


@pytest.mark.parametrize("fallbacks", [(OLD,), (b"x" * 32, OLD), (OLD, b"x" * 32)])
def test_value_of_an_older_key_is_read(signed: SignedValues, fallbacks: tuple[bytes, ...]) -> None:
    """At any position in the list."""
    assert signed_values(NEW, *fallbacks).loads(NAME, signed.dumps(NAME, {"a": 1})) == {"a": 1}


def test_older_key_does_not_sign() -> None:
    assert signed_values(NEW).dumps(NAME, {"a": 1}) == signed_values(NEW, OLD).dumps(NAME, {"a": 1})


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD)], ids=["one key", "older key"])
@pytest.mark.parametrize("kind", forgeries(Path()))
def test_forged_value_is_not_unpickled(keys: tuple[bytes, ...], crater: Path, kind: str) -> None:
    """It is neither unpickled nor opened nor signed again, with and without older keys."""
    reader, forged = signed_values(*keys), forgeries(crater)[kind]
    with pytest.raises(BadSignature):
        reader.loads(NAME, forged)
    assert (reader.opened(NAME, forged), reader.signed_again(NAME, forged)) == (None, None)
    assert not crater.exists()


def test_value_is_signed_again_as_the_current_key_would_have_written_it(
    signed: SignedValues,
) -> None:
    rotated, data = signed_values(NEW, OLD), signed_values(NEW).dumps(NAME, {"a": 1})
    assert rotated.signed_again(NAME, signed.dumps(NAME, {"a": 1})) == data
    assert rotated.signed_again(NAME, data) is None


def test_value_is_signed_again_without_reading_it(signed: SignedValues, crater: Path) -> None:
    data = signed.dumps(NAME, Bomb(crater))
    assert signed_values(NEW, OLD).signed_again(NAME, data) is not None
    assert not crater.exists()


def test_value_of_another_form_is_signed_again_in_its_own() -> None:
    old = SignedValues(OLD, Serializer(protocol=OWN_PROTOCOL), form=b"\x02")
    new = SignedValues(NEW, Serializer(protocol=OWN_PROTOCOL), [OLD], b"\x02")
    value = old.dumps(NAME, {"a": 1})
    assert new.signed_again(NAME, value) == new.dumps(NAME, {"a": 1})
    assert signed_values(NEW, OLD).signed_again(NAME, value) is None


@pytest.mark.parametrize(("fallbacks", "expected"), [((), False), ((OLD,), True)])
def test_whether_there_are_older_keys(fallbacks: tuple[bytes, ...], expected: bool) -> None:
    """Without any, no value can be signed with one."""
    assert expected is signed_values(NEW, *fallbacks).has_fallbacks
