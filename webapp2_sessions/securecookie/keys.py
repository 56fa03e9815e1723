"""Secret keys: what may be one, which are easily guessed, and what is derived from them."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
from typing import Any

from webapp2_sessions.errors import ConfigError

__all__ = [
    "DIGESTS",
    "check_key_list",
    "derive_key",
    "hmac_of",
    "new_key",
    "secret_bytes",
    "surroundings",
    "weakness",
]

#: Each byte combined with one of the two that RFC 2104 names.
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))

#: Hash functions with which cookies can be signed.
DIGESTS = ("sha1", "sha256", "sha512")

#: NIST SP 800-107 section 5.3.4 asks for 14 bytes at least; 16 are what a version 4 UUID has.
_SHORTEST = 16
#: A key of so few different characters is a pattern.
_FEWEST_CHARACTERS = 5

#: Of what keys are made that people write down, in quotes.
_QUOTED = re.compile(r"""(["'`])[\w+/=. -]+\1""")


def new_key(size: int) -> str:
    """Return a new random key: the hexadecimal form of ``size`` bytes of the system's."""
    return os.urandom(size).hex()


def secret_bytes(secret_key: str | bytes) -> bytes:
    """Return ``secret_key`` as bytes; text is encoded as UTF-8, as ``webapp2_extras`` does.

    :raises TypeError: it is neither ``str`` nor ``bytes``.
    """
    if isinstance(secret_key, bytes):
        return secret_key
    if isinstance(secret_key, str):
        return secret_key.encode("utf-8")
    raise TypeError(f"secret_key must be str or bytes, not {type(secret_key).__name__}")


@functools.lru_cache(maxsize=64)  # it is asked for in each request
def derive_key(secret_key: str | bytes, purpose: str) -> bytes:
    """Return a 32-byte key that serves one purpose only.

    HMAC-SHA256 is used as the pseudo-random function (RFC 5869 section 2.3, one block), so that
    neither the secret nor another purpose's key can be computed from the result.
    """
    return hmac.digest(
        secret_bytes(secret_key), b"webapp2_sessions:" + purpose.encode("utf-8") + b"\x01", "sha256"
    )


def hmac_of(key: bytes, message: bytes, digest: str) -> Any:
    """Return the hash object whose ``digest()`` is the HMAC of a message (RFC 2104).

    :param digest: the hash function, one of :data:`DIGESTS`.
    :raises ConfigError: this Python does not allow the hash function.
    """
    # Optimization: copies of two prepared states, in place of working in the key for each message
    # (1.2 us against 2.5). Objects of :mod:`hmac` take longer to copy.
    inner, outer = _hmac_states(key, digest)
    inner, outer = inner.copy(), outer.copy()
    inner.update(message)
    outer.update(inner.digest())
    return outer


@functools.lru_cache(maxsize=64)
def _hmac_states(key: bytes, digest: str) -> tuple[Any, Any]:
    """Return the inner and the outer hash object of an HMAC, in which the key is worked in."""
    try:
        block_size = hashlib.new(digest).block_size
    except ValueError as error:
        raise _forbidden(digest) from error
    if len(key) > block_size:
        key = hashlib.new(digest, key).digest()
    padded = key.ljust(block_size, b"\0")
    inner = hashlib.new(digest, padded.translate(_INNER_PAD))
    return inner, hashlib.new(digest, padded.translate(_OUTER_PAD))


def _forbidden(digest: str) -> ConfigError:
    """The error for a hash function that is switched off, as SHA-1 may be by FIPS 140."""
    return ConfigError("digest", f"{digest!r} is not allowed by this Python; choose 'sha256'")


def check_key_list(key: str, value: object) -> None:
    """Refuse what is no list of keys; a single key would be taken for a list of its characters.

    :param key: how to name the list in the error.
    :raises ConfigError: it is no list or tuple, or a key in it is none or empty.
    """
    if isinstance(value, (str, bytes)):
        raise ConfigError(
            key, f"must be a list of keys, not {type(value).__name__}; put a single key into a list"
        )
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, f"must be a list or tuple of keys, not {type(value).__name__}")
    for index, each in enumerate(value):
        if not isinstance(each, (str, bytes)):
            raise ConfigError(f"{key}[{index}]", f"must be str or bytes, not {type(each).__name__}")
        if not each:
            # Anybody can sign with it.
            raise ConfigError(f"{key}[{index}]", "must not be empty; take it out of the list")


def weakness(secret_key: str | bytes) -> str | None:
    """Return what makes a key easy to guess, without showing it; ``None`` if nothing is seen."""
    from webapp2_sessions.securecookie import guessable_keys  # when a configuration is first used

    key = secret_bytes(secret_key)
    if guessable_keys.is_published(key):
        return "is an example that many know"
    if guessable_keys.is_placeholder(key):
        return "is made of words that stand in for a key"
    if len(key) < _SHORTEST:
        return f"has fewer than {_SHORTEST} bytes"
    if len(set(key)) < _FEWEST_CHARACTERS:
        return f"has fewer than {_FEWEST_CHARACTERS} different characters"
    if guessable_keys.is_pattern(key, _SHORTEST):
        return "is a pattern"
    return None


def surroundings(secret_key: str | bytes) -> str | None:
    """Return what is around a key that was read from a file with more than the key in it."""
    try:
        text = secret_bytes(secret_key).decode("utf-8")
    except ValueError:
        return None
    inner = text.strip("\ufeff\0 \t\r\n")
    if not inner.isprintable():  # random bytes
        return None
    if inner != text:
        return "white space"
    return "quotes" if _QUOTED.fullmatch(text) else None
