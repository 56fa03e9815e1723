"""Saving a session that other requests may have changed since it was loaded."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

__all__ = ["NEW", "Merger", "TooManyConflicts", "Version", "merge", "same_value"]

#: How often a save is tried. Twenty threads that change one session without a pause in between
#: need twelve at times.
_ATTEMPTS = 20

#: A try waits up to two milliseconds before the next one, and twice as long each time ...
_FIRST_PAUSE = 0.002
#: ... up to this.
_LONGEST_PAUSE = 0.064

#: The key of flash messages if nobody names another.
_FLASH = "_flash"

#: Token of a session that nobody else can know yet, or that is gone: nothing to compare with.
NEW: Any = object()

_MISSING: Any = object()


class TooManyConflicts(Exception):
    """Others changed the session at each try."""


class Version(NamedTuple):
    """One state of a stored session."""

    #: What the backend compares, to see whether the session is still in this state; ``None`` if
    #: that is unknown.
    token: Any
    #: Returns the data of this state; new objects on each call.
    data: Callable[[], dict[Any, Any]]


class Merger:
    """Loads one session, and saves it by compare-and-set.

    :param read: returns the present state, ``None`` if the session was destroyed. A session that
        the server has dropped by itself has the token :data:`NEW`.
    :param write: stores data if the session is still in the state of a token, and returns the
        new state; ``None`` if it is not in that state.
    """

    def __init__(
        self,
        read: Callable[[], Version | None],
        write: Callable[[dict[Any, Any], Any], Version | None],
    ) -> None:
        self._read = read
        self._write = write
        #: The state that this request knows: loaded or written.
        self.known: Version = Version(NEW, dict)

    def save(self, mine: dict[Any, Any], flash_keys: Collection[str] = ()) -> dict[Any, Any] | None:
        """Store this request's changes beside those of others.

        :returns: what is stored now; ``None`` if the session was destroyed meanwhile.
        :raises TooManyConflicts: nothing of ``mine`` is stored.
        """
        token, value = self.known.token, mine
        for attempt in range(_ATTEMPTS):
            if token is not None:
                written = self._write(value, token)
                if written is not None:
                    self.known = written
                    return value
                if attempt:
                    self._pause(attempt)
            present = self._read()
            if present is None:
                return None
            token = present.token
            if token is NEW:
                value = mine
                continue
            theirs = present.data()
            if not isinstance(theirs, dict):
                return None  # something else is in its place
            if same_value(value, theirs):  # by this request, whose answer was lost
                self.known = present
                return value
            value = merge(self.known.data(), mine, theirs, flash_keys)
        raise TooManyConflicts()

    def _pause(self, attempt: int) -> None:
        time.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)))


def merge(
    base: dict[Any, Any],
    mine: dict[Any, Any],
    theirs: dict[Any, Any],
    flash_keys: Collection[str] = (),
) -> dict[Any, Any]:
    """Return ``theirs`` with the changes that lead from ``base`` to ``mine``.

    A key that both changed is taken from ``mine``; flash messages that both added or showed are
    added, or gone, both.

    :param flash_keys: keys of flash messages besides the usual one.
    """
    merged = dict(theirs)
    for key in {**base, **mine}:
        old, new = base.get(key, _MISSING), mine.get(key, _MISSING)
        if same_value(old, new):
            continue
        if key == _FLASH or key in flash_keys:
            new = _merge_flashes(old, new, theirs.get(key, _MISSING))
        if new is _MISSING:
            merged.pop(key, None)
        else:
            merged[key] = new
    return merged


def _merge_flashes(base: Any, mine: Any, theirs: Any) -> Any:
    """Return what is left of their messages without those that we showed, and with ours."""
    lists = [[] if messages is _MISSING else messages for messages in (base, mine, theirs)]
    if not all(isinstance(messages, list) for messages in lists):
        return mine  # used for something else
    old, ours, others = lists
    shown, added = _without(old, ours), _without(ours, old)
    return [*_without(others, shown), *added] or _MISSING


def _without(messages: list[Any], others: list[Any]) -> list[Any]:
    """Return the messages that are not among the others, each of which stands for one."""
    others = list(others)
    left = []
    for message in messages:
        for index, other in enumerate(others):
            if same_value(message, other):
                del others[index]
                break
        else:
            left.append(message)
    return left


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are equal and have the same types, also in dicts, lists and tuples.

    Objects of other classes are the same if they are equal, or if they pickle alike: not all
    have an ``==`` that tells.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    try:
        if kind is dict:
            return one.keys() == other.keys() and all(
                same_value(value, other[key]) for key, value in one.items()
            )
        if kind is list or kind is tuple:
            return len(one) == len(other) and all(map(same_value, one, other))
        return _are_equal(one, other) or (
            kind not in _PLAIN and pickle.dumps(one) == pickle.dumps(other)
        )
    except Exception:
        return False  # a cycle, or nothing that can be pickled


def _are_equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return False  # arrays, for instance, compare each of their values


#: Types whose values are different if they are not equal.
_PLAIN = frozenset({bool, bytes, int, str})
