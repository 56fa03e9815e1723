"""Valid cookies, made without any of our code, and which of them a site has to accept."""

from __future__ import annotations

import base64
import functools
import hmac
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet

__all__ = [
    "BACKENDS",
    "CORPUS",
    "KEYS",
    "NAMES",
    "NOW",
    "RECORDS",
    "SITES",
    "Minted",
    "Site",
    "encrypt",
    "expected",
    "sign",
]

#: When all cookies are read, in Unix seconds.
NOW = 1_700_000_000

NAMES = ("session", "auth")
BACKENDS = ("securecookie", "encryptedcookie", "stored")
KEYS = {
    "A": "the first key of the fuzz tests",
    "B": "the second key of the fuzz tests",
    "C": "the third key of the fuzz tests",
}
DIGESTS = ("sha1", "sha256", "sha512")

#: Stored sessions by their ids.
RECORDS = {"0123456789abcdefghijA" + letter: {"stored": letter} for letter in "XYZ"}
#: An id of which nothing is stored.
UNKNOWN = "0123456789abcdefghijAU"

AGES = (0, 3599, 3600, 3601, 10**8, -3600)


@dataclass(frozen=True)
class Site:
    """A configuration: the keys and digests that it accepts, and for how long."""

    keys: tuple[str, ...]
    digests: tuple[str, ...]
    max_age: int | None

    @property
    def config(self) -> dict[str, Any]:
        """The same as the library is told it."""
        first, *others = (KEYS[key] for key in self.keys)
        return {
            "secret_key": first,
            "secret_key_fallbacks": others,
            "digest": self.digests[0],
            "digest_fallbacks": self.digests[1:],
            "session_max_age": self.max_age,
        }


SITES = (
    Site(("A",), ("sha1",), 3600),
    Site(("B",), ("sha256",), 3600),
    Site(("B", "A"), ("sha256", "sha1"), 3600),
    Site(("C", "B", "A"), ("sha512",), None),
)


@dataclass(frozen=True)
class Minted:
    """A valid cookie: of what kind, under which name, by which key and digest, how old."""

    kind: str
    name: str
    key: str
    digest: str
    age: int
    data: dict[str, Any] = field(hash=False)
    value: bytes

    def opens(self, site: Site, name: str, backend: str) -> bool:
        """Whether its seal is good there; an id is a signed value like any other."""
        encrypted = self.kind == "encrypted"
        return (
            encrypted == (backend == "encryptedcookie")
            and self.name == name
            and self.key in site.keys
            and (encrypted or self.digest in site.digests)
            and (site.max_age is None or self.age <= site.max_age)
        )


def sign(key: bytes, digest: str, name: str, payload: bytes, timestamp: bytes) -> bytes:
    """A signed value of any payload and timestamp."""
    message = b"|".join((name.encode(), payload, timestamp))
    signature = hmac.new(key, message, digest).hexdigest().encode()
    return b"|".join((payload, timestamp, signature))


def encrypt(key: bytes, name: str, data: bytes, time: int) -> bytes:
    """An encrypted value of any data, with the secret's key for that name."""
    purpose = b"webapp2_sessions:encryptedcookie:" + name.encode() + b"\x01"
    derived = hmac.new(key, purpose, "sha256").digest()
    return Fernet(base64.urlsafe_b64encode(derived)).encrypt_at_time(data, time)


def _mint() -> Iterator[Minted]:
    for name, key, age in itertools.product(NAMES, KEYS, AGES):
        ids = [*RECORDS, UNKNOWN]
        for number, digest in enumerate(DIGESTS):
            for kind, data in (
                ("signed", {"of": [name, key, digest], "age": age, "text": "\xe9</script>?>"}),
                ("id", {"_sid": ids[(number + age) % len(ids)]}),
            ):
                payload = base64.b64encode(json.dumps(data).encode())
                value = sign(KEYS[key].encode(), digest, name, payload, b"%d" % (NOW - age))
                yield Minted(kind, name, key, digest, age, data, value)
        for length in range(3):  # of which base64 has one, two or no characters of padding
            data = {"of": [name, key], "age": age, "fill": "f" * 16 * length}
            value = encrypt(KEYS[key].encode(), name, json.dumps(data).encode(), NOW - age)
            yield Minted("encrypted", name, key, "", age, data, value)


#: Every valid cookie by its value.
CORPUS = {minted.value: minted for minted in _mint()}


def expected(header: str, site: Site, name: str, backend: str) -> dict[str, Any] | None:
    """The session that has to be found in a Cookie header, None if there is none.

    Of several valid cookies the one counts that was signed last; of those of one second, the last
    in the header. On a server it has to lead to something, and no more than four are tried.
    """
    minted = [CORPUS.get(value) for value in reversed(_values(header, name))]
    valid = [each for each in minted if each is not None and each.opens(site, name, backend)]
    for each in sorted(valid, key=lambda each: each.age)[:4]:
        if backend != "stored":
            return each.data
        record = RECORDS.get(each.data.get("_sid", ""))
        if record is not None:
            return record
    return None


@functools.lru_cache(maxsize=4)
def _values(header: str, name: str) -> list[bytes]:
    """The values of a name, by the rules of RFC 6265 section 4.2."""
    pairs = (pair.partition("=") for pair in header.split(";"))
    values = (value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name)
    return [_unquoted(value.encode("latin-1")) for value in values]


def _unquoted(value: bytes) -> bytes:
    if len(value) < 2 or not value[:1] == value[-1:] == b'"':
        return value
    return re.sub(
        rb"\\([0-3][0-7][0-7]|.)",
        lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else match[1],
        value[1:-1],
    )
