"""What a cookie holds, seen with or without the key, and by whom it would be accepted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from webapp2_sessions import cookies
from webapp2_sessions.cli.cookie_texts import CookieText, token_time
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import (
    BEGAN,
    IS_DATA,
    MAX_AGE,
    SPILLED,
    OpenCookie,
    read_value,
)
from webapp2_sessions.securecookie.plain_json import decode_payload
from webapp2_sessions.sessions.received_cookies import verified

__all__ = ["Inspection", "Limit", "inspect_cookie"]

#: Where the cookie of a stored session has its id.
_SID = "_sid"

_SESSION_ID = re.compile(r"\w{22}", re.ASCII)


class Limit(NamedTuple):
    """The time at which a cookie becomes too old."""

    #: What says so: ``"session_max_age"``, ``"absolute_max_age"`` or ``"set_max_age()"``.
    by: str
    #: In Unix seconds.
    at: int


class Inspection(NamedTuple):
    """What was seen of a cookie."""

    #: ``"signed"``, ``"encrypted"``, ``"stored"`` (it holds the id of a stored session),
    #: ``"spilled"`` (as well, of one that was too large), ``"id"`` (it is one itself) or
    #: ``"unknown"``.
    kind: str
    #: Why it is none of ours; ``None`` if it is.
    problem: str | None = None
    #: What it holds, ``None`` if that cannot be seen.
    data: Any = None
    #: When it was signed, in Unix seconds.
    signed_at: int | None = None
    #: Bytes of what it holds, as JSON.
    payload_size: int | None = None
    #: The hash function of its signature, which its length tells; ``None`` for encrypted ones.
    digest: str | None = None
    #: The key that has signed or encrypted it, by its place in the configuration, e.g.
    #: ``"secret_key_fallbacks[0]"``; ``None`` if that is not known.
    key: str | None = None
    #: Why it would be refused; ``None`` if it would not, or no key was there to tell.
    refused: str | None = None
    #: When it becomes too old, as far as the configuration tells.
    limit: Limit | None = None

    @property
    def session_id(self) -> str | None:
        """The id of the stored session to which the cookie leads, as the backends read it."""
        sid: str | None = self.data[_SID] if self.kind == "stored" else self.attributes.get(SPILLED)
        return sid

    @property
    def attributes(self) -> dict[str, Any]:
        """What the cookie keeps beside the session's data."""
        return getattr(self.data, "attributes", {})

    @property
    def own_max_age(self) -> int | None:
        """Seconds that the session lives, where ``set_max_age()`` has said so."""
        return self.attributes.get(MAX_AGE)

    @property
    def began(self) -> int | None:
        """When the session began, in Unix seconds, where the cookie keeps that."""
        return self.attributes.get(BEGAN)


def inspect_cookie(
    cookie: CookieText, config: Mapping[str, Any] | None = None, now: float = 0.0
) -> Inspection:
    """Look into a cookie.

    :param cookie: the cookie.
    :param config: a checked configuration, by whose keys and ages it is judged; without one it is
        only looked at.
    :param now: the present time in Unix seconds.
    :raises MissingDependency: an encrypted one is to be opened, and cryptography is not installed.
    """
    value = _unquoted(cookie.value)
    encrypted_at = token_time(value)
    if encrypted_at is not None:
        seen = Inspection("encrypted", signed_at=encrypted_at)
        return seen if config is None else _open_encrypted(seen, cookie, value, config, now)
    if value.count("|") != 2:
        return _nothing_of_ours(value)
    payload, timestamp, signature = value.split("|")
    try:
        data, size = _held(decode_payload(payload.encode("ascii"))), _decoded_size(payload)
        signed_at = int(timestamp.encode("ascii"))
    except (ValueError, RecursionError):
        what = "three parts, of which the first is no JSON in base64 or the second no time"
        return Inspection("unknown", f"it has {what}")
    digest = _digest_of(signature)
    if digest is None:
        return Inspection("unknown", "it has three parts, of which the last is no signature")
    seen = Inspection(_kind_of(data), None, data, signed_at, size, digest)
    return seen if config is None else _judge_signed(seen, cookie, value, config, now)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return cookies.unquote(value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return value


def _decoded_size(payload: str) -> int:
    return len(payload) * 3 // 4 - payload[-2:].count("=")


def _held(value: Any) -> Any:
    """Return a value that a cookie holds, as :class:`CookieData` if it looks like that."""
    try:
        return read_value(value)
    except ValueError:
        return value


def _kind_of(data: Any) -> str:
    attributes = getattr(data, "attributes", {})
    if SPILLED in attributes:
        return "spilled"
    is_id = isinstance(data, dict) and isinstance(data.get(_SID), str)
    return "stored" if is_id and IS_DATA not in attributes else "signed"


def _digest_of(signature: str) -> str | None:
    """The hash function that makes signatures of that length; ``None`` if it is none."""
    if not re.fullmatch("[0-9a-f]*", signature):
        return None
    return {40: "sha1", 64: "sha256", 128: "sha512"}.get(len(signature))


def _nothing_of_ours(value: str) -> Inspection:
    if _SESSION_ID.fullmatch(value):
        return Inspection("id")
    if "%7c" in value.lower():
        return Inspection("unknown", "it is percent-encoded, which cookies of ours are not")
    if not value:
        return Inspection("unknown", "it is empty")
    parts = value.count("|") + 1
    count = "1 part" if parts == 1 else f"{parts} parts"
    problem = f"it is no encrypted token, and has {count} where a signed value has 3"
    return Inspection("unknown", problem)


def _keys_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "secret_key", config["secret_key"]
    for index, key in enumerate(config["secret_key_fallbacks"]):
        yield f"secret_key_fallbacks[{index}]", key


def _name_of(cookie: CookieText, config: Mapping[str, Any]) -> str:
    return str(config["cookie_name"]) if cookie.name is None else cookie.name


def _judge_signed(
    seen: Inspection, cookie: CookieText, value: str, config: Mapping[str, Any], now: float
) -> Inspection:
    name, digest = _name_of(cookie, config), str(seen.digest)
    for place, key in _keys_of(config):
        found = _unsealed(SecureCookieSerializer(key, digest=digest), name, value)
        if found is not None:
            seen = seen._replace(key=place, data=found.data, kind=_kind_of(found.data))
            if digest in (config["digest"], *config["digest_fallbacks"]):
                return _judge_age(seen, config, now)
            why = f"it is signed with {digest}, which 'digest' and 'digest_fallbacks' do not name"
            return seen._replace(refused=why)
    return seen._replace(refused=_fits_none(name))


def _fits_none(name: str) -> str:
    return f"its signature fits none of the keys, for a cookie of the name {name!r}"


def _unsealed(serializer: Any, name: str, value: str) -> OpenCookie | None:
    """Return what a value holds by the package's own rules, ``None`` if it is not accepted."""
    try:
        return verified(serializer, name, value, None, own_ages=False)
    except InvalidCookie:
        return None


def _open_encrypted(
    seen: Inspection, cookie: CookieText, value: str, config: Mapping[str, Any], now: float
) -> Inspection:
    from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer  # loads cryptography

    name = _name_of(cookie, config)
    for place, key in _keys_of(config):
        found = _unsealed(EncryptedCookieSerializer(key), name, value)
        if found is not None:
            return _judge_age(seen._replace(data=found.data, key=place), config, now)
    return seen._replace(refused=_fits_none(name))


def _judge_age(seen: Inspection, config: Mapping[str, Any], now: float) -> Inspection:
    if not isinstance(seen.data, dict):
        return seen._replace(refused="it holds no session, which is a dictionary")
    limit = min(_limits(seen, config), key=lambda each: each.at, default=None)
    seen = seen._replace(limit=limit)
    if limit is not None and limit.at < int(now):
        return seen._replace(refused=f"it is too old, by {limit.by}")
    return seen


def _limits(seen: Inspection, config: Mapping[str, Any]) -> Iterator[Limit]:
    signed_at = seen.signed_at or 0
    own, max_age, absolute = (
        seen.own_max_age,
        config["session_max_age"],
        config["absolute_max_age"],
    )
    if own is not None:
        yield Limit("set_max_age()", signed_at + own)
    elif max_age is not None and math.isfinite(max_age):
        yield Limit("session_max_age", signed_at + math.floor(max_age))
    if absolute is not None:
        began = signed_at if seen.began is None else seen.began
        yield Limit("absolute_max_age", began + math.floor(absolute))
