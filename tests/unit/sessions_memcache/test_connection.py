"""Connections to one memcached: commands and answers, resending, and the pool."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
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
from support.processes import HOST, wait_until
from support.scripted import SILENCE, ScriptedServer

from webapp2_sessions.sessions_memcache import connection as memcached_connection
from webapp2_sessions.sessions_memcache import protocol
from webapp2_sessions.sessions_memcache.connection import Connections, is_closed
from webapp2_sessions.stored import connections as stored_connections
from webapp2_sessions.stored.addresses import Addresses, connect
from webapp2_sessions.stored.connections import LONGEST_IDLE, MOST_IDLE, StaleConnection

KEY = b"session:0123456789abcdefghijkl"

#: The shortest wait that is no accident of the scheduler's.
TIMEOUT = 0.1

#: Seconds that no test takes.
LONG = 30.0

Start = Callable[..., tuple[ScriptedServer, Connections]]


@pytest.fixture
def start() -> Iterator[Start]:
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
    words = b"VALUE %b %d %d%b" % (key, flags, len(data), token and b" " + token)
    return words + b"\r\n" + data + b"\r\nEND\r\n"


def receive(monkeypatch: pytest.MonkeyPatch, first: int, largest: int) -> None:
    for module in (protocol, memcached_connection):
        monkeypatch.setattr(module, "FIRST_CHUNK", first)
    monkeypatch.setattr(protocol, "_LARGEST_CHUNK", largest)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(stored_connections, "time", clock)
    return clock


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
def test_answer_is_understood_in_one_piece_or_in_many(
    start: Start,
    monkeypatch: Any,
    call: Any,
    command: bytes,
    answer: bytes,
    meaning: Any,
    piece: Any,
) -> None:
    if piece is not None:
        receive(monkeypatch, piece, 1000 * piece)
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
def test_key_that_would_be_misread_is_not_sent(key: bytes, call: Any) -> None:
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

READ_AND_WRITE = pytest.mark.parametrize(
    "call", [("get", KEY), ("set", KEY, b"data", 0)], ids=["get", "set"]
)


@pytest.mark.parametrize(("call", "answer", "kind"), CASES, ids=ascii)
def test_broken_answer_is_an_error_without_the_key_and_closes_the_connection(
    start: Start, call: Any, answer: bytes, kind: type[MemcacheError]
) -> None:
    good = value(b"data") if call[0] == "get" else b"STORED\r\n"
    server, connections = start(answer, good)
    with pytest.raises(MemcacheError) as caught:
        getattr(connections, call[0])(*call[1:])
    assert type(caught.value) is kind
    assert KEY.decode() not in repr(caught.value)
    assert server.was_left()
    assert getattr(connections, call[0])(*call[1:]) in (b"data", True)
    assert server.connections == 2


@READ_AND_WRITE
def test_refusal_has_the_known_words_of_the_server(start: Start, call: Any) -> None:
    _, connections = start(b"SERVER_ERROR out of memory storing object %b\r\n" % KEY)
    with pytest.raises(MemcacheServerError) as caught:
        getattr(connections, call[0])(*call[1:])
    assert caught.value.args == (b"out of memory storing object",)
    # The connection is closed, and cannot tell of a restart any more.
    assert connections.lost == 1


# Waiting


@pytest.mark.parametrize("begun", [SILENCE, b"VALUE ", value(b"data")[:-1]], ids=ascii)
def test_silent_server_is_left_after_the_timeout(start: Start, begun: bytes | None) -> None:
    server, connections = start(begun, value(b"data"), timeout=TIMEOUT)
    with pytest.raises(TimeoutError):
        connections.get(KEY)
    assert server.was_left()
    assert connections.get(KEY) == b"data"


def test_many_pieces_do_not_last_for_ever(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, connections = start(value(b"x" * 1000), timeout=LONG)
    times = iter(range(1000))
    receive(monkeypatch, 10, 10)
    monkeypatch.setattr(protocol, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with pytest.raises(TimeoutError, match="too slowly"):
        connections.get(KEY)
    assert server.was_left()
    assert LONG < next(times) < LONG + 5


# Pooled connections that fail

#: Commands, and the answer to each that is as good the second time.
REPEATED: list[tuple[Any, bytes, object]] = [
    (("get", KEY), value(b"data"), b"data"),
    (("gets", KEY), value(b"data", token=b"17"), (b"data", b"17")),
    (("set", KEY, b"d", 0), b"STORED\r\n", True),
    (("replace", KEY, b"d", 0), b"STORED\r\n", True),
    (("delete", KEY), b"DELETED\r\n", True),
    (("touch", KEY, 0), b"TOUCHED\r\n", True),
]

ONCE: list[Any] = [("add", KEY, b"d", 0), ("cas", KEY, b"d", b"17", 0)]

#: Which of them may be carried out late, if they were silent, and then undo what came after.
WRITES = ("set", "replace")

#: What a kept connection can do to a command: it is closed instead of an answer, or forgotten.
FAILING = pytest.mark.parametrize("answer", [b"", SILENCE], ids=["closed", "silent"])


def ask_at_once(connections: Connections, server: ScriptedServer, count: int) -> None:
    """Have so many exchanges at the same time, each on a connection of its own."""
    server.go_on.clear()
    threads = [threading.Thread(target=connections.get, args=(KEY,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: server.connections == count, LONG)
    server.go_on.set()
    for thread in threads:
        thread.join(LONG)


@pytest.mark.parametrize(("call", "good", "meaning"), REPEATED, ids=lambda value: str(value)[:9])
@FAILING
def test_command_is_repeated_once_on_a_new_connection(
    start: Start, call: Any, good: bytes, meaning: object, answer: bytes | None
) -> None:
    server, connections = start(*[b"END\r\n"] * 3, answer, good, timeout=TIMEOUT)
    ask_at_once(connections, server, 3)
    if call[0] in WRITES and answer is SILENCE:
        with pytest.raises(StaleConnection):
            getattr(connections, call[0])(*call[1:])
        assert server.connections == 3
        assert len(connections) == 0
        return
    assert getattr(connections, call[0])(*call[1:]) == meaning
    assert server.connections == 4
    assert len(connections) == 1  # the others that were kept are no better
    assert connections.lost == 1
    assert server.commands[3] == server.commands[4]
    assert all(server.was_left() for _ in range(3))


@pytest.mark.parametrize("call", ONCE, ids=["add", "cas"])
@FAILING
def test_command_whose_second_answer_tells_something_else_is_not_repeated(
    start: Start, call: Any, answer: bytes | None
) -> None:
    server, connections = start(*[b"END\r\n"] * 3, answer, timeout=TIMEOUT)
    ask_at_once(connections, server, 3)
    with pytest.raises(MemcacheUnexpectedCloseError if answer == b"" else StaleConnection):
        getattr(connections, call[0])(*call[1:])
    assert len(server.commands) == 4
    assert len(connections) == 0
    assert connections.lost == 1


@pytest.mark.parametrize("call", [*[each[0] for each in REPEATED], *ONCE], ids=lambda call: call[0])
@FAILING
def test_failure_of_a_new_connection_is_final(start: Start, call: Any, answer: Any) -> None:
    server, connections = start(answer, timeout=TIMEOUT)
    expected = MemcacheUnexpectedCloseError if answer == b"" else TimeoutError
    with pytest.raises(expected) as caught:
        getattr(connections, call[0])(*call[1:])
    assert type(caught.value) is expected
    assert wait_until(lambda: server.commands, LONG)
    assert len(server.commands) == 1
    assert connections.lost == 1


def test_server_that_closes_every_connection_is_tried_twice(start: Start) -> None:
    server, connections = start(b"END\r\n", b"", b"")
    assert connections.get(KEY) is None
    with pytest.raises(MemcacheUnexpectedCloseError):
        connections.get(KEY)
    assert server.connections == 2


def test_add_is_sent_once_on_a_new_connection_if_the_old_one_is_closed(start: Start) -> None:
    server, connections = start(b"END\r\n", b"STORED\r\n")
    assert connections.get(KEY) is None
    close_all(server)
    assert connections.add(KEY, b"d", 0) is True
    assert server.connections == 2
    assert len(server.commands) == 2


def test_cas_is_not_sent_if_the_connection_is_closed(start: Start) -> None:
    # The server that comes back may have given the token to another value.
    server, connections = start(b"END\r\n", b"STORED\r\n")
    assert connections.get(KEY) is None
    close_all(server)
    with pytest.raises(ConnectionError):
        connections.cas(KEY, b"d", b"17", 0)
    assert len(server.commands) == 1


def close_all(server: ScriptedServer) -> None:
    """Close the server's connections, and wait until that is known here."""
    for connection in server._open:
        connection.shutdown(socket.SHUT_RDWR)
    assert server.was_left()


@pytest.mark.parametrize("sent", [None, b"", b"answer to nothing"], ids=["good", "end", "bytes"])
def test_closed_connection_is_seen_before_anything_is_sent(sent: bytes | None) -> None:
    with (
        socket.create_server((HOST, 0)) as listener,
        connect(Addresses(*listener.getsockname()), LONG) as connection,
        listener.accept()[0] as peer,
    ):
        if sent is None:
            assert not is_closed(connection)
            assert connection.gettimeout() == LONG
            return
        if sent:
            peer.sendall(sent)
        else:
            peer.shutdown(socket.SHUT_RDWR)
        assert wait_until(lambda: is_closed(connection), LONG)


# Questions that a proxy may not know


def test_statistics_are_asked_on_a_connection_of_their_own(start: Start) -> None:
    answer = b"STAT item_size_max 1048576\r\nSTAT evictions on\r\nSTAT inter \r\nEND\r\n"
    server, connections = start(answer, b"END\r\n")
    found = connections.stats("settings")
    assert found == {b"item_size_max": 1048576, b"evictions": b"on", b"inter": b""}
    assert server.commands == [b"stats settings\r\n"]
    assert connections.get(KEY) is None
    assert server.connections == 2
    assert connections.lost == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"ERROR\r\n", MemcacheClientError),
        (b"CLIENT_ERROR unknown\r\n", MemcacheClientError),
        (b"SERVER_ERROR unknown\r\n", MemcacheServerError),
        (b"STAT x\r\n" * 20_000, MemcacheUnknownError),
        (b"", MemcacheUnexpectedCloseError),
        (SILENCE, TimeoutError),
        (b"STAT item_size", TimeoutError),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_failure_to_get_statistics_says_nothing_about_other_connections(
    start: Start, answer: bytes | None, kind: type[Exception]
) -> None:
    _, connections = start(b"END\r\n", answer, timeout=TIMEOUT)
    assert connections.get(KEY) is None
    with pytest.raises(kind):
        connections.stats("settings")
    assert len(connections) == 1
    assert connections.lost == 0


def test_other_command_gives_the_line_that_answers_it(start: Start) -> None:
    server, connections = start(b"HD t-1 l3\r\n")
    assert connections.raw_command(b"mg key t l") == b"HD t-1 l3"
    assert server.commands == [b"mg key t l\r\n"]


def test_noreply_waits_for_no_answer(start: Start) -> None:
    server, connections = start(SILENCE)
    connections.set_noreply(KEY, b"data", 60, LONG)
    assert wait_until(lambda: server.commands, LONG)
    assert server.commands == [b"set %b 0 60 4 noreply\r\ndata\r\n" % KEY]


@pytest.mark.parametrize(
    "call", [("stats", "settings"), ("raw_command", b"mg k t"), ("set_noreply", KEY, b"", 3, LONG)]
)
def test_every_command_tries_the_next_address(start: Start, monkeypatch: Any, call: Any) -> None:
    # As "localhost", which is ::1 first.
    server, _ = start(b"END\r\n")
    port = int(server.address.rpartition(":")[2])
    closed = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
    listening = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [closed, listening])
    with contextlib.closing(Connections(f"localhost:{port}", LONG)) as connections:
        getattr(connections, call[0])(*call[1:])
    assert wait_until(lambda: server.commands, LONG)


# What ends an exchange from outside


class Interrupted(socket.socket):
    """A connection on which something else happens while an answer is waited for."""

    happens: BaseException = KeyboardInterrupt()

    def recv(self, *args: Any) -> bytes:
        """Nothing is received."""
        raise self.happens


@pytest.mark.parametrize("happens", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
@READ_AND_WRITE
def test_interrupted_exchange_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch, happens: BaseException, call: Any
) -> None:
    # Its answer is yet to come.
    ours, theirs = socket.socketpair()
    interrupted = Interrupted(fileno=ours.detach())
    interrupted.happens = happens
    monkeypatch.setattr(memcached_connection, "connect", lambda *args: interrupted)
    connections = Connections("127.0.0.1:1", LONG)
    with theirs:
        with pytest.raises(type(happens)):
            getattr(connections, call[0])(*call[1:])
        assert interrupted.fileno() == -1
        assert theirs.recv(1000).startswith(call[0].encode())
        assert theirs.recv(1000) == b""
    assert len(connections) == 0


# How many are kept


def test_threads_at_once_have_connections_of_their_own(start: Start) -> None:
    count = MOST_IDLE + 3
    server, connections = start(*[b"END\r\n"] * 2 * count)
    ask_at_once(connections, server, count)
    assert all(server.was_left() for _ in range(3))
    assert len(connections) == MOST_IDLE
    assert connections.get(KEY) is None
    assert server.connections == count


# Idle connections


def test_connection_that_was_used_last_is_used_first(start: Start, clock: SimpleNamespace) -> None:
    server, connections = start(*[b"END\r\n"] * 4)
    ask_at_once(connections, server, 2)
    for _ in range(2):  # the other one is too old the second time
        clock.now += LONGEST_IDLE * 0.6
        connections.get(KEY)
    assert server.connections == 2


@pytest.mark.parametrize("excess", [0.0, 0.1])
def test_connection_that_was_idle_for_too_long_is_closed_and_not_used(
    start: Start, clock: SimpleNamespace, excess: float
) -> None:
    server, connections = start(*[b"END\r\n"] * 4)
    ask_at_once(connections, server, 3)
    clock.now += LONGEST_IDLE + excess
    connections.get(KEY)
    assert server.connections == (4 if excess else 3)
    assert len(connections) == (1 if excess else 3)  # the others were idle for as long
    assert connections.lost == bool(excess)
    assert not excess or all(server.was_left() for _ in range(3))


def test_cas_is_not_sent_if_the_connection_was_idle_for_too_long(
    start: Start, clock: SimpleNamespace
) -> None:
    server, connections = start(b"END\r\n")
    connections.get(KEY)
    clock.now += LONGEST_IDLE + 0.1
    with pytest.raises(ConnectionError):
        connections.cas(KEY, b"d", b"17", 0)
    assert server.connections == 1


def test_old_connections_count_as_lost_before_one_is_used(
    start: Start, clock: SimpleNamespace
) -> None:
    # A token is paired with the count from before, which must be that of its connection.
    _, connections = start(*[b"END\r\n"] * 2)
    connections.get(KEY)
    clock.now += LONGEST_IDLE + 0.1
    before = [connections.lost, connections.lost]
    connections.get(KEY)
    assert [*before, connections.lost] == [1, 1, 1]


def test_closing_is_no_loss(start: Start) -> None:
    server, connections = start(b"END\r\n")
    connections.get(KEY)
    connections.close()
    assert server.was_left()
    assert (len(connections), connections.lost) == (0, 0)


def test_age_limit_is_what_is_documented() -> None:
    assert LONGEST_IDLE == 10.0
