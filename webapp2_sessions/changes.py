"""What a session held when it was loaded, to see at the end whether it is different."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from webapp2_sessions.merging import same_value

__all__ = ["Snapshot"]


class Snapshot:
    """A copy of a session's data, as bytes.

    Dictionaries are equal in whatever order their keys are; values have to be of the same types
    (``True`` is not ``1``). Objects of classes without ``==`` are equal if they pickle alike.

    :param data: what the session holds when it is loaded.
    :param dumps: turns data into bytes. What cannot be turned into bytes counts as changed.
    :param loads: the opposite.
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

    def _try_to_dump(self, data: dict[Any, Any]) -> bytes | None:
        try:
            return self._dumps(dict(data))  # without what a session knows besides its data
        except Exception:  # of which the caller hears when the session is saved
            return None

    def differs(self, data: dict[Any, Any]) -> bool:
        """Whether data is not what it was."""
        return self.changed_keys(data) != []

    def changed_keys(self, data: dict[Any, Any]) -> list[Any]:
        """Return the keys that were set, changed or removed; all of them if that is unknown."""
        now = self._try_to_dump(data)
        if self._bytes is None or now is None:
            return list(data)
        if now == self._bytes:
            return []
        # Both from bytes, so that what bytes cannot tell (lists from tuples in JSON) is no change.
        before, after = self._loads(self._bytes), self._loads(now)
        return [
            key
            for key in {**before, **after}
            if key not in before or key not in after or not same_value(before[key], after[key])
        ]
