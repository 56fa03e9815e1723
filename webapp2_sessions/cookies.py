"""Cookies on the wire: reading a Cookie header, writing Set-Cookie."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from webob.cookies import RequestCookies
from webob.headers import ResponseHeaders
from webob.request import BaseRequest

from webapp2_sessions.cookie_rules import is_name, set_cookie
from webapp2_sessions.errors import ExpiredCookie

__all__ = [
    "OWN_MAX_AGE",
    "check_own_age",
    "expire",
    "is_set",
    "is_young",
    "only_value",
    "read_values",
    "size_of",
    "unquote",
    "vary_on_cookie",
    "write",
]

logger: logging.Logger = logging.getLogger(__name__)

#: Where a session's cookie holds how many seconds it lives, where that is its own affair.
OWN_MAX_AGE = "__max_age__"

#: How WebOb's requests read cookies.
_COOKIES = BaseRequest.cookies

# The grammar by which webob.cookies reads a Cookie header, written so that a name without "="
# is stepped over as a whole: WebOb's own pattern tries it again from each of its characters,
# which takes quadratic time.
_NAME_CHAR = r"\w~!@#$%^&*()+\-`.?|:/{}<>'"
_VALUE = (
    r'"(?:\\"|.)*?"'
    r"|\w{3},\s[\w-]{9,11}\s[\d:]{8}\sGMT"
    rf"|[{_NAME_CHAR}=]*(?:\\(?:[0-3][0-7][0-7]|.)[{_NAME_CHAR}=]*)*"
)
# Patterns are compiled on first use, and kept by re: few headers need them.
_COOKIE = rf"([{_NAME_CHAR}=][{_NAME_CHAR}]*)(?:\s*=\s*({_VALUE}))?"
_ESCAPED = rb"\\([0-3][0-7][0-7]|.)"


def read_values(request: Any, name: str | bytes) -> list[str]:
    """Return the values of all cookies of that name, the last in the header first.

    No Cookie header makes this raise, and it takes linear time; what it finds is what
    ``request.cookies`` of WebOb finds, where that does not fail.

    :param request: a :class:`webob.Request`, or any object with a mapping ``cookies``.
    :param name: the cookie's name.
    """
    jar = request.cookies  # of WebOb, also behind a proxy such as webapp2.get_request() returns
    if type(jar) is not RequestCookies:
        value = jar.get(name)  # another class's own way of reading cookies
        return [value] if value else []
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    header = request.environ.get("HTTP_COOKIE", "")
    if not isinstance(name, str) or name not in header or not is_name(name):
        return []
    found = [value for value in _values(header, name) if value]
    found.reverse()
    return found


def only_value(request: Any, name: str | bytes) -> str | None:
    """Return the value of the only cookie of that name, if that can be told at a glance.

    It is that only if it is signed: what :func:`read_values` finds counts otherwise.
    """
    try:  # getattr() with a default takes longer, and this is done for each request
        if type(request).cookies is not _COOKIES:
            return None
    except AttributeError:
        return None
    header = request.environ.get("HTTP_COOKIE")
    if not header or type(name) is not str or '"' in header or "\\" in header:
        return None
    if ";" not in header:  # the only cookie of any name
        before, found, value = header.partition("=")
        return value if found and before == name else None
    start = 0 if header.startswith(name) else header.find(name)
    if start < 0 or (start and header[start - 2 : start] != "; "):
        return None
    begin = start + len(name) + 1
    if header[begin - 1 : begin] != "=":
        return None
    end = header.find(";", begin)
    if end < 0:
        return header[begin:]  # type: ignore[no-any-return]
    # Anywhere behind it the name may be that of another cookie.
    return None if header.find(name, end) >= 0 else header[begin:end]


def _values(header: str, name: str) -> Iterator[str]:
    for match in re.finditer(_COOKIE, header, re.ASCII):
        value = match[2]
        if match[1] != name or value is None:
            continue
        if '"' in value or "\\" in value:  # without them it is ASCII
            try:
                value = unquote(value.encode("latin-1")).decode("utf-8")
            except UnicodeError:
                continue  # not UTF-8, and so none of ours; WebOb raises here
        yield value


def unquote(value: bytes) -> bytes:
    """Undo the quotes and octal escapes by which WebOb and browsers of old protect a value."""
    if value[:1] == value[-1:] == b'"':
        value = value[1:-1]
    return re.sub(_ESCAPED, _unescape, value)


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes((int(escaped, 8),)) if len(escaped) == 3 else escaped


def write(
    response: Any,
    name: str,
    value: bytes,
    data: Any,
    args: Mapping[str, Any],
    limit: int | None,
    is_plain: bool = False,
) -> None:
    """Set a cookie, and log a warning if browsers will not take it.

    :param response: a response with WebOb's ``set_cookie()``.
    :param value: the serialized ``data``.
    :param data: what the cookie holds; only its keys and their sizes are ever logged.
    :param args: keyword arguments for ``set_cookie()``.
    :param limit: the largest Set-Cookie header in bytes, ``None`` for no limit.
    :param is_plain: whether the value is known to need no quotes.
    """
    size = set_cookie(response, name, value, args, is_plain)
    if limit is None:
        return
    if size is None:
        size = len(name) + 1 + len(value)
    if size > limit:
        from webapp2_sessions.sizes import as_text, largest_keys  # for this warning alone

        logger.warning(
            "The cookie %r has %d bytes and browsers drop it above %d: the visitor keeps the "
            "former session. Largest keys: %s. Store less, or use a server-side backend.",
            name,
            size,
            limit,
            as_text(largest_keys(data, json.dumps)),
        )


def expire(response: Any, name: str, args: Mapping[str, Any]) -> None:
    """Tell the browser to forget a cookie.

    :param args: the arguments with which it was set; one of another path or domain is another
        cookie to a browser, and one that is not ``secure`` cannot replace one that is.
    """
    kept = {argument: value for argument, value in args.items() if argument != "expires"}
    set_cookie(response, name, b"", {**kept, "max_age": 0})


def is_set(response: Any, name: str | bytes) -> bool:
    """Whether a response of WebOb sets a cookie of that name, or has it expire."""
    headers = getattr(response, "headers", None)
    if not isinstance(headers, ResponseHeaders):
        return False
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return any(header.startswith(f"{text}=") for header in headers.getall("Set-Cookie"))


def size_of(response_class: Any, name: str, value: bytes, args: Mapping[str, Any]) -> int:
    """Return the bytes that a Set-Cookie header will have."""
    response = response_class()
    set_cookie(response, name, value, args)
    return len(response.headerlist[-1][1])


def check_own_age(max_age: object, signed_at: int | None) -> None:
    """Refuse a cookie that is older than it says itself, by :data:`OWN_MAX_AGE`.

    :raises ExpiredCookie: it is, or what it says is no age.
    """
    if signed_at is None or not is_young({OWN_MAX_AGE: max_age}, signed_at, None):
        raise ExpiredCookie("it is older than its session may be")


def is_young(data: dict[Any, Any], signed_at: int, max_age: float | None) -> bool:
    """Whether a session's cookie is not older than it may be: by itself, or by ``max_age``.

    :param data: what it holds, an age of its own under :data:`OWN_MAX_AGE` perhaps.
    :param max_age: in seconds, ``None`` for no limit.
    """
    if OWN_MAX_AGE in data:
        max_age = data[OWN_MAX_AGE]
        if type(max_age) is not int:
            return False
    return max_age is None or signed_at >= int(time.time()) - max_age


def vary_on_cookie(response: Any) -> None:
    """Tell caches that the response depends on the visitor's cookies (RFC 9110 12.5.5).

    A response that is not WebOb's is left alone.
    """
    try:  # getattr() with a default takes longer here too
        headerlist = response.headerlist
    except AttributeError:
        headerlist = None
    if type(headerlist) is list:
        for key, _ in headerlist:
            if len(key) == 4 and key.lower() == "vary":
                break
        else:
            headerlist.append(("Vary", "Cookie"))
            return
    headers = getattr(response, "headers", None)
    if not isinstance(headers, ResponseHeaders):
        return
    fields = (field.strip() for line in headers.getall("Vary") for field in line.split(","))
    present = [field for field in fields if field]
    if "*" not in present and "cookie" not in map(str.lower, present):
        headers["Vary"] = ", ".join([*present, "Cookie"])
