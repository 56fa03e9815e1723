"""One memcached server: how its failures appear, and how long one that is silent is waited for."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from webapp2_sessions import memcached_servers
from webapp2_sessions.errors import BackendError, BackendUnavailable
from webapp2_sessions.memcached_servers import Node, OwnClient, Server

KEY = b"session:0123456789abcdefghijkl"


class FakeClient:
    """A client of memcached whose answers are given; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []

    def answer(self, *call: Any) -> Any:
        """The next answer; the last one again and again."""
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __getattr__(self, operation: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.answer(operation, *args, *([kwargs] if kwargs else []))

        return call


class FakeServer(Server):
    """A Server that talks to a fake, by a clock that is moved."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("fake:1", 0.5)
        self.client = FakeClient(*answers)
        self.now = 1000.0

    def _connect(self) -> Any:
        return self.client

    def _now(self) -> float:
        return self.now


FAILURES = [
    (ConnectionRefusedError(111, "refused"), BackendUnavailable, "refused the connection"),
    (TimeoutError("timed out"), BackendUnavailable, r"did not answer within 0\.5 s"),
    (OSError(113, "no route"), BackendUnavailable, r"cannot be reached \(OSError\)"),
    (socket.gaierror(-2, "unknown"), BackendUnavailable, r"the server's name was not found"),
    (MemcacheServerError(b"out of memory"), BackendError, r"the server refused \(out of memory\)"),
    (MemcacheClientError(b"bad"), BackendError, r"refused \(MemcacheClientError\)"),
    (MemcacheUnknownError(b"HTTP/1.1"), BackendError, r"refused \(MemcacheUnknownError\)"),
]


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_a_backend_error(
    failure: Exception, kind: type[BackendError], text: str
) -> None:
    """Whatever goes wrong is a BackendError that tells what, with the cause attached."""
    with pytest.raises(BackendError, match=text) as caught:
        FakeServer(failure).call("get", KEY)
    assert (type(caught.value), caught.value.__cause__) == (kind, failure)


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_not_repeated(failure: Exception, kind: type[BackendError], text: str) -> None:
    """A server that refuses or is silent is asked once, so that a request waits once."""
    failing = FakeServer(failure)
    with pytest.raises(kind, match=text):
        failing.call("get", KEY)
    assert len(failing.client.calls) == 1


def test_error_names_backend_and_address() -> None:
    """The error tells which server of which backend it is, as text and as attributes."""
    with pytest.raises(BackendUnavailable) as caught:
        FakeServer(TimeoutError()).call("get", KEY)
    error = caught.value
    assert (error.backend, error.address) == ("memcache", "fake:1")
    assert str(error).startswith("memcache backend at fake:1: ")


CLOSED = [MemcacheUnexpectedCloseError(), BrokenPipeError(), ConnectionResetError()]


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_closed_connections_are_replaced(failure: Exception) -> None:
    """Connections that a restart has closed are left behind without an error."""
    assert FakeServer(*[failure] * 20, b"value").call("get", KEY) == b"value"


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_compare_and_set_is_not_repeated(failure: Exception) -> None:
    """After a restart the token may fit another value, so that it counts as changed."""
    restarted = FakeServer(failure, True)
    assert restarted.call("cas", KEY, b"value", b"1", 60) is False
    assert len(restarted.client.calls) == 1


@pytest.mark.parametrize("failure", [*CLOSED, ConnectionRefusedError()], ids=repr)
def test_lost_connections_are_counted(failure: Exception) -> None:
    """Tokens from before are not used any more."""
    server = FakeServer(failure, b"value", b"value")
    for _ in range(2):
        try:
            server.call("get", KEY)
        except BackendUnavailable:
            assert isinstance(failure, ConnectionRefusedError)
    assert server.lost == 1


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_server_that_closes_every_connection(failure: Exception) -> None:
    """A server that hangs up each time is given up."""
    with pytest.raises(BackendUnavailable, match="closes every connection"):
        FakeServer(failure).call("get", KEY)


def test_program_error_is_no_backend_error() -> None:
    """An error that is no failure of the server passes as it is."""
    with pytest.raises(ZeroDivisionError):
        FakeServer(ZeroDivisionError()).call("get", KEY)


# A server that is silent


def calls_until(server: FakeServer, seconds: float, step: float = 0.125) -> int:
    """How many calls reach the server when it is called again and again."""
    before = len(server.client.calls)
    end = server.now + seconds
    while server.now < end:
        with pytest.raises(BackendUnavailable):
            server.call("get", KEY)
        server.now += step
    return len(server.client.calls) - before


@pytest.mark.parametrize("failure", [TimeoutError(), socket.gaierror()], ids=repr)
def test_silent_server_is_asked_once_a_second(failure: Exception) -> None:
    """The other calls fail at once."""
    assert calls_until(FakeServer(failure), 5.0) == 5


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError(), OSError(), MemcacheServerError(b"no")], ids=repr
)
def test_server_that_answers_is_asked_each_time(failure: Exception) -> None:
    """What fails at once costs no time, and may work at the next call."""
    server = FakeServer(failure)
    for _ in range(5):
        with pytest.raises(BackendError):
            server.call("get", KEY)
    assert len(server.client.calls) == 5


def test_error_of_a_call_that_was_not_made() -> None:
    """It tells that the server was silent, and when it is tried again."""
    server = FakeServer(TimeoutError())
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    with pytest.raises(BackendUnavailable, match=r"did not answer, and is not asked again for 1 s"):
        server.call("get", KEY)


def test_server_that_comes_back_is_used() -> None:
    """After a second it is tried, and all calls go through again."""
    server = FakeServer(TimeoutError(), b"value")
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    assert [server.call("get", KEY) for _ in range(3)] == [b"value"] * 3


@pytest.mark.parametrize(
    "answer", [ConnectionRefusedError(), MemcacheServerError(b"no"), ConnectionResetError()]
)
def test_server_that_fails_in_another_way_is_not_silent(answer: Exception) -> None:
    """Whatever it answers, it is asked again at once."""
    server = FakeServer(TimeoutError(), answer, b"value")
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    if not isinstance(answer, ConnectionResetError):
        with pytest.raises(BackendError):
            server.call("get", KEY)
    assert server.call("get", KEY) == b"value"


def test_one_caller_at_a_time_tries_a_silent_server() -> None:
    """While it waits the others go on without."""
    server = FakeServer(TimeoutError())
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    others: list[str] = []

    def meanwhile(*call: Any) -> Any:
        server.now += 0.5
        with pytest.raises(BackendUnavailable) as caught:
            server.call("get", KEY)
        others.append(str(caught.value))
        raise TimeoutError()

    server.client.answer = meanwhile  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="within"):
        server.call("get", KEY)
    assert ["not asked again" in text for text in others] == [True]


# A client of the application's own


class Unavailable(FakeClient):
    """A client that has lost its servers, as HashClient has after failures."""

    def gets(self, key: bytes) -> None:
        """Nothing instead of two things."""


def node_of(client: Any) -> Node:
    """The node of a client."""
    return OwnClient(client)


def test_own_client_is_called() -> None:
    """Arguments and results pass through."""
    client = FakeClient(b"value")
    assert node_of(client).call("get", KEY) == b"value"
    assert client.calls == [("get", KEY)]


@pytest.mark.parametrize("operation", ["add", "delete", "replace", "set", "touch"])
def test_own_client_waits_for_the_answer(operation: str) -> None:
    """pymemcache would say that all is well before the server has answered."""
    client = FakeClient(True)
    node_of(client).call(operation, KEY)
    assert client.calls == [(operation, KEY, {"noreply": False})]


def test_own_client_is_made_once() -> None:
    """A function that makes one is called on first use only."""
    made: list[FakeClient] = []

    def make() -> FakeClient:
        made.append(FakeClient(b"value"))
        return made[-1]

    node = node_of(make)
    assert made == []
    assert [node.call("get", KEY) for _ in range(3)] == [b"value"] * 3
    assert len(made) == 1


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ConnectionRefusedError(), r"the client failed \(ConnectionRefusedError\)"),
        (TimeoutError(), r"the client failed \(TimeoutError\)"),
        (RuntimeError("Too many objects"), r"the client failed \(RuntimeError\)"),
        (KeyError(b"key"), r"the client failed \(KeyError\)"),
        (MemcacheUnexpectedCloseError(), "closed the connection"),
        (MemcacheServerError(b"out of memory"), r"refused \(out of memory\)"),
    ],
    ids=repr,
)
def test_failure_of_an_own_client(failure: Exception, text: str) -> None:
    """It is ours, with the cause, and names the setting."""
    with pytest.raises(BackendError, match=text) as caught:
        node_of(FakeClient(failure)).call("get", KEY)
    assert caught.value.address == "config['memcache']['client']"
    assert caught.value.__cause__ is failure


def test_own_client_without_a_server() -> None:
    """HashClient returns nothing at all then, which must not pass for an empty place."""
    with pytest.raises(BackendUnavailable, match="no server for the key"):
        node_of(Unavailable(None)).call("gets", KEY)


@pytest.mark.parametrize(
    "client",
    [FakeClient({b"item_size_max": 4096}), FakeClient(TypeError()), FakeClient(AttributeError())],
)
def test_item_size_of_an_own_client(client: FakeClient) -> None:
    """It is asked; a client that cannot tell has memcached's default."""
    expected = 4096 if isinstance(client.answers[0], dict) else 1024 * 1024
    assert node_of(client).item_size() == expected


def test_own_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other way to its servers."""
    client = FakeClient(True)
    node_of(client).tell(KEY, b"", 3)
    assert client.calls == [("set", KEY, b"", 3, {"noreply": False})]


def test_pause_is_what_is_documented() -> None:
    """The documentation says once a second."""
    assert memcached_servers._PAUSE == 1.0
