"""ForkGate keeps forks and requests apart, and neither waiting for long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.forks import A_MOMENT, FORKS, Stop, goes_on, in_child

from webapp2_sessions.sessions_ndb.fork_gate import ForkGate

pytestmark = FORKS

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0

#: Seconds that a gate waits; a test whose gate waits so long fails before.
FOR_EVER = 2 * PATIENCE


class Fork:
    """Forks of a thread, which a test can stop when the gate has been closed for them."""

    def __init__(self, pool: ThreadPoolExecutor, longest_wait: float) -> None:
        self._pool = pool
        self._hold: Callable[[], object] | None = None
        # Hooks of a fork are called in the reverse order, so this one comes after the gate's.
        os.register_at_fork(before=self._before)
        self.gate = ForkGate(longest_wait)

    def _before(self) -> None:
        if self._hold is not None:
            self._hold()

    def start(self, hold: Callable[[], object] | None = None) -> Future[bool]:
        """Fork in another thread; `hold` is called in it, when the gate is closed."""
        self._hold = hold
        return self._pool.submit(in_child, lambda: True)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def fork(pool: ThreadPoolExecutor) -> Iterator[Fork]:
    """A gate that waits for ever, and forks."""
    fork = Fork(pool, FOR_EVER)
    yield fork
    fork.gate.longest_wait = 0.0  # for the forks of other tests


def assert_fork_waits(fork: Fork, stop: Stop, request: Future[bool]) -> None:
    """A fork begins when a request has left the place in which it stands."""
    assert stop.reached.wait(PATIENCE)
    forked = fork.start()
    assert not goes_on(forked)
    stop.left.set()
    assert forked.result(PATIENCE)
    assert request.result(PATIENCE)


def fail() -> None:
    raise KeyboardInterrupt


def test_result_and_error_pass() -> None:
    gate = ForkGate()
    assert gate.run(lambda: 7) == 7
    with pytest.raises(KeyboardInterrupt):
        gate.run(fail)


def test_fork_waits_for_requests_of_other_threads(fork: Fork, pool: ThreadPoolExecutor) -> None:
    stops = Stop(), Stop()
    requests = [pool.submit(fork.gate.run, stop) for stop in stops]
    for stop in stops:
        assert stop.reached.wait(PATIENCE)
    forked = fork.start()
    for stop in stops:
        assert not goes_on(forked)
        stop.left.set()
    assert forked.result(PATIENCE)
    assert [request.result(PATIENCE) for request in requests] == [True, True]


def test_fork_waits_for_no_request_that_is_done_or_failed(fork: Fork) -> None:
    fork.gate.run(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        fork.gate.run(fail)
    assert fork.start().result(PATIENCE)


def test_request_waits_for_a_fork_that_has_begun_and_the_next_fork_for_it(
    fork: Fork, pool: ThreadPoolExecutor
) -> None:
    hold, stop = Stop(), Stop()
    forked = fork.start(hold)
    assert hold.reached.wait(PATIENCE)
    request = pool.submit(fork.gate.run, stop)
    assert not stop.reached.wait(A_MOMENT)
    hold.left.set()
    assert forked.result(PATIENCE)
    assert_fork_waits(fork, stop, request)


def test_request_that_is_entering_lets_a_fork_go_first(
    fork: Fork, pool: ThreadPoolExecutor
) -> None:
    stop = Stop()

    class Threads(set[int]):
        def add(self, thread: int) -> None:
            super().add(thread)
            stop()

    fork.gate._inside = Threads()
    assert_fork_waits(fork, stop, pool.submit(fork.gate.run, lambda: True))


def test_waiting_requests_hold_no_other_fork_up(fork: Fork, pool: ThreadPoolExecutor) -> None:
    hold = Stop()
    forks = [fork.start(hold)]
    assert hold.reached.wait(PATIENCE)
    request = pool.submit(fork.gate.run, lambda: True)
    assert not goes_on(request)
    forks.append(fork.start())
    assert forks[1].result(PATIENCE)
    assert not goes_on(request)
    hold.left.set()
    assert forks[0].result(PATIENCE)
    assert request.result(PATIENCE)


def test_request_within_a_request_waits_for_no_fork(fork: Fork, pool: ThreadPoolExecutor) -> None:
    """The fork waits for the outer one, so that the inner one must not wait for the fork."""
    stop = Stop()

    def outer() -> bool:
        return stop() and fork.gate.run(lambda: True) and not goes_on(forked)

    request = pool.submit(fork.gate.run, outer)
    assert stop.reached.wait(PATIENCE)
    forked = fork.start()
    assert not goes_on(forked)
    stop.left.set()
    assert request.result(PATIENCE)
    assert forked.result(PATIENCE)


def test_fork_does_not_wait_for_its_own_request(fork: Fork, pool: ThreadPoolExecutor) -> None:
    def child() -> bool:
        return fork.gate.run(lambda: True) and in_child(lambda: True)

    assert pool.submit(fork.gate.run, lambda: in_child(child)).result(PATIENCE)
    assert fork.start().result(PATIENCE)


def test_child_waits_for_no_thread_of_its_parent(fork: Fork, pool: ThreadPoolExecutor) -> None:
    stop = Stop()
    fork.gate.longest_wait = 0.0
    request = pool.submit(fork.gate.run, stop)
    assert stop.reached.wait(PATIENCE)

    def child() -> bool:
        fork.gate.longest_wait = FOR_EVER
        return fork.gate.run(lambda: True) and in_child(lambda: True)

    assert in_child(child)
    stop.left.set()
    assert request.result(PATIENCE)


def test_waits_are_bounded_and_the_next_as_before(fork: Fork, pool: ThreadPoolExecutor) -> None:
    fork.gate.longest_wait = 0.01
    stop, hold = Stop(), Stop()
    first = pool.submit(fork.gate.run, stop)
    assert stop.reached.wait(PATIENCE)
    forked = fork.start(hold)
    assert hold.reached.wait(PATIENCE)
    assert pool.submit(fork.gate.run, lambda: True).result(PATIENCE)
    hold.left.set()
    assert forked.result(PATIENCE)
    fork.gate.longest_wait = FOR_EVER
    assert_fork_waits(fork, stop, first)


def test_fork_whose_first_hook_was_interrupted_keeps_nobody_waiting() -> None:
    gate = ForkGate(longest_wait=0.0)
    gate._after_in_parent()
    assert gate.run(lambda: True)
    assert gate._forks == 0


def test_child_of_a_fork_without_hooks_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = ForkGate(FOR_EVER)
    with ThreadPoolExecutor() as pool:
        stop = Stop()
        request = pool.submit(gate.run, stop)
        assert stop.reached.wait(PATIENCE)
        lock = gate._lock
        held = Stop()

        def hold() -> bool:
            with lock:
                return held()

        holder = pool.submit(hold)
        assert held.reached.wait(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1_000_000)
            in_child_only = pool.submit(lambda: gate._before_fork() or gate._after_in_parent())
            in_child_only.result(PATIENCE)
            assert gate.run(lambda: "answer") == "answer"
        held.left.set()
        stop.left.set()
        assert holder.result(PATIENCE)
        assert request.result(PATIENCE)
