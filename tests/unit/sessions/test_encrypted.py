"""Encrypted cookies: what is in them comes back, and nobody else can read or make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
import webob
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from support.implementations import Clock, stopped_clock
from support.stores import NOW, make_request, make_store, saved_headers, sign
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import ConfigError, SecureCookieSessionFactory, SessionStore
from webapp2_sessions.errors import (
    BadSignature,
    ExpiredCookie,
    InvalidCookie,
    MalformedCookie,
    UndecodableCookie,
)
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.sessions.encrypted import (
    EncryptedCookieSerializer,
    EncryptedCookieSessionFactory,
)

OTHER_SECRET = SECRET[::-1]

#: ``{"a": 1}`` in a cookie "session", encrypted at NOW with the secret "secret".
WRITTEN_OUT = (
    b"gAAAAABZaC8AH0u0dl23vSNclkjRJyUsqO0O6iZMBD_0A7hBsvjvaNQbZljpfk-DSz2zTbBkKljeOlU5I9hJRNtPscGp"
    b"cJETVQ=="
)

BACKEND = "encryptedcookie"


def serializer(secret: str = SECRET, *fallbacks: str, now: int = NOW) -> EncryptedCookieSerializer:
    """A serializer whose clock stands."""
    made = EncryptedCookieSerializer(secret, fallbacks)
    made._get_timestamp = lambda: now
    return made


def encrypted(value: Any, name: str = "session", secret: str = SECRET, now: int = NOW) -> bytes:
    """A cookie's value that holds `value`."""
    return serializer(secret, now=now).serialize(name, value)


def token_of(data: bytes, name: str = "session", key: bytes | None = None) -> bytes:
    """A token of any data under the cookie's own key."""
    key = key or derive_key(SECRET, f"encryptedcookie:{name}")
    return Fernet(base64.urlsafe_b64encode(key)).encrypt_at_time(data, NOW)


# The format


def test_one_value_is_written_out() -> None:
    """A cookie that was encrypted once is read by every later version."""
    assert serializer("secret").deserialize("session", WRITTEN_OUT) == {"a": 1}


def test_layout_of_a_value() -> None:
    """Version, time, IV, AES-128-CBC of the JSON, HMAC-SHA256: as the specification has it."""
    token = base64.urlsafe_b64decode(encrypted({"a": 1}))
    purpose = b"webapp2_sessions:encryptedcookie:session\x01"
    key = hmac.digest(SECRET.encode(), purpose, "sha256")
    assert token[:9] == b"\x80" + NOW.to_bytes(8, "big")
    assert token[-32:] == hmac.digest(key[:16], token[:-32], hashlib.sha256)
    decryptor = Cipher(algorithms.AES(key[16:]), modes.CBC(token[9:25])).decryptor()
    assert decryptor.update(token[25:-32]) + decryptor.finalize() == b'{"a":1}' + b"\x09" * 9


VALUES: list[Any] = [
    {},
    {"a": 1},
    {"_user": [1, 0, "token", 1500000000, 1500000000]},
    {"é": "\N{EURO SIGN}\N{GRINNING FACE}\ud83d", "n": "\u2028\x00</script>"},
    {"f": 1.5, "big": 2**64, "t": True, "none": None},
    [1, "two"],
    "text",
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_encrypted_comes_back(value: Any) -> None:
    """Values of JSON's types come back equal."""
    assert value == serializer().deserialize("session", encrypted(value))


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), {(1, 2): 3}, 1j])
def test_a_value_that_json_refuses_raises(value: Any) -> None:
    """The caller learns of a value that cannot be sent."""
    with pytest.raises(TypeError):
        encrypted(value)


def test_the_data_cannot_be_read() -> None:
    """Neither the text nor its base64 is in the cookie."""
    decoded = base64.urlsafe_b64decode(encrypted({"secret": "credit card"}))
    shown = decoded + encrypted({"secret": "credit card"})
    words = [b"credit", b"secret", base64.b64encode(b"credit"), base64.b64encode(b"secret")]
    assert [word for word in words if word in shown] == []


def test_the_same_data_twice_is_not_seen() -> None:
    """Each value has an IV of its own."""
    assert encrypted({"a": 1}) != encrypted({"a": 1})


# What is refused


def flipped(value: bytes, index: int) -> bytes:
    """The value with another character of the alphabet at one place."""
    other = b"A" if value[index : index + 1] != b"A" else b"B"
    return value[:index] + other + value[index + 1 :]


GOOD = encrypted({"a": 1})

REFUSED: list[tuple[str, str | bytes, type[InvalidCookie]]] = [
    ("no base64", b"x", MalformedCookie),
    ("one quote", b'"', MalformedCookie),
    ("a signed value", sign("session", {"a": 1}), MalformedCookie),
    ("another version", flipped(GOOD, 0), MalformedCookie),
    ("no padding", GOOD.rstrip(b"="), MalformedCookie),
    ("a newline", GOOD[:50] + b"\n" + GOOD[50:], MalformedCookie),
    ("a character of no alphabet", GOOD[:50] + b"!" + GOOD[50:], MalformedCookie),
    ("something after the padding", GOOD + b"AAAA", MalformedCookie),
    ("the other alphabet", base64.b64encode(b"\x80" + b"\xff" * 83), MalformedCookie),
    ("bytes that are not ASCII", b"\xff" + GOOD, MalformedCookie),
    ("a lone surrogate", "\udcff", MalformedCookie),
    ("a version only", base64.urlsafe_b64encode(b"\x80"), BadSignature),
    ("cut", GOOD[:-1], MalformedCookie),
    ("cut at a boundary", GOOD[:48], BadSignature),
    ("another time", flipped(GOOD, 10), BadSignature),
    ("another IV", flipped(GOOD, 20), BadSignature),
    ("another text", flipped(GOOD, 50), BadSignature),
    ("another signature", flipped(GOOD, 90), BadSignature),
    ("another secret", encrypted({"a": 1}, secret=OTHER_SECRET), BadSignature),
    ("another name", encrypted({"a": 1}, name="other"), BadSignature),
    ("the secret itself as key", token_of(b"{}", key=SECRET.encode()[:32]), BadSignature),
    ("a key of another purpose", token_of(b"{}", key=derive_key(SECRET, "x")), BadSignature),
    ("too old", encrypted({"a": 1}, now=NOW - 61), ExpiredCookie),
    ("no JSON", token_of(b"{"), UndecodableCookie),
    ("no text", token_of(b"\xff"), UndecodableCookie),
    ("nothing", token_of(b""), UndecodableCookie),
    ("deep nesting", token_of(b"[" * 100_000 + b"]" * 100_000), UndecodableCookie),
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


def test_unused_bits_of_the_last_character() -> None:
    """A value has one spelling; base64 of some lengths has several."""
    value = next(v for v in (encrypted({"a": "b" * n}) for n in range(48)) if v.endswith(b"=="))
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [value[:-3] + bytes([each]) + b"==" for each in alphabet]
    same = [v for v in spellings if base64.urlsafe_b64decode(v) == base64.urlsafe_b64decode(value)]
    assert len(same) == 16
    accepted = [each for each in same if serializer().deserialize("session", each) is not None]
    assert [value] == accepted


@pytest.mark.parametrize("name", ["other", "Session", "session ", "", "sessio", b"other", "\udcff"])
def test_a_value_is_bound_to_the_name(name: str | bytes) -> None:
    """It is none for another cookie."""
    assert None is serializer().deserialize(name, GOOD)


@pytest.mark.parametrize("name", ["session", "clé", "a|b", "", "\udcff"])
def test_a_name_in_bytes_is_the_same(name: str) -> None:
    """Any name has a key of its own, in text or in UTF-8."""
    value = serializer().serialize(name, {"a": 1})
    assert serializer().deserialize(name.encode("utf-8", "surrogatepass"), value) == {"a": 1}


def test_a_quoted_value_is_accepted() -> None:
    """Cookie writers before RFC 6265 put quotes around."""
    assert serializer().deserialize("session", b'"' + GOOD + b'"') == {"a": 1}


def test_nothing_of_a_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor what is in it."""
    for value in (flipped(GOOD, 90), encrypted({"a": "topsecret"}, now=NOW - 61), b"x"):
        serializer().deserialize("session", value, max_age=60)
    assert caplog.messages == [
        "The cookie 'session' was not accepted: its signature does not fit",
        "The cookie 'session' was not accepted: it is older than 60 seconds",
    ]


@pytest.mark.parametrize("secret", [None, "", b""])
def test_a_missing_secret_is_refused(secret: Any) -> None:
    """Without a secret anybody could read."""
    with pytest.raises(ConfigError, match="secret_key: must not be None or empty"):
        EncryptedCookieSerializer(secret)


# Age


@pytest.mark.parametrize(
    ("age", "max_age", "valid"),
    [
        (0, 0, True),
        (1, 0, False),
        (60, 60, True),
        (61, 60, False),
        (61, 60.5, False),
        (10**9, None, True),
        (10**9, float("inf"), True),
        (-3600, 60, True),
    ],
)
def test_age(age: int, max_age: float | None, valid: bool) -> None:
    """As signed cookies age: by whole seconds, and one of the future is young."""
    value = encrypted({"a": 1}, now=NOW - age)
    expected = {"a": 1} if valid else None
    assert expected == serializer().deserialize("session", value, max_age=max_age)


# Older keys


def test_an_older_key_decrypts() -> None:
    """Whichever of them encrypted."""
    many = serializer("new" * 9, OTHER_SECRET, SECRET)
    assert many.deserialize("session", GOOD) == {"a": 1}
    assert many.deserialize("session", encrypted({"b": 2}, secret=OTHER_SECRET)) == {"b": 2}


def test_an_older_key_does_not_encrypt() -> None:
    """The first one does."""
    value = serializer(OTHER_SECRET, SECRET).serialize("session", {"a": 1})
    assert serializer().deserialize("session", value) is None
    assert serializer(OTHER_SECRET).deserialize("session", value) == {"a": 1}


def test_an_older_key_is_bound_to_the_name_too() -> None:
    """It opens no cookie of another name."""
    value = encrypted({"a": 1}, name="other")
    assert serializer(OTHER_SECRET, SECRET).deserialize("session", value) is None


# Sessions


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that stands."""
    with stopped_clock() as clock:
        yield clock


def visitor(**config: Any) -> Visitor:
    """A visitor with encrypted cookies."""
    return Visitor(make_app(**config), backend=BACKEND)


def test_the_factory_is_a_cookie_factory() -> None:
    """Whatever is done with sessions in cookies is done with it."""
    factory = make_store().get_backend(BACKEND)
    assert factory is EncryptedCookieSessionFactory
    assert issubclass(factory, SecureCookieSessionFactory)


def test_the_cookie_is_not_quoted() -> None:
    """It goes over the wire as it is, whatever its length and bytes are."""
    for length in range(60):
        store = make_store()
        store.get_session(backend=BACKEND)["a"] = "\xff" * length
        [header] = saved_headers(store)
        value = header.removeprefix("session=").removesuffix("; Path=/")
        assert value.isascii()
        assert serializer().deserialize("session", value) == {"a": "\xff" * length}


def test_a_wrong_name_is_refused() -> None:
    """The name is that of a cookie."""
    with pytest.raises(ConfigError, match="cannot be sent"):
        make_store().get_session("bad name", backend=BACKEND)


def test_signed_cookie_is_no_encrypted_one() -> None:
    """A visitor could have read it."""
    cookie = "session=" + sign("session", {"a": 1})
    assert make_store(cookie).get_session(backend=BACKEND).new is True


def test_encrypted_cookie_is_no_signed_one() -> None:
    """The kinds are kept apart in both directions."""
    assert make_store(f"session={GOOD.decode()}").get_session().new is True


@pytest.mark.parametrize("value", [[1], "text", 5, None])
def test_encrypted_value_that_is_no_session(value: Any) -> None:
    """It counts as none."""
    cookie = "session=" + encrypted(value).decode()
    assert make_store(cookie).get_session(backend=BACKEND).new is True


def test_the_last_valid_cookie_counts() -> None:
    """One of another application cannot displace ours."""
    cookies = [b"x", GOOD, encrypted({"a": 2}), flipped(GOOD, 50), sign("session", {}).encode()]
    header = "; ".join(f"session={value.decode()}" for value in cookies)
    assert make_store(header).get_session(backend=BACKEND) == {"a": 2}


def test_session_max_age_is_configured(clock: Clock) -> None:
    """And an argument of `get_session()` goes before it, as does the first call."""
    someone = visitor(session_max_age=60)
    someone.write({"a": 1})
    clock.advance(61)
    assert someone.read() == {}
    assert someone.read(max_age=None) == {"a": 1}
    assert someone.read(max_age=61) == {"a": 1}


def test_session_max_age_is_configured_for_whoever_asks_the_factory(clock: Clock) -> None:
    """Without an argument of its own the configuration's counts."""
    someone = visitor(session_max_age=60)
    someone.write({"a": 1})
    store = SessionStore(someone.request())
    container = EncryptedCookieSessionFactory("session", store)
    assert container.get_session() == {"a": 1}
    clock.advance(61)
    container.session = None
    assert container.get_session() == {}


def test_a_max_age_that_is_no_number_is_refused() -> None:
    """Also where the factory is asked itself."""
    container = make_store().get_session(backend=BACKEND).container
    container.session = None
    with pytest.raises(ConfigError, match="max_age: must be a number"):
        container.get_session(max_age="soon")


def test_renewed_cookie_has_a_new_time(clock: Clock) -> None:
    """By `refresh_after`, with the data that is in the cookie."""
    someone = visitor(refresh_after=60)
    someone.write({"a": [1]})
    clock.advance(60)
    with someone.visit() as session:
        session["a"].append(2)
    assert len(someone.set_cookies) == 1
    cookie = serializer().unseal("session", someone.cookies["session"])
    assert cookie.signed_at == int(clock.now)
    assert someone.read() == {"a": [1]}


def test_session_that_was_set_by_hand_is_young(clock: Clock) -> None:
    """Without a cookie there is nothing to renew."""
    store = make_store(refresh_after=60)
    container = store.get_session(backend=BACKEND).container
    container.session.new = False
    clock.advance(60)
    assert container._signed_at is None
    assert saved_headers(store) == []


def test_a_cookie_that_is_too_large_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """As a signed one, by name, size and largest keys."""
    visitor(max_cookie_size=100).write({"a": "topsecret" * 20, "b": 1})
    [message] = caplog.messages
    assert message.startswith("The cookie 'session' has ")
    assert "browsers drop it above 100" in message
    assert "Largest keys: 'a' (182 bytes), 'b' (1 bytes)" in message
    assert "topsecret" not in message


def test_about_3000_bytes_of_json_fit() -> None:
    """What a cookie of 4093 bytes has room for."""
    someone = visitor(max_cookie_size=4093)
    data = {"a": "x" * 2900}
    someone.write(data)
    assert len(json.dumps(data)) > 2900
    assert len(someone.set_cookies[0]) <= 4093


def test_the_old_key_of_the_configuration_decrypts() -> None:
    """`secret_key_fallbacks` reaches the encryption; the next write is by the new key."""
    someone = visitor()
    someone.write({"a": 1})
    someone.app = make_app(secret_key=OTHER_SECRET, secret_key_fallbacks=[SECRET])
    assert someone.read() == {"a": 1}
    someone.write({"b": 2})
    someone.app = make_app(secret_key=OTHER_SECRET)
    assert someone.read() == {"a": 1, "b": 2}


def test_another_class_of_stores() -> None:
    """A store of the application's own, with a constructor of its own, gives encrypted sessions."""

    class Store(SessionStore):
        def __init__(self, app: webapp2.WSGIApplication, cookie: str | None = None) -> None:
            super().__init__(make_request(app, cookie), {"cookie_name": "mine"})

    app = make_app()
    store = Store(app)
    store.get_session(backend=BACKEND)["a"] = 1
    [header] = saved_headers(store)
    assert Store(app, header.partition(";")[0]).get_session(backend=BACKEND) == {"a": 1}


def test_a_store_without_a_secret_is_refused() -> None:
    """Nothing is encrypted with a key that anybody knows."""
    store = SimpleNamespace(config={"cookie_args": {}}, request=webob.Request.blank("/"))
    with pytest.raises(ConfigError, match="secret_key"):
        EncryptedCookieSessionFactory("session", store).get_session()


def test_a_set_cookie_is_merged_into_an_open_encrypted_session() -> None:
    """`set_secure_cookie()` uses the session of that name, whatever its backend is."""
    store = make_store()
    store.get_session("s", backend=BACKEND)["a"] = 1
    store.set_secure_cookie("s", {"b": 2})
    [header] = saved_headers(store)
    value = header.removeprefix("s=").partition(";")[0]
    assert serializer().deserialize("s", value) == {"a": 1, "b": 2}


# Without the library

WITHOUT = f"""
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


def test_a_missing_library_is_named(tmp_path: Any) -> None:
    """Signed cookies work without it, and the error says what to install."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (
        "MissingDependency cryptography is not installed; the encryptedcookie backend needs it: "
        "pip install 'webapp2_sessions[encryption]'",
        "",
    )


def test_the_log_of_a_refusal_has_its_level(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, as for signed cookies."""
    make_store(f"session={flipped(GOOD, 50).decode()}").get_session(backend=BACKEND)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
