"""The secret as bytes, and keys that are derived from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import string
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from webapp2_sessions import ConfigError, SecureCookieSerializer
from webapp2_sessions.securecookie.keys import (
    DIGESTS,
    check_key_list,
    derive_key,
    hmac_of,
    secret_bytes,
    surroundings,
    weakness,
)


@pytest.mark.parametrize(
    ("secret", "expected"),
    [("k", b"k"), ("é\N{EURO SIGN}", b"\xc3\xa9\xe2\x82\xac"), (b"\xff\x00", b"\xff\x00")],
)
def test_text_is_encoded_as_utf8(secret: str | bytes, expected: bytes) -> None:
    assert expected == secret_bytes(secret)


@pytest.mark.parametrize("secret", [None, 5, bytearray(b"k"), ["k"]])
def test_another_type_is_named_in_the_error(secret: Any) -> None:
    with pytest.raises(TypeError) as refused:
        secret_bytes(secret)
    assert f"secret_key must be str or bytes, not {type(secret).__name__}" == str(refused.value)


@pytest.mark.parametrize("purpose", ["memcached:memcache", "x", ""])
@pytest.mark.parametrize("secret", ["clé", "clé".encode()])
def test_a_derived_key_is_one_hmac_of_secret_and_purpose(secret: str | bytes, purpose: str) -> None:
    # In a form that no other package signs.
    message = b"webapp2_sessions:" + purpose.encode() + b"\x01"
    assert hmac.digest("clé".encode(), message, "sha256") == derive_key(secret, purpose)


def test_a_derived_key_is_known() -> None:
    # Stored values depend on it.
    expected = "f2e3509495503ffb3d20060f8c1f811e3bdec57097d2a4a26d1af63f35e7dd25"
    assert expected == derive_key("secret", "memcached:memcache").hex()


@pytest.mark.parametrize("keys", [(), [], ["a"], (b"a", "b")])
def test_a_list_of_keys_is_accepted(keys: Any) -> None:
    check_key_list("older", keys)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("abc", "older: must be a list of keys, not str; put a single key into a list"),
        (b"abc", "older: must be a list of keys, not bytes; put a single key into a list"),
        ("", "older: must be a list of keys, not str; put a single key into a list"),
        (None, "older: must be a list or tuple of keys, not NoneType"),
        (iter(["a"]), "older: must be a list or tuple of keys, not list_iterator"),
        (["a", 5], "older[1]: must be str or bytes, not int"),
        ([""], "older[0]: must not be empty; take it out of the list"),
    ],
)
def test_what_is_no_list_of_keys_is_refused(keys: Any, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_key_list("older", keys)
    assert text == str(refused.value)


#: Whoever tries keys begins with those of documentation, however they are spelt.
PLACEHOLDERS = [
    *("my-super-secret-key", "My Super_Secret Key!", b"my-super-secret-key", "secret"),
    *("changeme", "your-secret-key-here", "SUPER_SECRET_KEY", "putyoursecretkeyhere"),
    *("RandomSecurityKey", "MySuperSecretKey123", "secret-session-key-123"),
    *("_PUT_KEY_HERE_YOUR_SECRET_KEY_", "CHANGE_TO_A_SECRET_KEY", "my-little-secret"),
    *("a different random key", "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__"),
    *("<your secret key here>", "a long random string that nobody else knows"),
    *("the session secret of widgets", "not my-super-secret-key", "changeme\n"),
]

#: They are no words, and in the documentation of frameworks or in programs that many copy.
PUBLISHED = [
    "wIDjEesObzp5nonpRHDzSp40aba7STuqC6ZRY",
    "9a788030-837b-11e1-b0c4-0800200c9a66",
    "9A788030837B11E1B0C40800200C9A66",
    b"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "61oETzKXQAGaYdkL5gEmGeJJFuYh7EQnp2XdTP1o/Vo=",
    r"A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
]

SHORT = ["0123456789abcde", b"\x00\x01\x02", "\N{EURO SIGN}" * 5, ""]

#: What is repeated is no longer for that.
PATTERNS = [
    *("0123456789abcdef", "0123456789abcdef0123456789abcdef", "12345678901234567890"),
    *("abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgf", bytes(range(32)), "abcde" * 4),
    "h7Kx2mQp9rT" * 3,
]

FEW_CHARACTERS = ["a" * 100, "abcd" * 10, b"\x00\x01" * 50]

GOOD = [
    *("h7Kx2mQp9rTw4vBz", "h7Kx2mQp9rTw4vBz" * 2, "correct horse battery staple"),
    *("acme-secret-key-8f3e9c1b7d204a5f", "\N{EURO SIGN}\N{SNOWMAN}clé d'été et de l'hiver"),
]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((key, "is made of words that stand in for a key") for key in PLACEHOLDERS),
        *((key, "is an example that many know") for key in PUBLISHED),
        *((key, "has fewer than 16 bytes") for key in SHORT),
        *((key, "is a pattern") for key in PATTERNS),
        *((key, "has fewer than 5 different characters") for key in FEW_CHARACTERS),
        *((key, None) for key in GOOD),
    ],
)
def test_weakness_of_a_key(key: str | bytes, expected: str | None) -> None:
    assert weakness(key) == expected


def random_keys(draw: random.Random) -> dict[str, str | bytes]:
    """A key of each form in which programs make them, 12 to 32 bytes."""
    size = draw.choice([12, 16, 24, 32])
    made = draw.randbytes(size)
    characters = string.ascii_letters + string.digits + string.punctuation
    return {
        "hex": made.hex(),
        "base64": base64.b64encode(made).decode(),
        "for URLs": base64.urlsafe_b64encode(made).decode().rstrip("="),
        "base32": base64.b32encode(made).decode().lower(),
        "UUID": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        "letters": "".join(draw.choices(string.ascii_lowercase, k=max(size, 16))),
        "characters": "".join(draw.choices(characters, k=max(size, 16))),
        "bytes": draw.randbytes(max(size, 16)),
    }


def test_random_keys_are_neither_weak_nor_quoted() -> None:
    draw = random.Random(2027)
    for _ in range(2000):
        for form, key in random_keys(draw).items():
            assert (form, key, weakness(key), surroundings(key)) == (form, key, None, None)


@pytest.mark.parametrize(
    ("key", "around"),
    [
        ("h7Kx2mQp9rTw4vBz\n", "white space"),
        (b"h7Kx2mQp9rTw4vBz\r\n", "white space"),
        (" h7Kx2mQp9rTw4vBz", "white space"),
        ("\ufeffh7Kx2mQp9rTw4vBz", "white space"),
        ("h7Kx2mQp9rTw4vBz\0", "white space"),
        ("'h7Kx2mQp9rTw4vBz'\n", "white space"),
        ('"h7Kx2mQp9rTw4vBz"', "quotes"),
        (b"'h7Kx2mQp9rTw4vBz'", "quotes"),
        ("'a b=/+'", "quotes"),
        ("'", None),
        ("'h7Kx2mQp9rTw4vBz", None),
        ("h7Kx 2mQp 9rTw 4vBz", None),
        (b"\n\xffKx2mQp9rTw4vBz", None),
        ("\n\x01Kx2mQp9rTw4vBz", None),
        ("", None),
    ],
)
def test_white_space_or_quotes_around_a_key_are_found(key: str | bytes, around: str | None) -> None:
    assert surroundings(key) == around


@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("length", [1, 20, 63, 64, 65, 127, 128, 129, 500])
def test_hmac_is_the_standard_librarys(digest: str, length: int) -> None:
    key = bytes(range(256))[:length] if length <= 256 else b"k" * length
    for message in (b"", b"x", b"message" * 100, b"x"):
        assert hmac_of(key, message, digest).digest() == hmac.digest(key, message, digest)


@pytest.fixture
def without_sha1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SHA-1 be switched off, as in Pythons that are restricted to FIPS 140."""
    new, digest_of = hashlib.new, hmac.digest

    def check(name: str) -> None:
        if name == "sha1":
            raise ValueError("[digital envelope routines] unsupported")

    def make(name: str, *args: Any, **options: Any) -> Any:
        check(name)
        return new(name, *args, **options)

    def digest(key: bytes, message: bytes, name: str) -> bytes:
        check(name)
        return digest_of(key, message, name)

    monkeypatch.setattr(hashlib, "new", make)
    monkeypatch.setattr(hmac, "digest", digest)


@pytest.mark.usefixtures("without_sha1")
@pytest.mark.parametrize(
    "use",
    [
        lambda serializer: serializer.serialize("session", {"a": 1}),
        lambda serializer: serializer.deserialize("session", "e30=|1500000000|" + "0" * 40),
    ],
    ids=["serialize", "deserialize"],
)
def test_digest_that_python_does_not_allow_is_a_config_error(use: Callable[[Any], Any]) -> None:
    serializer = SecureCookieSerializer("a key that no other test has")
    with pytest.raises(ConfigError, match=r"^digest: 'sha1' is not allowed .* 'sha256'") as caught:
        use(serializer)
    assert caught.value.key == "digest"


@pytest.mark.usefixtures("without_sha1")
def test_sha256_signs_without_sha1_and_derives_keys() -> None:
    serializer = SecureCookieSerializer("a key that no other test has", digest="sha256")
    assert serializer.deserialize("s", serializer.serialize("s", {"a": 1})) == {"a": 1}
    assert len(derive_key("secret", "memcached:memcache")) == 32
