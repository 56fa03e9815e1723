"""The Cookie header of a request, cut as browsers write it."""

from __future__ import annotations

import re
from typing import Any

from webob.cookies import RequestCookies
from webob.request import BaseRequest

from webapp2_sessions.cookies.rules import is_name

__all__ = ["read_values", "unquote"]

#: How WebOb's requests read cookies.
_COOKIES = BaseRequest.cookies

#: What may be dropped around a name or a value; ``str.strip()`` would also drop a no-break space,
#: with which another host of the domain can send a cookie under a name of ours.
_BLANKS = " \t"

#: Escapes of a quoted value; compiled on first use, since few values are quoted.
_ESCAPED = rb"\\([0-3][0-7][0-7]|.)"


def read_values(request: Any, name: str | bytes) -> list[str]:
    """Return the values of all cookies of that name, the last in the header first.

    The header is cut as browsers write it (RFC 6265 section 4.2.1): at each ``;``, and each piece
    at its first ``=``. Only spaces and tabs around names and values are dropped, and names are
    compared exactly. No header makes this raise, and it takes linear time.

    :param request: a :class:`webob.Request`, or any object with a mapping ``cookies``.
    :param name: the cookie's name.
    """
    try:  # getattr() with a default takes longer, and this is done for each request
        reads_as_webob = type(request).cookies is _COOKIES
    except AttributeError:  # a proxy, such as webapp2.get_request() returns
        reads_as_webob = False
    if not reads_as_webob:
        jar = request.cookies
        if type(jar) is not RequestCookies:
            value = jar.get(name)  # another class's own way of reading cookies
            return [value] if value else []
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    header = request.environ.get("HTTP_COOKIE")
    if not header or not isinstance(name, str) or name not in header or not is_name(name):
        return []
    found = []
    for pair in header.split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip(_BLANKS) == name:
            value = _unquoted(value.strip(_BLANKS))
            if value:
                found.append(value)
    found.reverse()
    return found


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return value
    try:
        return unquote(value.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return ""  # not UTF-8, so we did not write it


def unquote(value: bytes) -> bytes:
    """Undo the quotes and octal escapes by which WebOb and old browsers protect a value."""
    if value[:1] == value[-1:] == b'"':
        value = value[1:-1]
    return re.sub(_ESCAPED, _unescape, value)


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes((int(escaped, 8),)) if len(escaped) == 3 else escaped
