"""Session data as bytes for servers: pickles, Python 2's included, or tagged JSON."""

from __future__ import annotations

import datetime
import functools
import io
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

from webapp2_sessions.errors import RefusedFormat

__all__ = ["OWN_PROTOCOL", "SHARED_PROTOCOL", "Serializer", "dump_pickle", "load_pickle"]

#: The newest protocol that Python 2.7 reads, so that old applications can share entities.
SHARED_PROTOCOL = 2

#: The newest protocol that all supported versions of Python write alike.
OWN_PROTOCOL = 5
#: How a pickle begins that only Python 3 writes.
_OWN_PICKLE_BEGINS = frozenset(
    pickle.PROTO + bytes([protocol]) for protocol in range(SHARED_PROTOCOL + 1, OWN_PROTOCOL + 1)
)

#: How JSON begins here. A pickle of any protocol begins with an opcode, and these are none.
_JSON_BEGINS = b"{[ "


class Serializer:
    """Writes data in one format, and reads it in every format that is accepted.

    :param writes: ``"pickle"`` or ``"json"``.
    :param also_reads: formats that are accepted on reading besides.
    :param protocol: the protocol of the pickles that are written.
    """

    def __init__(
        self,
        writes: str = "pickle",
        also_reads: Collection[str] = (),
        protocol: int = SHARED_PROTOCOL,
    ) -> None:
        self._reads = frozenset({writes, *also_reads})
        self._reads_pickles = "pickle" in self._reads
        #: Return a value as bytes; raises whatever a value that does not fit raises.
        self.dumps: Callable[[Any], bytes] = (
            _dump_json if writes == "json" else functools.partial(pickle.dumps, protocol=protocol)
        )

    @staticmethod
    def of(config: Mapping[str, Any], protocol: int) -> Serializer:
        """Return the serializer of a session configuration; it may be an unchecked one."""
        writes = config.get("serializer") or "pickle"
        return _serializer(writes, tuple(config.get("serializer_fallbacks") or ()), protocol)

    def loads(self, data: bytes) -> Any:
        """Return the value. Never give it pickles that others could have written.

        :raises RefusedFormat: it has a format that is not accepted; nothing was decoded.
        :raises Exception: whatever a broken value, or a pickle of a missing class, raises.
        """
        if self._reads_pickles and data[:2] in _OWN_PICKLE_BEGINS:
            return pickle.loads(data)
        is_json = data[:1] in _JSON_BEGINS and data != b""
        found = "json" if is_json else "pickle"
        if found not in self._reads:
            raise RefusedFormat(found)
        return _load_json(data) if is_json else load_pickle(data)


@functools.lru_cache(maxsize=16)
def _serializer(writes: str, also_reads: tuple[str, ...], protocol: int) -> Serializer:
    return Serializer(writes, also_reads, protocol)


# Imported where it is used: it needs much of the standard library, which takes 10 ms to load.


def _load_json(data: bytes) -> Any:
    from webapp2_sessions import tagged_json

    return tagged_json.loads(data)


def _dump_json(value: Any) -> bytes:
    from webapp2_sessions import tagged_json

    data = tagged_json.dumps(value)
    return data if data[:1] in _JSON_BEGINS else b" " + data


def dump_pickle(value: Any, protocol: int = SHARED_PROTOCOL) -> bytes:
    """Pickle a value, by default so that Python 2.7 can read it."""
    return pickle.dumps(value, protocol)


def load_pickle(data: bytes) -> Any:
    """Unpickle a value that any Python from 2.5 on has written.

    Text that Python 2 wrote as ``str`` comes back as ``str`` where it is valid UTF-8, and as
    ``bytes`` otherwise. Never give it data that others could have written.

    :raises Exception: whatever a broken pickle, or one of a missing class, raises.
    """
    if data[:1] == b"\x80" and data[1] > SHARED_PROTOCOL:
        return pickle.loads(data)  # only Python 3 writes these
    try:
        return _Python2Unpickler(io.BytesIO(data), encoding="utf-8").load()
    except UnicodeDecodeError:
        escaped = _Python2Unpickler(
            io.BytesIO(data), encoding="utf-8", errors="surrogateescape"
        ).load()
        return _BinaryStrings().restore(escaped)


class _Python2Unpickler(pickle.Unpickler):
    """Reads protocols 0 to 2, in which a Python 2 ``str`` may be text or binary."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "datetime" and name in ("date", "datetime", "time"):
            return _from_binary_state(getattr(datetime, name))
        return super().find_class(module, name)


def _from_binary_state(cls: Callable[..., Any]) -> Callable[..., Any]:
    """``cls`` for pickles: Python 2 wrote the state as a ``str``, the constructor takes bytes."""

    def construct(state: Any, *rest: Any) -> Any:
        if isinstance(state, str):
            state = state.encode("utf-8", "surrogateescape")
        return cls(state, *rest)

    return construct


class _BinaryStrings:
    """Turns text that holds escaped bytes back into bytes, throughout nested containers."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._keep: list[Any] = []  # ids stay unique as long as the objects live

    def restore(self, value: Any) -> Any:
        """Return ``value`` with such strings replaced; lists, sets and dicts are changed."""
        kind = type(value)
        if kind is str:
            return _restore_string(value)
        if kind not in (list, dict, set, tuple, frozenset):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = value  # also what a cycle comes back to
            self._keep.append(value)
            self._done[id(value)] = self._restore_container(kind, value)
        return self._done[id(value)]

    def _restore_container(self, kind: type[Any], value: Any) -> Any:
        if kind is dict:
            items = [(self.restore(key), self.restore(item)) for key, item in value.items()]
            value.clear()
            value.update(items)
            return value
        items = [self.restore(item) for item in value]
        if kind is list:
            value[:] = items
            return value
        if kind is set:
            value.clear()
            value.update(items)
            return value
        return kind(items)


def _restore_string(value: str) -> str | bytes:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass  # a lone surrogate that Python 2 had in a unicode string
    return value
