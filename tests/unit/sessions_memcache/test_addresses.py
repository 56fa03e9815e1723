"""Connecting by a name: the order of its addresses, and how long they are waited for."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from support.processes import HOST, free_port, wait_until

from webapp2_sessions.sessions_memcache import addresses as memcached_addresses
from webapp2_sessions.sessions_memcache.addresses import Addresses, connect

#: Seconds that no test takes.
LONG = 30.0

#: What is too short for an answer that does not come.
SHORT = 0.05

V4, V6 = socket.AF_INET, socket.AF_INET6


def entry(address: str) -> tuple[Any, ...]:
    """What the system's lookup tells of an address."""
    if ":" in address:
        return V6, socket.SOCK_STREAM, 6, "", (address, 11211, 0, 0)
    return V4, socket.SOCK_STREAM, 6, "", (address, 11211)


class NameServer:
    """Answers lookups with what it is told, when it may."""

    def __init__(self) -> None:
        self.answer: list[str] | Exception = []
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        assert self.may_answer.wait(LONG)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [entry(address) for address in self.answer]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """The name server of the system."""
    names = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.may_answer.set()


def found(addresses: Addresses, seconds: float = LONG) -> list[str]:
    """The addresses in their order."""
    return [place[0] for _, place in addresses.find(seconds)]


# Their order


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["10.0.0.10", "10.0.0.9"], ["10.0.0.9", "10.0.0.10"]),
        (["10.0.0.9", "10.0.0.10"], ["10.0.0.9", "10.0.0.10"]),
        (["::1", "127.0.0.1"], ["::1", "127.0.0.1"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (["fe80::b", "10.0.0.2", "fe80::a", "10.0.0.1"], ["fe80::a", "fe80::b", "10.0.0.1"]),
        (["10.0.0.1", "10.0.0.1"], ["10.0.0.1"]),
    ],
)
def test_order(names: NameServer, answer: list[str], expected: list[str]) -> None:
    """The system prefers a family, and within it the number decides, however they are rotated."""
    names.answer = answer
    assert found(Addresses("memcached", 11211))[: len(expected)] == expected


def test_several_servers_behind_a_name(names: NameServer, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names it, once."""
    names.answer = ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    addresses = Addresses("memcached.default.svc", 11211)
    for _ in range(3):
        found(addresses)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "'memcached.default.svc:11211' has 3 addresses" in record.getMessage()


def test_name_of_one_server_is_no_reason_for_a_warning(
    names: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if it has an address of each family, as localhost has."""
    names.answer = ["::1", "127.0.0.1"]
    found(Addresses("localhost", 11211))
    assert caplog.records == []


# Waiting for them


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_address_needs_no_lookup(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Nothing is waited for, and no thread is started."""
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread"))
    assert len(Addresses(host, 11211).find(0.0)) == 1


def test_silent_name_server(names: NameServer) -> None:
    """It is given up in time."""
    names.may_answer.clear()
    with pytest.raises(socket.gaierror) as caught:
        Addresses("memcached", 11211).find(SHORT)
    assert caught.value.errno == socket.EAI_AGAIN


def test_one_lookup_at_a_time(names: NameServer) -> None:
    """However many callers wait for a silent name server."""
    names.may_answer.clear()
    addresses = Addresses("memcached", 11211)
    for _ in range(5):
        with pytest.raises(socket.gaierror):
            addresses.find(SHORT)
    assert names.asked == 1


def test_late_answer_is_used(names: NameServer) -> None:
    """The next caller has it, and the one after asks again."""
    names.may_answer.clear()
    names.answer = ["10.0.0.1"]
    addresses = Addresses("memcached", 11211)
    with pytest.raises(socket.gaierror):
        addresses.find(SHORT)
    threading.Timer(SHORT, names.may_answer.set).start()
    assert found(addresses) == ["10.0.0.1"]
    names.answer = ["10.0.0.2"]
    assert found(addresses) == ["10.0.0.2"]


def test_former_addresses_count_while_the_name_server_is_silent(names: NameServer) -> None:
    """One caller waits for new ones, and leaves time for connecting; the others do not wait."""
    names.answer = ["10.0.0.1"]
    addresses = Addresses("memcached", 11211)
    assert found(addresses) == ["10.0.0.1"]
    names.may_answer.clear()
    waits: list[float] = []
    event_wait = threading.Event.wait

    def wait(event: threading.Event, timeout: float | None = None) -> bool:
        if event is not names.may_answer and timeout is not None:
            waits.append(timeout)
        return event_wait(event, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Event, "wait", wait)
        assert [found(addresses, 2 * SHORT) for _ in range(3)] == [["10.0.0.1"]] * 3
    assert waits == [SHORT, 0.0, 0.0]


def test_former_addresses_count_while_the_name_server_fails(names: NameServer) -> None:
    """It may be well again soon."""
    names.answer = ["10.0.0.1"]
    addresses = Addresses("memcached", 11211)
    found(addresses)
    names.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert found(addresses) == ["10.0.0.1"]


def test_name_that_is_gone(names: NameServer) -> None:
    """Its addresses may be somebody else's by now."""
    names.answer = ["10.0.0.1"]
    addresses = Addresses("memcached", 11211)
    found(addresses)
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(socket.gaierror, match="not known"):
        found(addresses)


@pytest.mark.parametrize("answer", [[], UnicodeError("label too long"), OSError("broken")])
def test_name_without_an_address(names: NameServer, answer: Any) -> None:
    """Whatever is wrong is an error of the system's kind."""
    names.answer = answer
    with pytest.raises(socket.gaierror):
        found(Addresses("x" * 64, 11211))


def test_no_thread_can_be_started(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter: the lookup is made by the caller."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    names.answer = ["10.0.0.1"]
    assert found(Addresses("memcached", 11211)) == ["10.0.0.1"]


def test_lookup_does_not_keep_the_interpreter() -> None:
    """A process ends although its name server is silent."""
    program = f"""
import socket, threading
socket.getaddrinfo = lambda *args, **options: threading.Event().wait()
from {memcached_addresses.__name__} import Addresses, connect
try:
    Addresses("memcached", 11211).find({SHORT})
except socket.gaierror:
    print("given up")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert (ended.stdout, ended.stderr) == ("given up\n", "")


def test_concurrent_callers_share_a_lookup(names: NameServer) -> None:
    """Threads that connect at once ask once, and all have the answer."""
    names.may_answer.clear()
    names.answer = ["10.0.0.1"]
    addresses = Addresses("memcached", 11211)
    results: list[list[str]] = []
    act: Callable[[], None] = lambda: results.append(found(addresses))  # noqa: E731
    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: names.asked == 1, LONG)
    names.may_answer.set()
    for thread in threads:
        thread.join(LONG)
    assert results == [["10.0.0.1"]] * 8


# Connecting


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Something to connect to."""
    with socket.create_server((HOST, 0)) as server:
        yield server


def test_timeout_of_a_connection(listener: socket.socket) -> None:
    """It is the given one, whatever connecting has left of it."""
    with connect(Addresses(*listener.getsockname()), LONG) as connection:
        assert connection.gettimeout() == LONG


def test_small_packets_are_not_held_back(listener: socket.socket) -> None:
    """A command goes out when it is sent."""
    with connect(Addresses(*listener.getsockname()), LONG) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_idle_connection_is_probed(listener: socket.socket) -> None:
    """The system finds out by itself whether the server is still there."""
    with connect(Addresses(*listener.getsockname()), LONG) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_path() -> None:
    """A server of the same machine may listen at a path; TLS has no meaning there."""
    with (
        tempfile.TemporaryDirectory() as folder,  # short: a socket's path has a limit
        socket.socket(socket.AF_UNIX) as server,
    ):
        path = f"{folder}/socket"
        server.bind(path)
        server.listen()
        with connect(path, LONG, ssl.create_default_context()) as connection:
            assert connection.getpeername() == path


@dataclass
class Host:
    """A host whose addresses are given."""

    addresses: list[Any]
    host: str = "name"

    def find(self, _: float) -> list[tuple[int, Any]]:
        return [(socket.AF_INET, address) for address in self.addresses]


def test_first_address_that_can_be_reached(listener: socket.socket) -> None:
    """As "localhost", whose first address is often one at which nobody listens."""
    host = Host([(HOST, free_port()), listener.getsockname()])
    with connect(host, LONG) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_no_address_can_be_reached() -> None:
    """The error is that of the last."""
    with pytest.raises(ConnectionRefusedError):
        connect(Host([(HOST, free_port()), (HOST, free_port())]), LONG)


@pytest.mark.parametrize(
    ("times", "tried", "kind"),
    [([0.0, 0.0, LONG], 1, ConnectionRefusedError), ([0.0, LONG], 0, TimeoutError)],
    ids=["while connecting", "while finding them"],
)
def test_addresses_share_the_time(
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    times: list[float],
    tried: int,
    kind: type[OSError],
) -> None:
    """Many silent ones, and finding them, do not take longer than one."""
    clock = SimpleNamespace(monotonic=iter(times).__next__)
    monkeypatch.setattr(memcached_addresses, "time", clock)
    with pytest.raises(kind):
        connect(Host([(HOST, free_port())] * tried + [listener.getsockname()]), LONG)
