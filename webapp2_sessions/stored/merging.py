"""Saving a session that other requests may have changed since it was loaded."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from webapp2_sessions.sessions.changes import (
    ABSENT,
    MISSING,
    changed_keys,
    differences,
    entries,
)
from webapp2_sessions.sessions.sameness import stored_forms

__all__ = [
    "NEW",
    "Merger",
    "TooManyConflicts",
    "Version",
    "merge",
]

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

    def save(
        self,
        mine: dict[Any, Any],
        flash_keys: Collection[str] = (),
        assigned: Collection[Any] = (),
    ) -> dict[Any, Any] | None:
        """Store this request's changes beside those of others.

        :param flash_keys: as of :func:`merge`.
        :param assigned: as of :func:`merge`.
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
            if not changed_keys(value, theirs):  # by this request, whose answer was lost
                self.known = present
                return value
            value = merge(self.known.data(), mine, theirs, flash_keys, assigned)
        raise TooManyConflicts()

    def merged(
        self,
        mine: dict[Any, Any],
        flash_keys: Collection[str] = (),
        assigned: Collection[Any] = (),
    ) -> dict[Any, Any] | None:
        """Return what :meth:`save` would store, after reading the present state; write nothing.

        A :meth:`save` of the result goes on from there.

        :param flash_keys: as of :func:`merge`.
        :param assigned: as of :func:`merge`.
        :returns: ``mine`` where nothing is stored; ``None`` if the session was destroyed
            meanwhile.
        """
        if self.known.token is NEW:
            return mine
        present = self._read()
        if present is None:
            return None
        if present.token is NEW:
            return mine
        theirs = present.data()
        if not isinstance(theirs, dict):
            return None  # something else is in its place
        base, self.known = self.known, present
        if not changed_keys(mine, theirs):  # by this request, whose answer was lost
            return mine
        return merge(base.data(), mine, theirs, flash_keys, assigned)

    def _pause(self, attempt: int) -> None:
        time.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)))


def merge(
    base: dict[Any, Any],
    mine: dict[Any, Any],
    theirs: dict[Any, Any],
    flash_keys: Collection[str] = (),
    assigned: Collection[Any] = (),
) -> dict[Any, Any]:
    """Return ``theirs`` with the changes that lead from ``base`` to ``mine``.

    A key that both changed is taken from ``mine``; flash messages that both added or showed are
    added, or gone, both. If ``theirs`` is ``base`` the result is ``mine``. A value is unchanged if
    it would be stored the same; the order of keys is that of ``theirs``.

    :param flash_keys: keys of flash messages besides the usual one.
    :param assigned: keys that count as changed in any case: ``mine`` has set or removed them,
        perhaps to what they were.
    """
    old, ours, others = entries(base, mine, theirs)
    if not differences(old, others):
        return dict(mine)
    assigned = frozenset(assigned)
    keys = {form: key for form, (key, _) in {**others, **old, **ours}.items()}
    named = [form for form, key in keys.items() if key in assigned]
    merged = dict(others)
    for form in dict.fromkeys([*differences(old, ours), *named]):
        key = keys[form]
        was, new, now = (session.get(form, ABSENT)[1] for session in (old, ours, others))
        if key == _FLASH or key in flash_keys:
            new = _merge_flashes(was, new, now)
        if new is MISSING:
            merged.pop(form, None)
        else:
            merged[form] = key, new
    return dict(merged.values())


def _merge_flashes(base: Any, mine: Any, theirs: Any) -> Any:
    """Return what is left of their messages without those that we showed, and with ours."""
    lists = [[] if messages is MISSING else messages for messages in (base, mine, theirs)]
    if not all(isinstance(messages, list) for messages in lists):
        return mine  # used for something else
    forms = iter(stored_forms(message for messages in lists for message in messages))
    old, ours, others = ([(next(forms), message) for message in messages] for messages in lists)
    shown, added = _without(old, ours), _without(ours, old)
    return [message for _, message in [*_without(others, shown), *added]] or MISSING


def _without(
    messages: list[tuple[Any, Any]], others: list[tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Return the messages that are not among the others, each of which stands for one.

    :param messages: with the forms in which they are stored, and so are the others.
    """
    counts = Counter(form for form, _ in others)
    left = []
    for form, message in messages:
        if counts[form]:
            counts[form] -= 1
        else:
            left.append((form, message))
    return left
