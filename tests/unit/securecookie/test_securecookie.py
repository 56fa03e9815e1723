"""SecureCookieSerializer signs values, and accepts only what was signed."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support.stores import NOW, sign, sign_payload
from support.visits import SECRET
from webapp2_extras import securecookie as upstream

from webapp2_sessions import ConfigError, SecureCookieSerializer
from webapp2_sessions.errors import (
    BadSignature,
    ExpiredCookie,
    InvalidCookie,
    MalformedCookie,
    UndecodableCookie,
)

Clock = Callable[[], int]


def serializer(secret: str | bytes = SECRET, now: int = NOW) -> SecureCookieSerializer:
    """A serializer whose clock stands."""
    made = SecureCookieSerializer(secret)
    made._get_timestamp = lambda: now
    return made


def flipped(value: str, index: int) -> str:
    """The value with another character at one place."""
    return value[:index] + ("A" if value[index] != "A" else "B") + value[index + 1 :]


# The wire format

VALUES: list[Any] = [
    {},
    {"a": 1},
    {"_sid": "0123456789abcdefghijAB"},
    {"_user": [1, 0, "token", 1500000000, 1500000000]},
    {"_flash": [["saved", "info"], ["", None]]},
    {"é": "\N{EURO SIGN}\N{GRINNING FACE}", "n": "\u2028\x00\x7f"},
    {"f": 1.5, "big": 2**64, "negative": -0.0, "t": True, "f2": False, "none": None},
    [1, "two"],
    "text",
    0,
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_bytes_are_known(value: Any) -> None:
    """A signed value is what hmac, hashlib, base64 and json make of it."""
    assert sign("session", value).encode() == serializer().serialize("session", value)


def test_one_value_is_written_out() -> None:
    """One value as bytes in the test, that no code computes."""
    expected = b"eyJhIjoxfQ==|1500000000|d61c099ce6734a1997acc9be9bba4f433ce69116"
    assert expected == serializer("secret").serialize("session", {"a": 1})


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_signed_comes_back(value: Any) -> None:
    """Values of JSON's types come back equal."""
    assert value == serializer().deserialize("session", sign("session", value))


def test_the_end_of_a_script_element_is_escaped() -> None:
    """A backslash goes between `<` and `/`, and JSON reads the same text."""
    signed = serializer().serialize("session", {"a": "</script>"})
    assert base64.b64decode(signed.split(b"|")[0]) == b'{"a":"<\\/script>"}'
    assert serializer().deserialize("session", signed) == {"a": "</script>"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (
            {2: "a", None: "b", True: "c", 1.5: "d"},
            {"2": "a", "null": "b", "true": "c", "1.5": "d"},
        ),
    ],
)
def test_values_come_back_as_json_holds_them(value: Any, expected: Any) -> None:
    """Tuples come back as lists and keys as text."""
    assert expected == serializer().deserialize("s", serializer().serialize("s", value))


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), b"NaN"), (float("inf"), b"Infinity"), (-float("inf"), b"-Infinity")],
)
def test_floats_that_json_has_not_are_written_as_upstream_writes_them(
    value: float, text: bytes
) -> None:
    """NaN and infinities are written by Python's names, and come back."""
    signed = serializer().serialize("session", value)
    assert text == base64.b64decode(signed.split(b"|")[0])
    assert repr(value) == repr(serializer().deserialize("session", signed))


def test_lone_surrogates_come_back() -> None:
    """Text that no encoding takes is escaped, since JSON is written in ASCII."""
    value = {"a": "\ud83d", "\udcff": "\ude00\ud83d"}
    signed = serializer().serialize("session", value)
    assert signed.isascii()
    assert value == serializer().deserialize("session", signed)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), {(1, 2): 3}, 1j])
def test_a_value_that_json_refuses_raises(value: Any) -> None:
    """The caller learns of a value that cannot be sent."""
    with pytest.raises(TypeError):
        serializer().serialize("session", {"a": value})


def test_a_value_that_holds_itself_raises() -> None:
    """A circle cannot be sent."""
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(ValueError, match="contains itself"):
        serializer().serialize("session", value)


# Secrets and names


@pytest.mark.parametrize("secret", ["s", "a secret", "clé \N{EURO SIGN}\N{KEY}", "k" * 200, "\x00"])
def test_a_secret_in_text_is_its_utf8(secret: str) -> None:
    """Text and its UTF-8 bytes are the same secret, whatever its length."""
    expected = sign("session", {"a": 1}, secret=secret.encode()).encode()
    assert expected == serializer(secret).serialize("session", {"a": 1})
    assert expected == serializer(secret.encode()).serialize("session", {"a": 1})


def test_a_secret_may_be_any_bytes() -> None:
    """Bytes need not be text."""
    secret = bytes(range(256))
    assert sign("s", 1, secret=secret).encode() == serializer(secret).serialize("s", 1)


@pytest.mark.parametrize("secret", [None, "", b""])
def test_a_missing_secret_is_refused(secret: Any) -> None:
    """Without a secret anybody could sign."""
    with pytest.raises(ConfigError) as refused:
        SecureCookieSerializer(secret)
    assert str(refused.value) == "secret_key: must not be None or empty"


@pytest.mark.parametrize("secret", [5, ["k"], bytearray(b"k")])
def test_a_secret_of_another_type_is_refused(secret: Any) -> None:
    """The error names the type and does not show the secret."""
    with pytest.raises(TypeError) as refused:
        SecureCookieSerializer(secret)
    assert f"secret_key must be str or bytes, not {type(secret).__name__}" == str(refused.value)


@pytest.mark.parametrize("name", ["session", "clé", "\N{EURO SIGN}", "a|b", ""])
def test_a_name_in_text_is_its_utf8(name: str) -> None:
    """Text and its UTF-8 bytes are the same name, for signing and for reading."""
    signed = serializer().serialize(name, {"a": 1})
    assert sign(name, {"a": 1}).encode() == signed
    assert signed == serializer().serialize(name.encode(), {"a": 1})
    assert serializer().deserialize(name.encode(), signed) == {"a": 1}


def test_a_name_with_a_lone_surrogate_can_be_asked_for() -> None:
    """A name that no cookie can have has no value, and does not raise."""
    assert None is serializer().deserialize("\udcff", sign("session", {"a": 1}))


def test_the_secret_of_a_serializer_may_be_replaced() -> None:
    """The attribute `secret_key` is what signs, as upstream."""
    changed = serializer()
    changed.secret_key = b"another"
    assert sign("s", 1, secret=b"another").encode() == changed.serialize("s", 1)


# Time


def test_the_timestamp_is_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an override the timestamp is Unix time in whole seconds."""
    monkeypatch.setattr("time.time", lambda: NOW + 0.9)
    assert sign("s", 1, NOW).encode() == SecureCookieSerializer(SECRET).serialize("s", 1)


@pytest.mark.parametrize(
    ("age", "max_age", "valid"),
    [
        (0, 0, True),
        (1, 0, False),
        (60, 60, True),
        (61, 60, False),
        (60, 60.5, True),
        (61, 60.5, False),
        (10**9, None, True),
        (10**9, float("inf"), True),
        (-(10**9), 60, True),
        (0, -1, False),
    ],
)
def test_a_value_older_than_allowed_is_expired(
    age: int, max_age: float | None, valid: bool
) -> None:
    """The age may be as large as `max_age`; a timestamp of the future is young."""
    signed = sign("session", {"a": 1}, NOW - age)
    assert ({"a": 1} if valid else None) == serializer().deserialize("session", signed, max_age)


def test_the_clock_may_be_moved_on_the_instance() -> None:
    """Upstream's users override `_get_timestamp` on an instance, for writing and for reading."""
    moved = serializer()
    signed = moved.serialize("session", {"a": 1})
    moved._get_timestamp = lambda: NOW + 61
    assert None is moved.deserialize("session", signed, max_age=60)
    assert sign("session", {"a": 1}, NOW + 61).encode() == moved.serialize("session", {"a": 1})


def test_a_clock_in_parts_of_seconds() -> None:
    """It is written as the clock tells it, as upstream does."""
    moved, theirs = serializer(), upstream.SecureCookieSerializer(SECRET)
    moved._get_timestamp = theirs._get_timestamp = lambda: NOW + 0.5
    signed = moved.serialize("session", {"a": 1})
    assert signed == theirs.serialize("session", {"a": 1})
    assert signed.split(b"|")[1] == b"1500000000.5"


# What is refused

GOOD = sign("session", {"a": 1})

REFUSED: list[tuple[str, str | bytes, type[InvalidCookie]]] = [
    ("no parts", "x", MalformedCookie),
    ("two parts", "x|y", MalformedCookie),
    ("four parts", GOOD + "|", MalformedCookie),
    ("only separators", "|||", MalformedCookie),
    ("quotes around nothing", '""', MalformedCookie),
    ("one quote", '"', MalformedCookie),
    ("escapes without quotes", GOOD.replace("|", "\\174"), MalformedCookie),
    ("a quote at one end", '"' + GOOD, BadSignature),
    ("empty parts", "||", BadSignature),
    ("another payload", flipped(GOOD, 0), BadSignature),
    ("another timestamp", GOOD.replace("|15", "|16"), BadSignature),
    ("another signature", flipped(GOOD, len(GOOD) - 1), BadSignature),
    ("a cut signature", GOOD[:-1], BadSignature),
    ("no signature", GOOD[: GOOD.rindex("|") + 1], BadSignature),
    ("a longer signature", GOOD + "0", BadSignature),
    ("an upper-case signature", GOOD[:-40] + GOOD[-40:].upper(), BadSignature),
    ("another secret", sign("session", {"a": 1}, secret="other"), BadSignature),
    ("another name", sign("other", {"a": 1}), BadSignature),
    ("a signature that is not ASCII", GOOD[:-1] + "é", BadSignature),
    ("bytes that are not UTF-8", b"\xff|\xfe|\xfd", BadSignature),
    ("a lone surrogate", "\udcff|1|\ud83d", BadSignature),
    ("too old", sign("session", {"a": 1}, NOW - 61), ExpiredCookie),
    ("too old and undecodable", sign_payload("session", b"!", b"1"), UndecodableCookie),
    ("a timestamp of letters", sign_payload("session", b"MQ==", b"abc"), UndecodableCookie),
    ("an empty timestamp", sign_payload("session", b"MQ==", b""), UndecodableCookie),
    ("a fractional timestamp", sign_payload("session", b"MQ==", b"1.5"), UndecodableCookie),
    ("a huge timestamp", sign_payload("session", b"MQ==", b"9" * 5000), UndecodableCookie),
    ("an empty payload", sign_payload("session", b""), UndecodableCookie),
    ("a payload cut short", sign_payload("session", b"MQ="), UndecodableCookie),
    ("no JSON", sign_payload("session", base64.b64encode(b"{")), UndecodableCookie),
    ("JSON and more", sign_payload("session", base64.b64encode(b"{} {}")), UndecodableCookie),
    ("no UTF-8", sign_payload("session", base64.b64encode(b'"\xff"')), UndecodableCookie),
    (
        "deep nesting",
        sign_payload("session", base64.b64encode(b"[" * 100_000 + b"]" * 100_000)),
        UndecodableCookie,
    ),
    (
        "a huge integer",
        sign_payload("session", base64.b64encode(b"9" * 5000)),
        UndecodableCookie,
    ),
]
CASES = pytest.mark.parametrize(
    ("value", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)


@CASES
def test_verify_tells_why(value: str | bytes, error: type[InvalidCookie]) -> None:
    """The raising form raises one class for each cause."""
    with pytest.raises(InvalidCookie) as refused:
        serializer().verify("session", value, max_age=60)
    assert error is type(refused.value)


@CASES
def test_deserialize_is_quiet(value: str | bytes, error: type[InvalidCookie]) -> None:
    """The quiet form returns None for exactly what `verify()` refuses."""
    assert None is serializer().deserialize("session", value, max_age=60)


@pytest.mark.parametrize("value", [None, "", b""])
def test_no_value_is_none(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A missing cookie is no matter for the log."""
    assert None is serializer().deserialize("session", value)
    assert caplog.messages == []


@pytest.mark.parametrize("timestamp", [b"abc", b"", b"1.5", b"9" * 5000])
def test_a_timestamp_is_read_only_where_an_age_is_asked(timestamp: bytes) -> None:
    """Without `max_age` the timestamp is signed text, as upstream."""
    assert serializer().deserialize("session", sign_payload("session", b"MQ==", timestamp)) == 1


@pytest.mark.parametrize("value", [5, ["a"]])
def test_a_value_of_another_type_raises(value: Any) -> None:
    """Neither text nor bytes is a mistake of the caller, not of the visitor."""
    with pytest.raises(TypeError, match=f"expected str or bytes, not {type(value).__name__}"):
        serializer().deserialize("session", value)


def test_the_cause_of_a_malformed_value() -> None:
    """It is the one cause that is not logged."""
    with pytest.raises(MalformedCookie) as refused:
        serializer().verify("session", "x|y")
    assert str(refused.value) == "it is no signed value"


# Quoted values


@pytest.mark.parametrize(
    "value",
    [
        f'"{GOOD}"',
        f'"{GOOD}"'.encode(),
        '"' + GOOD.replace("|", "\\174").replace("=", "\\075") + '"',
    ],
)
def test_a_quoted_value_is_accepted(value: str | bytes) -> None:
    """Cookie writers before RFC 6265 put quotes around, and octal escapes in."""
    assert serializer().deserialize("session", value) == {"a": 1}


def test_text_and_bytes_are_the_same_value() -> None:
    """A cookie's value may be text, as WebOb gives it, or bytes, as `serialize()` does."""
    assert serializer().deserialize("session", GOOD.encode()) == {"a": 1}


# The log


def causes(caplog: pytest.LogCaptureFixture, value: str | bytes) -> list[str]:
    """The messages of a refusal, with their logger and level checked."""
    serializer().deserialize("session", value, max_age=60)
    assert all(record.name == "webapp2_sessions.securecookie" for record in caplog.records)
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return caplog.messages


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (flipped(GOOD, 0), "its signature does not fit"),
        (sign("session", {"a": 1}, NOW - 61), "it is older than 60 seconds"),
        (sign_payload("session", b"MQ==", b"abc"), "its timestamp is no time"),
        (sign_payload("session", b"e30"), "its payload cannot be decoded (Error)"),
    ],
)
def test_the_cause_is_logged(value: str, cause: str, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the cookie and why it was not accepted."""
    assert [f"The cookie 'session' was not accepted: {cause}"] == causes(caplog, value)


@pytest.mark.parametrize("value", ["x", "a|b", "a|b|c|d"])
def test_a_value_of_another_application_is_not_logged(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What does not look like a signed value is no matter for the log, as upstream."""
    assert causes(caplog, value) == []


#: Words that stand in the values below, in clear, in base64, and as a part of a signature.
WORDS = ("topsecret", "dG9wc2VjcmV0", "5ec7e7")


@pytest.mark.parametrize(
    "value",
    [
        "dG9wc2VjcmV0|1|5ec7e7",
        sign_payload("session", b"dG9wc2VjcmV0", b"1"),
        sign_payload("session", b"dG9wc2VjcmV0", b"topsecret"),
        sign_payload("session", b"dG9wc2VjcmV0"),
        sign_payload("session", base64.b64encode(b'"topsecret')),
        sign_payload("session", base64.b64encode(b'"topsecret\xff"')),
    ],
)
def test_nothing_of_a_value_is_logged_or_raised(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Payload, timestamp and signature are in no log line, no message and no traceback."""
    with pytest.raises(InvalidCookie) as refused:
        serializer().verify("session", value, max_age=60)
    serializer().deserialize("session", value, max_age=60)
    shown = "".join(traceback.format_exception(refused.value)) + caplog.text
    signature = value.rpartition("|")[2]
    assert [word for word in (*WORDS, signature) if word in shown] == []


# What subclasses and instances replace


def test_the_encoding_may_be_replaced_on_an_instance() -> None:
    """`_encode` and `_decode` of an instance are used, inside the signature."""
    own = serializer()
    own._encode = lambda value: b"<" + value + b">"
    own._decode = lambda payload: payload[1:-1]
    signed = own.serialize("session", b"x")
    assert sign_payload("session", b"<x>").encode() == signed
    assert own.deserialize("session", signed) == b"x"


class ReprSerializer(SecureCookieSerializer):
    """Another encoding than JSON."""

    def _encode(self, value: Any) -> bytes:
        return base64.b64encode(json.dumps(repr(value)).encode())

    def _decode(self, payload: bytes) -> Any:
        if payload == b"broken":
            raise ZeroDivisionError("topsecret")
        return "decoded " + json.loads(base64.b64decode(payload))


def test_the_encoding_may_be_replaced_in_a_subclass() -> None:
    """`_encode` and `_decode` of a subclass are used."""
    own = ReprSerializer(SECRET)
    assert own.deserialize("session", own.serialize("session", {1})) == "decoded {1}"


def test_any_error_of_a_replaced_decoding_is_an_undecodable_cookie() -> None:
    """Whatever `_decode` raises, the value counts as none, and the error's text is not shown."""
    with pytest.raises(UndecodableCookie) as refused:
        ReprSerializer(SECRET).verify("session", sign_payload("session", b"broken"))
    assert str(refused.value) == "its payload cannot be decoded (ZeroDivisionError)"


def test_the_signature_may_be_replaced_in_a_subclass() -> None:
    """`_get_signature(name, payload, timestamp)` makes and checks signatures."""

    class Reversed(SecureCookieSerializer):
        def _get_signature(self, *parts: bytes) -> bytes:
            return super()._get_signature(*reversed(parts))

    own = Reversed(SECRET)
    signed = own.serialize("session", {"a": 1})
    assert own.deserialize("session", signed) == {"a": 1}
    assert None is serializer().deserialize("session", signed)


def test_a_subclass_may_set_the_secret_itself() -> None:
    """A constructor that only sets `secret_key` is enough, as upstream."""

    class Derived(SecureCookieSerializer):
        def __init__(self) -> None:
            self.secret_key = b"derived"

        def _get_timestamp(self) -> int:
            return NOW

    assert sign("s", 1, secret=b"derived").encode() == Derived().serialize("s", 1)


# Older keys and other hash functions

OLD, OLDER = "an older secret of the tests", "the oldest secret of the tests"


def sign_with(digest: str, secret: str, value: Any = "v", name: str = "session") -> str:
    """A signed value by any hash function, made without any of our code."""
    payload = base64.b64encode(json.dumps(value).encode()).decode()
    message = f"{name}|{payload}|{NOW}"
    signature = hmac.new(secret.encode(), message.encode(), digest).hexdigest()
    return f"{payload}|{NOW}|{signature}"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_each_hash_function_signs(digest: str) -> None:
    """Only the signature differs."""
    own = SecureCookieSerializer(SECRET, digest=digest)
    own._get_timestamp = lambda: NOW
    assert sign_with(digest, SECRET).encode() == own.serialize("session", "v")
    assert own.deserialize("session", sign_with(digest, SECRET)) == "v"


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
def test_each_allowed_pair_is_accepted(
    arguments: tuple[Any, ...], accepted: list[tuple[str, str]]
) -> None:
    """Any of the keys with any of the hash functions, and no others."""
    own = SecureCookieSerializer(SECRET, *arguments)
    found = [
        (secret, digest)
        for secret, digest in PAIRS
        if own.deserialize("session", sign_with(digest, secret)) == "v"
    ]
    assert sorted(accepted) == sorted(found)


def test_the_present_pair_signs() -> None:
    """Whatever else is accepted."""
    own = SecureCookieSerializer(SECRET, [OLD], "sha512", ["sha1"])
    own._get_timestamp = lambda: NOW
    assert sign_with("sha512", SECRET).encode() == own.serialize("session", "v")


def test_an_older_key_does_not_open_another_name() -> None:
    """Its values are bound to their names too."""
    own = SecureCookieSerializer(SECRET, [OLD], "sha256", ["sha1"])
    assert own.deserialize("other", sign_with("sha1", OLD)) is None


def test_an_older_keys_value_ages() -> None:
    """A fallback makes nobody younger."""
    own = SecureCookieSerializer(SECRET, [OLD])
    own._get_timestamp = lambda: NOW + 61
    assert own.deserialize("session", sign_with("sha1", OLD), max_age=60) is None
    assert own.deserialize("session", sign_with("sha1", OLD), max_age=61) == "v"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_a_cut_signature_of_an_older_key_is_refused(digest: str) -> None:
    """A long one is none of a shorter kind, nor the other way round."""
    own = SecureCookieSerializer(SECRET, [OLD], digest, ["sha1", "sha256", "sha512"])
    value = sign_with(digest, OLD)
    assert own.deserialize("session", value) == "v"
    cut = [value[:end] for end in range(value.rindex("|") + 1, len(value))]
    assert [each for each in cut if own.deserialize("session", each) is not None] == []


def test_few_signatures_are_made_where_there_are_no_fallbacks() -> None:
    """A forged value costs two, without attributes and with them; twice as many with an older key.

    A valid one costs one.
    """
    made = []

    class Counting(SecureCookieSerializer):
        def _get_signature(self, *parts: bytes) -> bytes:
            made.append(parts)
            return super()._get_signature(*parts)

    assert Counting(SECRET).deserialize("session", flipped(GOOD, 0)) is None
    assert len(made) == 2
    assert Counting(SECRET, [OLD]).deserialize("session", flipped(GOOD, 0)) is None
    assert len(made) == 2 + 4
    assert Counting(SECRET).deserialize("session", GOOD) is not None
    assert len(made) == 2 + 4 + 1


def test_a_replaced_signature_is_used_for_older_keys_too() -> None:
    """`_get_signature` of a subclass makes and checks all of them."""

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
def test_wrong_fallbacks_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    """Where the serializer is made, and not when a visitor comes."""
    with pytest.raises(ConfigError) as refused:
        SecureCookieSerializer(SECRET, *arguments)
    assert text == str(refused.value)
