"""The secret as bytes, and keys that are derived from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import secrets
import string
import uuid
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


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC as RFC 2104 writes it down."""
    block = key.ljust(64, b"\x00")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("k", b"k"),
        (b"k", b"k"),
        ("é\N{EURO SIGN}", b"\xc3\xa9\xe2\x82\xac"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_text_is_encoded_as_utf8(secret: str | bytes, expected: bytes) -> None:
    """Bytes stay as they are."""
    assert expected == secret_bytes(secret)


@pytest.mark.parametrize("secret", [None, 5, bytearray(b"k"), ["k"]])
def test_another_type_is_refused(secret: Any) -> None:
    """The error names the type only."""
    with pytest.raises(TypeError) as refused:
        secret_bytes(secret)
    assert f"secret_key must be str or bytes, not {type(secret).__name__}" == str(refused.value)


@pytest.mark.parametrize("purpose", ["memcached:memcache", "x", ""])
def test_a_derived_key_is_one_hmac(purpose: str) -> None:
    """The key is HMAC-SHA256 of the purpose, in a form that no other package signs."""
    expected = hmac_sha256(b"secret", b"webapp2_sessions:" + purpose.encode() + b"\x01")
    assert expected == derive_key("secret", purpose)


def test_a_derived_key_is_known() -> None:
    """One key as it is, since stored values depend on it."""
    expected = "f2e3509495503ffb3d20060f8c1f811e3bdec57097d2a4a26d1af63f35e7dd25"
    assert expected == derive_key("secret", "memcached:memcache").hex()


def test_text_and_bytes_derive_the_same_key() -> None:
    """The kind of the secret makes no difference."""
    assert derive_key("clé", "x") == derive_key("clé".encode(), "x")


def test_each_purpose_has_its_key() -> None:
    """Neither another purpose nor the signatures of cookies use the same key."""
    keys = {derive_key("secret", purpose) for purpose in ("a", "b", "ab")} | {b"secret"}
    assert len(keys) == 4


def test_each_secret_has_its_keys() -> None:
    """Another secret derives another key for the same purpose."""
    assert derive_key("a", "x") != derive_key("b", "x")


# Lists of older keys


@pytest.mark.parametrize("keys", [(), [], ["a"], (b"a", "b")])
def test_a_list_of_keys_is_accepted(keys: Any) -> None:
    """Text and bytes, in a list or a tuple."""
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
    """One key by itself would be a list of its characters, each of them a key."""
    with pytest.raises(ConfigError) as refused:
        check_key_list("older", keys)
    assert text == str(refused.value)


# Keys that are easily guessed


@pytest.mark.parametrize(
    "key",
    [
        "my-super-secret-key",
        "My Super_Secret Key!",
        b"my-super-secret-key",
        "secret",
        "changeme",
        "your-secret-key-here",
        "SUPER_SECRET_KEY",
        "putyoursecretkeyhere",
        "RandomSecurityKey",
        "MySuperSecretKey123",
        "secret-session-key-123",
        "_PUT_KEY_HERE_YOUR_SECRET_KEY_",
        "CHANGE_TO_A_SECRET_KEY",
        "my-little-secret",
        "a different random key",
        "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__",
        "<your secret key here>",
        "a long random string that nobody else knows",
        "the session secret of widgets",
        "not my-super-secret-key",
        "changeme\n",
    ],
)
def test_placeholders_are_known(key: str | bytes) -> None:
    """Whoever tries keys begins with those of documentation, however they are spelt."""
    assert weakness(key) == "is made of words that stand in for a key"


@pytest.mark.parametrize(
    "key",
    [
        "wIDjEesObzp5nonpRHDzSp40aba7STuqC6ZRY",
        "9a788030-837b-11e1-b0c4-0800200c9a66",
        "9A788030837B11E1B0C40800200C9A66",
        b"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "61oETzKXQAGaYdkL5gEmGeJJFuYh7EQnp2XdTP1o/Vo=",
        r"A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
    ],
)
def test_published_keys_are_known(key: str | bytes) -> None:
    """They are no words, and in the documentation of frameworks or in programs that many copy."""
    assert weakness(key) == "is an example that many know"


@pytest.mark.parametrize("key", ["0123456789abcde", b"\x00\x01\x02", "\N{EURO SIGN}" * 5, ""])
def test_short_keys_are_weak(key: str | bytes) -> None:
    """Bytes count, as they are signed with."""
    assert weakness(key) == "has fewer than 16 bytes"


@pytest.mark.parametrize(
    "key",
    [
        "0123456789abcdef",
        "0123456789abcdef0123456789abcdef",
        "12345678901234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "zyxwvutsrqponmlkjihgf",
        bytes(range(32)),
        "abcde" * 4,
        "h7Kx2mQp9rT" * 3,
    ],
)
def test_sequences_and_repetitions_are_weak(key: str | bytes) -> None:
    """What is repeated is no longer for that."""
    assert weakness(key) == "is a pattern"


@pytest.mark.parametrize("key", ["a" * 100, "abcd" * 10, b"\x00\x01" * 50])
def test_patterns_are_weak(key: str | bytes) -> None:
    """However long they are."""
    assert weakness(key) == "has fewer than 5 different characters"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(secrets.token_hex(32), id="hex"),
        pytest.param(secrets.token_bytes(32), id="bytes"),
        "h7Kx2mQp9rTw4vBz",
        "h7Kx2mQp9rTw4vBz" * 2,
        "correct horse battery staple",
        "acme-secret-key-8f3e9c1b7d204a5f",
        "\N{EURO SIGN}\N{SNOWMAN}clé d'été et de l'hiver",
    ],
)
def test_other_keys_are_not_weak(key: str | bytes) -> None:
    """Nothing that can be told by looking."""
    assert weakness(key) is None


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
    """No word, pattern or quote is found in what only chance has made."""
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
def test_what_is_around_a_key(key: str | bytes, around: str | None) -> None:
    """A file with a key has a newline at its end, and a shell's assignment has quotes."""
    assert surroundings(key) == around


# Signing


@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("length", [1, 20, 63, 64, 65, 127, 128, 129, 500])
def test_hmac(digest: str, length: int) -> None:
    """It is the standard library's, for keys shorter and longer than a block, each time."""
    key = bytes(range(256))[:length] if length <= 256 else b"k" * length
    for message in (b"", b"x", b"message" * 100, b"x"):
        assert hmac_of(key, message, digest).digest() == hmac.digest(key, message, digest)


# Pythons that are restricted to FIPS 140


def without_sha1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SHA-1 be switched off."""
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


@pytest.mark.parametrize("name", ["session", b"session"])
def test_digest_that_python_does_not_allow(
    monkeypatch: pytest.MonkeyPatch, name: str | bytes
) -> None:
    """The error names the key of the configuration, whichever way a cookie takes."""
    without_sha1(monkeypatch)
    serializer = SecureCookieSerializer("a key that no other test has")
    for action in (
        lambda: serializer.serialize(name, {"a": 1}),
        lambda: serializer.deserialize(name, "e30=|1500000000|" + "0" * 40),
    ):
        with pytest.raises(ConfigError, match=r"^digest: 'sha1' is not allowed .* 'sha256'") as e:
            action()
        assert e.value.key == "digest"


@pytest.mark.parametrize("name", ["session", b"session"])
def test_digest_that_python_allows(monkeypatch: pytest.MonkeyPatch, name: str | bytes) -> None:
    """SHA-256 signs without the other, and so do stored values."""
    without_sha1(monkeypatch)
    serializer = SecureCookieSerializer("a key that no other test has", digest="sha256")
    assert serializer.deserialize(name, serializer.serialize(name, {"a": 1})) == {"a": 1}
    assert len(derive_key("secret", "memcached:memcache")) == 32
