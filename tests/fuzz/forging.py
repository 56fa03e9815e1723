"""Forged, damaged and rearranged cookies, each made from valid ones by a random change."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from random import Random
from urllib.parse import quote

from fuzz.minting import CORPUS, KEYS, NAMES, NOW, encrypt, sign

__all__ = ["FORGERIES", "make_header"]

_MINTED = list(CORPUS.values())
_ENCRYPTED = [minted for minted in _MINTED if minted.kind == "encrypted"]
_SIGNED = [minted for minted in _MINTED if minted.kind != "encrypted"]

#: Keys that no site has, some of them close to one. (HMAC fills keys with zeros, and replaces
#: long ones by their digest: such a key would be the same.)
_FOREIGN_KEYS = [
    *(b"", b"|", b"session", b"secret", b"changeme", b"None"),
    *(key.encode()[:-1] for key in KEYS.values()),
    *(key.encode().upper() for key in KEYS.values()),
    *(key.encode().hex().encode()[:60] for key in KEYS.values()),
    *(hashlib.sha256(key.encode()).digest() for key in KEYS.values()),
    *(
        hmac.digest(key.encode(), f"webapp2_sessions:{purpose}\x01".encode(), "sha256")
        for key in KEYS.values()
        for purpose in ("encryptedcookie:session", "encryptedcookie:auth", "memcached:memcache")
    ),
]
_FOREIGN_DIGESTS = ("md5", "sha224", "sha384", "sha3_256", "sha3_512", "blake2s", "blake2b")


def _any(rng: Random) -> bytes:
    return rng.choice(_MINTED).value


def replayed(rng: Random) -> bytes:
    """A valid cookie as it is: of any name, key, digest, kind and age."""
    return _any(rng)


def flipped(rng: Random) -> bytes:
    """Some bits are turned."""
    value = bytearray(_any(rng))
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    return bytes(value)


def replaced(rng: Random) -> bytes:
    """A character is another one of those that cookies have."""
    value = bytearray(_any(rng))
    value[rng.randrange(len(value))] = rng.choice(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=|"
    )
    return bytes(value)


def cut(rng: Random) -> bytes:
    """Something is missing at the end, at the beginning or between."""
    value = _any(rng)
    first, last = sorted(rng.randrange(len(value) + 1) for _ in range(2))
    return rng.choice((value[:last], value[first:], value[:first] + value[last:]))


def grown(rng: Random) -> bytes:
    """Something was put in."""
    value, place = _any(rng), rng.randrange(400)
    extra = rng.choice(
        (b" ", b"=", b"==", b"|", b"\n", b"\x00", b"!", b"0", b"A", b"AAAA", rng.randbytes(8))
    )
    return value[:place] + extra + value[place:]


def spliced(rng: Random) -> bytes:
    """The beginning of one and the end of another, or of the same shifted."""
    one, other = _any(rng), _any(rng)
    place = rng.randrange(len(one))
    return one[:place] + other[rng.choice((place, rng.randrange(len(other)))) :]


def exchanged(rng: Random) -> bytes:
    """Payload, time and signature of different ones, some twice or in another order."""
    parts = [rng.choice(_SIGNED).value.split(b"|")[part] for part in range(3)]
    if rng.random() < 0.3:
        parts = rng.choices(parts, k=rng.choice((1, 2, 3, 3, 4)))
    return b"|".join(parts)


def retimed(rng: Random) -> bytes:
    """Another time, or another spelling of the same."""
    payload, time, signature = rng.choice(_SIGNED).value.split(b"|")
    spellings: list[bytes] = [
        *(b"0" + time, b"+" + time, b" " + time, time + b" ", time + b".0", b"", b"-1"),
        *(time[:3] + b"_" + time[3:], b"9" * 5000, b"1e9", "\u0661\u0667".encode(), b"inf"),
        b"%d" % (NOW + rng.randrange(-5000, 5000)),
    ]
    return b"|".join((payload, rng.choice(spellings), signature))


def recoded(rng: Random) -> bytes:
    """The same data in another spelling of JSON, base64 or hexadecimal digits."""
    payload, time, signature = rng.choice(_SIGNED).value.split(b"|")
    data = json.loads(base64.b64decode(payload))
    spellings = [
        base64.urlsafe_b64encode(base64.b64decode(payload)),
        payload.rstrip(b"="),
        payload + b"=",
        payload + b"====",
        payload[:8] + b"\n" + payload[8:],
        base64.b64encode(json.dumps(data, separators=(",", ":")).encode()),
        base64.b64encode(json.dumps(data, ensure_ascii=False).encode()),
        base64.b64encode(json.dumps(data).encode("utf-16")),
        base64.b64encode(binascii.b2a_hex(payload)),
        base64.b64encode(payload),
        payload.lower(),
        payload,
    ]
    signatures = [signature, signature, signature.upper(), b"0x" + signature, signature[:40]]
    signatures.append(base64.b64encode(bytes.fromhex(signature.decode())))
    return b"|".join((rng.choice(spellings), time, rng.choice(signatures)))


def foreign(rng: Random) -> bytes:
    """Well made by somebody who has another key, or another hash function."""
    minted = rng.choice(_SIGNED)
    payload, time, _ = minted.value.split(b"|")
    name = rng.choice(NAMES)
    if rng.random() < 0.5:
        digest = rng.choice(("sha1", "sha256", "sha512", *_FOREIGN_DIGESTS))
        return sign(rng.choice(_FOREIGN_KEYS), digest, name, payload, time)
    key = KEYS[minted.key].encode()
    return sign(key, rng.choice(_FOREIGN_DIGESTS), name, payload, time)


def foreign_token(rng: Random) -> bytes:
    """Well encrypted by somebody who has another key."""
    data = json.dumps({"user": "admin"}).encode()
    return encrypt(rng.choice(_FOREIGN_KEYS), rng.choice(NAMES), data, NOW)


def token_parts(rng: Random) -> bytes:
    """Version, time, IV, text and signature of different tokens; blocks gone, doubled, moved."""
    one, other = (base64.urlsafe_b64decode(rng.choice(_ENCRYPTED).value) for _ in range(2))
    parts = [(part[:1], part[1:9], part[9:25], part[25:-32], part[-32:]) for part in (one, other)]
    version, time, iv, text, signature = (rng.choice(pair) for pair in zip(*parts, strict=True))
    blocks = [text[at : at + 16] for at in range(0, len(text), 16)]
    if rng.random() < 0.5:
        blocks = rng.choices(blocks, k=rng.randrange(len(blocks) + 2))
    if rng.random() < 0.2:
        version = bytes([rng.choice((0, 0x7F, 0x81, 0xFF))])
    if rng.random() < 0.2:
        time = (NOW + rng.randrange(-5000, 5000)).to_bytes(8, "big")
    return base64.urlsafe_b64encode(b"".join((version, time, iv, *blocks, signature)))


def token_recoded(rng: Random) -> bytes:
    """The same token in another spelling of base64."""
    value = rng.choice(_ENCRYPTED).value
    token = base64.urlsafe_b64decode(value)
    body = value.rstrip(b"=")
    place = rng.randrange(len(value))
    last = rng.choice(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    spellings = [
        base64.b64encode(token),
        base64.b64encode(token).replace(b"+", b"-"),
        body,
        value + b"=",
        value + b"AAAA",
        body[:-1] + bytes([last]) + value[len(body) :],
        value[:place] + rng.choice((b"\n", b" ", b"\xff", b"!", b"~", b"=")) + value[place:],
        base64.urlsafe_b64encode(value),
        base64.b32encode(token),
        token.hex().encode(),
        token,
    ]
    return rng.choice(spellings)


def wrapped(rng: Random) -> bytes:
    """In quotes, with escapes or percent signs; some of it is the same to a reader of cookies."""
    value = _any(rng)
    escaped = b"".join(b"\\%03o" % byte if rng.random() < 0.2 else bytes([byte]) for byte in value)
    inner = b'"' + value + b'"'
    again = b'"\\"' + value + b'\\""'
    again_escaped = b'"\\"' + escaped + b'\\""'
    return rng.choice(
        (
            *(inner, b'"' + escaped + b'"', escaped, b'"' + value, value + b'"'),
            *(b"'" + value + b"'", again, again_escaped, b'"' + inner + b'"', value[::-1]),
            *(quote(value).encode(), value.replace(b"|", b"\\174"), value.swapcase()),
        )
    )


def garbage(rng: Random) -> bytes:
    """Nothing of ours."""
    letters = rng.choice((b'|="\\;, ', b"|0aA=", bytes(range(256)), bytes(range(128, 256)), b"[{}"))
    return bytes(rng.choices(letters, k=rng.randrange(1, 60)))


#: Every kind of change.
FORGERIES: tuple[Callable[[Random], bytes], ...] = (
    *(replayed, flipped, replaced, cut, grown, spliced, exchanged, retimed, recoded, foreign),
    *(foreign_token, token_parts, token_recoded, wrapped, garbage),
)

#: What stands in place of a name, seldom.
_ODD_NAMES = (
    *("Session", " session", "session ", "sessio", "$session", "session=session", "", "é"),
    *(
        "x session",
        "x=1, session",
        "[session",
        "\xa0session",
        "session\x85",
        '"session"',
        "\tsession",
    ),
)


def make_header(rng: Random, forge: Callable[[Random], bytes]) -> tuple[str, str]:
    """A name and a Cookie header with a forged cookie of that name, as a server passes it on."""
    name = rng.choice(NAMES)
    written = name if rng.random() < 0.95 else rng.choice(_ODD_NAMES)
    pairs = [f"{written}={forge(rng).decode('latin-1')}"]
    while rng.random() < 0.2:
        more = rng.choice((forge, replayed, garbage))(rng).decode("latin-1")
        pairs.insert(rng.randrange(2), f"{rng.choice((name, name, *NAMES, 'other'))}={more}")
    if rng.random() < 0.05:
        pairs.insert(rng.randrange(2), rng.randbytes(rng.randrange(20)).decode("latin-1"))
    return name, rng.choice(("; ", "; ", "; ", ";", ", ", " ", "\t")).join(pairs)
