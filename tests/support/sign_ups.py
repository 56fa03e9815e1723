"""Sign-ups at once, in threads of several processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

__all__ = ["PROCESSES", "THREADS", "SignUps"]

PROCESSES, THREADS = 4, 5

#: Seconds after which a sign-up that hangs is a failure.
PATIENCE = 60.0

_barrier: Any = None


class SignUps:
    """Processes in which users sign up; they are spawned, not forked."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor
        #: Environment variables of Google's clients.
        self.environment: dict[str, str] = {}

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[SignUps]:
        """Start the processes; end them after the block."""
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(PROCESSES)
        with ProcessPoolExecutor(
            PROCESSES, context, initializer=_begin, initargs=(barrier,)
        ) as executor:
            yield cls(executor)

    def run(self, calls: Sequence[Any]) -> list[tuple[bool, Any]]:
        """Return the answers to calls that are all made at once.

        :param calls: the keyword arguments of ``User.create_user()``, or the values of
            ``Unique.create_multi()``.
        """
        shares = [calls[number::PROCESSES] for number in range(PROCESSES)]
        running = [self._executor.submit(_sign_up, share, self.environment) for share in shares]
        answers: list[Any] = [None] * len(calls)
        for number, each in enumerate(running):
            answers[number::PROCESSES] = each.result(PATIENCE)
        return answers


def _begin(barrier: Any) -> None:
    global _barrier
    _barrier = barrier
    import webapp2_sessions.users.auth_models  # noqa: F401  # takes a second


def _sign_up(calls: Sequence[Any], environment: Mapping[str, str]) -> list[tuple[bool, Any]]:
    """Run a process's share; it waits for the other processes, and its threads for each other."""
    from webapp2_sessions.users.auth_models import Unique, User

    os.environ.update(environment)
    threads = threading.Barrier(len(calls))

    def create(call: Any) -> tuple[bool, Any]:
        threads.wait(PATIENCE)
        if not isinstance(call, dict):
            return Unique.create_multi(call)
        is_new, found = User.create_user(**call)
        return is_new, found.get_id() if is_new else found

    with ThreadPoolExecutor(len(calls)) as executor:
        _barrier.wait(PATIENCE)
        return [*executor.map(create, calls)]
