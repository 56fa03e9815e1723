"""Detect changed keys, by a snapshot of the session as it was loaded."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from webapp2_sessions.sessions.sameness import same_value, stored_forms

#: The value of a missing key.
MISSING: Any = object()
#: A missing key, and its value.
ABSENT: tuple[Any, Any] = (MISSING, MISSING)


class Snapshot:
    """A serialized copy of a session's data.

    A value is unchanged if it would be stored the same, whatever its ``==`` says: ``True`` is not
    ``1``, and the order of a dictionary counts. The order of the session's own keys does not.

    :param data: the session as it was loaded.
    :param dumps: serializes data. Data that it refuses counts as changed.
    :param loads: deserializes data. Data that it refuses counts as changed.
    """

    def __init__(
        self,
        data: dict[Any, Any],
        dumps: Callable[[Any], bytes] = pickle.dumps,
        loads: Callable[[bytes], Any] = pickle.loads,
    ) -> None:
        self._dumps = dumps
        self._loads = loads
        self._bytes = self._try_to_dump(data)
        #: Whether the data could be serialized, so that changes can be detected.
        self.is_made: bool = self._bytes is not None
        #: All keys, for the case that nothing is known of the values.
        self._keys = dict.fromkeys(data)

    def _try_to_dump(self, data: dict[Any, Any]) -> bytes | None:
        try:
            return self._dumps(dict(data))  # without the attributes of a SessionDict
        except Exception:  # raised again when the session is saved
            return None

    def differs(self, data: dict[Any, Any]) -> bool:
        """Return whether the data has changed."""
        return self.changed_keys(data) != []

    def changed_keys(self, data: dict[Any, Any]) -> list[Any]:
        """Return the keys that were set, changed or removed; all keys if that is unknown."""
        now = self._try_to_dump(data)
        if self._bytes is None or now is None:
            return list({**self._keys, **data})
        if now == self._bytes:
            return []
        try:
            # Both are deserialized: a difference that is not stored (a list, or a tuple in JSON)
            # is no change.
            before, after = self._loads(self._bytes), self._loads(now)
        except Exception:  # raised again when the session is loaded next
            return list({**self._keys, **data})
        return changed_keys(before, after)


def changed_keys(before: dict[Any, Any], after: dict[Any, Any]) -> list[Any]:
    """Return the keys that were set, changed or removed; their order does not count."""
    old, new = entries(before, after)
    return [new.get(form, old.get(form, ABSENT))[0] for form in differences(old, new)]


#: Keys and values, by the stored forms of the keys: 1 and ``True`` are equal.
Entries = dict[Any, tuple[Any, Any]]


def entries(*sessions: dict[Any, Any]) -> list[Entries]:
    """Return the keys and values of sessions, by the stored forms of their keys."""
    forms = iter(stored_forms(key for session in sessions for key in session))
    return [{next(forms): item for item in session.items()} for session in sessions]


def differences(before: Entries, after: Entries) -> list[Any]:
    """Return the stored forms of the keys that were set, changed or removed."""
    return [
        form
        for form in {**before, **after}
        if not same_value(before.get(form, ABSENT)[1], after.get(form, ABSENT)[1])
    ]
