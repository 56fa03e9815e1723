"""Locks of requests, which a forked child does not inherit."""

from __future__ import annotations

import os
import threading
from collections.abc import MutableMapping
from typing import Any

__all__ = ["attributes_of", "lock_of", "share_lock"]

#: Key of the lock in whatever holds it.
_key = "webapp2_sessions.lock"


def _begin_in_child() -> None:
    """Use other locks: threads of the parent may have held those that there are."""
    global _key
    _key = f"webapp2_sessions.lock.{os.getpid()}"


if hasattr(os, "register_at_fork"):  # not where there are no forks
    os.register_at_fork(after_in_child=_begin_in_child)


def attributes_of(request: Any) -> MutableMapping[str, Any]:
    """Return what lives as long as a request, and where a lock is in nobody's way."""
    try:
        return request.__dict__  # type: ignore[no-any-return]
    except AttributeError:  # a request of another kind, with slots
        return request.registry  # type: ignore[no-any-return]


def lock_of(holder: MutableMapping[str, Any]) -> threading.RLock:
    """Return the lock that a dictionary holds, making it if there is none.

    It is reentrant: a factory may open another session while its own is loaded.

    :param holder: the attributes of what lives as long as the lock is wanted: ``vars(request)``.
    """
    try:
        lock: threading.RLock = holder[_key]
    except KeyError:
        lock = holder.setdefault(_key, threading.RLock())  # of two threads one decides
    return lock


def share_lock(holder: MutableMapping[str, Any], other: MutableMapping[str, Any]) -> None:
    """Have a second dictionary hold the lock of the first, unless it has one already."""
    other.setdefault(_key, lock_of(holder))
