"""What a backend of the application's own may hand over, upstream and ours side by side."""

from __future__ import annotations

import types
from typing import Any

import pytest
from support.implementations import OURS, SIDES, Side, cookie_pair, save
from support.stores import DictFactory, sid_cookie, stored


@pytest.mark.parametrize("side", SIDES, ids=str)
@pytest.mark.parametrize("sid", [7, "seven", ["a", 1], {"k": 1}, None])
def test_id_may_be_whatever_json_holds(side: Side, sid: Any) -> None:
    """A backend gets what its signed cookie holds."""
    asked: list[Any] = []

    class Factory(side.sessions.CustomBackendSessionFactory):
        def _get_by_sid(self, found: Any) -> Any:
            asked.append(found)
            return side.sessions.SessionDict(self, data={"a": 1})

        def save_session(self, response: Any) -> None:
            self.session_store.save_secure_cookie(
                response, self.name, {"_sid": sid}, **self.session_args
            )

    app = side.app(backends={"mine": Factory, "securecookie": Factory})
    first = side.store(app)
    first.get_session(backend="mine")
    [header] = save(first)
    assert side.store(app, cookie_pair(header)).get_session(backend="mine") == {"a": 1}
    assert asked == [None, sid]


@pytest.mark.parametrize("sid", [7, ["x"] * 22, {"a": 1}, True, None, "", "x" * 23])
def test_builtin_backends_take_text_only(sid: Any) -> None:
    """Whatever else was signed is no id."""
    factory = type("Factory", (DictFactory,), {"records": {}, "log": []})
    session = stored(factory, sid_cookie(sid)).get_session()
    assert (session, session.new, factory.log) == ({}, True, [])


@pytest.mark.parametrize("conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("kind", ["mapping", "pairs", "dict"])
def test_model_may_return_a_mapping_or_pairs(kind: str, conflict: str, datastore: Any) -> None:
    """As ``SessionDict`` takes both, ``get_by_sid()`` may return them."""
    from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session

    class Custom(Session):
        @classmethod
        def get_by_sid(cls, sid: str) -> Any:
            data = super().get_by_sid(sid)
            if data is None or kind == "dict":
                return data
            return types.MappingProxyType(data) if kind == "mapping" else [*data.items()]

    class Factory(DatastoreSessionFactory):
        session_model = Custom

    app = OURS.app(backends={"mine": Factory}, on_conflict=conflict, datastore={"project": "test"})
    store = OURS.store(app)
    store.get_session(backend="mine")["a"] = 1
    [header] = save(store)
    again = OURS.store(app, cookie_pair(header))
    session = again.get_session(backend="mine")
    assert (session, session.new) == ({"a": 1}, False)
    session["b"] = 2
    save(again)
    last = OURS.store(app, cookie_pair(header))
    assert last.get_session(backend="mine") == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", [5, "text", [1, 2], [("a",)], object()])
def test_what_is_no_session_counts_as_none(value: Any) -> None:
    """Whoever put it there; the visitor gets a new id."""
    sid = "0123456789abcdefghijAB"
    factory = type("Factory", (DictFactory,), {"records": {sid: value}, "log": []})
    session = stored(factory, sid_cookie(sid)).get_session()
    assert (session, session.new) == ({}, True)
    assert session.container.sid != sid
