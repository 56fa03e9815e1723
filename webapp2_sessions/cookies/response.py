"""Set cookies and Vary on a response."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Any

from webob.headers import ResponseHeaders
from webob.response import Response

__all__ = [
    "as_compared",
    "expire",
    "expire_others",
    "has_template",
    "is_set",
    "make_template",
    "set_cookie",
    "set_cookie_headers",
    "set_from_template",
    "sets_cookies_as_webob",
    "size_of",
    "varies_on_cookie",
    "vary_on_cookie",
    "webob_headers",
]


def expire(response: Any, name: str, args: Mapping[str, Any]) -> None:
    """Delete a cookie in the browser.

    :param args: the arguments with which it was set. To a browser a cookie with another path or
        domain is another cookie, and one without ``secure`` cannot replace one that has it.
    """
    kept = {argument: value for argument, value in args.items() if argument != "expires"}
    set_cookie(response, name, b"", {**kept, "max_age": 0})


def expire_others(
    response: Any, name: str, args: Mapping[str, Any], others: Iterable[Mapping[str, Any]]
) -> None:
    """Delete the cookies of that name that were set with other arguments, if browsers keep both.

    Call it after the present cookie is set: its ``overwrite`` removes headers of that name.

    :param args: the arguments of the present cookie.
    :param others: those of former ones.
    """
    present = _identity(args)
    for each in others:
        if _identity(each) != present:
            expire(response, name, {**each, "overwrite": False})


def _identity(args: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return domain and path, by which browsers tell cookies of one name apart."""
    domain = args.get("domain")
    return as_compared(domain) if isinstance(domain, str) else domain, args.get("path", "/")


def as_compared(domain: str) -> str | None:
    """Return a cookie's domain as browsers compare it (RFC 6265 section 5.2.3)."""
    return domain.lower().removeprefix(".") or None


def is_set(response: Any, name: str | bytes) -> bool:
    """Return whether a response of WebOb sets or expires a cookie of that name."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return any(header.startswith(f"{text}=") for header in set_cookie_headers(response))


def set_cookie_headers(response: Any) -> list[str]:
    """Return the Set-Cookie headers of a response; none if it is not WebOb's."""
    headers = webob_headers(response)
    return [] if headers is None else headers.getall("Set-Cookie")


def webob_headers(response: Any) -> ResponseHeaders | None:
    """Return the headers of a response, ``None`` if it is not WebOb's."""
    headers = getattr(response, "headers", None)
    return headers if isinstance(headers, ResponseHeaders) else None


def size_of(response_class: Any, name: str, value: bytes, args: Mapping[str, Any]) -> int:
    """Return the size in bytes of a Set-Cookie header, without sending it."""
    try:
        response = response_class()
    except Exception:  # needs arguments that are unknown here
        response = Response()
    size = set_cookie(response, name, value, args)
    return len(name) + 1 + len(value) if size is None else size


def vary_on_cookie(response: Any) -> None:
    """Tell caches that the response depends on the visitor's cookies (RFC 9110 12.5.5).

    A response that is not WebOb's is left alone.
    """
    # Optimization: the usual responses have no Vary, or the one of another session.
    try:
        headerlist = response.headerlist
    except AttributeError:
        headerlist = None
    if type(headerlist) is list:
        for key, value in headerlist:
            if len(key) == 4 and key.lower() == "vary":
                if value == "Cookie":
                    return
                break
        else:
            headerlist.append(("Vary", "Cookie"))
            return
    headers = webob_headers(response)
    if headers is None:
        return
    fields = _vary_fields(headers)
    if "*" not in fields and "cookie" not in map(str.lower, fields):
        headers["Vary"] = ", ".join([*fields, "Cookie"])


def varies_on_cookie(response: Any) -> bool:
    """Return whether a response tells caches that it depends on the visitor's cookies."""
    headers = webob_headers(response)
    return headers is not None and "cookie" in map(str.lower, _vary_fields(headers))


def _vary_fields(headers: ResponseHeaders) -> list[str]:
    fields = (field.strip() for line in headers.getall("Vary") for field in line.split(","))
    return [field for field in fields if field]


# Set-Cookie

#: WebOb's own method, if it is still in place when this is imported. A class that overrides it
#: sets each cookie itself, without templates.
_WEBOB_SET_COOKIE: Any = (
    Response.set_cookie
    if getattr(Response.set_cookie, "__globals__", None) is Response.__init__.__globals__
    else object()
)

#: Characters that WebOb sends unquoted, and that signed values consist of.
_UNQUOTED = (string.ascii_letters + string.digits + "+/=|_-").encode("ascii")

#: The last cookie of each name that was checked and set: its arguments, and the text before and
#: after the value in its Set-Cookie header.
_templates: dict[str | bytes, tuple[dict[str, Any], str, str]] = {}
_MAX_TEMPLATES = 256


def set_from_template(
    response: Any, name: str, value: bytes, args: Mapping[str, Any]
) -> int | None:
    """Set a cookie like the last one of that name, if that had the same arguments.

    :returns: size of the header in bytes; ``None`` if the cookie was not set.
    """
    # Optimization: WebOb takes 10 us to build a header in which only the value changes.
    template = _templates.get(name)
    if template is None or template[0] != args or not _can_have_template(response, value):
        return None
    header = f"{template[1]}{value.decode('ascii')}{template[2]}"
    response.headerlist.append(("Set-Cookie", header))
    return len(header)


def make_template(response: Any, name: str, value: bytes, args: Mapping[str, Any]) -> None:
    """Keep the header of a cookie that was just set, with arguments that were checked."""
    if args.get("max_age") is not None or args.get("expires") or args.get("overwrite"):
        return  # the header holds the time, or other headers change as well
    if not _can_have_template(response, value):
        return
    key, header = response.headerlist[-1]
    pair, attributes = f"{name}={value.decode('ascii')}", header[len(name) + 1 + len(value) :]
    # A list of the application's own may hold another header last.
    if key == "Set-Cookie" and header == pair + attributes:
        if len(_templates) >= _MAX_TEMPLATES:
            _templates.clear()
        _templates[name] = dict(args), f"{name}=", attributes


def _can_have_template(response: Any, value: bytes) -> bool:
    # A custom serializer may return text.
    is_plain = type(value) is bytes and bool(value) and not value.translate(None, _UNQUOTED)
    # Of the response itself, which may have been given a method of its own.
    method = getattr(getattr(response, "set_cookie", None), "__func__", None)
    return is_plain and method is _WEBOB_SET_COOKIE


def set_cookie(response: Any, name: str, value: bytes, args: Mapping[str, Any]) -> int | None:
    """Set a cookie on a response; WebOb does not know ``partitioned``, which is allowed here.

    :returns: size of the header in bytes, ``None`` if unknown.
    :raises ValueError: the arguments cannot be combined.
    """
    _set_cookie_by_method(response, name, value, args)
    headers = getattr(response, "headerlist", None)
    if isinstance(headers, list) and headers:  # WebOb appends the header
        return len(headers[-1][1])
    return None


def sets_cookies_as_webob(response_class: Any) -> bool:
    """Return whether a class of responses has WebOb's own ``set_cookie()``."""
    return getattr(response_class, "set_cookie", None) is _WEBOB_SET_COOKIE


def has_template(name: str | bytes, args: Mapping[str, Any]) -> bool:
    """Return whether the last cookie of that name was checked with the same arguments."""
    template = _templates.get(name)
    return template is not None and template[0] == args


def _set_cookie_by_method(response: Any, name: str, value: bytes, args: Mapping[str, Any]) -> None:
    if "partitioned" not in args:
        response.set_cookie(name, value, **args)
        return
    rest = {**args}
    partitioned = rest.pop("partitioned")
    if partitioned not in (True, False, None):
        raise ValueError("it is neither True nor False")
    if partitioned and not rest.get("secure"):
        raise ValueError("a partitioned cookie needs secure=True")
    response.set_cookie(name, value, **rest)
    if partitioned:
        key, header = response.headerlist[-1]
        response.headerlist[-1] = (key, f"{header}; Partitioned")
