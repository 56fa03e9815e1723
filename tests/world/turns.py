"""Threads that run one at a time, in an order that somebody chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

__all__ = ["Turns"]

#: Seconds after which a thread that does not give up its turn waits for another one's lock.
_BLOCKED = 0.3

#: Seconds after which a thread that hangs is a failure.
_PATIENCE = 60.0


class _Thread(threading.Thread):
    def __init__(self, job: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self.may_run = threading.Semaphore(0)
        self.has_stopped = threading.Semaphore(0)
        #: Whether it has ended, or is waiting for its turn.
        self.ended = False
        self.error: BaseException | None = None

    def run(self) -> None:
        self.may_run.acquire()
        try:
            self._job()
        except BaseException as error:
            self.error = error
        self.ended = True
        self.has_stopped.release()


class Turns:
    """Runs jobs in threads, one of which runs at any time.

    :param choices: numbers of the jobs whose turn it is. A job that cannot go on is passed over;
        when all are used up, it is the first one's turn.
    """

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices: Iterator[int] = iter(choices)
        self._threads: dict[int, _Thread] = {}

    def run(self, jobs: Sequence[Callable[[], object]]) -> None:
        """Run jobs to their ends; raises the error of the first one that failed."""
        if len(jobs) == 1:
            jobs[0]()
            return
        threads = [_Thread(job) for job in jobs]
        for thread in threads:
            thread.start()
        self._threads = {thread.ident or 0: thread for thread in threads}
        blocked: list[_Thread] = []
        try:
            while waiting := [thread for thread in threads if not thread.ended]:
                free = [thread for thread in waiting if thread not in blocked]
                if not free:  # each waits for another: for what the first one holds
                    free, blocked = waiting, []
                    thread = free[0]
                    assert thread.has_stopped.acquire(timeout=_PATIENCE), "a request hangs"
                    continue
                thread = self._next(threads, free)
                thread.may_run.release()
                if not thread.has_stopped.acquire(timeout=_BLOCKED):
                    blocked.append(thread)
                    continue
                blocked = [each for each in blocked if not each.has_stopped.acquire(blocking=False)]
        finally:
            self._threads = {}
        for thread in threads:
            if thread.error is not None:
                raise thread.error

    def _next(self, threads: list[_Thread], free: list[_Thread]) -> _Thread:
        for choice in self._choices:
            thread = threads[choice % len(threads)]
            if thread in free:
                return thread
        return free[0]

    def pass_on(self) -> None:
        """Give up the turn, and wait for the next one; nothing happens outside of a job."""
        thread = self._threads.get(threading.get_ident())
        if thread is not None:
            thread.has_stopped.release()
            assert thread.may_run.acquire(timeout=_PATIENCE), "a request waits for ever"
