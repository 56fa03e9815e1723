"""Sockets of memcached: which address is connected to, and how a connection waits."""

from __future__ import annotations

import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from support.processes import HOST, free_port, wait_until

from webapp2_sessions.sessions_memcache import sockets as memcached_sockets
from webapp2_sessions.sessions_memcache.addresses import Addresses
from webapp2_sessions.sessions_memcache.sockets import connected, is_closed

#: Seconds that no test takes.
LONG = 30.0

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python waits")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Something to connect to."""
    with socket.create_server((HOST, 0)) as server:
        yield server


def waiting(server: Any) -> float | None:
    """Python's timeout of a new connection; None where the kernel waits."""
    with connected(Addresses(*server), LONG, None) as connection:
        return connection.gettimeout()


@ON_LINUX
def test_kernel_waits(listener: socket.socket) -> None:
    """For a short time in each direction."""
    with connected(Addresses(*listener.getsockname()), LONG, None) as connection:
        assert connection.gettimeout() is None
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert any(connection.getsockopt(socket.SOL_SOCKET, option, 16))
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def test_class_of_sockets_that_was_replaced(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits in gevent's or another way is left to it."""
    monkeypatch.setattr(socket.socket, "__module__", "gevent._socket3")
    assert waiting(listener.getsockname()) == LONG


def test_system_whose_kernel_does_not_wait(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits."""
    monkeypatch.setattr(memcached_sockets, "_KERNEL_WAITS", False)
    assert waiting(listener.getsockname()) == LONG


def test_kernel_that_takes_no_time_to_wait(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that would wait for ever is not left to wait."""
    monkeypatch.setattr(memcached_sockets, "_SHORTLY", bytes(16))
    assert waiting(listener.getsockname()) == LONG


@ON_LINUX
def test_connection_waits_as_before(listener: socket.socket) -> None:
    """After an answer that took longer."""
    with connected(Addresses(*listener.getsockname()), LONG, None) as connection, closing(listener):
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"answer")
            answer = memcached_sockets.send_and_wait(connection, b"rest", 100, LONG)
            assert (answer, peer.recv(100)) == (b"answer", b"rest")
        assert connection.gettimeout() is None


def test_small_packets_are_not_held_back(listener: socket.socket) -> None:
    """A command goes out when it is sent."""
    with connected(Addresses(*listener.getsockname()), LONG, None) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_path() -> None:
    """A server of the same machine may listen at a path; TLS has no meaning there."""
    with (
        tempfile.TemporaryDirectory() as folder,  # short: a socket's path has a limit
        socket.socket(socket.AF_UNIX) as server,
    ):
        path = f"{folder}/socket"
        server.bind(path)
        server.listen()
        with connected(path, LONG, ssl.create_default_context()) as connection:
            assert connection.getpeername() == path


def test_idle_connection_is_probed(listener: socket.socket) -> None:
    """The system finds out by itself whether the server is still there."""
    with connected(Addresses(*listener.getsockname()), LONG, None) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


@pytest.mark.parametrize("kernel_waits", [True, False])
@pytest.mark.parametrize("sent", [None, b"", b"answer to nothing"])
def test_closed_connection(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, kernel_waits: bool, sent: bytes | None
) -> None:
    """It is seen before anything is sent; the connection waits as before if it is good."""
    if not kernel_waits:
        monkeypatch.setattr(memcached_sockets, "_KERNEL_WAITS", False)
    with connected(Addresses(*listener.getsockname()), LONG, None) as connection:
        waits = connection.gettimeout()
        peer, _ = listener.accept()
        with peer:
            if sent:
                peer.sendall(sent)
            elif sent is not None:
                peer.shutdown(socket.SHUT_RDWR)
            if sent is None:
                assert not is_closed(connection)
                assert connection.gettimeout() == waits
            else:
                assert wait_until(lambda: is_closed(connection), LONG)


# Names with several addresses


@dataclass
class Place:
    """A host whose addresses are given."""

    addresses: list[Any]
    host: str = "name"

    def find(self, _: float) -> list[tuple[int, Any]]:
        return [(socket.AF_INET, address) for address in self.addresses]


def test_first_address_that_can_be_reached(listener: socket.socket) -> None:
    """As "localhost", whose first address is often one at which nobody listens."""
    place = Place([(HOST, free_port()), listener.getsockname()])
    with connected(place, LONG, None) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_no_address_can_be_reached() -> None:
    """The error is that of the last."""
    with pytest.raises(ConnectionRefusedError):
        connected(Place([(HOST, free_port()), (HOST, free_port())]), LONG, None)


def test_addresses_share_the_time(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many silent ones, and finding them, do not take longer than one."""
    times = iter([0.0, 0.0, LONG])
    clock = type("Clock", (), {"monotonic": lambda: next(times)})
    monkeypatch.setattr(memcached_sockets, "time", clock)
    with pytest.raises(ConnectionRefusedError):
        connected(Place([(HOST, free_port()), listener.getsockname()]), LONG, None)


def test_time_is_over_when_the_addresses_are_found(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is tried any more."""
    times = iter([0.0, LONG])
    clock = type("Clock", (), {"monotonic": lambda: next(times)})
    monkeypatch.setattr(memcached_sockets, "time", clock)
    with pytest.raises(TimeoutError):
        connected(Place([listener.getsockname()]), LONG, None)
