"""Cookies that saving added to a response, and how they come to another one."""

from __future__ import annotations

from typing import Any

import pytest
import webapp2
import webob

from webapp2_sessions.endings import (
    added_cookies,
    carry,
    set_cookies,
    varies_on_cookie,
)


def response_with(*cookies: str, vary: str | None = None) -> webapp2.Response:
    """A response that sets these cookies."""
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
def test_added_cookies(before: list[str], after: list[str], added: list[str]) -> None:
    """What was there before is left out as often as it was there."""
    assert added_cookies(before, response_with(*after)) == added


@pytest.mark.parametrize(
    ("vary", "varies"),
    [(None, False), ("Cookie", True), ("Accept, cookie", True), ("X-Cookie", False), ("*", False)],
)
def test_varies_on_cookie(vary: str | None, varies: bool) -> None:
    """Only where the field itself is named."""
    assert varies_on_cookie(response_with(vary=vary)) is varies


def test_carry_gives_what_was_added() -> None:
    """And that the response depends on cookies; what the other one has stays."""
    sent = webob.Response(headerlist=[("Set-Cookie", "own=1"), ("Vary", "Accept")])
    carry(["a=1"], response_with("a=1", "b=2", vary="Cookie"), sent)
    assert set_cookies(sent) == ["own=1", "b=2"]
    assert sent.headers.getall("Vary") == ["Accept, Cookie"]


@pytest.mark.parametrize("thing", [None, "text", object(), ValueError("no response"), type])
def test_what_is_no_response_is_left_alone(thing: Any) -> None:
    """It has no cookies and can be given none."""
    carry([], response_with("a=1", vary="Cookie"), thing)
    assert (set_cookies(thing), varies_on_cookie(thing)) == ([], False)
