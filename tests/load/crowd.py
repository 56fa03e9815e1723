"""Thousands of visitors in processes of their own, beside the one that leads the run."""

from __future__ import annotations

import ctypes
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from load.visitors import PATIENCE, Visit, Visitor, visit_all

__all__ = ["Crowd", "Plan"]

PROCESSES = 2
#: Threads in each process, each with one connection (two where it visits in pairs).
THREADS = 8
#: Seconds between two looks at how far the visitors are.
LOOK = 0.02


@dataclass(frozen=True)
class Plan:
    """Who visits what, and how often."""

    address: str
    name: str
    visitors: int
    seed: int
    #: After so many seconds, or so many requests, the visitors look once more and leave; what
    #: happens in the middle is not counted.
    seconds: float
    requests: int | None = None
    #: Whether visitors sometimes change their session twice at once.
    pairs: bool = False

    def groups(self, process: int) -> list[list[Visitor]]:
        """The visitors of one process by thread; all processes together have each one once."""
        crowd = range(1 + process, 1 + self.visitors, PROCESSES)
        everybody = [Visitor(n, random.Random(f"{self.seed}:{n}")) for n in crowd]
        return [group for first in range(THREADS) if (group := everybody[first::THREADS])]


#: How many visits each thread has made, and whether to stop; shared with the processes.
_counts: Any = None
_stop: Any = None


def _share(counts: Any, stop: Any) -> None:
    global _counts, _stop
    _counts, _stop = counts, stop


def _visit(plan: Plan, process: int) -> list[Visit]:
    def go_on(thread: int, made: int) -> bool:
        _counts[process * THREADS + thread] = made
        return not _stop.value

    groups = plan.groups(process)
    return visit_all(plan.address, plan.name, groups, go_on, pairs=plan.pairs) if groups else []


class Crowd:
    """Lets everybody of a plan visit."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # "spawn", because the leading process may have threads.
        self._context = multiprocessing.get_context("spawn")
        self._counts = self._context.RawArray(ctypes.c_long, PROCESSES * THREADS)
        self._stop = self._context.RawValue(ctypes.c_bool, False)
        self._work: list[Future[list[Visit]]] = []

    def visit(self, in_the_middle: Callable[[], object] = lambda: None) -> list[Visit]:
        """Return what all visitors saw; halfway `in_the_middle` is called."""
        shared = self._counts, self._stop
        with ProcessPoolExecutor(PROCESSES, self._context, _share, shared) as pool:
            self._work = [pool.submit(_visit, self._plan, n) for n in range(PROCESSES)]
            try:
                self._wait_for_the_first()
                self._wait_for_half()
                in_the_middle()
                self._wait_for_half()
            finally:
                self._stop.value = True
            return [visit for part in self._work for visit in part.result()]

    def _wait_for_the_first(self) -> None:
        """Wait until somebody has visited: starting the processes takes its time."""
        deadline = time.monotonic() + PATIENCE
        while not any(self._counts) and not self._failed() and time.monotonic() < deadline:
            time.sleep(LOOK)

    def _wait_for_half(self) -> None:
        """Let half of the seconds, or half of the requests, go by."""
        enough = sum(self._counts) + (self._plan.requests or float("inf")) / 2
        end = time.monotonic() + self._plan.seconds / 2
        while time.monotonic() < end and sum(self._counts) < enough and not self._failed():
            time.sleep(LOOK)

    def _failed(self) -> bool:
        return any(work.done() and work.exception() for work in self._work)
