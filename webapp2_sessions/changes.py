"""What a session held when it was loaded, to see at the end whether it is different."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from webapp2_sessions.merging import changed_keys

__all__ = ["Snapshot"]


class Snapshot:
    """A copy of a session's data, as bytes.

    A value is the same as before if it would be stored the same, whatever its ``==`` says:
    ``True`` is not ``1``, and the order of a dictionary counts. The order of the session's own
    keys does not.

    :param data: what the session holds when it is loaded.
    :param dumps: turns data into bytes. What cannot be turned into bytes counts as changed.
    :param loads: the opposite. What cannot be read again counts as changed.
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
        #: Whether the data could be turned into bytes, so that a change can be told.
        self.is_made: bool = self._bytes is not None
        #: To name them all where the bytes cannot tell.
        self._keys = dict.fromkeys(data)

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
            return list({**self._keys, **data})
        if now == self._bytes:
            return []
        try:
            # Both from bytes, so that what they cannot tell (lists from tuples in JSON) is no
            # change.
            before, after = self._loads(self._bytes), self._loads(now)
        except Exception:  # of which whoever loads the session next will hear
            return list({**self._keys, **data})
        return changed_keys(before, after)
