"""Connections of our own beside pymemcache's client, on a real memcached."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError
from support.servers import Memcached, wait_until

from webapp2_sessions.sessions_memcache.connection import Connections

KEY = b"connections:0123456789abcdefghijkl"

#: Seconds that no test takes.
LONG = 30.0


@pytest.fixture
def connections(memcached: Memcached) -> Iterator[Connections]:
    """Connections to it, where nothing is stored yet."""
    memcached.flush()
    with contextlib.closing(Connections(memcached.address, LONG)) as connections:
        yield connections


@pytest.fixture
def client(memcached: Memcached) -> Iterator[Client]:
    """pymemcache's client of the same server."""
    with contextlib.closing(Client(memcached.address, default_noreply=False)) as client:
        yield client


STEPS: list[tuple[Any, ...]] = [
    ("get",),
    ("gets",),
    ("replace", b"one", 0),
    ("cas", b"one", b"1", 0),
    ("delete",),
    ("touch", 60),
    ("add", b"one", 60),
    ("add", b"two", 60),
    ("get",),
    ("replace", b"three", 60),
    ("get",),
    ("cas", b"four", b"1", 60),
    ("touch", 60),
    ("set", b"", 60),
    ("get",),
    ("delete",),
    ("get",),
    ("set", b"gone at once", -1),
    ("get",),
]


def test_answers_are_pymemcaches(connections: Connections, client: Client) -> None:
    """Each step of a record's life has the result that it has there."""

    def results(asked: Any) -> list[object]:
        return [getattr(asked, step[0])(KEY, *step[1:]) for step in STEPS]

    assert results(connections) == results(client)


def test_token(connections: Connections, client: Client) -> None:
    """It holds until somebody else writes."""
    connections.set(KEY, b"one", 60)
    data, token = connections.gets(KEY)
    assert (data, token) == client.gets(KEY)
    assert token is not None
    assert connections.cas(KEY, b"two", token, 60) is True
    assert connections.cas(KEY, b"three", token, 60) is False
    assert client.get(KEY) == b"two"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.sampled_from([b"END\r\n", b"\r\nEND\r\n", b"\r\n"]))
def test_any_value(connections: Connections, data: bytes) -> None:
    """What is stored is found."""
    assert connections.set(KEY, data, 60) is True
    assert connections.get(KEY) == data
    assert connections.gets(KEY)[0] == data


@pytest.mark.parametrize("size", [*range(4030, 4100, 7), 65536, 1_000_000])
def test_large_value(connections: Connections, size: int) -> None:
    """One that comes in several pieces too."""
    data = bytes(range(251)) * (size // 251 + 1)
    assert connections.set(KEY, data[:size], 60) is True
    assert connections.get(KEY) == data[:size]
    assert connections.gets(KEY)[0] == data[:size]


def test_value_that_is_too_large(connections: Connections) -> None:
    """The server's words are pymemcache's error, and the next call works."""
    with pytest.raises(MemcacheServerError, match="object too large for cache"):
        connections.set(KEY, bytes(3_000_000), 60)
    assert connections.get(KEY) is None


def test_statistics(connections: Connections, client: Client) -> None:
    """They are pymemcache's, as far as they are needed."""
    ours, theirs = connections.stats("settings"), client.stats("settings")
    assert ours.keys() == theirs.keys()
    assert ours[b"item_size_max"] == theirs[b"item_size_max"] == 1024 * 1024


def test_value_without_an_answer(connections: Connections) -> None:
    """It arrives, although nobody waits for an answer."""
    connections.set_noreply(KEY, b"told", 60, LONG)
    assert wait_until(lambda: connections.get(KEY) == b"told", LONG)


def test_threads(connections: Connections) -> None:
    """Each of them finds what it has stored."""
    wrong: list[object] = []

    def work(number: int) -> None:
        key = b"%b:%d" % (KEY, number)
        for turn in range(300):
            data = b"%d of %d" % (turn, number) * (1 + turn % 50 * 10)
            connections.set(key, data, 60)
            if (found := connections.get(key)) != data:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)
    assert 1 <= len(connections) <= 8


def has_ipv6() -> bool:
    """Whether a server can listen at ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")
def test_ipv6(launch: Any) -> None:
    """An address in brackets."""

    class Ipv6Memcached(Memcached):
        def command(self, folder: Any) -> list[str]:
            return [*super().command(folder), "-l", "::1"]

    server = launch(Ipv6Memcached())
    with contextlib.closing(Connections(f"[::1]:{server.port}", LONG)) as connections:
        assert connections.set(KEY, b"data", 60) is True
        assert connections.get(KEY) == b"data"
