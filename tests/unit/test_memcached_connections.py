"""Connections to one memcached: what is asked and understood, and which of them are kept."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheError,
    MemcacheIllegalInputError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)
from support.processes import wait_until
from support.scripted import SILENCE, ScriptedServer

from webapp2_sessions import memcached_connections, memcached_sockets
from webapp2_sessions.memcached_connections import MOST_IDLE, Connections

KEY = b"session:0123456789abcdefghijkl"

#: The shortest wait that is no accident of the scheduler's.
TIMEOUT = 0.1

#: Seconds that no test takes.
LONG = 30.0

Start = Callable[..., tuple[ScriptedServer, Connections]]


@pytest.fixture(params=["kernel", "python"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server with these answers, and connections to it that wait in either way."""
    if request.param == "python":
        monkeypatch.setattr(memcached_sockets, "_KERNEL_WAITS", False)
    with contextlib.ExitStack() as at_end:

        def start(
            *answers: bytes | None, timeout: float = LONG
        ) -> tuple[ScriptedServer, Connections]:
            server = at_end.enter_context(ScriptedServer(*answers))
            connections = at_end.enter_context(
                contextlib.closing(Connections(server.address, timeout))
            )
            return server, connections

        yield start


def value(data: bytes, key: bytes = KEY, flags: int = 0, token: bytes = b"") -> bytes:
    """The answer to get, or with a token to gets."""
    words = b"VALUE %b %d %d%b" % (key, flags, len(data), token and b" " + token)
    return words + b"\r\n" + data + b"\r\nEND\r\n"


# What is asked, and what the answers mean

EXCHANGES = [
    (("get", KEY), b"get %b\r\n" % KEY, value(b"data"), b"data"),
    (("get", KEY), b"get %b\r\n" % KEY, value(b""), b""),
    (("get", KEY), b"get %b\r\n" % KEY, value(b"\r\nEND\r\n"), b"\r\nEND\r\n"),
    (("get", KEY), b"get %b\r\n" % KEY, value(b"data", flags=17), b"data"),
    (("get", KEY), b"get %b\r\n" % KEY, value(b"x" * 100_000), b"x" * 100_000),
    (("get", KEY), b"get %b\r\n" % KEY, b"END\r\n", None),
    (("gets", KEY), b"gets %b\r\n" % KEY, value(b"data", token=b"17"), (b"data", b"17")),
    (("gets", KEY), b"gets %b\r\n" % KEY, b"END\r\n", (None, None)),
    (("set", KEY, b"d\r\n", 9), b"set %b 0 9 3\r\nd\r\n\r\n" % KEY, b"STORED\r\n", True),
    (("set", KEY, b"", 0), b"set %b 0 0 0\r\n\r\n" % KEY, b"NOT_STORED\r\n", False),
    (("add", KEY, b"d", 9), b"add %b 0 9 1\r\nd\r\n" % KEY, b"STORED\r\n", True),
    (("add", KEY, b"d", 9), b"add %b 0 9 1\r\nd\r\n" % KEY, b"NOT_STORED\r\n", False),
    (("replace", KEY, b"d", 9), b"replace %b 0 9 1\r\nd\r\n" % KEY, b"STORED\r\n", True),
    (("replace", KEY, b"d", 9), b"replace %b 0 9 1\r\nd\r\n" % KEY, b"NOT_STORED\r\n", False),
    (("cas", KEY, b"d", b"17", 9), b"cas %b 0 9 1 17\r\nd\r\n" % KEY, b"STORED\r\n", True),
    (("cas", KEY, b"d", b"17", 9), b"cas %b 0 9 1 17\r\nd\r\n" % KEY, b"EXISTS\r\n", False),
    (("cas", KEY, b"d", b"17", 9), b"cas %b 0 9 1 17\r\nd\r\n" % KEY, b"NOT_FOUND\r\n", None),
    (("delete", KEY), b"delete %b\r\n" % KEY, b"DELETED\r\n", True),
    (("delete", KEY), b"delete %b\r\n" % KEY, b"NOT_FOUND\r\n", False),
    (("touch", KEY, 9), b"touch %b 9\r\n" % KEY, b"TOUCHED\r\n", True),
    (("touch", KEY, 9), b"touch %b 9\r\n" % KEY, b"NOT_FOUND\r\n", False),
]


@pytest.mark.parametrize(("call", "command", "answer", "meaning"), EXCHANGES)
@pytest.mark.parametrize("piece", [None, 1, 7, 40])
def test_exchange(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    call: Any,
    command: bytes,
    answer: bytes,
    meaning: object,
    piece: int | None,
) -> None:
    """Every answer is understood, in one piece or in many, and the connection used again."""
    if piece is not None:
        monkeypatch.setattr(memcached_connections, "_FIRST_PIECE", piece)
        monkeypatch.setattr(memcached_connections, "_LARGEST_PIECE", 1000 * piece)
    server, connections = start(answer, answer)
    for _ in range(2):
        assert getattr(connections, call[0])(*call[1:]) == meaning
    assert server.commands == [command] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "key",
    [b"", b"two words", b"line\r\nflush_all", b"\0", b"x" * 251, "Zürich".encode(), KEY + b"\n"],
)
@pytest.mark.parametrize("call", [("get",), ("gets",), ("set", b"", 0), ("delete",), ("touch", 0)])
def test_key_that_would_be_misread(key: bytes, call: Any) -> None:
    """Nothing is sent."""
    with pytest.raises(MemcacheIllegalInputError) as caught:
        getattr(Connections("127.0.0.1:1", LONG), call[0])(key, *call[1:])
    assert str(caught.value) == "memcached would misread the key"


# Answers that are none to the question

BROKEN = [
    (b"ERROR\r\n", MemcacheClientError),
    (b"CLIENT_ERROR bad data chunk\r\n", MemcacheClientError),
    (b"SERVER_ERROR out of memory\r\n", MemcacheServerError),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", MemcacheUnknownError),
    (b"\r\n", MemcacheUnknownError),
    (b"OK\r\n", MemcacheUnknownError),
    (b"x" * 5000, MemcacheUnknownError),
    (b"", MemcacheUnexpectedCloseError),
]

BROKEN_VALUES = [
    *BROKEN,
    (b"STORED\r\n", MemcacheUnknownError),
    (value(b"data", key=b"session:another"), MemcacheUnknownError),
    (value(b"data", key=KEY + b"x"), MemcacheUnknownError),
    (value(b"data") * 2, MemcacheUnknownError),
    (value(b"data") + b"\r\n", MemcacheUnknownError),
    (b"END\r\nEND\r\n", MemcacheUnknownError),
    (b"VALUE %b 0 3\r\ndata\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0 3\r\ndat\r\nENDED" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0 -7\r\n\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0 +4\r\ndata\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0\r\ndata\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0 4 5 6\r\ndata\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"value %b 0 4\r\ndata\r\nEND\r\n" % KEY, MemcacheUnknownError),
    (b"VALUE %b 0 4\ndata\nEND\n" % KEY + b"x" * 1024, MemcacheUnknownError),
]

BROKEN_LINES = [
    *BROKEN,
    (b"END\r\n", MemcacheUnknownError),
    (b"DELETED\r\n", MemcacheUnknownError),
    (b"STORED\r\nSTORED\r\n", MemcacheUnknownError),
    (b"STORED\r\n\r\n", MemcacheUnknownError),
    (b"stored\r\n", MemcacheUnknownError),
]

CASES = [(("get", KEY), *case) for case in BROKEN_VALUES]
CASES += [(("set", KEY, b"data", 0), *case) for case in BROKEN_LINES]


@pytest.mark.parametrize(("call", "answer", "kind"), CASES, ids=ascii)
def test_broken_answer(start: Start, call: Any, answer: bytes, kind: type[MemcacheError]) -> None:
    """It is an error that shows the server's own words alone, and the connection is closed."""
    good = value(b"data") if call[0] == "get" else b"STORED\r\n"
    server, connections = start(answer, good)
    with pytest.raises(MemcacheError) as caught:
        getattr(connections, call[0])(*call[1:])
    assert type(caught.value) is kind
    assert KEY.decode() not in repr(caught.value)
    assert server.was_left()
    assert getattr(connections, call[0])(*call[1:]) in (b"data", True)
    assert server.connections == 2


@pytest.mark.parametrize("call", [("get", KEY), ("set", KEY, b"data", 0)], ids=lambda call: call[0])
def test_refusal_has_the_servers_words(start: Start, call: Any) -> None:
    """As pymemcache's does."""
    _, connections = start(b"SERVER_ERROR out of memory storing object\r\n")
    with pytest.raises(MemcacheServerError) as caught:
        getattr(connections, call[0])(*call[1:])
    assert caught.value.args == (b"out of memory storing object",)


def test_connection_that_the_server_has_closed(start: Start) -> None:
    """It is found out when it is used, and not used again."""
    server, connections = start(b"END\r\n", b"", b"END\r\n")
    assert connections.get(KEY) is None
    with pytest.raises(MemcacheUnexpectedCloseError):
        connections.get(KEY)
    assert connections.get(KEY) is None
    assert server.connections == 2


# Waiting


def test_answer_that_does_not_come_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may take its time, and the connection is as before."""
    server, connections = start(value(b"data"), value(b"data"))
    patient = memcached_connections.send_and_wait
    waited: list[str] = []

    def wait(*args: Any) -> bytes:
        waited.append("waited")
        server.go_on.set()
        return patient(*args)

    monkeypatch.setattr(memcached_connections, "send_and_wait", wait)
    if memcached_sockets._KERNEL_WAITS:
        server.go_on.clear()
    assert [connections.get(KEY) for _ in range(2)] == [b"data"] * 2
    assert waited == ["waited"] * memcached_sockets._KERNEL_WAITS
    assert server.connections == 1


def test_value_that_does_not_go_out_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server does not read yet is sent when it does."""
    server, connections = start(b"STORED\r\n")
    patient = memcached_connections.send_and_wait
    unsent: list[int] = []

    def wait(connection: socket.socket, rest: bytes, *args: Any) -> bytes:
        unsent.append(len(rest))
        server.go_on.set()
        return patient(connection, rest, *args)

    monkeypatch.setattr(memcached_connections, "send_and_wait", wait)
    data = bytes(range(256)) * 128 * 1024  # 32 MiB, more than the kernel takes
    if memcached_sockets._KERNEL_WAITS:
        server.go_on.clear()
    assert connections.set(KEY, data, 0) is True
    assert server.commands == [b"set %b 0 0 %d\r\n%b\r\n" % (KEY, len(data), data)]
    assert len(unsent) == 1
    assert 0 < unsent[0] < len(data)


@pytest.mark.parametrize("begun", [SILENCE, b"VALUE ", value(b"data")[:-1]], ids=ascii)
def test_silent_server(start: Start, begun: bytes | None) -> None:
    """It is left after the timeout, wherever it stopped."""
    server, connections = start(begun, value(b"data"), timeout=TIMEOUT)
    with pytest.raises(TimeoutError):
        connections.get(KEY)
    assert server.was_left()
    assert connections.get(KEY) == b"data"


def test_answer_that_comes_too_slowly(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces, each of them in time, do not make a call last for ever."""
    server, connections = start(value(b"x" * 1000), value(b"data"), timeout=LONG)
    times = iter(range(1000))
    monkeypatch.setattr(memcached_connections, "_FIRST_PIECE", 10)
    monkeypatch.setattr(memcached_connections, "_LARGEST_PIECE", 10)
    clock = type("Clock", (), {"monotonic": lambda: next(times)})
    monkeypatch.setattr(memcached_connections, "time", clock)
    with pytest.raises(TimeoutError, match="too slowly"):
        connections.get(KEY)
    assert server.was_left()
    assert LONG < next(times) < LONG + 5


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such timer")
def test_signals_do_not_prolong_the_wait(start: Start) -> None:
    """A program that is interrupted every so often gives a silent server up all the same."""
    server, connections = start(SILENCE, timeout=TIMEOUT)
    # Should the wait not end by itself, the server ends it, and the error is another one.
    rescue = threading.Timer(LONG, server.__exit__, (None, None, None))
    rescue.daemon = True
    rescue.start()
    former = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT / 4, TIMEOUT / 4)
    try:
        with pytest.raises(TimeoutError):
            connections.get(KEY)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        rescue.cancel()


# What ends an exchange from outside


class Interrupted(socket.socket):
    """A connection on which something else happens while an answer is waited for."""

    happens: BaseException = KeyboardInterrupt()

    def recv(self, *args: Any) -> bytes:
        """Nothing is received."""
        raise self.happens


@pytest.mark.parametrize("happens", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("call", [("get", KEY), ("set", KEY, b"data", 0)], ids=lambda call: call[0])
def test_interrupted_exchange(
    monkeypatch: pytest.MonkeyPatch, happens: BaseException, call: Any
) -> None:
    """Its answer is yet to come, so that the connection is closed and not kept."""
    ours, theirs = socket.socketpair()
    interrupted = Interrupted(fileno=ours.detach())
    interrupted.happens = happens
    monkeypatch.setattr(memcached_connections, "connected", lambda *args: interrupted)
    connections = Connections("127.0.0.1:1", LONG)
    with theirs:
        with pytest.raises(type(happens)):
            getattr(connections, call[0])(*call[1:])
        assert interrupted.fileno() == -1
        assert theirs.recv(1000).startswith(call[0].encode())
        assert theirs.recv(1000) == b""
    assert connections._idle == []


# How many are kept


def test_threads_at_once_have_connections_of_their_own(start: Start) -> None:
    """As many as there are exchanges at once; more than so many are not kept."""
    count = MOST_IDLE + 3
    server, connections = start(*[b"END\r\n"] * 2 * count)
    server.go_on.clear()
    threads = [threading.Thread(target=connections.get, args=(KEY,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: server.connections == count, LONG)
    server.go_on.set()
    for thread in threads:
        thread.join(LONG)
    assert all(server.was_left() for _ in range(3))
    assert len(connections._idle) == MOST_IDLE
    assert connections.get(KEY) is None
    assert server.connections == count
