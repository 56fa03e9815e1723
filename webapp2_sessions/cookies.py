"""Cookies on the wire: reading a Cookie header, writing Set-Cookie, what may be sent at all."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import webob
from webob.cookies import RequestCookies
from webob.headers import ResponseHeaders

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sizes import as_text, largest_keys

__all__ = [
    "check_arguments",
    "check_name",
    "expire",
    "read_values",
    "unquote",
    "vary_on_cookie",
    "write",
]

logger = logging.getLogger(__name__)

#: RFC 6265 section 4.1.1: a cookie's name is a token.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
#: WebOb refuses these as names, since old parsers take them for attributes.
_ATTRIBUTES = frozenset(
    ("comment", "domain", "expires", "httponly", "max-age", "path", "samesite", "secure")
)

# The grammar by which webob.cookies reads a Cookie header, written so that a name without "="
# is stepped over as a whole: WebOb's own pattern tries it again from each of its characters,
# which takes quadratic time.
_NAME_CHAR = r"\w~!@#$%^&*()+\-`.?|:/{}<>'"
_VALUE = (
    r'"(?:\\"|.)*?"'
    r"|\w{3},\s[\w-]{9,11}\s[\d:]{8}\sGMT"
    rf"|[{_NAME_CHAR}=]*(?:\\(?:[0-3][0-7][0-7]|.)[{_NAME_CHAR}=]*)*"
)
_COOKIE = re.compile(rf"([{_NAME_CHAR}=][{_NAME_CHAR}]*)(?:\s*=\s*({_VALUE}))?", re.ASCII)
_ESCAPED = re.compile(rb"\\([0-3][0-7][0-7]|.)")

#: What each argument of set_cookie() may be, for error messages.
_ALLOWED = {
    "max_age": "a number of seconds, a timedelta or None",
    "domain": "text or None",
    "path": "text or None",
    "secure": "True, False or None",
    "httponly": "True, False or None",
    "samesite": "'strict', 'lax', 'none' (with secure) or None",
    "comment": "text or None",
    "overwrite": "True or False",
}


def check_name(name: object) -> None:
    """Refuse a cookie name that cannot be sent.

    :raises ConfigError: it is no text or no token by RFC 6265, begins with ``$``, or is the name
        of a cookie attribute.
    """
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        raise ConfigError("cookie name", f"must be text, not {type(name).__name__}")
    if not _is_name(text):
        raise ConfigError(
            "cookie name",
            f"{text!r} cannot be sent; allowed are ASCII letters, digits and !#$%&'*+-.^_`|~, "
            "not beginning with $, and not the name of a cookie attribute such as 'path'",
        )


def _is_name(text: str) -> bool:
    return bool(_TOKEN.fullmatch(text)) and text[0] != "$" and text.lower() not in _ATTRIBUTES


def check_arguments(
    args: Mapping[str, Any], response_class: Any = webob.Response, key: str = "cookie_args"
) -> None:
    """Refuse cookie arguments with which no cookie can be sent.

    They are tried on an empty response, so that whatever its ``set_cookie()`` takes is allowed
    and nothing else.

    :param args: keyword arguments for ``set_cookie()``.
    :param response_class: the class of the responses that will be sent.
    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the argument, its type and what is allowed.
    """
    try:
        _rehearse_cached(response_class, frozenset(args.items()))
    except Exception:
        # Either a value cannot be hashed, which is fine, or the arguments are wrong.
        _explain(dict(args), response_class, key)


@functools.lru_cache(maxsize=256)
def _rehearse_cached(response_class: Any, items: frozenset[tuple[str, Any]]) -> None:
    _rehearse(response_class, dict(items))


def _rehearse(response_class: Any, args: Mapping[str, Any]) -> None:
    set_cookie = getattr(response_class, "set_cookie", None)
    if set_cookie is None:
        return  # whatever it is, cookies reach it in another way
    if set_cookie is webob.Response.set_cookie:
        response_class = webob.Response
    try:
        response = response_class()
    except Exception:
        return  # a response of the application's own that cannot be made just like this
    response.set_cookie("name", "value", **args)


def _explain(args: dict[str, Any], response_class: Any, key: str) -> None:
    """Raise a :class:`ConfigError` for the argument at fault, if there is one."""
    try:
        _rehearse(response_class, args)
    except Exception as together:
        for name, value in args.items():
            # "secure" goes along, because samesite="none" is allowed only with it.
            tried = {each: args[each] for each in ("secure", name) if each in args}
            try:
                _rehearse(response_class, tried)
            except Exception as error:
                allowed = _ALLOWED.get(str(name))
                hint = f"allowed: {allowed}" if allowed else f"known are {', '.join(_ALLOWED)}"
                raise ConfigError(
                    f"{key}[{name!r}]", f"{type(value).__name__} is refused ({error}); {hint}"
                ) from error
        raise ConfigError(key, f"refused together ({together})") from together


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
    if not isinstance(name, str) or name not in header or not _is_name(name):
        return []
    found = [value for value in _values(header, name) if value]
    found.reverse()
    return found


def _values(header: str, name: str) -> Iterator[str]:
    for match in _COOKIE.finditer(header):
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
    return _ESCAPED.sub(_unescape, value)


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes((int(escaped, 8),)) if len(escaped) == 3 else escaped


def write(
    response: Any, name: str, value: bytes, data: Any, args: Mapping[str, Any], limit: int | None
) -> None:
    """Set a cookie, and log a warning if browsers will not take it.

    :param response: a response with WebOb's ``set_cookie()``.
    :param value: the serialized ``data``.
    :param data: what the cookie holds; only its keys and their sizes are ever logged.
    :param args: keyword arguments for ``set_cookie()``.
    :param limit: the largest Set-Cookie header in bytes, ``None`` for no limit.
    """
    response.set_cookie(name, value, **args)
    if limit is None:
        return
    size = len(name) + 1 + len(value)
    headers = getattr(response, "headerlist", None)
    if isinstance(headers, list) and headers:  # of WebOb: the header that was just added
        size = len(headers[-1][1])
    if size > limit:
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
    response.set_cookie(name, "", **{**args, "max_age": 0, "expires": None, "overwrite": False})


def vary_on_cookie(response: Any) -> None:
    """Tell caches that the response depends on the visitor's cookies (RFC 9110 12.5.5).

    A response that is not WebOb's is left alone.
    """
    headers = getattr(response, "headers", None)
    if not isinstance(headers, ResponseHeaders):
        return
    fields = (field.strip() for line in headers.getall("Vary") for field in line.split(","))
    present = [field for field in fields if field]
    if "*" not in present and "cookie" not in map(str.lower, present):
        headers["Vary"] = ", ".join([*present, "Cookie"])
