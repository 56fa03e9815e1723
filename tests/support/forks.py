"""Helpers for tests that fork."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import pytest

__all__ = ["A_MOMENT", "FORKS", "Stop", "forks", "goes_on", "in_child"]

#: The marks of a module whose tests fork. Python 3.12 and later warn of a fork while threads run;
#: that is what these tests are about.
FORKS = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.usefixtures("no_channels"),
]

Test = TypeVar("Test", bound=Callable[..., None])

#: Seconds after which a child that hangs ends itself.
PATIENCE = 30.0

#: Seconds after which a thread that has not continued is taken to be waiting.
A_MOMENT = 0.2


def forks(test: Test) -> Test:
    """Give a test the marks of those that fork."""
    for mark in FORKS:
        test = mark(test)
    return test


def in_child(action: Callable[[], bool]) -> bool:
    """Return whether `action` is true in a forked child that neither raises nor hangs."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            timer = threading.Timer(PATIENCE, os._exit, (2,))
            timer.daemon = True
            timer.start()
            code = 0 if action() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Stop:
    """A breakpoint at which a thread waits until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.left = threading.Event()

    def __call__(self, *_: object) -> bool:
        self.reached.set()
        return self.left.wait(PATIENCE)


def goes_on(waiting: Future[Any]) -> bool:
    """Return whether a thread finishes without waiting."""
    return bool(wait([waiting], A_MOMENT).done)
