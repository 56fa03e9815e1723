"""Sessions in a memcached that refuses, dies, restarts or falls silent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.faults import BOUND, CARD, PATIENCE, returning_visitor
from support.servers import Memcached, wait_until
from support.visits import Visitor, make_app

from webapp2_sessions import BackendUnavailable


@pytest.fixture
def visitor(server: Memcached) -> Visitor:
    """A visitor of an application whose sessions are in that memcached."""
    settings = {"servers": [server.address], "timeout": 0.3}
    return Visitor(make_app(memcache=settings), backend="memcache")


def read_again(visitor: Visitor) -> dict[Any, Any]:
    """What the session holds, as soon as its server, which was silent, is asked again."""
    found: list[dict[Any, Any]] = []

    def reads() -> bool:
        with contextlib.suppress(BackendUnavailable):
            found.append(visitor.read())
        return bool(found)

    assert wait_until(reads, BOUND)
    return found[0]


def test_memcached_refuses_at_load(closed_port: str, fails: Callable[..., Any]) -> None:
    """A visitor with a session gets an error, not an empty session."""
    app = make_app(memcache={"servers": [closed_port]})
    with fails("memcache", closed_port):
        returning_visitor(app, "memcache").read()


def test_memcached_refuses_at_save(closed_port: str, fails: Callable[..., Any]) -> None:
    """A first session that cannot be stored is an error."""
    app = make_app(memcache={"servers": [closed_port]})
    with fails("memcache", closed_port):
        Visitor(app, backend="memcache").write({"card": CARD})


def test_memcached_refuses_and_no_cookie_is_set(closed_port: str) -> None:
    """The browser gets no cookie for a session that is stored nowhere."""
    visitor = Visitor(make_app(memcache={"servers": [closed_port]}), backend="memcache")
    with pytest.raises(BackendUnavailable):
        visitor.write({"card": CARD})
    assert (visitor.set_cookies, visitor.cookies) == ([], {})


def test_memcached_is_not_needed_without_a_cookie(closed_port: str) -> None:
    """A visitor without a session who does nothing meets no error."""
    app = make_app(memcache={"servers": [closed_port]})
    assert Visitor(app, backend="memcache").read() == {}


def test_memcached_at_an_unknown_host(fails: Callable[..., Any]) -> None:
    """A host name that leads nowhere is an unavailable server."""
    app = make_app(memcache={"servers": ["memcached.invalid:11211"]})
    with fails("memcache", "memcached.invalid:11211"):
        returning_visitor(app, "memcache").read()


def test_memcached_is_killed_before_a_load(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that died since the last request is an error at load."""
    sid = visitor.write({"card": CARD})
    server.kill()
    with fails("memcache", server.address, sid):
        visitor.read()


def test_memcached_is_killed_before_a_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that dies during the request is an error at save."""
    sid = visitor.write({"card": CARD})
    with fails("memcache", server.address, sid), visitor.visit() as session:
        session["more"] = CARD
        server.kill()
    assert visitor.set_cookies == []


def test_memcached_restarted_is_not_noticed_at_load(server: Memcached, visitor: Visitor) -> None:
    """After a restart the session is gone, as memcached's are, and there is no error."""
    visitor.write({"a": 1})
    server.restart()
    assert visitor.read() == {}


def test_memcached_restarted_is_not_noticed_at_save(server: Memcached, visitor: Visitor) -> None:
    """A session that was loaded before the restart is stored after it."""
    visitor.write({"a": 1})
    with visitor.visit() as session:
        server.restart()
        session["b"] = 2
    assert visitor.read() == {"a": 1, "b": 2}


def test_memcached_restarted_under_many_connections(server: Memcached, visitor: Visitor) -> None:
    """All connections that the restart has closed are replaced without an error."""
    count = 16
    together = threading.Barrier(count)

    def work(_: int) -> dict[Any, Any]:
        mine = Visitor(visitor.app, backend="memcache")
        together.wait(PATIENCE)  # as many connections as threads
        mine.write({"a": 1})
        if together.wait(PATIENCE) == 0:
            server.restart()
        together.wait(PATIENCE)
        mine.write({"b": 2})
        return mine.read()

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(work, range(count)))
    assert found == [{"b": 2}] * count


def test_memcached_frozen_at_load(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that is silent is given up after the timeout."""
    sid = visitor.write({"card": CARD})
    server.freeze()
    with fails("memcache", server.address, sid):
        visitor.read()


def test_memcached_frozen_at_first_contact(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """The same holds where there is no connection yet."""
    server.freeze()
    with fails("memcache", server.address):
        visitor.write({"card": CARD})


def test_memcached_frozen_at_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that falls silent during the request is an error at save."""
    sid = visitor.write({"card": CARD})
    with fails("memcache", server.address, sid), visitor.visit() as session:
        session["more"] = CARD
        server.freeze()
    assert visitor.set_cookies == []


def test_memcached_thawed_has_the_session(server: Memcached, visitor: Visitor) -> None:
    """After the silence the visitor's cookie still leads to the session."""
    visitor.write({"a": 1})
    server.freeze()
    with pytest.raises(BackendUnavailable):
        visitor.read()
    server.thaw()
    assert read_again(visitor) == {"a": 1}


def test_memcached_thawed_after_a_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A save that failed did happen or did not; the session is never empty."""
    visitor.write({"a": 1})
    with fails("memcache", server.address), visitor.visit() as session:
        session["b"] = 2
        server.freeze()
    server.thaw()
    assert read_again(visitor) in ({"a": 1}, {"a": 1, "b": 2})


def test_memcached_killed_and_started_again(server: Memcached, visitor: Visitor) -> None:
    """A server that comes back is used again at once."""
    visitor.write({"a": 1})
    server.kill()
    with pytest.raises(BackendUnavailable):
        visitor.read()
    server.start()
    visitor.write({"b": 2})
    assert visitor.read() == {"b": 2}
