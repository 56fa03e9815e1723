"""Requests that finish after another one has ended or renewed their session, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.contract import MANAGED, RECORDS, STORED, Backend
from support.visits import Visitor

from webapp2_sessions import BackendError, SessionDict, SessionStore

SPILLS = [name for name in STORED if name not in RECORDS]


class Late:
    """A request that has opened its session and not finished yet."""

    def __init__(self, visitor: Visitor, backend: Backend) -> None:
        self.store = SessionStore(visitor.request())
        self.session: SessionDict = self.store.get_session(backend=backend.keyword)

    def finish(self) -> list[str]:
        """Save it; the cookies that it sends."""
        response = webapp2.Response()
        self.store.save_sessions(response)
        return list(response.headers.getall("Set-Cookie"))


@pytest.mark.parametrize("backend", SPILLS, indirect=True)
@pytest.mark.parametrize("conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_late_request_brings_a_spilled_session_back_into_no_cookie(
    backend: Backend, conflict: str, end: str
) -> None:
    """It has become small meanwhile, and would fit."""
    visitor = backend.visitor(backend.app(max_cookie_size=400, on_conflict=conflict))
    visitor.write({"user": "ada", "cart": "x" * 600})
    late = Late(visitor, backend)
    with visitor.visit() as session:
        getattr(session, end)()
    del late.session["cart"]
    assert late.finish() == []
    assert visitor.read() == ({} if end == "destroy" else {"user": "ada", "cart": "x" * 600})


@pytest.mark.parametrize("backend", SPILLS, indirect=True)
def test_session_that_returns_to_its_cookie_has_what_others_saved(backend: Backend) -> None:
    """Where changes of requests at once are merged."""
    visitor = backend.visitor(backend.app(max_cookie_size=400, on_conflict="merge"))
    visitor.write({"cart": "x" * 600})
    late = Late(visitor, backend)
    visitor.write({"user": "ada"})
    del late.session["cart"]
    [header] = late.finish()
    visitor.cookies["session"] = header.partition("=")[2].partition(";")[0]
    assert visitor.read() == {"user": "ada"}


def _evict(container: Any) -> None:
    memcached, key = container._record(container.sid)
    memcached.call("delete", key)


#: How the servers of backends that leave tombstones lose a record without one.
DROPS: dict[str, Callable[[Any], object]] = {
    "memcache": _evict,
    "datastore": lambda each: each._repository().drop(each.session_model, each.sid),
    "memory": lambda each: each._memory().clear(),
}
#: What these do after they have left the tombstone, by its dotted name.
TAKES_AWAY = {
    "memcache": "webapp2_sessions.sessions_memcache.records.SessionMemcached._take_away",
    "redis": "webapp2_sessions.sessions_redis.records.SessionRedis._take_away",
    "datastore": "webapp2_sessions.sessions_ndb.records.SessionRepository._take_away",
}


def drop(visitor: Visitor, backend: Backend) -> None:
    """Let a record be gone, as by eviction or a policy."""
    container: Any = Late(visitor, backend).session.container
    container = getattr(container, "_spill", None) or container
    by_itself = DROPS.get(container._place()[0])
    if by_itself is not None:
        by_itself(container)
    else:
        container._delete(container.sid)


@pytest.mark.parametrize("backend", STORED, indirect=True)
@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_session_that_was_dropped_and_ended_stays_ended(backend: Backend, end: str) -> None:
    """A request that has it loaded would store it once more."""
    visitor = backend.visitor()
    visitor.write({"user": "ada"})
    former = dict(visitor.cookies)
    late = Late(visitor, backend)
    drop(visitor, backend)
    with visitor.visit() as session:
        assert session == {}
        getattr(session, end)()
    late.session["late"] = 1
    assert late.finish() == []
    visitor.cookies = former
    assert visitor.read() == {}


@pytest.mark.parametrize("backend", RECORDS, indirect=True)
def test_sign_in_after_a_server_failed_while_the_former_id_ended(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try is another request, which finds the former session and its mark."""
    visitor = backend.visitor(backend.app(on_backend_error="raise"))
    visitor.write({"cart": 1})
    first = Late(visitor, backend)
    first.session.regenerate_id()
    first.session["user"] = "ada"
    container: Any = first.session.container
    error = BackendError(backend.keyword, "somewhere", "failed")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        if backend.keyword in TAKES_AWAY:
            patch.setattr(TAKES_AWAY[backend.keyword], fail)
        else:
            patch.setattr(container, "_supersede", fail)
        with pytest.raises(BackendError):
            first.finish()
    with visitor.visit() as session:
        assert session == {"cart": 1}
        session.regenerate_id()
        session["user"] = "ada"
    assert len(visitor.set_cookies) == 1
    assert visitor.read() == {"cart": 1, "user": "ada"}


@pytest.mark.parametrize("backend", ["spill"], indirect=True)
def test_ended_cookie_does_not_silence_a_good_one(backend: Backend) -> None:
    """A session that was spilled has ended; the one beside it is in its cookie, and changes."""
    app = backend.app(max_cookie_size=400)
    gone, good = backend.visitor(app), backend.visitor(app)
    good.write({"n": 0})
    gone.write({"cart": "x" * 600})
    ended = gone.cookies["session"]
    with gone.visit() as session:
        session.regenerate_id()
    request = good.request()
    request.environ["HTTP_COOKIE"] += f"; session={ended}"
    store = SessionStore(request)
    store.get_session(backend=backend.keyword)["n"] = 1
    response = webapp2.Response()
    store.save_sessions(response)
    assert len(response.headers.getall("Set-Cookie")) == 1


@pytest.mark.parametrize("backend", SPILLS, indirect=True)
def test_age_that_another_request_gave_a_spilled_session(backend: Backend) -> None:
    """It is in the record; the cookie of this request has it as well."""
    visitor = backend.visitor(backend.app(on_conflict="merge"))
    visitor.write({"a": 1})
    late = Late(visitor, backend)
    with visitor.visit() as session:
        session.set_max_age(300)
    late.session["b"] = 2
    [header] = late.finish()
    assert "; Max-Age=300; " in header


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_session_of_another_class_is_saved(backend: Backend) -> None:
    """An application may have put a dictionary of its own into the factory, as with upstream."""

    class Own(dict[Any, Any]):
        modified = True

    visitor = backend.visitor()
    request = Late(visitor, backend)
    request.session.container.session = Own(a=1)
    [header] = request.finish()
    visitor.cookies["session"] = header.partition("=")[2].partition(";")[0].strip('"')
    assert visitor.read() == {"a": 1}
