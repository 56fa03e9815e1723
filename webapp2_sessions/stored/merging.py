"""Three-way merge of sessions that concurrent requests have changed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from webapp2_sessions.sessions.changes import ABSENT, MISSING, changed_keys, differences, entries
from webapp2_sessions.sessions.sameness import stored_forms

#: Limit of compare-and-set attempts. Twenty threads that change one session without a pause
#: need up to thirteen.
_ATTEMPTS = 20

#: Exponential backoff with jitter: upper limits in seconds of the first and the longest pause. A
#: pause becomes long only where nearly each attempt meets another's write, as with those threads on
#: a machine that is busy besides: with at most 64 ms some of their saves gave up.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 1.024

#: The default key of flash messages.
_FLASH = "_flash"

#: Token of a session that is not stored, so that there is nothing to compare with.
NEW: Any = object()


class TooManyConflicts(Exception):
    """Other requests changed the session before each attempt."""


class Version(NamedTuple):
    """One state of a stored session."""

    #: What the backend compares to detect a change; ``None`` if unknown.
    token: Any
    #: Returns the data of this state, as new objects on each call.
    data: Callable[[], dict[Any, Any]]


class Merger:
    """Saves one session by compare-and-set, and merges concurrent changes.

    :param read: returns the current state; ``None`` if the session was destroyed. A session that
        the server has evicted, or whose time is over, has the token :data:`NEW`.
    :param write: stores data if the session is still in the state of a token, and returns the new
        state; ``None`` if another request has changed it.
    :param is_kept: returns whether what this request keeps beside the data is in the state that
        was read last.
    """

    def __init__(
        self,
        read: Callable[[], Version | None],
        write: Callable[[dict[Any, Any], Any], Version | None],
        is_kept: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read = read
        self._write = write
        self._is_kept = is_kept
        #: The state that this request has last read or written, the base of the merge.
        self.known: Version = Version(NEW, dict)

    def save(
        self,
        mine: dict[Any, Any],
        flash_keys: Collection[str] = (),
        assigned: Collection[Any] = (),
    ) -> dict[Any, Any] | None:
        """Store the changes of this request, merged with those of others.

        :param flash_keys: see :func:`merge`.
        :param assigned: see :func:`merge`.
        :returns: the stored data; ``None`` if the session was destroyed meanwhile.
        :raises TooManyConflicts: the changes are not stored.
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
            current = self._read()
            if current is None:
                return None
            token = current.token
            if token is NEW:
                value = mine
                continue
            theirs = current.data()
            if not isinstance(theirs, dict):
                return None  # this is no session any more
            if not changed_keys(value, theirs) and self._is_kept():
                self.known = current  # it was written, and the answer lost
                return value
            value = merge(self.known.data(), mine, theirs, flash_keys, assigned)
        raise TooManyConflicts()

    def merged(
        self,
        mine: dict[Any, Any],
        flash_keys: Collection[str] = (),
        assigned: Collection[Any] = (),
    ) -> dict[Any, Any] | None:
        """Read the current state and return what :meth:`save` would store, without storing it.

        A subsequent :meth:`save` of the result starts from that state.

        :param flash_keys: see :func:`merge`.
        :param assigned: see :func:`merge`.
        :returns: ``mine`` if nothing is stored; ``None`` if the session was destroyed meanwhile.
        """
        current = self.known if self.known.token is NEW else self._read()
        if current is None:
            return None
        if current.token is NEW:
            return mine
        theirs = current.data()
        if not isinstance(theirs, dict):
            return None  # this is no session any more
        base, self.known = self.known, current
        if not changed_keys(mine, theirs):  # it was written, and the answer lost
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
    """Apply the changes from ``base`` to ``mine`` to ``theirs`` and return the result.

    If both changed a key, ``mine`` wins, except for flash messages: those added by either are
    kept, those shown by either are removed. If ``theirs`` equals ``base`` the result is ``mine``.
    Values are equal if they would be stored the same. The order of keys is that of ``theirs``.

    :param flash_keys: further keys of flash messages.
    :param assigned: keys that ``mine`` has set or deleted, which count as changed even if the
        value is the same as before.
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
    """Return ``theirs`` without the messages that ``mine`` has shown, plus those it has added."""
    lists = [[] if messages is MISSING else messages for messages in (base, mine, theirs)]
    if not all(isinstance(messages, list) for messages in lists):
        return mine  # these are no flash messages
    forms = iter(stored_forms(message for messages in lists for message in messages))
    old, ours, others = ([(next(forms), message) for message in messages] for messages in lists)
    shown, added = _without(old, ours), _without(ours, old)
    return [message for _, message in [*_without(others, shown), *added]] or MISSING


def _without(
    messages: list[tuple[Any, Any]], others: list[tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Return the multiset difference of two lists of messages.

    :param messages: pairs of the form in which a message is stored and the message itself.
    :param others: such pairs; each removes one message.
    """
    counts = Counter(form for form, _ in others)
    left = []
    for form, message in messages:
        if counts[form]:
            counts[form] -= 1
        else:
            left.append((form, message))
    return left
