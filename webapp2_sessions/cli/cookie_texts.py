"""Cookies as people have them at hand: a header, a line of a log, or the bare value."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["CookieText", "read_cookies", "token_time"]

#: Headers, also as ``curl -v`` shows them. What stands before a name is on its line: a pattern that
#: could begin on an earlier one would be tried from there, for each line again.
_HEADER = re.compile(
    r"^(?:[<>*]|[^\S\n])*(set-cookie|cookie)[ \t]*:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE
)

#: What stands behind a value in a Set-Cookie header, in lower case.
_ATTRIBUTES = frozenset(
    (
        *("comment", "domain", "expires", "httponly", "max-age", "partitioned", "path"),
        *("priority", "samesite", "secure", "version"),
    )
)

#: A value by itself: a signed one, or one without "=" but at its end.
_SIGNED = re.compile(r"[A-Za-z0-9+/]*={0,2}\|[^|=;]*\|[^|=;]*")
_NO_PAIR = re.compile(r"[^=;]*")

#: A token of Fernet begins with this byte and 8 bytes of time (its specification, "Token Format").
_VERSION = b"\x80"
_TIME = slice(1, 9)
_SHORTEST_TOKEN = 73


class CookieText(NamedTuple):
    """A cookie that was found in a text."""

    #: Its name, ``None`` where the text is the bare value.
    name: str | None
    #: Its value, as it stands there.
    value: str
    #: What a Set-Cookie header says about it besides, e.g. ``("Path=/", "HttpOnly")``; ``None``
    #: where the text is no such header.
    attributes: tuple[str, ...] | None = None

    def size(self) -> int:
        """Bytes that browsers count: of the Set-Cookie header, as far as it is known."""
        parts = [self.value if self.name is None else f"{self.name}={self.value}"]
        return len("; ".join([*parts, *(self.attributes or ())]).encode("utf-8", "surrogatepass"))


def read_cookies(text: str) -> list[CookieText]:
    """Return the cookies of a text.

    :param text: headers, of whatever else is around them nothing is taken; or what stands in one
        behind its name; or a value.
    """
    headers = _HEADER.findall(text)
    if headers:
        return [cookie for kind, content in headers for cookie in _of_header(kind, content)]
    text = text.strip()
    if not text:
        return []
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if _SIGNED.fullmatch(bare) or _NO_PAIR.fullmatch(bare) or token_time(bare) is not None:
        return [CookieText(None, text)]
    behind = [part.partition("=")[0].strip().lower() for part in text.split(";")[1:]]
    is_set = any(name in _ATTRIBUTES for name in behind)
    return list(_of_header("set-cookie" if is_set else "cookie", text))


def _of_header(kind: str, content: str) -> Iterator[CookieText]:
    # A value that holds ";" would be escaped.
    parts = [part for part in map(str.strip, content.split(";")) if part]
    if kind.lower() == "set-cookie":
        yield from (_pair(part, tuple(parts[1:])) for part in parts[:1])
    else:
        yield from map(_pair, parts)


def _pair(part: str, attributes: tuple[str, ...] | None = None) -> CookieText:
    name, equals, value = part.partition("=")
    if not equals:
        return CookieText(None, part, attributes)
    return CookieText(name.strip(), value.strip(), attributes)


def token_time(value: str) -> int | None:
    """Return when an encrypted value was made, in Unix seconds; ``None`` if it is none."""
    try:
        token = base64.urlsafe_b64decode(value.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return None
    if token[:1] != _VERSION or len(token) < _SHORTEST_TOKEN:
        return None
    if base64.urlsafe_b64encode(token).decode("ascii") != value:
        return None  # decoding passes over characters that are not of the alphabet
    return int.from_bytes(token[_TIME], "big")
