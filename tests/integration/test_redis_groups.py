"""Sessions in a Redis cluster, and behind Sentinel: through a client of the application's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.faults import BOUND, texts
from support.processes import wait_until
from support.redis_groups import Cluster, Watched
from support.servers import Redis
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable, ConfigError
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions_redis import RedisSessionFactory
from webapp2_sessions.sessions_redis.records import session_redis

#: Seconds for an answer, where none is expected.
TIMEOUT = 0.5


def once() -> dict[str, Any]:
    """Options of a client that asks once; by default redis-py tries for up to 13 s and more."""
    return {"socket_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0)}


def visitor_of(client: Any, **config: Any) -> Visitor:
    """A visitor of an application with a client of its own."""
    return Visitor(make_app(redis={"client": client}, **config), backend="redis")


def destroy(visitor: Visitor) -> None:
    """End the session, and keep its cookie."""
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.destroy()
    visitor.cookies = former


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What comes of it, or the error of the backend; and the seconds."""
    started = time.monotonic()
    try:
        found = action()
    except BackendError as error:
        found = error
    return found, time.monotonic() - started


# A cluster


@pytest.fixture(scope="module")
def cluster(redis_server: Redis) -> Any:
    """A cluster of three, shared by the module; the shared server shows that it can be started."""
    with ExitStack() as at_end:

        def launch(server: Redis) -> Redis:
            at_end.callback(server.stop)
            server.start()
            return server

        yield Cluster(launch)


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("as_function", [False, True], ids=["object", "function"])
def test_cluster(cluster: Cluster, on_conflict: str, as_function: bool) -> None:
    """Sessions of all nodes are written, changed, renewed and destroyed."""
    client = cluster.client if as_function else cluster.client()
    config = {"on_conflict": on_conflict, "refresh_after": 1e-9, "session_max_age": 600}
    places = set()
    for number in range(24):
        visitor = visitor_of(client, **config)
        sid = visitor.write({"number": number})
        places.add(cluster.node_of(f"session:{sid}").address)
        visitor.write({"more": "x" * 3000})
        assert visitor.read() == {"number": number, "more": "x" * 3000}
        with visitor.visit() as session:
            session.regenerate_id()
        former = dict(visitor.cookies)
        visitor.write({"last": True})
        visitor.cookies = former
        destroy(visitor)
        assert visitor.read() == {}
    assert places == {node.address for node in cluster.nodes}


def test_cluster_can_be_checked_and_shown(cluster: Cluster) -> None:
    """What the command line asks for has its node as well."""
    client = cluster.client()
    assert list(RedisSessionFactory._ping({"redis": {"client": client}})) == []
    visitor = visitor_of(client, session_max_age=600)
    sid = visitor.write({"a": 1})
    records = session_redis(SessionConfig({"secret_key": SECRET, "redis": {"client": client}}))
    found = records.times(records.key(str(sid)))
    assert found.keys() == {"expires_in", "idle"}
    assert 590 < found["expires_in"] <= 601


def test_script_is_known_to_no_node_at_first(cluster: Cluster) -> None:
    """Each node gets it when it is needed."""
    for node in cluster.nodes:
        node.ask("SCRIPT", "FLUSH")
    client = cluster.client()
    for number in range(12):
        visitor = visitor_of(client, on_conflict="merge")
        visitor.write({"n": 0})
        visitor.write({"n": number})
        assert visitor.read() == {"n": number}


def test_url_of_one_node(cluster: Cluster) -> None:
    """An error tells what to configure in its place."""
    url = f"redis://{cluster.nodes[0].address}/0"
    app = make_app(redis={"url": url})

    def write() -> Any:
        return timed(lambda: Visitor(app, backend="redis").write({"a": 1}))[0]

    errors = [each for each in (write() for _ in range(24)) if isinstance(each, BackendError)]
    assert errors
    for error in errors:
        assert "is one of a cluster: give a RedisCluster as redis['client']" in str(error)


def test_cluster_that_decodes(cluster: Cluster) -> None:
    """It is refused."""
    with pytest.raises(ConfigError, match="without decode_responses=True"):
        visitor_of(cluster.client(decode_responses=True)).write({"a": 1})


@pytest.mark.parametrize("is_once", [True, False])
def test_cluster_that_repeats_commands(
    cluster: Cluster, is_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is warned of."""
    client = cluster.client(**(once() if is_once else {"retry": Retry(NoBackoff(), 2)}))
    visitor_of(client).write({"a": 1})
    assert [text for text in caplog.messages if "sends a command again" in text] == (
        [] if is_once else caplog.messages
    )
    assert len(caplog.messages) == (0 if is_once else 1)


def test_cluster_that_cannot_be_reached() -> None:
    """The client is made at the first use, and that it fails is an error in time."""

    def make() -> Any:
        return redis.RedisCluster(host="127.0.0.1", port=1, **once())

    with pytest.raises(BackendUnavailable):
        visitor_of(make).write({"a": 1})


def test_cluster_with_a_node_less(launch: Callable[[Any], Any]) -> None:
    """Its sessions are errors, in time; those of the others go on."""
    cluster = Cluster(launch)
    client = cluster.client(**once())
    visitors: dict[str, list[Visitor]] = {node.address: [] for node in cluster.nodes}
    for number in range(24):
        visitor = visitor_of(client)
        sid = visitor.write({"number": number})
        visitors[cluster.node_of(f"session:{sid}").address].append(visitor)
    dead = cluster.nodes[1]
    dead.kill()
    for visitor in visitors.pop(dead.address):
        found, seconds = timed(visitor.read)
        assert isinstance(found, BackendError)
        assert seconds < BOUND
        assert not [text for text in texts(found) if "session:" in text]
    for visitor in [each for others in visitors.values() for each in others]:
        assert visitor.read() != {}


# Sentinel


@pytest.fixture
def watched(launch: Callable[[Any], Any]) -> Watched:
    """A primary and a replica."""
    return Watched(launch)


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_failover(watched: Watched, on_conflict: str) -> None:
    """Sessions that the replica has are there afterwards; meanwhile there are errors, in time."""
    client = watched.client(**once())
    visitor = visitor_of(client, on_conflict=on_conflict)
    visitor.write({"a": 1})
    visitor.write({"b": 2})
    watched.replicate()
    outcomes: list[tuple[Any, float]] = []
    watched.primary.kill()

    def works() -> bool:
        outcomes.append(timed(lambda: visitor.write({"c": 3})))
        return not isinstance(outcomes[-1][0], BackendError)

    assert wait_until(works, 30.0)
    assert visitor.read() == {"a": 1, "b": 2, "c": 3}
    for found, seconds in outcomes[:-1]:
        assert isinstance(found, BackendUnavailable)
        assert seconds < BOUND
        assert not [text for text in texts(found) if "session:" in text]
    destroy(visitor)
    assert visitor.read() == {}


def test_failover_undoes_what_the_replica_did_not_have(watched: Watched) -> None:
    """A session that was destroyed opens again, a change is undone, a new session is gone."""
    client = watched.client(**once())
    destroyed, changed, later = (visitor_of(client) for _ in range(3))
    for visitor in destroyed, changed:
        visitor.write({"n": 1})
    watched.replicate()
    watched.cut_off()
    destroy(destroyed)
    assert destroyed.read() == {}
    cookies = dict(destroyed.cookies)
    changed.write({"n": 2})
    later.write({"n": 3})
    watched.fail_over()
    visitors = destroyed, changed, later
    found: list[Any] = []

    def works() -> bool:
        found[:] = [timed(visitor.read)[0] for visitor in visitors]
        return not any(isinstance(each, BackendError) for each in found)

    assert wait_until(works, 30.0)
    destroyed.cookies = cookies
    assert [destroyed.read(), *found[1:]] == [{"n": 1}, {"n": 1}, {}]


def test_primary_that_has_to_have_a_replica_refuses(watched: Watched) -> None:
    """With `min-replicas-to-write` a request hears that its sign-out may not last."""
    watched.primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    visitor = visitor_of(watched.client(**once()))
    visitor.write({"n": 1})
    watched.cut_off()
    with pytest.raises(BackendError, match="the server refused"):
        destroy(visitor)
    assert visitor.read() == {"n": 1}


def test_group_that_is_gone_is_an_error_in_time(watched: Watched) -> None:
    """If neither Sentinels nor servers answer."""
    visitor = visitor_of(watched.client(**once()))
    visitor.write({"a": 1})
    for server in (watched.primary, watched.replica, *watched.sentinels):
        server.freeze()
    for _ in range(2):
        found, seconds = timed(visitor.read)
        assert isinstance(found, BackendUnavailable)
        assert seconds < BOUND
