"""On every backend: tokens against forged requests, also of requests at once."""

from __future__ import annotations

import pytest
import webapp2
from support.contract import MANAGED, RECORDS, Backend
from support.visits import Visitor

from webapp2_sessions import SessionStore


def fits(visitor: Visitor, *tokens: str) -> list[bool]:
    """Send each token in a request of its own; return which were accepted."""
    answers = []
    for token in tokens:
        with visitor.visit() as session:
            answers.append(session.check_csrf_token(token))
    return answers


def shown(visitor: Visitor) -> str:
    """Show a form; return its token."""
    with visitor.visit() as session:
        return session.get_csrf_token()


def save(store: SessionStore, visitor: Visitor) -> None:
    """Answer a request of the visitor."""
    response = webapp2.Response()
    store.save_sessions(response)
    visitor.take(response)


def test_token_is_that_of_the_session(backend: Backend) -> None:
    """The form of one request is accepted by the next; none is by the session of another."""
    app = backend.app()
    visitor, other = backend.visitor(app), backend.visitor(app)
    token, others = shown(visitor), shown(other)
    assert fits(visitor, token, others, "") == [True, False, False]
    assert visitor.set_cookies == []
    assert shown(visitor) == token
    assert visitor.set_cookies == []


def test_token_of_a_session_without_one(backend: Backend) -> None:
    """It is made when it is first asked for, and of a session with an id nothing is written."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    token = shown(visitor)
    has_id = backend.is_ours and not backend.is_cookie
    assert (visitor.set_cookies == []) is has_id
    assert fits(visitor, token) == [True]
    assert ("_csrft" in visitor.read()) is not has_id


@pytest.mark.parametrize("is_first", [True, False], ids=["begun with it", "made later"])
def test_token_is_renewed_with_the_id(backend: Backend, is_first: bool) -> None:
    """At once, and for good; there is another one."""
    visitor = backend.visitor()
    if not is_first:
        visitor.write({"a": 1})
    former = shown(visitor)
    with visitor.visit() as session:
        session.regenerate_id()
        assert not session.check_csrf_token(former)
        token = session.get_csrf_token()
        assert session.check_csrf_token(token)
    assert fits(visitor, former, token) == [False, True]
    assert shown(visitor) == token


def test_token_is_another_one_after_a_new_id(backend: Backend) -> None:
    """Also if the request that asked for the id shows no form."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = shown(visitor)
    with visitor.visit() as session:
        session.regenerate_id()
    assert fits(visitor, former) == [False]
    assert fits(visitor, shown(visitor)) == [True]


def test_token_ends_with_the_session(backend: Backend) -> None:
    """What begins afterwards, in the same request or later, has another one."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = shown(visitor)
    with visitor.visit() as session:
        session.destroy()
        assert not session.check_csrf_token(former)
        session["b"] = 2
        assert not session.check_csrf_token(former)
        token = session.get_csrf_token()
    assert fits(visitor, former, token) == [False, True]
    with visitor.visit() as session:
        session.destroy()
    assert fits(visitor, former, token) == [False, False]


def test_new_token_voids_the_former(backend: Backend) -> None:
    """In later requests too, whether the former was kept or made of the id."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = shown(visitor)
    with visitor.visit() as session:
        token = session.new_csrf_token()
    assert fits(visitor, former, token) == [False, True]


@pytest.mark.parametrize("last", [0, 1])
def test_two_requests_at_once_make_the_first_token(backend: Backend, last: int) -> None:
    """Of a session with an id both forms are accepted; of others that of the last answer."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    sessions = [store.get_session(backend=backend.keyword) for store in stores]
    tokens = [session.get_csrf_token() for session in sessions]
    for session in sessions:
        session["b"] = 2
    for index in (1 - last, last):
        save(stores[index], visitor)
    has_id = backend.is_ours and not backend.is_cookie
    assert fits(visitor, *tokens) == [has_id or index == last for index in range(2)]


@pytest.mark.parametrize("backend", RECORDS, indirect=True)
def test_request_that_saves_without_a_token_drops_none(backend: Backend) -> None:
    """It has loaded the session before another one showed its first form, and is saved later."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    late = SessionStore(visitor.request())
    late.get_session(backend=backend.keyword)["b"] = 2
    token = shown(visitor)
    save(late, visitor)
    assert fits(visitor, token) == [True]


@pytest.mark.parametrize("backend", RECORDS, indirect=True)
def test_late_request_with_the_former_id_learns_no_token(backend: Backend) -> None:
    """It has an empty session, whose form is not accepted, and displaces none."""
    visitor = backend.visitor()
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
    token = shown(visitor)
    late = backend.visitor(visitor.app)
    late.cookies = former
    lates = shown(late)
    assert late.set_cookies == []
    assert fits(visitor, token, lates) == [True, False]


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_planted_session_tells_no_token(backend: Backend) -> None:
    """Who has put a session into the visitor's browser does not know the token after sign-in."""
    app = backend.app()
    attacker, visitor = backend.visitor(app), backend.visitor(app)
    attacker.write({"a": 1})
    known = [shown(attacker)]
    visitor.cookies = dict(attacker.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
        session["user"] = 5
    known.append(shown(attacker))
    assert fits(visitor, *known) == [False, False]
