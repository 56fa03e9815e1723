"""Running a piece of a test in a forked child."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable

import pytest

__all__ = ["IGNORE_FORK_WARNING", "in_child"]

#: Python 3.12 and later warn of a fork while threads run; that is what these tests are about.
IGNORE_FORK_WARNING = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

#: Seconds after which a child that hangs ends itself.
PATIENCE = 30.0


def in_child(action: Callable[[], bool]) -> bool:
    """Whether `action` is true in a forked child; one that raises or hangs counts as false."""
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
