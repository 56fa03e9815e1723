"""Cookies of a response that is not sent in the end, and the response that is sent instead."""

from __future__ import annotations

from collections import Counter
from typing import Any

from webob.headers import ResponseHeaders

from webapp2_sessions.cookies import vary_on_cookie

__all__ = ["added_cookies", "carry", "set_cookies", "varies_on_cookie"]


def set_cookies(response: Any) -> list[str]:
    """Return the Set-Cookie headers of a response; none if it is not WebOb's."""
    headers = getattr(response, "headers", None)
    return headers.getall("Set-Cookie") if isinstance(headers, ResponseHeaders) else []


def added_cookies(before: list[str], response: Any) -> list[str]:
    """Return the Set-Cookie headers of a response that were not there before, in order."""
    known = Counter(before)
    added = []
    for cookie in set_cookies(response):
        if known[cookie]:
            known[cookie] -= 1
        else:
            added.append(cookie)
    return added


def varies_on_cookie(response: Any) -> bool:
    """Whether a response tells caches that it depends on the visitor's cookies."""
    headers = getattr(response, "headers", None)
    if not isinstance(headers, ResponseHeaders):
        return False
    fields = (field for line in headers.getall("Vary") for field in line.split(","))
    return any(field.strip().lower() == "cookie" for field in fields)


def carry(before: list[str], response: Any, sent: Any) -> None:
    """Give what saving added to a response to the one that is sent instead.

    :param before: the Set-Cookie headers of ``response`` before the sessions were saved to it.
    :param response: the response to which they were saved.
    :param sent: the response that is sent. What is not WebOb's has no headers that could be set.
    """
    headers = getattr(sent, "headers", None)
    if not isinstance(headers, ResponseHeaders):
        return
    for cookie in added_cookies(before, response):
        headers.add("Set-Cookie", cookie)
    if varies_on_cookie(response):
        vary_on_cookie(sent)
