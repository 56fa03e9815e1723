"""A stand-in for the App Engine SDK's ``google.appengine.api.namespace_manager``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from unittest import mock

__all__ = ["MODULE", "NAME", "current", "in_namespace"]

#: Of the module.
NAME = "google.appengine.api.namespace_manager"

#: As the SDK keeps it: for each request, and the empty text where nobody has set one.
current: ContextVar[str] = ContextVar("current", default="")

#: The stand-in for it.
MODULE = ModuleType(NAME)
MODULE.get_namespace = current.get  # type: ignore[attr-defined]


@contextmanager
def in_namespace(namespace: str) -> Iterator[None]:
    """Have the SDK's module loaded, and this namespace set."""
    token = current.set(namespace)
    try:
        with mock.patch.dict(sys.modules, {NAME: MODULE}):
            yield
    finally:
        current.reset(token)
