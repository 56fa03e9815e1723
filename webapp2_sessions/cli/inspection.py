"""Session cookies in any text, what they hold, and whether an application would accept them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from webapp2_sessions import cookies
from webapp2_sessions.config.checks import secret_keys
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import BEGAN, IS_DATA, MAX_AGE, SPILLED, read_value
from webapp2_sessions.securecookie.plain_json import decode_payload
from webapp2_sessions.securecookie.tokens import token_time

#: Headers, also as ``curl -v`` shows them. What precedes the name must be on the same line: a match
#: that could start on an earlier line would be tried again from each of them.
_HEADER = re.compile(
    r"^(?:[<>*]|[^\S\n])*(set-cookie|cookie)[ \t]*:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE
)

#: Attributes of a Set-Cookie header, in lower case.
_ATTRIBUTES = {
    *("comment", "domain", "expires", "httponly", "max-age", "partitioned", "path"),
    *("priority", "samesite", "secure", "version"),
}

#: A bare value: a signed one, or one with "=" at its end only.
_SIGNED = re.compile(r"[A-Za-z0-9+/]*={0,2}\|[^|=;]*\|[^|=;]*")
_NO_PAIR = re.compile(r"[^=;]*")

#: The key under which the cookie of a stored session holds its id, and what an id looks like.
_SID = "_sid"
_SESSION_ID = re.compile(r"\w{22}", re.ASCII)


class CookieText(NamedTuple):
    """A cookie found in a text."""

    #: The name; ``None`` if the text is a bare value.
    name: str | None
    #: The value, as written there.
    value: str
    #: The attributes of a Set-Cookie header, e.g. ``("Path=/", "HttpOnly")``; ``None`` if the text
    #: is something else.
    attributes: tuple[str, ...] | None = None

    def size(self) -> int:
        """Return the bytes that browsers count: of the Set-Cookie header, as far as known."""
        parts = [self.value if self.name is None else f"{self.name}={self.value}"]
        return len("; ".join([*parts, *(self.attributes or ())]).encode("utf-8", "surrogatepass"))


def read_cookies(text: str) -> list[CookieText]:
    """Return the cookies in a text.

    :param text: headers, whatever surrounds them; or the content of one; or a bare value.
    """
    headers = _HEADER.findall(text)
    if headers:
        return [cookie for kind, content in headers for cookie in _parse_header(kind, content)]
    text = text.strip()
    if not text:
        return []
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    is_token = token_time(_as_bytes(bare)) is not None
    if is_token or _SIGNED.fullmatch(bare) or _NO_PAIR.fullmatch(bare):
        return [CookieText(None, text)]
    names = {part.partition("=")[0].strip().lower() for part in text.split(";")[1:]}
    is_set = not names.isdisjoint(_ATTRIBUTES)
    return _parse_header("set-cookie" if is_set else "cookie", text)


def _parse_header(kind: str, content: str) -> list[CookieText]:
    # A value that contains ";" would be escaped.
    parts = [part for part in map(str.strip, content.split(";")) if part]
    if kind.lower() == "set-cookie":
        return [_parse_pair(part, tuple(parts[1:])) for part in parts[:1]]
    return [_parse_pair(part) for part in parts]


def _parse_pair(part: str, attributes: tuple[str, ...] | None = None) -> CookieText:
    name, equals, value = part.partition("=")
    if not equals:
        return CookieText(None, part, attributes)
    return CookieText(name.strip(), value.strip(), attributes)


def _as_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


class Limit(NamedTuple):
    """When a cookie expires."""

    #: By which setting: ``"session_max_age"``, ``"absolute_max_age"`` or ``"set_max_age()"``.
    by: str
    #: In Unix seconds.
    at: int


class Inspection(NamedTuple):
    """What a cookie tells, and whether a configuration accepts it."""

    #: ``"signed"``, ``"encrypted"``, ``"stored"`` (holds the id of a stored session), ``"spilled"``
    #: (the same, of a session too large for its cookie), ``"id"`` (is a session id itself) or
    #: ``"unknown"``.
    kind: str
    #: Why the kind is unknown.
    problem: str | None = None
    #: The session's data; ``None`` if it cannot be read.
    data: Any = None
    #: When the cookie was signed, in Unix seconds.
    signed_at: int | None = None
    #: Size of the payload as JSON, in bytes.
    payload_size: int | None = None
    #: The hash function of the signature, by its length; ``None`` for encrypted cookies.
    digest: str | None = None
    #: Which key of the configuration verified it, e.g. ``"secret_key_fallbacks[0]"``; ``None`` if
    #: none did, or none was given.
    key: str | None = None
    #: Why it would be refused; ``None`` if it would not, or no key was given.
    refused: str | None = None
    #: When it expires, as far as the configuration tells.
    limit: Limit | None = None
    #: What the cookie keeps beside the session's data.
    attributes: Mapping[str, Any] = MappingProxyType({})

    @property
    def session_id(self) -> str | None:
        """The id of the stored session that the backends would open by this cookie."""
        sid: str | None
        sid = self.data[_SID] if self.kind == "stored" else self.attributes.get(SPILLED)
        return sid

    @property
    def own_max_age(self) -> int | None:
        """The lifetime in seconds that ``set_max_age()`` gave the session."""
        return self.attributes.get(MAX_AGE)

    @property
    def began(self) -> int | None:
        """When the session began, in Unix seconds, if the cookie keeps that."""
        return self.attributes.get(BEGAN)


def inspect_cookie(
    cookie: CookieText, config: Mapping[str, Any] | None = None, now: float = 0.0
) -> Inspection:
    """Read a cookie, and verify it if there is a configuration.

    :param config: a checked configuration, whose keys and ages decide.
    :param now: the time in Unix seconds.
    :raises MissingDependency: an encrypted cookie needs cryptography, which is not installed.
    """
    value = _unquote(cookie.value)
    encrypted_at = token_time(_as_bytes(value))
    if encrypted_at is not None:
        seen = Inspection("encrypted", signed_at=encrypted_at)
    elif value.count("|") == 2:
        seen = _read_signed(*value.split("|"))
    else:
        return _read_other(value)
    if config is None or seen.kind == "unknown":
        return seen
    name = str(config["cookie_name"]) if cookie.name is None else cookie.name
    return _verify(seen, name, value, config, now)


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return cookies.unquote(value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return value


def _read_signed(payload: str, timestamp: str, signature: str) -> Inspection:
    try:
        data = decode_payload(payload.encode("ascii"))
        signed_at = int(timestamp.encode("ascii"))
    except (ValueError, RecursionError):
        problem = "its payload is no JSON in base64, or its timestamp no integer"
        return Inspection("unknown", problem)
    digest = {40: "sha1", 64: "sha256", 128: "sha512"}.get(len(signature))
    if digest is None or not re.fullmatch("[0-9a-f]*", signature):
        return Inspection("unknown", "its signature has the form of none")
    attributes: Mapping[str, Any] = {}
    with contextlib.suppress(ValueError):  # it has no attributes
        data, attributes = read_value(data)
    size = len(payload) * 3 // 4 - payload[-2:].count("=")
    kind = _kind_of(data, attributes)
    return Inspection(kind, None, data, signed_at, size, digest, attributes=attributes)


def _kind_of(data: Any, attributes: Mapping[str, Any]) -> str:
    """Tell signed data from ids by the rules of the factories' ``get_session()``."""
    if SPILLED in attributes:
        return "spilled"
    is_id = isinstance(data, dict) and isinstance(data.get(_SID), str)
    return "stored" if is_id and IS_DATA not in attributes else "signed"


def _read_other(value: str) -> Inspection:
    if _SESSION_ID.fullmatch(value):
        return Inspection("id")
    if "%7c" in value.lower():
        return Inspection("unknown", "it is percent-encoded")
    if not value:
        return Inspection("unknown", "it is empty")
    count = value.count("|") + 1
    problem = f"it is no encrypted token, and a signed value has 3 parts, not {count}"
    return Inspection("unknown", problem)


def _verify(
    seen: Inspection, name: str, value: str, config: Mapping[str, Any], now: float
) -> Inspection:
    for place, key in secret_keys(config).items():
        try:
            opened = _serializer(seen, key).unseal(name, value)
        except InvalidCookie:
            continue
        data, attributes = opened.data, opened.attributes
        kind = seen.kind if seen.kind == "encrypted" else _kind_of(data, attributes)
        seen = seen._replace(key=place, data=data, attributes=attributes, kind=kind)
        return seen._replace(**_judge(seen, config, now))
    problem = f"its signature fits none of the keys, for a cookie of the name {name!r}"
    return seen._replace(refused=problem)


def _serializer(seen: Inspection, key: Any) -> SecureCookieSerializer:
    if seen.kind != "encrypted":
        return SecureCookieSerializer(key, digest=str(seen.digest))
    from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer  # loads cryptography

    return EncryptedCookieSerializer(key)


def _judge(seen: Inspection, config: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return ``limit`` and ``refused`` of a cookie whose signature is valid."""
    if seen.digest not in (None, config["digest"], *config["digest_fallbacks"]):
        names = "'digest' and 'digest_fallbacks' do not name"
        return {"refused": f"it is signed with {seen.digest}, which {names}"}
    if not isinstance(seen.data, dict):
        return {"refused": "it holds no session, which is a dictionary"}
    limit = min(_limits(seen, config), key=lambda each: each.at, default=None)
    if limit is None or limit.at >= int(now):
        return {"limit": limit}
    return {"limit": limit, "refused": f"it is too old, by {limit.by}"}


def _limits(seen: Inspection, config: Mapping[str, Any]) -> Iterator[Limit]:
    signed_at = seen.signed_at or 0
    own, max_age = seen.own_max_age, config["session_max_age"]
    absolute = config["absolute_max_age"]
    if own is not None:
        yield Limit("set_max_age()", signed_at + own)
    elif max_age is not None and math.isfinite(max_age):
        yield Limit("session_max_age", signed_at + math.floor(max_age))
    if absolute is not None:
        began = signed_at if seen.began is None else seen.began
        yield Limit("absolute_max_age", began + math.floor(absolute))
