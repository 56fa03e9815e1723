"""SecureCookieSerializer signs values, and accepts only what was signed.

That it signs as upstream's does, and calls the methods that an application has replaced, is in
tests/conformance, on both of them.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import traceback
from typing import Any

import pytest
from support.hostile import Refused, flipped, hostile_values
from support.stores import NOW, sign, sign_payload
from support.visits import SECRET
from webapp2_extras import securecookie as upstream

from webapp2_sessions import ConfigError, SecureCookieSerializer
from webapp2_sessions.errors import (
    BadSignature,
    InvalidCookie,
    MalformedCookie,
    UndecodableCookie,
)


def serializer(secret: str | bytes = SECRET, *args: Any) -> SecureCookieSerializer:
    """A serializer whose clock stands."""
    made = SecureCookieSerializer(secret, *args)
    made._get_timestamp = lambda: NOW
    return made


# The wire format


@pytest.mark.parametrize("secret", [None, "", b""])
def test_a_missing_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        SecureCookieSerializer(secret)
    assert str(refused.value) == "secret_key: must not be None or empty"


def test_a_name_that_no_cookie_can_have_has_no_value() -> None:
    assert None is serializer().deserialize("\udcff", sign("session", {"a": 1}))


def test_a_clock_in_parts_of_seconds_is_written_as_it_tells() -> None:
    moved, theirs = serializer(), upstream.SecureCookieSerializer(SECRET)
    moved._get_timestamp = theirs._get_timestamp = lambda: NOW + 0.5
    signed = moved.serialize("session", {"a": 1})
    assert signed == theirs.serialize("session", {"a": 1})
    assert signed.split(b"|")[1] == b"1500000000.5"


# What is refused


def sealed(
    value: Any, name: str = "session", secret: str | bytes = SECRET, now: int = NOW
) -> bytes:
    """A signed value, made without any of our code."""
    return sign(name, value, now, secret).encode()


def payload(text: bytes) -> bytes:
    """A signed value whose payload is the base64 of this."""
    return sign_payload("session", base64.b64encode(text)).encode()


GOOD = sealed({"a": 1})

REFUSED: dict[str, Refused] = {
    **hostile_values(sealed, payload),
    "two parts": ("x|y", MalformedCookie),
    "four parts": (GOOD + b"|", MalformedCookie),
    "only separators": ("|||", MalformedCookie),
    "escapes without quotes": (GOOD.replace(b"|", b"\\174"), MalformedCookie),
    "a quote at one end": (b'"' + GOOD, BadSignature),
    "empty parts": ("||", BadSignature),
    "another payload": (flipped(GOOD, 0), BadSignature),
    "another signature": (flipped(GOOD, len(GOOD) - 1), BadSignature),
    "a cut signature": (GOOD[:-1], BadSignature),
    "no signature": (GOOD[: GOOD.rindex(b"|") + 1], BadSignature),
    "a longer signature": (GOOD + b"0", BadSignature),
    "an upper-case signature": (GOOD[:-40] + GOOD[-40:].upper(), BadSignature),
    "a signature that is not ASCII": (GOOD[:-1].decode() + "é", BadSignature),
    "bytes that are not UTF-8": (b"\xff|\xfe|\xfd", BadSignature),
    "a lone surrogate": ("\udcff|1|\ud83d", BadSignature),
    "too old and undecodable": (sign_payload("session", b"!", b"1"), UndecodableCookie),
    "a timestamp of letters": (sign_payload("session", b"MQ==", b"abc"), UndecodableCookie),
    "an empty timestamp": (sign_payload("session", b"MQ==", b""), UndecodableCookie),
    "a fractional timestamp": (sign_payload("session", b"MQ==", b"1.5"), UndecodableCookie),
    "a huge timestamp": (sign_payload("session", b"MQ==", b"9" * 5000), UndecodableCookie),
    "a payload cut short": (sign_payload("session", b"MQ="), UndecodableCookie),
}


@pytest.mark.parametrize(("value", "error"), REFUSED.values(), ids=REFUSED)
def test_verify_tells_and_deserialize_is_quiet(
    value: str | bytes, error: type[InvalidCookie]
) -> None:
    with pytest.raises(InvalidCookie) as refused:
        serializer().verify("session", value, max_age=60)
    assert error is type(refused.value)
    assert None is serializer().deserialize("session", value, max_age=60)


@pytest.mark.parametrize("value", [None, "", b""])
def test_missing_value_is_none_and_not_logged(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert None is serializer().deserialize("session", value)
    assert caplog.messages == []


@pytest.mark.parametrize("value", [5, ["a"]])
def test_a_value_of_another_type_is_a_mistake_of_the_caller(value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected str or bytes, not {type(value).__name__}"):
        serializer().deserialize("session", value)


@pytest.mark.parametrize(
    "value",
    [
        GOOD.decode(),
        f'"{GOOD.decode()}"',
        b'"%b"' % GOOD,
        '"' + GOOD.decode().replace("|", "\\174").replace("=", "\\075") + '"',
    ],
)
def test_text_bytes_and_quoted_values_are_accepted(value: str | bytes) -> None:
    # Cookie writers before RFC 6265 put quotes around, and octal escapes in.
    assert serializer().deserialize("session", value) == {"a": 1}


# The log


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (flipped(GOOD, 0), "its signature does not fit"),
        (sealed({"a": 1}, now=NOW - 61), "it is older than 60 seconds"),
        (sign_payload("session", b"MQ==", b"abc"), "its timestamp is no integer"),
        (sign_payload("session", b"e30"), "its payload cannot be decoded (Error)"),
        ("a|b|c|d", None),  # as upstream: it is probably another application's
    ],
)
def test_the_cause_is_logged(
    value: str | bytes, cause: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    serializer().deserialize("session", value, max_age=60)
    message = f"The cookie 'session' was not accepted: {cause}"
    expected = ("webapp2_sessions.securecookie", logging.WARNING, message)
    assert caplog.record_tuples == [expected] * (cause is not None)


def test_the_cause_of_a_malformed_value_is_raised() -> None:
    with pytest.raises(MalformedCookie, match="it is no signed value"):
        serializer().verify("session", "x|y")


#: Words that stand in the values below, in clear, in base64, and as a part of a signature.
WORDS = ("topsecret", "dG9wc2VjcmV0", "5ec7e7")


@pytest.mark.parametrize(
    "value",
    [
        "dG9wc2VjcmV0|1|5ec7e7",
        sign_payload("session", b"dG9wc2VjcmV0", b"1"),
        sign_payload("session", b"dG9wc2VjcmV0", b"topsecret"),
        sign_payload("session", b"dG9wc2VjcmV0"),
        payload(b'"topsecret').decode(),
        payload(b'"topsecret\xff"').decode(),
    ],
)
def test_no_value_is_in_the_log_or_in_an_error(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidCookie) as refused:
        serializer().verify("session", value, max_age=60)
    serializer().deserialize("session", value, max_age=60)
    shown = "".join(traceback.format_exception(refused.value)) + caplog.text
    signature = value.rpartition("|")[2]
    assert [word for word in (*WORDS, signature) if word in shown] == []


# What subclasses replace


def test_any_error_of_a_replaced_decoding_is_an_undecodable_cookie() -> None:
    class Broken(SecureCookieSerializer):
        def _decode(self, payload: bytes) -> Any:
            raise ZeroDivisionError("topsecret")

    with pytest.raises(UndecodableCookie) as refused:
        Broken(SECRET).verify("session", GOOD)
    assert str(refused.value) == "its payload cannot be decoded (ZeroDivisionError)"


def test_a_subclass_may_set_the_secret_itself() -> None:
    class Derived(SecureCookieSerializer):
        def __init__(self) -> None:
            self.secret_key = b"derived"

        def _get_timestamp(self) -> int:
            return NOW

    assert sealed(1, "s", b"derived") == Derived().serialize("s", 1)


# Older keys and other hash functions

OLD, OLDER = "an older secret of the tests", "the oldest secret of the tests"


def sign_with(digest: str, secret: str) -> str:
    """A signed "v" by any hash function, made without any of our code."""
    payload = base64.b64encode(json.dumps("v").encode()).decode()
    message = f"session|{payload}|{NOW}"
    signature = hmac.new(secret.encode(), message.encode(), digest).hexdigest()
    return f"{payload}|{NOW}|{signature}"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_the_present_key_and_hash_function_sign(digest: str) -> None:
    own = serializer(SECRET, [OLD], digest, ["sha1", "sha256"])
    assert sign_with(digest, SECRET).encode() == own.serialize("session", "v")


PAIRS = [(secret, digest) for secret in (SECRET, OLD, OLDER) for digest in ("sha1", "sha256")]


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        ((), [(SECRET, "sha1")]),
        (((), "sha256"), [(SECRET, "sha256")]),
        (([OLD],), [(SECRET, "sha1"), (OLD, "sha1")]),
        (((OLD, OLDER.encode()),), [(SECRET, "sha1"), (OLD, "sha1"), (OLDER, "sha1")]),
        (((), "sha256", ["sha1"]), [(SECRET, "sha1"), (SECRET, "sha256")]),
        (([OLD], "sha256", ("sha1",)), [pair for pair in PAIRS if pair[0] != OLDER]),
        (([OLDER, OLD], "sha1", ["sha256"]), PAIRS),
        (([SECRET], "sha1", ["sha1"]), [(SECRET, "sha1")]),
    ],
)
def test_any_of_the_keys_with_any_of_the_hash_functions_is_accepted(
    arguments: tuple[Any, ...], accepted: list[tuple[str, str]]
) -> None:
    own = SecureCookieSerializer(SECRET, *arguments)
    found = [
        (secret, digest)
        for secret, digest in PAIRS
        if own.deserialize("session", sign_with(digest, secret)) == "v"
    ]
    assert sorted(accepted) == sorted(found)


def test_a_value_of_an_older_key_is_bound_to_its_name_and_ages() -> None:
    own = SecureCookieSerializer(SECRET, [OLD], "sha256", ["sha1"])
    own._get_timestamp = lambda: NOW + 61
    value = sign_with("sha1", OLD)
    assert own.deserialize("other", value) is None
    assert own.deserialize("session", value, max_age=60) is None
    assert own.deserialize("session", value, max_age=61) == "v"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_a_cut_signature_is_none_of_a_shorter_kind(digest: str) -> None:
    own = SecureCookieSerializer(SECRET, [OLD], digest, ["sha1", "sha256", "sha512"])
    value = sign_with(digest, OLD)
    assert own.deserialize("session", value) == "v"
    cut = [value[:end] for end in range(value.rindex("|") + 1, len(value))]
    assert [each for each in cut if own.deserialize("session", each) is not None] == []


@pytest.mark.parametrize(
    ("fallbacks", "value", "count"),
    [((), GOOD, 1), ((), flipped(GOOD, 0), 2), ([OLD], flipped(GOOD, 0), 4)],
)
def test_few_signatures_are_made(fallbacks: Any, value: bytes, count: int) -> None:
    # For a forged value two for each key: without attributes and with them.
    made = []

    class Counting(SecureCookieSerializer):
        def _get_signature(self, *parts: bytes) -> bytes:
            made.append(parts)
            return super()._get_signature(*parts)

    Counting(SECRET, fallbacks).deserialize("session", value)
    assert len(made) == count


def test_a_replaced_signature_is_used_for_older_keys_too() -> None:
    class Reversed(SecureCookieSerializer):
        def _get_signature(self, *parts: bytes) -> bytes:
            return super()._get_signature(*reversed(parts))

    signed = Reversed(OLD).serialize("session", {"a": 1})
    assert Reversed(SECRET, [OLD]).deserialize("session", signed) == {"a": 1}
    assert SecureCookieSerializer(SECRET, [OLD]).deserialize("session", signed) is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("abc",), "fallbacks: must be a list of keys, not str; put a single key into a list"),
        (([""],), "fallbacks[0]: must not be empty; take it out of the list"),
        (([5],), "fallbacks[0]: must be str or bytes, not int"),
        (((), "md5"), "digest: known are 'sha1', 'sha256', 'sha512'"),
        (((), None), "digest: known are 'sha1', 'sha256', 'sha512'"),
        (((), "sha1", ["md5"]), "digest_fallbacks: known are 'sha1', 'sha256', 'sha512'"),
        (((), "sha1", "sha256"), "digest_fallbacks: known are 'sha1', 'sha256', 'sha512'"),
    ],
)
def test_wrong_fallbacks_are_refused_at_once(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SecureCookieSerializer(SECRET, *arguments)
    assert text == str(refused.value)
