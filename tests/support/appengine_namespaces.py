"""A stand-in for the App Engine SDK's ``google.appengine.api.namespace_manager``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from unittest import mock

__all__ = ["in_namespace"]

_NAME = "google.appengine.api.namespace_manager"

#: As the SDK keeps it: for each request, and the empty text where nobody has set one.
_current: ContextVar[str] = ContextVar("_current", default="")

_module = ModuleType(_NAME)
_module.get_namespace = _current.get  # type: ignore[attr-defined]


@contextmanager
def in_namespace(namespace: str) -> Iterator[None]:
    """Have the SDK's module loaded, and this namespace set."""
    token = _current.set(namespace)
    try:
        with mock.patch.dict(sys.modules, {_NAME: _module}):
            yield
    finally:
        _current.reset(token)
