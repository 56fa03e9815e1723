"""The cache in front of Datastore where a writer is slow or overtaken, in real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError
from support.entries import Entries, RedisEntries, entries_of, redis_entries_of
from support.servers import Memcached, Redis, wait_until

from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import BackendUnavailable, StaleCache
from webapp2_sessions.sessions_memcache.records import session_memcached
from webapp2_sessions.sessions_redis.cache import session_cache
from webapp2_sessions.sessions_redis.connection import Connections as RedisConnections
from webapp2_sessions.stored.cache import CoherentCache

KEY = b"slow:name"

#: What stands there where nobody can tell which write was the last, and where a record has ended.
MARK = b""
TOMBSTONE = b"closed"

#: Seconds after which a server that hangs is a failure.
PATIENCE = 10.0


class Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def read(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The cache's clock."""
    clock = Clock()
    monkeypatch.setattr(CoherentCache, "_now", lambda cache: clock.read())
    return clock


AnyServer = Memcached | Redis
AnyEntries = Entries | RedisEntries

#: The servers that a cache may be in, by the names of their shared fixtures.
SERVERS: dict[str, type[AnyServer]] = {"memcached": Memcached, "redis_server": Redis}


def cache_of(server: AnyServer, **settings: Any) -> CoherentCache:
    """A cache in a server."""
    section = {"key_prefix": "slow:", **settings}
    if isinstance(server, Redis):
        config = SessionConfig({"secret_key": "secret", "redis": {"url": server.url, **section}})
        return CoherentCache(session_cache(config, "datastore"))
    memcache = {"servers": [server.address], **section}
    config = SessionConfig({"secret_key": "secret", "memcache": memcache})
    return CoherentCache(session_memcached(config, "datastore"))


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> type[AnyServer]:
    """The kind of server that the cache is in."""
    return SERVERS[request.param]


@pytest.fixture
def server(kind: type[AnyServer], request: pytest.FixtureRequest) -> AnyServer:
    """The shared one of that kind."""
    names = {each: name for name, each in SERVERS.items()}
    found: AnyServer = request.getfixturevalue(names[kind])
    return found


@pytest.fixture
def cache(server: AnyServer) -> CoherentCache:
    """A cache in the shared server."""
    return cache_of(server)


@pytest.fixture
def entries(server: AnyServer) -> Iterator[AnyEntries]:
    """What the server holds; the entry is absent at first."""
    opened = redis_entries_of(server) if isinstance(server, Redis) else entries_of(server)
    with opened as entries:
        entries.drop(KEY)
        yield entries


def test_slow_writer_leaves_an_absent_entry_alone(
    cache: CoherentCache, entries: AnyEntries, clock: Clock
) -> None:
    """Meanwhile the record may have been deleted, and the mark of that have gone."""

    def store() -> str:
        clock.now += 4
        return "written before the deletion"

    cache.write("name", store, None)
    assert entries.get(KEY) == MARK


def test_slow_writer_replaces_an_entry_that_stayed(
    cache: CoherentCache, entries: AnyEntries, clock: Clock
) -> None:
    """Where an entry was there its token tells whether anybody came in between."""
    cache.write("name", lambda: "old", None)

    def store() -> str:
        clock.now += 4
        return "new"

    cache.write("name", store, None)
    assert b"new" in (entries.get(KEY) or b"")


@pytest.mark.parametrize("entry", ["absent", "present"])
def test_writer_that_was_overtaken(cache: CoherentCache, entries: AnyEntries, entry: str) -> None:
    """It leaves a mark, and not its own value, where another has written since it began."""
    if entry == "present":
        cache.write("name", lambda: "old", None)

    def store() -> str:
        cache.write("name", lambda: "newest", None)
        return "older"

    cache.write("name", store, None)
    assert entries.get(KEY) == MARK


@pytest.fixture
def let_seconds_pass(entries: AnyEntries) -> Callable[[], None]:
    """Four seconds pass for the server: what lives no longer has gone."""

    def drop_what_is_short_lived() -> None:
        left = entries.seconds_left(KEY)
        if left is not None and 0 <= left <= 4:
            entries.drop(KEY)

    return drop_what_is_short_lived


@pytest.mark.parametrize("actor", ["reader", "writer"])
def test_late_entry_of_an_ended_record(
    cache: CoherentCache, entries: AnyEntries, let_seconds_pass: Callable[[], None], actor: str
) -> None:
    """What reaches the server four seconds after the end of its record finds a tombstone."""

    def end() -> str:
        cache.delete("name", lambda: None)
        let_seconds_pass()
        return "ended"

    if actor == "reader":
        assert cache.read("name", end, None) == "ended"
    else:
        cache.write("name", end, None)
    let_seconds_pass()
    assert cache.read("name", lambda: None, None) is None
    assert entries.get(KEY) == TOMBSTONE


def test_late_entry_of_an_overtaken_reader(
    cache: CoherentCache, entries: AnyEntries, let_seconds_pass: Callable[[], None]
) -> None:
    """Nor does it find the place empty that two writers at once have left to the next reader."""

    def newest() -> str:
        cache.write("name", lambda: "newer", None)
        return "newest"

    def load() -> str:
        cache.write("name", newest, None)
        let_seconds_pass()
        return "old"

    assert cache.read("name", load, None) == "old"
    assert cache.read("name", lambda: "newest", None) == "newest"
    assert b"newest" in (entries.get(KEY) or b"")


def test_late_writer_leaves_the_tombstone(
    cache: CoherentCache, entries: AnyEntries, let_seconds_pass: Callable[[], None]
) -> None:
    """A mark of its own in that place would let in who comes later."""
    cache.write("name", lambda: "old", None)

    def end() -> str:
        cache.delete("name", lambda: None)
        return "written before the end"

    cache.write("name", end, None)
    let_seconds_pass()
    assert entries.get(KEY) == TOMBSTONE


@pytest.mark.parametrize(
    ("actor", "begins"), [("reader", "absent"), ("writer", "absent"), ("writer", "present")]
)
def test_restart_after_the_end(
    launch: Callable[[AnyServer], AnyServer], kind: type[AnyServer], actor: str, begins: str
) -> None:
    """The server loses the tombstone, and memcached's tokens count from the beginning."""
    server = launch(kind())
    cache = cache_of(server)
    if begins == "present":
        cache.write("name", lambda: "old", None)

    def end() -> str:
        cache.delete("name", lambda: None)
        server.restart()
        return "ended"

    if actor == "reader":
        cache.read("name", end, None)
    else:
        cache.write("name", end, None)
    assert cache.read("name", lambda: None, None) is None


@pytest.mark.parametrize("change", ["write", "delete"])
def test_restart_with_the_data_of_before(
    launch: Callable[[Redis], Redis], tmp_path: Path, change: str
) -> None:
    """Nobody believes what the former process of the server has left."""
    server = launch(Redis("--dir", str(tmp_path)))
    cache = cache_of(server)
    cache.write("name", lambda: "old", None)
    server.ask("SAVE")
    if change == "write":
        cache.write("name", lambda: "new", None)
    else:
        cache.delete("name", lambda: None)
    server.restart()
    assert server.ask("DBSIZE") == 1
    record = "new" if change == "write" else None
    assert cache.read("name", lambda: record, None) == record
    cache.write("name", lambda: "newest", None)
    assert cache.read("name", lambda: "not asked", None) == "newest"


@pytest.mark.parametrize("is_silent", [False, True])
@pytest.mark.parametrize("change", ["write", "delete"])
def test_full_server_drops_what_has_changed(
    launch: Callable[[Redis], Redis], change: str, is_silent: bool
) -> None:
    """It refuses what is new, and would keep what is old."""
    server = launch(Redis())
    cache = cache_of(server, timeout=0.1 if is_silent else PATIENCE)
    cache.write("name", lambda: "old", None)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    if is_silent:
        server.freeze()
    if change == "write":
        cache.write("name", lambda: "new", None)
    else:
        cache.delete("name", lambda: None)
    if is_silent:
        server.thaw()
    assert wait_until(lambda: server.ask("DBSIZE") == 0, PATIENCE)
    assert cache_of(server).read("name", lambda: "new", None) == "new"


def test_full_server_keeps_a_tombstone(launch: Callable[[Redis], Redis]) -> None:
    """A second one is refused, and would not let anybody fill the place."""
    server = launch(Redis())
    cache = cache_of(server)
    cache.delete("name", lambda: None)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    cache.delete("name", lambda: None)
    cache.store.set_noreply(cache.store.key("name"), TOMBSTONE, 60)
    server.ask("PING")
    with redis_entries_of(server) as entries:
        assert entries.get(KEY) == TOMBSTONE


def test_server_that_takes_no_writes(launch: Callable[[Redis], Redis]) -> None:
    """It hands out what it has: that a session has ended is told as an error."""
    server = launch(Redis())
    cache = cache_of(server)
    cache.write("name", lambda: "old", None)
    server.ask("REPLICAOF", "127.0.0.1", "1")
    gone: list[str] = []
    with pytest.raises(StaleCache, match="hour"):
        cache.delete("name", lambda: gone.append("name"))
    assert gone == ["name"]


def test_failover_and_back(launch: Callable[[Redis], Redis]) -> None:
    """Nobody believes what a server has from when it was the primary before."""
    server = launch(Redis())
    other = launch(Redis("--replicaof", "127.0.0.1", str(server.port)))
    cache = cache_of(server)
    cache.write("name", lambda: "old", None)
    assert wait_until(lambda: other.ask("DBSIZE") == 1, PATIENCE)
    for primary, replica in ((other, server), (server, other)):
        assert wait_until(lambda: _are_even(server, other), PATIENCE)
        primary.ask("REPLICAOF", "NO", "ONE")
        replica.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        assert wait_until(lambda: _are_even(server, other), PATIENCE)
    assert server.ask("DBSIZE") == 1
    assert cache_of(server, timeout=2.0).read("name", lambda: "new", None) == "new"


def _are_even(*servers: Redis) -> bool:
    """Whether the replica has all that the primary has."""
    states = [server.ask("INFO", "replication") for server in servers]
    links = [state.get("master_link_status") for state in states if state["role"] == "slave"]
    return links == ["up"]


@pytest.mark.parametrize("timeout", [0.3, PATIENCE])
def test_command_that_is_lost_leaves_the_tombstone(
    launch: Callable[[Redis], Redis], monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    """The second tombstone gets no answer on a kept connection; the first one stays."""
    cache = cache_of(launch(Redis()), timeout=timeout)
    ask = RedisConnections._ask
    sets: list[str] = []

    def lose(connections: Any, connection: Any, *command: Any) -> Any:
        if command[0] == "SET" and len(sets) < 2:
            sets.append("SET")
            if len(sets) == 2:
                raise RedisTimeoutError("lost")
        return ask(connections, connection, *command)

    def late() -> str:
        monkeypatch.setattr(RedisConnections, "_ask", lose)
        cache.delete("name", lambda: None)
        return "ended"

    assert cache.read("name", late, None) == "ended"
    assert len(sets) == 2
    assert cache.read("name", lambda: None, None) is None


def test_end_without_its_cache(
    launch: Callable[[AnyServer], AnyServer], kind: type[AnyServer]
) -> None:
    """Others may reach it: that the session has ended is told as an error."""
    server = launch(kind())
    cache = cache_of(server)
    cache.write("name", lambda: "old", None)
    server.kill()
    gone: list[str] = []
    with pytest.raises(
        BackendUnavailable, match=f"{cache.store.backend} backend at {server.address}.*: .*hour"
    ):
        cache.delete("name", lambda: gone.append("name"))
    assert gone == ["name"]


def test_end_while_its_cache_is_silent(
    launch: Callable[[AnyServer], AnyServer], kind: type[AnyServer]
) -> None:
    """It hears of it when it goes on."""
    server = launch(kind())
    cache = cache_of(server, timeout=0.1)
    cache.write("name", lambda: "old", None)
    server.freeze()
    cache.delete("name", lambda: None)
    server.thaw()
    opened = redis_entries_of(server) if isinstance(server, Redis) else entries_of(server)
    with opened as entries:
        assert wait_until(lambda: entries.get(KEY) == TOMBSTONE, PATIENCE)
