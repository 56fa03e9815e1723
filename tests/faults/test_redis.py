"""Sessions in a Redis that refuses, dies, restarts or falls silent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fault_injection import Relay
from support.faults import BOUND, CARD, PATIENCE, returning_visitor
from support.servers import Redis, Server, wait_until
from support.visits import Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable
from webapp2_sessions.stored import breaker

TIMEOUT = 0.3


@pytest.fixture
def redis(launch: Callable[[Redis], Redis]) -> Redis:
    """A Redis that the test may harm."""
    return launch(Redis())


def visitor_at(address: str, **config: Any) -> Visitor:
    """A visitor of an application whose sessions are in the Redis of an address."""
    settings = {"url": f"redis://{address}/0", "timeout": TIMEOUT}
    return Visitor(make_app(redis=settings, **config), backend="redis")


@pytest.fixture
def visitor(redis: Redis) -> Visitor:
    """A visitor of an application whose sessions are in that Redis."""
    return visitor_at(redis.address)


def read_again(visitor: Visitor) -> dict[Any, Any]:
    """What the session holds, as soon as its server, which was silent, is asked again."""
    found: list[dict[Any, Any]] = []

    def reads() -> bool:
        with contextlib.suppress(BackendUnavailable):
            found.append(visitor.read())
        return bool(found)

    assert wait_until(reads, BOUND)
    return found[0]


def test_redis_refuses(closed_port: str, fails: Callable[..., Any]) -> None:
    """It is an error at load and at save, and no cookie is set."""
    app = visitor_at(closed_port).app
    with fails("redis", closed_port):
        returning_visitor(app, "redis").read()
    visitor = Visitor(app, backend="redis")
    with fails("redis", closed_port):
        visitor.write({"card": CARD})
    assert (visitor.set_cookies, visitor.cookies) == ([], {})
    # A visitor without a session who does nothing meets no error.
    assert Visitor(app, backend="redis").read() == {}


def test_redis_at_an_unknown_host(fails: Callable[..., Any]) -> None:
    """A host name that leads nowhere is an unavailable server."""
    app = visitor_at("redis.invalid:6379").app
    with fails("redis", "redis.invalid:6379"):
        returning_visitor(app, "redis").read()


@pytest.mark.parametrize("harm", [Server.kill, Server.freeze], ids=["killed", "frozen"])
@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_redis_fails_before_a_load_and_before_a_save(
    redis: Redis, fails: Callable[..., Any], harm: Callable[[Server], None], on_conflict: str
) -> None:
    """It is an error at load, and another one at save, with no cookie."""
    reader, writer = (visitor_at(redis.address, on_conflict=on_conflict) for _ in range(2))
    sids = [reader.write({"card": CARD}), writer.write({"card": CARD})]
    with fails("redis", redis.address, *sids), writer.visit() as session:
        session["more"] = CARD
        harm(redis)
    assert writer.set_cookies == []
    with fails("redis", redis.address, *sids):
        reader.read()


def test_redis_is_frozen_at_first_contact(
    redis: Redis, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """The timeout holds where there is no connection yet."""
    redis.freeze()
    with fails("redis", redis.address):
        visitor.write({"card": CARD})


def test_redis_that_was_frozen_has_the_session(
    redis: Redis, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A save that failed did happen or did not; the session is never empty."""
    visitor.write({"a": 1})
    with fails("redis", redis.address), visitor.visit() as session:
        session["b"] = 2
        redis.freeze()
    redis.thaw()
    assert read_again(visitor) in ({"a": 1}, {"a": 1, "b": 2})


def test_redis_that_is_killed_and_started_again(redis: Redis, visitor: Visitor) -> None:
    """It is used again at once."""
    visitor.write({"a": 1})
    redis.kill()
    with pytest.raises(BackendUnavailable):
        visitor.read()
    redis.start()
    visitor.write({"b": 2})
    assert visitor.read() == {"b": 2}


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_session_that_redis_has_lost_meanwhile_counts_as_ended(
    redis: Redis, on_conflict: str
) -> None:
    """A restart without a file, or eviction: a request that has it loaded cannot tell."""
    visitor = visitor_at(redis.address, on_conflict=on_conflict)
    visitor.write({"a": 1})
    with visitor.visit() as session:
        redis.restart()
        session["b"] = 2
    assert visitor.set_cookies == []
    assert visitor.read() == {}


def test_redis_restarted_under_many_connections(redis: Redis, visitor: Visitor) -> None:
    """All connections that the restart has closed are replaced without an error."""
    count = 16
    together = threading.Barrier(count)

    def work(_: int) -> dict[Any, Any]:
        mine = Visitor(visitor.app, backend="redis")
        together.wait(PATIENCE)  # as many connections as threads
        mine.write({"a": 1})
        if together.wait(PATIENCE) == 0:
            redis.restart()
        together.wait(PATIENCE)
        mine.write({"b": 2})
        return mine.read()

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(work, range(count)))
    assert found == [{"b": 2}] * count


def test_nobody_gets_the_answer_to_another(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stands still again and again is too late for some, and mixes nothing up."""
    monkeypatch.setattr(breaker, "_PAUSE", 0.05)
    app = visitor_at(redis.address).app
    done = threading.Event()
    wrong: list[Any] = []

    def work(number: int) -> int:
        mine, reads = Visitor(app, backend="redis"), 0
        mine.write({"number": number, "text": str(number) * 1000})
        while not done.is_set():
            with contextlib.suppress(BackendUnavailable):
                found = mine.read()
                reads += 1
                if found != {"number": number, "text": str(number) * 1000}:
                    wrong.append(found)
        return reads

    with ThreadPoolExecutor(8) as pool:
        counts = [pool.submit(work, number) for number in range(8)]
        try:
            for _ in range(3):
                time.sleep(0.1)
                redis.freeze()
                time.sleep(1.5 * TIMEOUT)
                redis.thaw()
                time.sleep(0.1)
        finally:
            done.set()
        assert all(count.result(PATIENCE) > 10 for count in counts)
    assert wrong == []


@pytest.mark.parametrize("serves", [True, False])
def test_kept_connection_to_a_former_primary(
    redis: Redis, launch: Callable[[Server], Any], serves: bool
) -> None:
    """It costs one error, at the latest on saving; then the present primary is asked."""
    other = launch(Redis())
    relay = launch(Relay(redis, standby=other))
    visitor = visitor_at(relay.address)
    visitor.write({"a": 1})
    other.load(redis.contents())
    redis.demote(serves)
    relay.fail_over()
    with pytest.raises(BackendError, match="replica"):
        visitor.write({"a": 2})
    visitor.write({"a": 3})
    assert visitor.read() == {"a": 3}


@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_end_whose_answer_is_lost_is_an_error(
    redis: Redis, launch: Callable[[Relay], Relay], end: str
) -> None:
    """It is not certain then; the former session does not open again with what it had."""
    relay = launch(Relay(redis))
    visitor = visitor_at(relay.address)
    visitor.write({"a": 1})
    former = dict(visitor.cookies)

    def end_it() -> None:
        with visitor.visit() as session:
            getattr(session, end)()
            if end == "destroy":
                relay.lose_answer()
            else:
                _lose_answer_to_deletion(session.container, relay)

    with pytest.raises(BackendUnavailable):
        end_it()
    assert not [header for header in visitor.set_cookies if "Max-Age=0" not in header]
    visitor.cookies = former
    assert visitor.read() == {}


def _lose_answer_to_deletion(container: Any, relay: Relay) -> None:
    """Lose the answer to the third command: the new record and the mark come before."""
    records, _ = container._record(container.sid)
    take_away = records._take_away

    def lose(key: bytes) -> bool:
        relay.lose_answer()
        del records._take_away
        return bool(take_away(key))

    records._take_away = lose
