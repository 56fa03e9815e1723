"""Kept connections: which is used next, for how long, and what a loss is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from webapp2_sessions.sessions_memcache.pool import LONGEST_IDLE, MOST_IDLE, Pool


class MovedPool(Pool):
    """A pool by a clock that is moved."""

    now = 1000.0

    def _now(self) -> float:
        return self.now


@pytest.fixture
def connect() -> Iterator[Callable[[], socket.socket]]:
    """Make sockets, closed after the test."""
    made: list[socket.socket] = []

    def connect() -> socket.socket:
        made.append(socket.socket())
        return made[-1]

    yield connect
    for each in made:
        each.close()


Connect = Callable[[], socket.socket]


def is_open(connection: socket.socket) -> bool:
    """Whether a connection was not closed."""
    return connection.fileno() != -1


def test_empty_pool_has_none() -> None:
    """A new connection is to be made."""
    assert Pool().take() is None


def test_last_one_is_taken_first(connect: Connect) -> None:
    """It is the least likely to be forgotten."""
    pool = MovedPool()
    first, second = connect(), connect()
    pool.put(first)
    pool.put(second)
    assert [pool.take(), pool.take(), pool.take()] == [second, first, None]
    assert pool.lost == 0


@pytest.mark.parametrize("excess", [0.0, 0.1])
def test_age_limit(connect: Connect, excess: float) -> None:
    """What is idle for longer is closed and not used."""
    pool = MovedPool()
    connection = connect()
    pool.put(connection)
    pool.now += LONGEST_IDLE + excess
    assert (pool.take() is connection) == (not excess)
    assert is_open(connection) == (not excess)


def test_those_below_are_older(connect: Connect) -> None:
    """They are closed with it."""
    pool = MovedPool()
    connections = [connect() for _ in range(3)]
    for connection in connections:
        pool.put(connection)
        pool.now += 1.0
    pool.now += LONGEST_IDLE
    assert pool.take() is None
    assert not any(map(is_open, connections))
    assert len(pool) == 0


def test_giving_up_counts_as_a_loss(connect: Connect) -> None:
    """No connection is left that would have broken at a restart of the server."""
    pool = MovedPool()
    pool.put(connect())
    pool.now += LONGEST_IDLE + 0.1
    assert pool.lost == 1
    assert pool.lost == 1
    assert pool.take() is None
    assert pool.lost == 1


def test_loss_is_known_before_the_next_exchange(connect: Connect) -> None:
    """A token is paired with the count from before, which must be that of its connection."""
    pool = MovedPool()
    pool.put(connect())
    pool.now += LONGEST_IDLE + 0.1
    before = pool.lost
    assert pool.take() is None
    assert pool.lost == before


def test_drop(connect: Connect) -> None:
    """All that are idle are closed, and those that are in use may come back."""
    pool = MovedPool()
    connections = [connect() for _ in range(3)]
    for connection in connections:
        pool.put(connection)
    used = pool.take()
    assert used is connections[2]
    pool.drop()
    assert [is_open(each) for each in connections] == [False, False, True]
    assert pool.lost == 1
    pool.put(used)
    assert pool.take() is used


def test_closing_is_no_loss(connect: Connect) -> None:
    """The application does it."""
    pool = MovedPool()
    connection = connect()
    pool.put(connection)
    pool.close()
    assert not is_open(connection)
    assert pool.lost == 0


def test_no_more_are_kept(connect: Connect) -> None:
    """What comes back to a full pool is closed."""
    pool = MovedPool()
    for _ in range(MOST_IDLE):
        pool.put(connect())
    last = connect()
    pool.put(last)
    assert not is_open(last)
    assert len(pool) == MOST_IDLE


def test_age_limit_is_what_is_documented() -> None:
    """The documentation says 10 seconds."""
    assert LONGEST_IDLE == 10.0
