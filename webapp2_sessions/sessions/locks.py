"""Locks of requests and stores, which a forked child process does not inherit."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import ReferenceType

__all__ = ["lock_of"]

#: Key of the lock among the attributes of its owner.
_key = "webapp2_sessions.lock"


def _reset_in_child() -> None:
    """Use new locks in a forked child: threads of the parent may have held the old ones."""
    global _key
    _key = f"webapp2_sessions.lock.{os.getpid()}"


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_reset_in_child)


def lock_of(request: Any, store: Any = None) -> threading.RLock:
    """Return the lock of a request, created on first use.

    All stores of a request share it: with two locks, each of two threads could have one and wait
    for the other. It is reentrant, because a factory may open another session while it loads its
    own.

    :param request: the request, or a weak reference to it.
    :param store: has the lock where the request has ended, or has no ``__dict__``.
    """
    if type(request) is ReferenceType:
        request = request()
    attributes: Any = getattr(request, "__dict__", None)
    if attributes is None:  # a request class with slots
        attributes = getattr(request, "registry", None)
    if attributes is None:
        attributes = store.__dict__
    lock: threading.RLock | None = attributes.get(_key)
    if lock is None:
        lock = attributes.setdefault(_key, threading.RLock())  # atomic: all threads get one lock
    return lock
