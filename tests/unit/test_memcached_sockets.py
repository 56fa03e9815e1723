"""Sockets of memcached: which address is connected to, and how a connection waits."""

from __future__ import annotations

import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.processes import HOST, free_port

from webapp2_sessions import memcached_sockets
from webapp2_sessions.memcached_sockets import connected

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
    with connected(server, LONG, None) as connection:
        return connection.gettimeout()


@ON_LINUX
def test_kernel_waits(listener: socket.socket) -> None:
    """For a short time in each direction."""
    with connected(listener.getsockname(), LONG, None) as connection:
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
    with connected(listener.getsockname(), LONG, None) as connection, closing(listener):
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"answer")
            answer = memcached_sockets.send_and_wait(connection, b"rest", 100, LONG)
            assert (answer, peer.recv(100)) == (b"answer", b"rest")
        assert connection.gettimeout() is None


def test_small_packets_are_not_held_back(listener: socket.socket) -> None:
    """A command goes out when it is sent."""
    with connected(listener.getsockname(), LONG, None) as connection:
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


# Names with several addresses


def name_of(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    """Let each name have these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)


def test_first_address_that_can_be_reached(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As "localhost", whose first address is often one at which nobody listens."""
    name_of(monkeypatch, (HOST, free_port()), listener.getsockname())
    with connected(("name", 1), LONG, None) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_no_address_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that of the last."""
    name_of(monkeypatch, (HOST, free_port()), (HOST, free_port()))
    with pytest.raises(ConnectionRefusedError):
        connected(("name", 1), LONG, None)


def test_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error like another."""
    name_of(monkeypatch)
    with pytest.raises(OSError, match="no address"):
        connected(("name", 1), LONG, None)


def test_addresses_share_the_time(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many silent ones do not take longer than one."""
    name_of(monkeypatch, (HOST, free_port()), listener.getsockname())
    times = iter([0.0, LONG])
    clock = type("Clock", (), {"monotonic": lambda: next(times)})
    monkeypatch.setattr(memcached_sockets, "time", clock)
    with pytest.raises(ConnectionRefusedError):
        connected(("name", 1), LONG, None)
