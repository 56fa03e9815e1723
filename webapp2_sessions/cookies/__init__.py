"""Cookies on the wire: the Cookie header, Set-Cookie, and what browsers accept."""

from __future__ import annotations

from webapp2_sessions.cookies.request import read_values, unquote
from webapp2_sessions.cookies.response import expire, expire_others, is_set, size_of, vary_on_cookie
from webapp2_sessions.cookies.writing import write

__all__ = [
    "expire",
    "expire_others",
    "is_set",
    "read_values",
    "size_of",
    "unquote",
    "vary_on_cookie",
    "write",
]
