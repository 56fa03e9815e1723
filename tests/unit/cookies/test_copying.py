"""Copying cookies from one response to another one, and copying responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import webapp2
import webob
import webob.exc

from webapp2_sessions.cookies.copying import AddedCookies, copy_response, detach_headers
from webapp2_sessions.cookies.response import set_cookie_headers, varies_on_cookie


def response_with(*cookies: str, vary: str | None = None) -> webapp2.Response:
    response = webapp2.Response()
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    if vary:
        response.headers["Vary"] = vary
    return response


@pytest.mark.parametrize(
    ("before", "after", "added"),
    [
        ([], [], []),
        ([], ["a=1", "b=2"], ["a=1", "b=2"]),
        (["a=1"], ["a=1", "b=2"], ["b=2"]),
        (["a=1"], ["a=1", "a=1"], ["a=1"]),
        (["a=1", "b=2"], ["b=2", "a=3"], ["a=3"]),
    ],
)
def test_earlier_headers_are_left_out(
    before: list[str], after: list[str], added: list[str]
) -> None:
    response = response_with(*before)
    with AddedCookies(response) as found:
        response.headerlist[:] = [("Set-Cookie", cookie) for cookie in after]
    assert found.cookies == added


@pytest.mark.parametrize(
    ("vary", "varies"),
    [(None, False), ("Cookie", True), ("Accept, cookie", True), ("X-Cookie", False), ("*", False)],
)
def test_varies_only_where_the_field_itself_is_named(vary: str | None, varies: bool) -> None:
    assert varies_on_cookie(response_with(vary=vary)) is varies


def added(to: webob.Response, *cookies: str, vary: str | None = None) -> AddedCookies:
    with AddedCookies(to) as block:
        for cookie in cookies:
            to.headers.add("Set-Cookie", cookie)
        if vary:
            to.headers["Vary"] = vary
    return block


def test_cookies_and_vary_are_put_on_a_copy() -> None:
    sent = webob.Response(b"body", headerlist=[("Set-Cookie", "own=1"), ("Vary", "Accept")])
    headers = list(sent.headerlist)
    made = added(response_with("a=1"), "b=2", vary="Cookie").copy_cookies_to(sent)
    assert set_cookie_headers(made) == ["own=1", "b=2"]
    assert made.headers.getall("Vary") == ["Accept, Cookie"]
    assert (type(made), made.status, made.body) == (webob.Response, "200 OK", b"body")
    assert sent.headerlist == headers


@pytest.mark.parametrize("vary", [None, "Cookie", "*"])
def test_what_nothing_is_added_to_is_not_copied(vary: str | None) -> None:
    sent = response_with("own=1", vary=vary)
    block = added(response_with("a=1"), vary=vary and "Cookie")
    assert block.copy_cookies_to(sent) is sent


def test_response_itself_is_not_copied_and_has_its_cookies_once() -> None:
    response = response_with("a=1")
    block = added(response, "b=2", vary="Cookie")
    assert (block.cookies, block.varies) == (["b=2"], True)
    assert block.copy_cookies_to(response) is response
    assert set_cookie_headers(response) == ["a=1", "b=2"]


def test_cookies_of_a_block_that_fails_are_taken_away() -> None:
    response = response_with("a=1")
    before = list(response.headerlist)
    block = AddedCookies(response)

    def fail() -> None:
        with block:
            response.headers.add("Set-Cookie", "b=2")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    assert (response.headerlist, block.cookies, block.varies) == (before, [], False)
    with block:  # it can be entered again
        response.headers.add("Set-Cookie", "c=3")
    assert block.cookies == ["c=3"]


@pytest.mark.parametrize("thing", [None, "text", object(), ValueError("no response"), type])
def test_what_is_no_response_is_left_alone(thing: Any) -> None:
    assert added(response_with(), "a=1", vary="Cookie").copy_cookies_to(thing) is thing
    with AddedCookies(thing) as block:
        assert (set_cookie_headers(thing), varies_on_cookie(thing)) == ([], False)
    assert (block.cookies, block.varies) == ([], False)
    with pytest.raises(KeyError), AddedCookies(thing):
        raise KeyError
    assert copy_response(thing) is thing


def test_detached_headers_are_the_responses_own() -> None:
    shared = [("Content-Type", "text/plain")]
    response = webapp2.Response()
    response.headerlist = shared
    view = response.headers
    detach_headers(response)
    view["X-One"] = "1"
    response.headers["X-Two"] = "2"
    assert shared == [("Content-Type", "text/plain")]
    assert response.headerlist == [*shared, ("X-One", "1"), ("X-Two", "2")]
    assert dict(view) == dict(response.headers)


class Own(webapp2.Response):
    """A class that cannot be made as WebOb makes its copies."""

    __slots__ = ("__private", "empty", "slot")

    def __init__(self, *, needed: object) -> None:
        super().__init__("body")
        self.slot = self.__private = needed
        self.view = self.headers

    @property
    def private(self) -> object:
        """The value of a slot with a mangled name."""
        return self.__private


def test_copy_has_class_and_attributes_though_the_class_is_not_called() -> None:
    needed = object()
    original = Own(needed=needed)
    original.conditional_response = True
    original.other = needed  # type: ignore[attr-defined]
    made = copy_response(original)
    assert type(made) is Own
    assert (made.slot, made.private, made.other) == (needed,) * 3
    assert (made.status, made.body, made.conditional_response) == ("200 OK", b"body", True)
    assert made.headerlist == original.headerlist
    assert not hasattr(made, "empty")


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.headers.add("X-Own", "1"),
        lambda made: made.headerlist.append(("X-Own", "1")),
        lambda made: made.view.add("X-Own", "1"),
        lambda made: setattr(made.cache_control, "max_age", 7),
        lambda made: made.write("more"),
        lambda made: setattr(made, "body", b"other"),
        lambda made: made.set_status(404),
        lambda made: made.set_cookie("a", "1"),
    ],
    ids=["headers", "headerlist", "view", "cache_control", "write", "body", "status", "cookie"],
)
def test_copy_and_original_do_not_meet(change: Callable[[Any], Any]) -> None:
    def state(response: Any) -> Any:
        return response.status, response.headerlist, response.app_iter

    original, same = Own(needed=1), Own(needed=1)
    for response in (original, same):
        response.cache_control.max_age = 5
    made = copy_response(original)
    assert made.cache_control.max_age == 5
    change(made)
    assert state(original) == state(same) != state(made)


def test_body_that_is_streamed_is_not_read() -> None:
    body = iter([b"block"])
    original = webapp2.Response(app_iter=body)
    assert copy_response(original).app_iter is body is original.app_iter
    assert list(body) == [b"block"]


class OwnError(webob.exc.HTTPForbidden, OSError):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, *, needed: object) -> None:
        super().__init__("detail")
        self.needed = needed
        self.errno = 4


@pytest.mark.parametrize("cause", [None, KeyError()])
def test_copy_of_an_exception_was_raised_where_the_original_was(cause: Any) -> None:
    try:
        try:
            raise LookupError
        except LookupError:
            raise OwnError(needed=object()) from cause
    except OwnError as error:
        original, made = error, copy_response(error)
    assert type(made) is OwnError
    for name in ("args", "needed", "errno", "detail", "code", "__traceback__", "__context__"):
        assert getattr(made, name) is getattr(original, name)
    assert type(made.__context__) is LookupError
    assert (made.__cause__, made.__suppress_context__, str(made)) == (cause, True, "detail")
