"""Connecting by a name: the order of its addresses, and how long they are waited for."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from support.processes import HOST, free_port, wait_until

from webapp2_sessions.stored import addresses as memcached_addresses
from webapp2_sessions.stored.addresses import Addresses, connect

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
    names = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.may_answer.set()


@pytest.fixture
def addresses(names: NameServer) -> Addresses:
    """The addresses of a name that the name server knows."""
    names.answer = ["10.0.0.1"]
    return Addresses("memcached", 11211)


def found(addresses: Addresses, seconds: float = LONG) -> list[str]:
    """The addresses in their order."""
    return [place[0] for _, place in addresses.find(seconds)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["10.0.0.10", "10.0.0.9"], ["10.0.0.9", "10.0.0.10"]),
        (["10.0.0.9", "10.0.0.10"], ["10.0.0.9", "10.0.0.10"]),
        (["::1", "127.0.0.1"], ["::1", "127.0.0.1"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (
            ["fe80::b", "10.0.0.2", "fe80::a", "10.0.0.1"],
            ["fe80::a", "fe80::b", "10.0.0.1", "10.0.0.2"],
        ),
        (["10.0.0.1", "10.0.0.1"], ["10.0.0.1"]),
    ],
)
def test_system_prefers_a_family_and_within_it_the_number_decides(
    names: NameServer, answer: list[str], expected: list[str]
) -> None:
    names.answer = answer
    assert found(Addresses("memcached", 11211)) == expected


@pytest.mark.parametrize(
    ("answer", "warnings"),
    [
        (["10.0.0.2", "10.0.0.1", "10.0.0.3"], ["'memcached:11211' has 3 addresses"]),
        (["::1", "127.0.0.1"], []),  # one of each family, as localhost has
    ],
)
def test_name_of_several_servers_is_warned_of_once(
    names: NameServer, answer: Any, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    names.answer = answer
    addresses = Addresses("memcached", 11211)
    for _ in range(3):
        found(addresses)
    assert re.findall(r"WARNING .*('.*' has \d addresses)", caplog.text) == warnings
    assert len(caplog.records) == len(warnings)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_address_needs_no_lookup_in_a_thread(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread"))
    assert len(Addresses(host, 11211).find(0.0)) == 1


def test_silent_name_server_is_given_up_in_time(names: NameServer, addresses: Addresses) -> None:
    names.may_answer.clear()
    for _ in range(5):
        with pytest.raises(socket.gaierror) as caught:
            addresses.find(SHORT)
        assert caught.value.errno == socket.EAI_AGAIN
    assert names.asked == 1


def test_late_answer_is_the_next_callers(names: NameServer, addresses: Addresses) -> None:
    names.may_answer.clear()
    with pytest.raises(socket.gaierror):
        addresses.find(SHORT)
    threading.Timer(SHORT, names.may_answer.set).start()
    assert found(addresses) == ["10.0.0.1"]
    names.answer = ["10.0.0.2"]
    assert found(addresses) == ["10.0.0.2"]


def test_former_addresses_count_while_the_name_server_is_silent(
    names: NameServer, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One caller waits for new ones, and leaves time for connecting; the others do not wait.
    found(addresses)
    names.may_answer.clear()
    waits: list[float] = []
    exception = Future.exception

    def wait(lookup: Future[Any], timeout: float | None = None) -> BaseException | None:
        if timeout is not None:
            waits.append(timeout)
        return exception(lookup, timeout)

    monkeypatch.setattr(Future, "exception", wait)
    assert [found(addresses, 2 * SHORT) for _ in range(3)] == [["10.0.0.1"]] * 3
    assert waits == [SHORT, 0.0, 0.0]


def test_former_addresses_count_during_a_failure(names: NameServer, addresses: Addresses) -> None:
    found(addresses)
    names.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert found(addresses) == ["10.0.0.1"]


def test_addresses_of_a_name_that_is_gone_are_void(names: NameServer, addresses: Addresses) -> None:
    # They may be somebody else's by now.
    found(addresses)
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(socket.gaierror, match="not known"):
        found(addresses)


@pytest.mark.parametrize("answer", [[], UnicodeError("label too long"), OSError("broken")])
def test_whatever_is_wrong_with_a_name_is_an_os_error(names: NameServer, answer: Any) -> None:
    names.answer = answer
    with pytest.raises(socket.gaierror):
        found(Addresses("x" * 64, 11211))


def test_caller_looks_up_where_no_thread_can_be_started(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("can't create new thread at interpreter shutdown")
    monkeypatch.setattr(threading.Thread, "start", mock.Mock(side_effect=error))
    assert found(addresses) == ["10.0.0.1"]


def test_lookup_does_not_keep_the_interpreter() -> None:
    program = f"""
import socket, threading
socket.getaddrinfo = lambda *args, **options: threading.Event().wait()
from {memcached_addresses.__name__} import Addresses, connect
try:
    Addresses("memcached", 11211).find({SHORT})
except socket.gaierror:
    print("given up")
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=True)
    assert (ended.stdout, ended.stderr) == ("given up\n", "")


def test_concurrent_callers_share_a_lookup(names: NameServer, addresses: Addresses) -> None:
    names.may_answer.clear()
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(found, addresses) for _ in range(8)]
        assert wait_until(lambda: names.asked == 1, LONG)
        names.may_answer.set()
        assert [future.result(LONG) for future in futures] == [["10.0.0.1"]] * 8


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        yield server


def test_connection_has_the_timeout_sends_at_once_and_is_probed(listener: socket.socket) -> None:
    with connect(Addresses(*listener.getsockname()), LONG) as connection:
        assert connection.gettimeout() == LONG  # whatever connecting has left of it
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_server_at_a_path_needs_no_tls() -> None:
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


def test_connection_is_to_the_first_address_that_can_be_reached(listener: socket.socket) -> None:
    host = Host([(HOST, free_port()), listener.getsockname()])
    with connect(host, LONG) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_error_is_that_of_the_last_address() -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(Host([(HOST, free_port()), (HOST, free_port())]), LONG)


@pytest.mark.parametrize(
    ("times", "tried", "kind"),
    [([0.0, 0.0, LONG], 1, ConnectionRefusedError), ([0.0, LONG], 0, TimeoutError)],
    ids=["while connecting", "while finding them"],
)
def test_addresses_and_finding_them_share_the_time(
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    times: list[float],
    tried: int,
    kind: type[OSError],
) -> None:
    clock = SimpleNamespace(monotonic=iter(times).__next__)
    monkeypatch.setattr(memcached_addresses, "time", clock)
    with pytest.raises(kind):
        connect(Host([(HOST, free_port())] * tried + [listener.getsockname()]), LONG)
