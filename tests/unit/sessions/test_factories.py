"""Session factories load sessions from requests and save them to responses."""

from __future__ import annotations

import re
import string
from typing import Any
from unittest import mock

import pytest
from support.stores import (
    SID,
    DuckStore,
    make_store,
    sid_cookie,
    sign,
    stored,
)
from support.visits import Visitor, make_app

from webapp2_sessions import (
    BaseSessionFactory,
    CustomBackendSessionFactory,
    SessionDict,
)
from webapp2_sessions.sessions import factories


def test_session_args_are_a_copy_for_each_session() -> None:
    store = make_store(cookie_args={"path": "/a"})
    store.get_session("one").container.session_args["max_age"] = 60
    assert store.get_session("one").container.session_args == {"path": "/a", "max_age": 60}
    assert store.get_session("other").container.session_args == {"path": "/a"}


@pytest.mark.parametrize(
    ("factory", "hook", "arguments"),
    [
        (BaseSessionFactory, "get_session", []),
        (BaseSessionFactory, "save_session", [None]),
        (CustomBackendSessionFactory, "_get_by_sid", [None]),
        (CustomBackendSessionFactory, "save_session", [None]),
    ],
)
def test_a_forgotten_hook_raises(factory: Any, hook: str, arguments: list[Any]) -> None:
    with pytest.raises(NotImplementedError):
        getattr(factory("s", make_store()), hook)(*arguments)


class Upstreams(CustomBackendSessionFactory):
    """A backend as it is written against upstream: two methods and no more."""

    records: dict[str, Any] = {SID: {"a": 1}}  # noqa: RUF012

    def _get_by_sid(self, sid: Any) -> SessionDict:
        if self._is_valid_sid(sid) and sid in self.records:
            self.sid = sid
            return SessionDict(self, data=self.records[sid])
        self.sid = self._get_new_sid()
        return SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        if self.session is None or not self.session.modified:
            return
        self.records[str(self.sid)] = dict(self.session)
        self.session_store.save_secure_cookie(
            response, self.name, {"_sid": self.sid}, **self.session_args
        )


def test_a_backend_written_against_upstream_works() -> None:
    session = stored(Upstreams, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)
    visitor = Visitor(make_app(backends={"mine": Upstreams}), backend="mine")
    sid = visitor.write({"b": 2})
    assert Upstreams.records[sid] == visitor.read() == {"b": 2}


class Asked(CustomBackendSessionFactory):
    """Writes down which session ids it was asked for."""

    asked: list[Any]

    def _get_by_sid(self, sid: Any) -> SessionDict:
        type(self).asked = [sid]
        return SessionDict(self)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, None),
        ({}, None),
        ({"a": 1}, None),
        *(({"_sid": sid}, sid) for sid in (SID, "short", "", 5, None, [SID], {"a": 1}, True)),
    ],
)
def test_a_backend_is_asked_for_whatever_the_cookie_holds(payload: Any, expected: Any) -> None:
    cookie = None if payload is None else "session=" + sign("session", payload)
    stored(Asked, cookie).get_session()
    assert Asked.asked == [expected]


def test_a_subclass_may_have_its_own_pattern() -> None:
    class Numbers(CustomBackendSessionFactory):
        _sid_re = re.compile(r"^\d+$")

    container = Numbers("s", DuckStore())
    assert (container._is_valid_sid("123"), container._is_valid_sid(SID)) == (True, False)


ALPHABET = string.digits + string.ascii_letters


def new_sid() -> str:
    return CustomBackendSessionFactory("s", DuckStore())._get_new_sid()


def test_new_ids_are_of_all_characters_and_do_not_repeat() -> None:
    made = {new_sid() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(sid) for sid in made} == {22}
    # In 22,000 characters one is missing by less than 1 in 10**150.
    assert set("".join(made)) == set(ALPHABET)


def test_no_character_is_more_likely() -> None:
    kept = bytes(range(256)).translate(factories._TO_ALPHABET, factories._UNEVEN).decode()
    assert {character: kept.count(character) for character in kept} == dict.fromkeys(ALPHABET, 4)


def test_bytes_that_would_favour_a_character_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [bytes([255] * 44), bytes([248] * 23 + list(range(21))), bytes(44)]
    urandom = mock.Mock(side_effect=answers)
    monkeypatch.setattr("os.urandom", urandom)
    assert new_sid() == "0123456789abcdefghijk" + "0"
    assert urandom.mock_calls == [mock.call(44)] * 3
