"""Encrypted cookies: what is in them comes back, and nobody else can read or make them.

That sessions in them are as on any backend is in tests/conformance.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import webob
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from support.hostile import VALUES, Refused, flipped, hostile_values
from support.implementations import stopped_clock
from support.stores import NOW, make_store, saved_headers, sign
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import ConfigError, SessionStore
from webapp2_sessions.errors import BadSignature, InvalidCookie, MalformedCookie
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.sessions.encrypted import (
    EncryptedCookieSerializer,
    EncryptedCookieSessionFactory,
)

#: ``{"a": 1}`` in a cookie "session", encrypted at NOW with the secret "secret".
WRITTEN_OUT = (
    b"gAAAAABZaC8AH0u0dl23vSNclkjRJyUsqO0O6iZMBD_0A7hBsvjvaNQbZljpfk-DSz2zTbBkKljeOlU5I9hJRNtPscGp"
    b"cJETVQ=="
)

BACKEND = "encryptedcookie"


def serializer(secret: str = SECRET, now: int = NOW) -> EncryptedCookieSerializer:
    """A serializer whose clock stands."""
    made = EncryptedCookieSerializer(secret)
    made._get_timestamp = lambda: now
    return made


def encrypted(value: Any, name: str = "session", secret: str = SECRET, now: int = NOW) -> bytes:
    """A cookie's value that holds `value`."""
    return serializer(secret, now).serialize(name, value)


def token_of(data: bytes, key: bytes | None = None) -> bytes:
    """A token of any data under the cookie's own key."""
    key = key or derive_key(SECRET, "encryptedcookie:session")
    return Fernet(base64.urlsafe_b64encode(key)).encrypt_at_time(data, NOW)


def test_one_value_is_written_out() -> None:
    assert serializer("secret").deserialize("session", WRITTEN_OUT) == {"a": 1}


def test_layout_is_that_of_the_specification() -> None:
    # Version, time, IV, AES-128-CBC of the JSON, HMAC-SHA256.
    token = base64.urlsafe_b64decode(encrypted({"a": 1}))
    purpose = b"webapp2_sessions:encryptedcookie:session\x01"
    key = hmac.digest(SECRET.encode(), purpose, "sha256")
    assert token[:9] == b"\x80" + NOW.to_bytes(8, "big")
    assert token[-32:] == hmac.digest(key[:16], token[:-32], hashlib.sha256)
    decryptor = Cipher(algorithms.AES(key[16:]), modes.CBC(token[9:25])).decryptor()
    assert decryptor.update(token[25:-32]) + decryptor.finalize() == b'{"a":1}' + b"\x09" * 9


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_encrypted_comes_back(value: Any) -> None:
    assert value == serializer().deserialize("session", encrypted(value))


def test_neither_the_data_nor_that_it_is_the_same_can_be_read() -> None:
    first, second = (encrypted({"secret": "credit card"}) for _ in range(2))
    assert first != second
    shown = base64.urlsafe_b64decode(first) + first
    words = [b"credit", b"secret", base64.b64encode(b"credit"), base64.b64encode(b"secret")]
    assert [word for word in words if word in shown] == []


GOOD = encrypted({"a": 1})

REFUSED: dict[str, Refused] = {
    **hostile_values(encrypted, token_of),
    "a signed value": (sign("session", {"a": 1}), MalformedCookie),
    "another version": (flipped(GOOD, 0), MalformedCookie),
    "no padding": (GOOD.rstrip(b"="), MalformedCookie),
    "a newline": (GOOD[:50] + b"\n" + GOOD[50:], MalformedCookie),
    "a character of no alphabet": (GOOD[:50] + b"!" + GOOD[50:], MalformedCookie),
    "something after the padding": (GOOD + b"AAAA", MalformedCookie),
    "the other alphabet": (base64.b64encode(b"\x80" + b"\xff" * 83), MalformedCookie),
    "bytes that are not ASCII": (b"\xff" + GOOD, MalformedCookie),
    "a lone surrogate": ("\udcff", MalformedCookie),
    "a version only": (base64.urlsafe_b64encode(b"\x80"), MalformedCookie),
    "cut": (GOOD[:-1], MalformedCookie),
    "cut at a boundary": (GOOD[:48], MalformedCookie),
    "another time": (flipped(GOOD, 10), BadSignature),
    "another text": (flipped(GOOD, 50), BadSignature),
    "another signature": (flipped(GOOD, 90), BadSignature),
    "the secret itself as key": (token_of(b"{}", SECRET.encode()[:32]), BadSignature),
    "a key of another purpose": (token_of(b"{}", derive_key(SECRET, "x")), BadSignature),
}


@pytest.mark.parametrize(("value", "error"), REFUSED.values(), ids=REFUSED)
def test_verify_tells_and_deserialize_is_quiet(
    value: str | bytes, error: type[InvalidCookie]
) -> None:
    with pytest.raises(InvalidCookie) as refused:
        serializer().verify("session", value, max_age=60)
    assert error is type(refused.value)
    assert None is serializer().deserialize("session", value, max_age=60)


def test_a_value_has_one_spelling_though_the_last_character_has_unused_bits() -> None:
    value = next(v for v in (encrypted({"a": "b" * n}) for n in range(48)) if v.endswith(b"=="))
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [value[:-3] + bytes([each]) + b"==" for each in alphabet]
    same = [v for v in spellings if base64.urlsafe_b64decode(v) == base64.urlsafe_b64decode(value)]
    assert len(same) == 16
    accepted = [each for each in same if serializer().deserialize("session", each) is not None]
    assert [value] == accepted


@pytest.mark.parametrize("name", ["other", "Session", "session ", "", "sessio", b"other", "\udcff"])
def test_a_value_is_bound_to_the_name(name: str | bytes) -> None:
    assert None is serializer().deserialize(name, GOOD)


@pytest.mark.parametrize("name", ["session", "clé", "a|b", "", "\udcff"])
def test_any_name_has_a_key_in_text_and_in_bytes(name: str) -> None:
    value = serializer().serialize(name, {"a": 1})
    assert serializer().deserialize(name.encode("utf-8", "surrogatepass"), value) == {"a": 1}


def test_a_quoted_value_is_accepted() -> None:
    assert serializer().deserialize("session", b'"' + GOOD + b'"') == {"a": 1}


def test_nothing_of_a_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for value in (flipped(GOOD, 90), encrypted({"a": "topsecret"}, now=NOW - 61), b"x"):
        serializer().deserialize("session", value, max_age=60)
    assert caplog.messages == [
        "The cookie 'session' was not accepted: its signature does not fit",
        "The cookie 'session' was not accepted: it is older than 60 seconds",
    ]


@pytest.mark.parametrize("secret", [None, "", b""])
def test_a_missing_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigError, match="secret_key: must not be None or empty"):
        EncryptedCookieSerializer(secret)


def test_the_cookie_is_not_quoted() -> None:
    for length in range(60):
        store = make_store()
        store.get_session(backend=BACKEND)["a"] = "\xff" * length
        [header] = saved_headers(store)
        value = header.removeprefix("session=").removesuffix("; Path=/")
        assert value.isascii()
        assert serializer().deserialize("session", value) == {"a": "\xff" * length}


@pytest.mark.parametrize(
    ("cookie", "backend"),
    [
        (sign("session", {"a": 1}), BACKEND),
        (GOOD.decode(), "securecookie"),
        *((encrypted(value).decode(), BACKEND) for value in ([1], "text", 5, None)),
    ],
    ids=["signed", "encrypted", "list", "text", "number", "null"],
)
def test_what_is_no_session_of_the_kind_gives_a_new_one(cookie: str, backend: str) -> None:
    assert make_store(f"session={cookie}").get_session(backend=backend).new is True


def test_whoever_asks_the_factory_gets_the_configured_age() -> None:
    with stopped_clock() as clock:
        someone = Visitor(make_app(session_max_age=60), backend=BACKEND)
        someone.write({"a": 1})
        store = SessionStore(someone.request())
        container = EncryptedCookieSessionFactory("session", store)
        assert container.get_session() == {"a": 1}
        clock.advance(61)
        container.session = None
        assert container.get_session() == {}
        container.session = None
        with pytest.raises(ConfigError, match="max_age: must be a number"):
            container.get_session(max_age="soon")


def test_about_3000_bytes_of_json_fit() -> None:
    someone = Visitor(make_app(max_cookie_size=4093), backend=BACKEND)
    data = {"a": "x" * 2900}
    someone.write(data)
    assert len(json.dumps(data)) > 2900
    assert len(someone.set_cookies[0]) <= 4093


def test_a_store_without_a_secret_is_refused() -> None:
    store = SimpleNamespace(config={"cookie_args": {}}, request=webob.Request.blank("/"))
    with pytest.raises(ConfigError, match="secret_key"):
        EncryptedCookieSessionFactory("session", store).get_session()


WITHOUT_THE_LIBRARY = f"""
import sys, warnings
warnings.simplefilter("ignore")
sys.modules["cryptography"] = sys.modules["cryptography.fernet"] = None
import webapp2, webapp2_sessions
values = {{"secret_key": "{SECRET}"}}
app = webapp2.WSGIApplication(config={{"webapp2_extras.sessions": values}})
request = webapp2.Request.blank("/")
request.app = app
store = webapp2_sessions.SessionStore(request)
store.get_session()["a"] = 1
try:
    store.get_session("other", backend="encryptedcookie")
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_library_is_named_and_signed_cookies_work_without(tmp_path: Any) -> None:
    command = [sys.executable, "-c", WITHOUT_THE_LIBRARY]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (
        "MissingDependency cryptography is not installed; the encryptedcookie backend needs it: "
        "pip install 'webapp2_sessions[encryption]'",
        "",
    )
