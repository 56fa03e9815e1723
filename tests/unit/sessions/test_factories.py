"""Session factories load sessions from requests and save them to responses."""

from __future__ import annotations

import re
import string
from typing import Any

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
    SecureCookieSessionFactory,
    SessionDict,
)
from webapp2_sessions.sessions import factories

# The base


@pytest.mark.parametrize("attribute", ["name", "session_store", "session_args", "session"])
def test_attributes_are_none_on_the_class(attribute: str) -> None:
    """Upstream's defaults, until `__init__` runs."""
    assert getattr(BaseSessionFactory, attribute) is None


def test_a_factory_has_its_name_and_its_store() -> None:
    """A session leads to its factory and its store."""
    store = make_store()
    container = store.get_session("s").container
    assert (container.name, container.session_store) == ("s", store)
    assert container is store.sessions["s"]


def test_session_args_are_a_copy_for_each_session() -> None:
    """Handlers change the cookie arguments of one session."""
    store = make_store(cookie_args={"path": "/a"})
    store.get_session("one").container.session_args["max_age"] = 60
    assert store.get_session("one").container.session_args == {"path": "/a", "max_age": 60}
    assert store.get_session("other").container.session_args == {"path": "/a"}


@pytest.mark.parametrize("method", ["get_session", "save_session"])
def test_the_base_does_nothing(method: str) -> None:
    """A subclass says how to load and save; nothing succeeds by doing nothing."""
    base = BaseSessionFactory("s", make_store())
    arguments = [None] if method == "save_session" else []
    with pytest.raises(NotImplementedError):
        getattr(base, method)(*arguments)


@pytest.mark.parametrize(
    ("made", "method", "arguments"),
    [
        (CustomBackendSessionFactory, "_get_by_sid", [None]),
        (CustomBackendSessionFactory, "save_session", [None]),
    ],
)
def test_hooks_of_a_backend_have_to_be_written(
    made: type[BaseSessionFactory], method: str, arguments: list[Any]
) -> None:
    """A forgotten hook raises, and is no empty session."""
    with pytest.raises(NotImplementedError):
        getattr(made("s", make_store()), method)(*arguments)


def test_factories_take_any_attribute() -> None:
    """Applications keep things on them."""
    container: Any = SecureCookieSessionFactory("s", make_store())
    container.anything = 1
    assert container.anything == 1


# Custom backends


class Upstreams(CustomBackendSessionFactory):
    """A backend as it is written against upstream: two methods and nothing of ours."""

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


def test_a_backend_written_against_upstream_loads() -> None:
    """`_get_by_sid` is all that is called."""
    session = stored(Upstreams, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_a_backend_written_against_upstream_saves() -> None:
    """`save_session` is all that is called, and the next request has the session."""
    visitor = Visitor(make_app(backends={"mine": Upstreams}), backend="mine")
    sid = visitor.write({"b": 2})
    assert Upstreams.records[sid] == {"b": 2}
    assert visitor.read() == {"b": 2}


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
        ({"_sid": SID}, SID),
        ({"_sid": "short"}, "short"),
        ({"_sid": ""}, ""),
        ({}, None),
        ({"a": 1}, None),
        ({"_sid": 5}, 5),
        ({"_sid": None}, None),
        ({"_sid": [SID]}, [SID]),
        ({"_sid": {"a": 1}}, {"a": 1}),
        ({"_sid": True}, True),
    ],
)
def test_a_backend_is_asked_for_what_the_cookie_holds(payload: Any, expected: Any) -> None:
    """Its ids may be of any type that JSON has; whether one is valid the backend decides."""
    cookie = None if payload is None else "session=" + sign("session", payload)
    stored(Asked, cookie).get_session()
    assert Asked.asked == [expected]


@pytest.mark.parametrize(
    ("sid", "expected"),
    [
        (SID, True),
        ("_" * 22, True),
        ("", False),
        (None, False),
        (5, False),
        (SID[:-1], False),
        (SID + "0", False),
        (SID + "\n", False),
        (SID[:-1] + "\n", False),
        (SID[:-1] + "-", False),
        (SID[:-1] + " ", False),
        (SID[:-1] + "é", False),
        ("é" * 22, False),
        ("\N{ARABIC-INDIC DIGIT ONE}" * 22, False),
    ],
)
def test_valid_session_ids(sid: Any, expected: bool) -> None:
    """22 ASCII word characters, from end to end."""
    assert expected is CustomBackendSessionFactory("s", DuckStore())._is_valid_sid(sid)


def test_a_subclass_may_have_its_own_pattern() -> None:
    """`_sid_re` of a subclass is used as it is."""

    class Numbers(CustomBackendSessionFactory):
        _sid_re = re.compile(r"^\d+$")

    container = Numbers("s", DuckStore())
    assert (container._is_valid_sid("123"), container._is_valid_sid(SID)) == (True, False)


# New session ids

ALPHABET = string.digits + string.ascii_letters


def new_sid() -> str:
    """A new session id."""
    return CustomBackendSessionFactory("s", DuckStore())._get_new_sid()


def test_a_new_id_has_22_characters() -> None:
    """The length that `_sid_re` wants, of upstream's alphabet."""
    assert re.fullmatch(f"[{ALPHABET}]{{22}}", new_sid())


def test_a_new_id_is_valid() -> None:
    """What is made is accepted."""
    container = CustomBackendSessionFactory("s", DuckStore())
    assert container._is_valid_sid(container._get_new_sid()) is True


def test_ids_do_not_repeat() -> None:
    """Each is new."""
    assert len({new_sid() for _ in range(1000)}) == 1000


def test_all_characters_appear() -> None:
    """Nothing of the alphabet is missing: in 22,000 characters by less than 1 in 10**150."""
    assert set(ALPHABET) == set("".join(new_sid() for _ in range(1000)))


def test_no_character_is_more_likely() -> None:
    """Of the random bytes that are kept, each character has the same number."""
    kept = bytes(range(256)).translate(factories._TO_ALPHABET, factories._UNEVEN).decode()
    assert {character: kept.count(character) for character in kept} == dict.fromkeys(ALPHABET, 4)


def test_an_id_is_made_of_bytes_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that would favour a character are left out, and more are fetched where they miss."""
    answers = [bytes([255] * 44), bytes([248] * 23 + list(range(21))), bytes(44)]
    asked = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return answers[len(asked) - 1]

    monkeypatch.setattr("os.urandom", urandom)
    assert new_sid() == "0123456789abcdefghijk" + "0"
    assert asked == [44, 44, 44]
