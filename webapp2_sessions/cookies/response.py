"""Set-Cookie and Vary of a response."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from webob.headers import ResponseHeaders
from webob.response import Response

from webapp2_sessions.cookies.rules import set_cookie

__all__ = [
    "expire",
    "is_set",
    "size_of",
    "vary_on_cookie",
    "write",
]

logger: logging.Logger = logging.getLogger(__name__)


def write(
    response: Any,
    name: str,
    value: bytes,
    data: Any,
    args: Mapping[str, Any],
    limit: int | None,
) -> None:
    """Set a cookie, and log a warning if browsers will not take it.

    :param response: a response with WebOb's ``set_cookie()``.
    :param value: the serialized ``data``.
    :param data: what the cookie holds; only its keys and their sizes are ever logged.
    :param args: keyword arguments for ``set_cookie()``.
    :param limit: the largest Set-Cookie header in bytes, ``None`` for no limit.
    """
    size = set_cookie(response, name, value, args)
    if limit is None:
        return
    if size is None:
        size = len(name) + 1 + len(value)
    if size > limit:
        from webapp2_sessions.errors.sizes import as_text, largest_keys  # for this warning alone

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
    try:
        response = response_class()
    except Exception:  # one of the application's own that cannot be made just like this
        response = Response()
    size = set_cookie(response, name, value, args)
    return len(name) + 1 + len(value) if size is None else size


def vary_on_cookie(response: Any) -> None:
    """Tell caches that the response depends on the visitor's cookies (RFC 9110 12.5.5).

    A response that is not WebOb's is left alone.
    """
    try:  # getattr() with a default takes longer here too
        headerlist = response.headerlist
    except AttributeError:
        headerlist = None
    if type(headerlist) is list:
        for key, value in headerlist:
            if len(key) == 4 and key.lower() == "vary":
                if value == "Cookie":  # each session of a request adds it
                    return
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
