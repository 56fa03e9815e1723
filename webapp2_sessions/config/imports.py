"""Lazy import of backends by dotted name."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from webapp2_sessions.config import UPSTREAM_MODULES
from webapp2_sessions.errors import MissingDependency


def import_object(dotted_name: str) -> Any:
    """Import an object by its dotted name, with upstream's modules replaced by ours.

    :raises MissingDependency: a library that it needs is not installed.
    :raises webapp2.ImportStringError: there is no such object.
    """
    module_name, _, name = dotted_name.rpartition(".")
    module_name = UPSTREAM_MODULES.get(module_name, module_name)
    module = sys.modules.get(module_name)
    # Before Python 3.11 import_module() takes the module's lock even for a loaded module, and a
    # process forked meanwhile would wait for it forever. So call it only for a module that is
    # not loaded, or is being imported by another thread.
    if getattr(getattr(module, "__spec__", None), "_initializing", True):
        module = None
    try:
        return getattr(module or importlib.import_module(module_name), name)
    except MissingDependency:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        import webapp2

        raise webapp2.ImportStringError(dotted_name, error) from error
