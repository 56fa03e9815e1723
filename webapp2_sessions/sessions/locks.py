"""Locks of requests and stores, which a forked child process does not inherit."""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["key", "lock_of"]

#: Key of the lock among the attributes of its owner; another text in each forked child.
key: str = "webapp2_sessions.lock"


def _reset_in_child() -> None:
    """Use new locks in a forked child: threads of the parent may have held the old ones."""
    global key
    key = f"webapp2_sessions.lock.{os.getpid()}"


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_reset_in_child)


def lock_of(owner: Any) -> threading.RLock:
    """Return the lock of a request or a session store, created on first use.

    It is reentrant, because a factory may open another session while it loads its own.

    :param owner: any object with ``__dict__``, otherwise with ``registry``.
    """
    try:
        attributes = owner.__dict__
    except AttributeError:  # a request class with slots
        attributes = owner.registry
    lock: threading.RLock | None = attributes.get(key)
    if lock is None:
        lock = attributes.setdefault(key, threading.RLock())  # atomic: all threads get one lock
    return lock
