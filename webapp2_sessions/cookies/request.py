"""Parse the Cookie header of a request, by RFC 6265."""

from __future__ import annotations

import re
from typing import Any

from webob.cookies import RequestCookies

from webapp2_sessions.cookies.rules import is_name

__all__ = ["read_values", "unquote"]

#: Whitespace around names and values. ``str.strip()`` would also drop a no-break space, and
#: another host of the domain could set a cookie that passes for the session's.
_WHITESPACE = " \t"

# Optimization: text, compiled on first use; few values are quoted.
#: Escapes of a quoted value.
_ESCAPED = rb"\\([0-3][0-7][0-7]|.)"


def read_values(request: Any, name: str | bytes) -> list[str]:
    """Return the values of all cookies with this name, the last in the header first.

    The header is split as browsers write it (RFC 6265 section 4.2.1): at each ``;``, and each pair
    at its first ``=``. Spaces and tabs around names and values are stripped, and names are
    compared exactly. Takes linear time, and raises for no header.

    :param request: a :class:`webob.Request`, or any object with a mapping ``cookies``.
    :param name: the cookie's name.
    """
    jar = request.cookies
    if type(jar) is not RequestCookies:
        value = jar.get(name)  # the request class parses cookies itself
        return [value] if value else []
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    header = request.environ.get("HTTP_COOKIE")
    if not header or not isinstance(name, str) or name not in header or not is_name(name):
        return []
    found = []
    for pair in header.split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip(_WHITESPACE) == name:
            value = value.strip(_WHITESPACE)
            if value[:1] == '"':
                value = _unquoted(value)
            if value:
                found.append(value)
    found.reverse()
    return found


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[-1] != '"':
        return value
    try:
        return unquote(value.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return ""  # not UTF-8: no session store wrote it


def unquote(value: bytes) -> bytes:
    """Undo the quotes and octal escapes of WebOb and old browsers."""
    if value[:1] == value[-1:] == b'"':
        value = value[1:-1]
    return re.sub(_ESCAPED, _unescape, value)


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes((int(escaped, 8),)) if len(escaped) == 3 else escaped
