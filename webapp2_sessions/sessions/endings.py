"""What saving adds to a response, and how it comes to the one that is sent."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any

from webob.cachecontrol import CacheControl
from webob.headers import ResponseHeaders

from webapp2_sessions.cookies import vary_on_cookie

__all__ = [
    "Additions",
    "added_cookies",
    "copied",
    "detach_headers",
    "set_cookies",
    "varies_on_cookie",
]


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


class Additions:
    """What is added to the headers of a response while a ``with`` block runs.

    The header list is the response's own from then on. If the block raises, what it has added is
    taken away again. A response that is not WebOb's is left alone.

    :param response: the response to which sessions are saved in the block.
    """

    def __init__(self, response: Any) -> None:
        self._response = response
        #: The Set-Cookie headers that were added, in order.
        self.cookies: list[str] = []
        #: Whether the response depends on the visitor's cookies.
        self.varies: bool = False

    def __enter__(self) -> Additions:
        detach_headers(self._response)
        self._before = set_cookies(self._response)
        self._headers = list(getattr(self._response, "headerlist", ()))
        return self

    def __exit__(self, error: type[BaseException] | None, value: object, traceback: object) -> None:
        if error is None:
            self.cookies = added_cookies(self._before, self._response)
            self.varies = varies_on_cookie(self._response)
        elif isinstance(getattr(self._response, "headers", None), ResponseHeaders):
            self._response.headerlist[:] = self._headers

    def given_to(self, sent: Any) -> Any:
        """Return what is sent in place of the response, with the additions.

        :param sent: what is sent. What is not WebOb's has no headers that could be set.
        :returns: ``sent`` if there is nothing to add, otherwise a copy. Other requests may send
            the same object, and must not find the cookies of this one.
        """
        if sent is self._response or not isinstance(
            getattr(sent, "headers", None), ResponseHeaders
        ):
            return sent
        made = copied(sent)
        for cookie in self.cookies:
            made.headers.add("Set-Cookie", cookie)
        if self.varies:
            vary_on_cookie(made)
        return sent if made.headerlist == sent.headerlist else made


def detach_headers(response: Any) -> None:
    """Give a response a header list that no other object has; views of the list go with it.

    The application may have assigned a list that outlives the request. A response that is not
    WebOb's is left alone.
    """
    view = getattr(response, "headers", None)
    if isinstance(view, ResponseHeaders):
        response.headerlist = view._items = list(response.headerlist)


def copied(response: Any) -> Any:
    """Return a copy of a response of WebOb, or of an exception that is one.

    The copy has the class, the attributes and the body of the original, and headers of its own.
    Unlike ``Response.copy()`` this reads no body and calls no ``__init__()``, whose arguments a
    subclass may have changed. What is not WebOb's is returned as it is.
    """
    if not isinstance(getattr(response, "headers", None), ResponseHeaders):
        return response
    cls = type(response)
    made = _new(cls)
    state = _State(response)
    if isinstance(response, BaseException):
        made.args = response.args
        made.__cause__ = response.__cause__
        made.__context__ = response.__context__
        made.__traceback__ = response.__traceback__
    # With slots, and with __suppress_context__, which assigning __cause__ has set.
    for member in (member for base in cls.__mro__ for member in vars(base).values()):
        if isinstance(member, MemberDescriptorType):
            _copy_member(member, state, response, made)
    for name, value in vars(response).copy().items():
        vars(made)[name] = state.of_copy(value)
    return made


def _new(cls: type[Any]) -> Any:
    """Return an object of a class as Python itself makes it."""
    for base in cls.__mro__:
        new = vars(base).get("__new__")
        if isinstance(new, BuiltinFunctionType):
            return new(cls)
    raise AssertionError("object has a __new__()")


def _copy_member(member: Any, state: _State, response: Any, made: Any) -> None:
    with suppress(AttributeError):  # a slot that is empty, or a member that is read only
        member.__set__(made, state.of_copy(member.__get__(response)))


class _State:
    """Tells which value an attribute has in the copy of a response."""

    def __init__(self, response: Any) -> None:
        self._headers = response.headerlist
        self._body = response.app_iter
        self._new_headers = list(self._headers)
        self._new_body = list(self._body) if type(self._body) is list else self._body

    def of_copy(self, value: Any) -> Any:
        """Return the value that stands for the original's; views are views of the copy."""
        if value is self._headers:
            return self._new_headers
        if value is self._body:
            return self._new_body
        if isinstance(value, ResponseHeaders) and value._items is self._headers:
            return type(value).view_list(self._new_headers)
        if isinstance(value, CacheControl):
            return None  # it writes to the original; WebOb makes another one when it is asked for
        return value
