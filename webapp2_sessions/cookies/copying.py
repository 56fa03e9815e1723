"""Copy cookies to the response that is sent in place of the one on which they were set."""

from __future__ import annotations

from contextlib import suppress
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any

from webob.cachecontrol import CacheControl
from webob.headers import ResponseHeaders

from webapp2_sessions.cookies.response import (
    set_cookie_headers,
    varies_on_cookie,
    vary_on_cookie,
    webob_headers,
)

__all__ = ["AddedCookies", "copy_response", "detach_headers"]


class AddedCookies:
    """The cookies, and Vary, that a ``with`` block adds to a response.

    Detaches the headers of the response. If the block raises, its headers are restored. A response
    that is not WebOb's is left alone.

    :param response: the response to which sessions are saved in the block.
    """

    def __init__(self, response: Any) -> None:
        self._response = response
        #: The added Set-Cookie headers, in order.
        self.cookies: list[str] = []
        #: Whether the response depends on the visitor's cookies.
        self.varies: bool = False

    def __enter__(self) -> AddedCookies:
        detach_headers(self._response)
        self._headers = list(getattr(self._response, "headerlist", ()))
        self._cookies_before = set_cookie_headers(self._response)
        return self

    def __exit__(self, error: type[BaseException] | None, value: object, traceback: object) -> None:
        if error is None:
            self.cookies = set_cookie_headers(self._response)
            for cookie in self._cookies_before:
                with suppress(ValueError):  # the block may have removed it
                    self.cookies.remove(cookie)
            self.varies = varies_on_cookie(self._response)
        elif webob_headers(self._response) is not None:
            self._response.headerlist[:] = self._headers

    def copy_cookies_to(self, sent: Any) -> Any:
        """Return the response that is sent, with the added cookies and Vary.

        :param sent: a response, which is not changed: other requests may send it as well. One that
            is not WebOb's has no headers to set.
        :returns: ``sent`` itself if nothing has to be added, otherwise a copy.
        """
        if sent is self._response or webob_headers(sent) is None:
            return sent
        copy = copy_response(sent)
        for cookie in self.cookies:
            copy.headers.add("Set-Cookie", cookie)
        if self.varies:
            vary_on_cookie(copy)
        return sent if copy.headerlist == sent.headerlist else copy


def detach_headers(response: Any) -> None:
    """Give a response its own header list, because it may share one that outlives the request.

    Views of the list that somebody holds belong to the new one. A response that is not WebOb's is
    left alone.
    """
    view = webob_headers(response)
    if view is not None:
        response.headerlist = view._items = list(response.headerlist)


def copy_response(response: Any) -> Any:
    """Return a copy of a response of WebOb, or of an exception that is one.

    The copy has the class, the attributes and the body of the original, and its own headers. Unlike
    ``Response.copy()`` this does not read the body, and does not call ``__init__()``, which may
    take other arguments in a subclass. A response that is not WebOb's is returned itself.
    """
    if webob_headers(response) is None:
        return response
    headers, body = response.headerlist, response.app_iter
    new_headers = list(headers)
    new_body = list(body) if type(body) is list else body

    def in_copy(value: Any) -> Any:
        """Return the value of an attribute in the copy."""
        if value is headers:
            return new_headers
        if value is body:
            return new_body
        if isinstance(value, ResponseHeaders) and value._items is headers:
            return type(value).view_list(new_headers)
        if isinstance(value, CacheControl):
            return None  # it writes to the original; WebOb makes another one on demand
        return value

    copy = _new(type(response))
    if isinstance(response, BaseException):
        copy.args = response.args
        copy.__cause__ = response.__cause__
        copy.__context__ = response.__context__
        copy.__traceback__ = response.__traceback__
    # Slots, and __suppress_context__, which was set by the assignment of __cause__.
    for member in (member for base in type(response).__mro__ for member in vars(base).values()):
        if isinstance(member, MemberDescriptorType):
            with suppress(AttributeError):  # an empty slot, or a read-only member
                member.__set__(copy, in_copy(member.__get__(response)))
    for name, value in vars(response).copy().items():
        vars(copy)[name] = in_copy(value)
    return copy


def _new(cls: type[Any]) -> Any:
    """Return an object of a class, without any ``__new__()`` that is written in Python."""
    for base in cls.__mro__:
        new = vars(base).get("__new__")
        if isinstance(new, BuiltinFunctionType):
            return new(cls)
    raise AssertionError("object has a __new__()")
