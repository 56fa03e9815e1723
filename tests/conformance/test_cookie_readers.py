"""How a Cookie header is read: here, by WebOb (and so by upstream), and by other frameworks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from django.http.cookie import parse_cookie as read_by_django
from starlette.requests import cookie_parser as read_by_starlette
from webob.request import BaseRequest
from werkzeug.http import parse_cookie as read_by_werkzeug

from webapp2_sessions import cookies

NAME = "__Host-s"

#: Where a reader raises; for the visitor that is an error page.
ERROR = UnicodeDecodeError


def _ours(header: str) -> dict[str, Any]:
    request = webapp2.Request.blank("/")
    request.environ["HTTP_COOKIE"] = header
    values = cookies.read_values(request, NAME)
    return {NAME: values[0]} if values else {}


def _webob(header: str) -> Any:
    return BaseRequest({"HTTP_COOKIE": header, "REQUEST_METHOD": "GET"}).cookies


READERS: dict[str, Callable[[str], Any]] = {
    "ours": _ours,
    "webob": _webob,
    "werkzeug": read_by_werkzeug,
    "django": read_by_django,
    "starlette": read_by_starlette,
}

#: Headers, and what each reader finds under the name, in the order of READERS. The empty text and
#: no cookie at all are the same to a session.
TABLE: dict[str, tuple[Any, ...]] = {
    # What browsers send.
    "__Host-s=A": ("A", "A", "A", "A", "A"),
    "x=1; __Host-s=A; y=2": ("A", "A", "A", "A", "A"),
    "x=1;__Host-s=A;y=2": ("A", "A", "A", "A", "A"),
    "\t__Host-s=A": ("A", "A", "A", "A", "A"),
    "__Host-s =A": ("A", "A", "A", "A", "A"),
    "__Host-s= A": ("A", "A", "A", "A", "A"),
    "__Host-s=A=B": ("A=B", "A=B", "A=B", "A=B", "A=B"),
    '__Host-s="A"': ("A", "A", "A", "A", "A"),
    '__Host-s="\\101"': ("A", "A", "A", "A", "A"),
    "__Host-s=": (None, "", "", "", ""),
    "__Host-s": (None, None, "", None, None),
    "__host-s=A": (None, None, None, None, None),
    "=__Host-s=A": (None, None, None, None, None),
    "x=__Host-s=A": (None, None, None, None, None),
    "__Host-s=B; __Host-s=A": ("A", "A", "B", "A", "A"),
    # A cookie of another name, or its value, which another host of the domain may have set.
    "x __Host-s=A": (None, "A", None, None, None),
    "[__Host-s=A": (None, "A", None, None, None),
    "x\x00__Host-s=A": (None, "A", None, None, None),
    "x\\073 __Host-s=A": (None, "A", None, None, None),
    "x=1, __Host-s=A": (None, "A", None, None, None),
    "x=1,__Host-s=A": (None, "A", None, None, None),
    'x="a b __Host-s=A"': (None, None, None, None, None),
    "\u2000__Host-s=A".encode().decode("latin-1"): (None, "A", None, None, None),
    "\x1f__Host-s=A": (None, "A", None, "A", "A"),
    "\x85__Host-s=A": (None, "A", ERROR, "A", "A"),
    "\xa0__Host-s=A": (None, "A", ERROR, "A", "A"),
    "__Host-s\xa0=A": (None, None, ERROR, "A", "A"),
    # Quotes of another cookie hide none, and none is cut out of them.
    'x="; __Host-s=A': ("A", "A", "A", "A", "A"),
    'x="1; __Host-s=A; y="2': ("A", None, "A", "A", "A"),
    'x="1; __Host-s=A"': ('A"', None, None, 'A"', 'A"'),
    '__Host-s="A': ('"A', "", None, '"A', '"A'),
    "__Host-s=\\101": ("\\101", "A", "\\101", "\\101", "\\101"),
    "__Host-s=A\xa0": ("A\xa0", "A", ERROR, "A", "A"),
}


@pytest.mark.parametrize(("name", "column"), [(name, n) for n, name in enumerate(READERS)])
@pytest.mark.parametrize("header", TABLE)
def test_what_a_reader_finds(name: str, column: int, header: str) -> None:
    """Ours finds a cookie under the exact name that the browser knows it by, and no other."""
    expected = TABLE[header][column]
    if expected is ERROR:
        with pytest.raises(ERROR):
            READERS[name](header)
    else:
        assert READERS[name](header).get(NAME) == expected
