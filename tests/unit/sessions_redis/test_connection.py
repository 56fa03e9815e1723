"""Connections to one Redis server: what is sent, what answers it, and which are used again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis.connection import Connection as RedisConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoScriptError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from support.faults import texts
from support.processes import HOST, wait_until
from support.scripted import SILENCE, ScriptedServer

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions_redis import connection as redis_connection
from webapp2_sessions.sessions_redis.connection import Connection, Connections, packed, parsed
from webapp2_sessions.sessions_redis.servers import RedisServer
from webapp2_sessions.stored import connections as stored_connections
from webapp2_sessions.stored.addresses import Addresses
from webapp2_sessions.stored.connections import (
    IF_CLOSED,
    IF_SILENT,
    IF_UNSENT,
    LONGEST_IDLE,
    StaleConnection,
)

KEY = b"session:0123456789abcdefghijkl"
PASSWORD = "open-sesame-17"

#: The shortest wait that is no accident of the scheduler's.
TIMEOUT = 0.1

#: Seconds that no test takes.
LONG = 30.0

NOTHING = b"$-1\r\n"

Start = Callable[..., tuple[ScriptedServer, Connections]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server with scripted answers, and make connections to it."""
    with contextlib.ExitStack() as at_end:

        def start(
            *answers: bytes | None, timeout: float = LONG, sign_in: str = "", db: str = ""
        ) -> tuple[ScriptedServer, Connections]:
            server = at_end.enter_context(ScriptedServer(*answers))
            url = f"redis://{sign_in}{server.address}/{db}"
            connections = at_end.enter_context(contextlib.closing(Connections(url, timeout)))
            return server, connections

        yield start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is moved."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(stored_connections, "time", clock)
    return clock


def bulk(data: bytes) -> bytes:
    """A value as Redis answers it."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def get(connections: Connections) -> Any:
    """What a GET is answered."""
    return connections.exchange(IF_SILENT, "GET", KEY)


def ask_at_once(connections: Connections, server: ScriptedServer, count: int) -> None:
    """Have so many exchanges at the same time, each on a connection of its own."""
    server.go_on.clear()
    threads = [threading.Thread(target=get, args=(connections,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: server.connections == count, LONG)
    server.go_on.set()
    for thread in threads:
        thread.join(LONG)


def close_all(server: ScriptedServer) -> None:
    """Close the server's connections, and wait until that is known here."""
    for connection in server._open:
        connection.shutdown(socket.SHUT_RDWR)
    assert server.was_left()


# What is sent, and what answers it


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (bulk(b"data"), b"data"),
        (bulk(b""), b""),
        (bulk(b"\r\n-ERR\r\n"), b"\r\n-ERR\r\n"),
        (bulk(b"x" * 200_000), b"x" * 200_000),
        (NOTHING, None),
        (b"+OK\r\n", b"OK"),
        (b":17\r\n", 17),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_answer_is_understood(start: Start, answer: bytes, meaning: Any) -> None:
    server, connections = start(answer, answer)
    assert [get(connections), get(connections)] == [meaning, meaning]
    # Nothing else is asked, also when a connection begins.
    assert server.commands == [b"GET " + KEY] * 2
    assert server.connections == 1


def test_connection_begins_with_password_and_database(start: Start) -> None:
    server, connections = start(b"+OK\r\n", b"+OK\r\n", NOTHING, sign_in="me:p%40ss@", db="7")
    assert get(connections) is None
    assert server.commands == [b"AUTH me p@ss", b"SELECT 7", b"GET " + KEY]


@pytest.mark.parametrize("word", ["NOSCRIPT", "WRONGTYPE", "ERR unknown", "OOM", "MOVED 1 h:1"])
def test_error_that_answers_is_an_answer_and_keeps_the_connection(start: Start, word: str) -> None:
    server, connections = start(f"-{word}\r\n".encode(), NOTHING)
    error = get(connections)
    assert isinstance(error, ResponseError)
    assert isinstance(error, NoScriptError) is (word == "NOSCRIPT")
    assert error.__traceback__ is None  # frames hold keys and data
    assert get(connections) is None
    assert (server.connections, connections.lost) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", BusyLoadingError),
        (b"-NOAUTH Authentication required.\r\n", AuthenticationError),
        (b"-ERR max number of clients reached\r\n", RedisConnectionError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", InvalidResponse),
        (b":many\r\n", InvalidResponse),
        (b"$x" + KEY + b"\r\n", InvalidResponse),
        (KEY + b"\r\n", InvalidResponse),
        (b"$5\r\nda", RedisTimeoutError),
        (b"", RedisConnectionError),
        (SILENCE, RedisTimeoutError),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_connection_without_a_whole_answer_is_closed(
    start: Start, answer: bytes | None, kind: type[Exception]
) -> None:
    server, connections = start(answer, bulk(b"data"), timeout=TIMEOUT)
    with pytest.raises(kind) as caught:
        get(connections)
    assert not [text for text in texts(caught.value) if KEY.decode()[-22:] in text]
    assert server.was_left()
    assert get(connections) == b"data"
    assert server.connections == 2


def test_answer_that_is_late_is_never_taken_for_that_to_another_command(start: Start) -> None:
    server, connections = start(NOTHING, SILENCE, bulk(b"mine"), timeout=TIMEOUT)
    get(connections)
    with pytest.raises(StaleConnection):
        connections.exchange(IF_CLOSED, "SET", KEY, b"d")
    with contextlib.suppress(OSError):
        server._open[0].sendall(b"+OK\r\n")
    assert get(connections) == b"mine"
    assert server.connections == 2


def test_answer_to_nothing_is_seen_before_a_write(start: Start) -> None:
    server, connections = start(NOTHING, b":1\r\n")
    get(connections)
    server._open[0].sendall(b"+OK\r\n")
    assert wait_until(lambda: connections._idle[0][1].can_read(0), LONG)
    assert connections.exchange(IF_UNSENT, "DEL", KEY) == 1
    assert server.connections == 2


@pytest.mark.parametrize("happens", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
def test_interrupted_exchange_closes_the_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, happens: BaseException
) -> None:
    # Its answer is yet to come.
    server, connections = start(NOTHING, NOTHING, NOTHING)
    get(connections)

    def interrupt(*_: Any, **__: Any) -> Any:
        raise happens

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "read_response", interrupt)
        with pytest.raises(type(happens)):
            get(connections)
    assert server.was_left()
    assert get(connections) is None
    assert server.connections == 2


# Connecting


@pytest.mark.parametrize("failure", [TimeoutError(), TimeoutError("timed out")], ids=repr)
def test_connecting_that_takes_too_long_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    def connect(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(redis_connection, "connect", connect)
    for url in ("redis://127.0.0.1:1/0", "unix:///nowhere"):
        with pytest.raises(RedisTimeoutError):
            get(Connections(url, LONG))


def test_server_that_is_silent_while_a_connection_begins_is_left(start: Start) -> None:
    server, connections = start(SILENCE, timeout=TIMEOUT, sign_in=f":{PASSWORD}@")
    with pytest.raises(RedisTimeoutError):
        get(connections)
    assert server.was_left()


@pytest.mark.parametrize(
    "answer",
    [
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode(),
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_connection_that_is_refused_is_closed(start: Start, answer: bytes) -> None:
    server, connections = start(answer, sign_in=f":{PASSWORD}@")
    with pytest.raises((AuthenticationError, ResponseError, InvalidResponse)):
        get(connections)
    assert server.was_left()
    assert len(connections) == 0


def test_password_is_not_shown() -> None:
    place = Addresses(HOST, 1)
    connection = Connection(place, LONG, None, username="me", password=PASSWORD, db=3)
    assert "place=127.0.0.1,db=3" in repr(connection)
    assert PASSWORD not in repr(connection)


# Pooled connections that fail

FAILING = pytest.mark.parametrize("answer", [b"", SILENCE], ids=["closed", "silent"])


@FAILING
def test_after_one_pooled_connection_has_failed_all_are_dropped(
    start: Start, answer: bytes | None
) -> None:
    server, connections = start(*[NOTHING] * 3, answer, bulk(b"data"), timeout=TIMEOUT)
    ask_at_once(connections, server, 3)
    assert get(connections) == b"data"
    assert (server.connections, len(connections), connections.lost) == (4, 1, 1)
    assert all(server.was_left() for _ in range(3))


@FAILING
def test_failure_of_a_new_connection_is_final(start: Start, answer: bytes | None) -> None:
    server, connections = start(answer, timeout=TIMEOUT)
    with pytest.raises((RedisConnectionError, RedisTimeoutError)):
        get(connections)
    assert len(server.commands) == 1


def test_closed_connection_is_seen_before_what_is_not_repeated(start: Start) -> None:
    server, connections = start(NOTHING, b":1\r\n")
    get(connections)
    close_all(server)
    assert connections.exchange(IF_UNSENT, "DEL", KEY) == 1
    assert (server.connections, len(server.commands)) == (2, 2)


@pytest.mark.parametrize("excess", [0.0, 0.1])
def test_connection_that_was_idle_for_too_long_is_not_used(
    start: Start, clock: SimpleNamespace, excess: float
) -> None:
    server, connections = start(*[NOTHING] * 4)
    ask_at_once(connections, server, 3)
    clock.now += LONGEST_IDLE + excess
    get(connections)
    assert server.connections == (4 if excess else 3)
    assert len(connections) == (1 if excess else 3)  # the others were idle for as long
    assert not excess or all(server.was_left() for _ in range(3))


# URLs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", {}),
        ("redis:///3", {"db": 3}),
        ("redis://host", {"host": "host"}),
        ("redis://host:7/", {"host": "host", "port": 7}),
        ("redis://host?db=4", {"host": "host", "db": 4}),
        ("redis://[::1]:7/2", {"host": "::1", "port": 7, "db": 2}),
        ("redis://:p%2Fw@host", {"host": "host", "password": "p/w"}),
        ("redis://me:pw@host/2", {"host": "host", "username": "me", "password": "pw", "db": 2}),
    ],
)
def test_url_is_understood(url: str, said: dict[str, Any]) -> None:
    assert parsed(url) == said


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "host:6379",
        "redis://host:many",
        "redis://host:70000",
        "redis://[::1",
        "redis://host/name",
        "redis://host/1/2",
        "redis://host/1#2",
        "redis://host?socket_timeout=3",
        "redis://host?protocol=3",
        "rediss://host?ssl_cert_reqs=none",
        # Passwords that should be quoted; the first of them would be taken for a port.
        "redis://:17/sesame@host",
        "redis://:17#sesame@host",
        "redis://:17?sesame@host",
        "unix://:17?sesame@/path",
        "redis://:[sesame@host",
        "redis://:\uff03sesame@host",  # is normalized to a "#"
        "redis://:sesame\udcff@host",  # an environment variable that is not UTF-8
        "redis://host?password=sesame\udcff",
    ],
)
@pytest.mark.parametrize("read", [parsed, lambda url: RedisServer(url, 1.0)])
def test_url_that_would_be_misread_is_refused_and_not_shown(
    url: str, read: Callable[[str], object]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(url)
    assert not [text for text in texts(caught.value) if "sesame" in text]


@pytest.mark.parametrize(
    "command",
    [
        ("GET", b"key"),
        ("SET", b"key", b"\r\n$0\r\n\x00", "PX", 5, "NX"),
        ("AUTH", "Zoë", ""),
        ("EVAL", "return 1", 0, -1, 2**63),
    ],
)
def test_commands_are_sent_as_redis_py_sends_them(command: tuple[Any, ...]) -> None:
    assert packed(*command) == b"".join(RedisConnection().pack_command(*command))
