"""Tokens against forged requests, as far as no backend matters."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from support.visits import Visitor, make_app

from webapp2_sessions import SessionDict
from webapp2_sessions.testing import MemorySessionFactory, memory_of

#: Where it is kept; pages of applications may name it.
KEY = "_csrft"


def stored_app(**config: Any) -> Any:
    """Return an application whose sessions are in memory, as on a server."""
    return make_app(backends={"memory": MemorySessionFactory}, default_backend="memory", **config)


@pytest.mark.parametrize(
    "container",
    [
        *(None, SimpleNamespace(), mock.MagicMock()),
        *(mock.Mock(sid="a", can_destroy=mock.Mock()), mock.Mock(can_destroy=True)),
    ],
    ids=["none", "plain", "mock", "mock with an id", "mock that can destroy"],
)
@pytest.mark.parametrize("new", [True, False])
def test_token_is_made_once(container: Any, new: bool) -> None:
    session = SessionDict(container, new=new)
    token = session.get_csrf_token()
    assert re.fullmatch(r"[\w-]{22}", token, re.ASCII)
    assert (session, session.modified) == ({KEY: token}, True)
    session.modified = False
    assert session.get_csrf_token() == token
    assert (session.check_csrf_token(token), session.modified) == (True, False)


def test_no_token_is_made_twice() -> None:
    made = {SessionDict(None).get_csrf_token() for _ in range(100)}
    session = SessionDict(None)
    made |= {session.new_csrf_token() for _ in range(100)}
    assert len(made) == 200


def test_new_token_takes_the_place_of_the_former() -> None:
    session = SessionDict(None)
    former = session.get_csrf_token()
    token = session.new_csrf_token()
    assert (session, session.get_csrf_token()) == ({KEY: token}, token)
    assert [session.check_csrf_token(each) for each in (former, token)] == [False, True]


class Text(str):
    """Text that does not tell the truth."""

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        return b"e" * 22

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


#: What a request may bring in place of the token "e" * 22, read as text or as JSON.
NOT_THE_TOKEN: list[Any] = [
    *(None, True, 5, 0.5, b"e" * 22, bytearray(b"e" * 22), ["e" * 22], {"e": 1}, ...),
    *("", "e", "e" * 21, "e" * 23, "e" * 21 + "f", " " + "e" * 21, "E" * 22, "e" * 22 + "\0"),
    *("é" * 22, "\uff45" * 22, "\ud800" * 22, "e" * 21 + "\udc65", "e" * 1_000_000),
    Text("f" * 22),
]


@pytest.mark.parametrize("value", NOT_THE_TOKEN, ids=lambda value: ascii(value)[:24])
@pytest.mark.parametrize("kept", [{KEY: "e" * 22}, {}], ids=["a token", "none"])
def test_anything_else_is_refused(value: Any, kept: dict[str, str]) -> None:
    session = SessionDict(None, data=kept)
    assert session.check_csrf_token(value) is False
    assert (session, session.modified) == (kept, False)


def test_the_token_itself_is_accepted() -> None:
    session = SessionDict(None, data={KEY: "e" * 22})
    assert session.check_csrf_token("e" * 22) is True


def test_bytes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = mock.Mock(side_effect=lambda *pair: compared.append(pair) or False)
    monkeypatch.setattr("webapp2_sessions.sessions.session_dict.hmac.compare_digest", compare)
    assert not SessionDict(None, data={KEY: "e" * 22}).check_csrf_token("é")
    assert compared == [("é".encode(), b"e" * 22)]


@pytest.mark.parametrize(
    "junk",
    [
        *(None, 5, True, "", "short", b"e" * 22, ["e" * 22], {"e": "e"}, [("text", "info")]),
        *('"><script>alert(1)</script>', "e" * 22 + "\n", "é" * 22, "\ud800" * 22, Text("f" * 22)),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_what_else_is_kept_there_is_no_token(junk: Any) -> None:
    """It is replaced, whoever has put it there; and it is not accepted."""
    session = SessionDict(None, data={KEY: junk})
    assert session.check_csrf_token(junk) is False
    token = session.get_csrf_token()
    assert re.fullmatch(r"[\w-]{22}", token, re.ASCII)
    assert type(session[KEY]) is str
    assert (session[KEY], session.check_csrf_token(token)) == (token, True)


def test_session_without_a_token_gets_none_with_a_new_id() -> None:
    session = SessionDict(None, data={"a": 1})
    session.regenerate_id()
    assert session == {"a": 1}


def test_subclass_with_methods_of_these_names_keeps_them() -> None:
    """An application may have written its own before."""

    class Own(SessionDict):
        def new_csrf_token(self) -> str:
            raise AssertionError("nobody has called it")

        def get_csrf_token(self) -> str:
            return "mine"

    own = Own(None, data={KEY: "e" * 22})
    own.regenerate_id()
    assert own.get_csrf_token() == "mine"
    assert own[KEY] != "e" * 22


# Derived from the id of a session on a server


def test_token_of_an_id_outlives_a_change_of_the_secret_key() -> None:
    visitor = Visitor(stored_app(secret_key="the first of two long random strings"))
    visitor.write({"a": 1})
    with visitor.visit() as session:
        token = session.get_csrf_token()
    records = memory_of(visitor.app)._records
    keys = ["the other of two long random strings", "the first of two long random strings"]
    visitor.app = stored_app(secret_key=keys[0], secret_key_fallbacks=keys[1:])
    memory_of(visitor.app)._records.update(records)
    with visitor.visit() as session:
        assert session.check_csrf_token(token)
        assert session.get_csrf_token() != token
        assert session.check_csrf_token(session.get_csrf_token())


def test_token_of_an_id_depends_on_the_key_and_the_name() -> None:
    tokens = set()
    for key in ("one long random string that is secret", "another long random string as secret"):
        for name in ("session", "other"):
            container = MemorySessionFactory(
                name, SimpleNamespace(config={"cookie_args": {}, "secret_key": key})
            )
            container.sid = "a" * 22
            tokens.add(SessionDict(container).get_csrf_token())
    assert len(tokens) == 4


def test_store_without_a_secret_key_keeps_a_random_token() -> None:
    """One of the application's own may configure no more than ``cookie_args``."""
    container = MemorySessionFactory("session", SimpleNamespace(config={"cookie_args": {}}))
    container.sid = "a" * 22
    session = SessionDict(container)
    assert session.get_csrf_token() == session[KEY]


def test_degraded_session_accepts_no_token() -> None:
    """What it shows is not kept, and what was shown before is good again afterwards."""
    visitor = Visitor(stored_app(on_backend_error="degrade"))
    with visitor.visit() as session:
        before = session.get_csrf_token()
    with memory_of(visitor.app).unavailable(), visitor.visit() as session:
        assert not session.check_csrf_token(before)
        meanwhile = session.get_csrf_token()
    with visitor.visit() as session:
        assert session.check_csrf_token(before)
        assert not session.check_csrf_token(meanwhile)


def test_cookie_grows_by_less_than_fifty_bytes() -> None:
    visitor = Visitor(make_app())
    sizes = []
    for change in (lambda s: s.update(a=1), lambda s: s.get_csrf_token()):
        with visitor.visit() as session:
            change(session)
        sizes.append(len(visitor.cookies["session"]))
    assert sizes[1] - sizes[0] < 50
