"""Backends by their dotted names, imported when they are used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from webapp2_sessions.config import UPSTREAM_MODULES
from webapp2_sessions.errors import MissingDependency

__all__ = ["import_object"]


def import_object(dotted_name: str) -> Any:
    """Return what a dotted name stands for; upstream's modules stand for ours.

    :raises MissingDependency: a library that it needs is not installed.
    :raises webapp2.ImportStringError: there is nothing of that name.
    """
    module_name, _, name = dotted_name.rpartition(".")
    module_name = UPSTREAM_MODULES.get(module_name, module_name)
    module = sys.modules.get(module_name)
    # Before Python 3.11 import_module() takes the module's lock each time, and a process that is
    # forked meanwhile would never get it. While another thread is importing it, it has to wait.
    if getattr(getattr(module, "__spec__", None), "_initializing", True):
        module = None
    try:
        return getattr(module or importlib.import_module(module_name), name)
    except MissingDependency:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        import webapp2

        raise webapp2.ImportStringError(dotted_name, error) from error
