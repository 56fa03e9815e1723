"""Session data as bytes for servers: pickles, Python 2's included, and the signed envelope."""

from __future__ import annotations

import datetime
import hmac
import io
import pickle
from collections.abc import Callable
from typing import Any

from webapp2_sessions.errors import BadSignature

__all__ = ["SignedPickles", "dump_pickle", "load_pickle"]

#: The newest protocol that Python 2.7 reads, so that old applications can share entities.
SHARED_PROTOCOL = 2

#: The newest protocol that all supported versions of Python write alike.
OWN_PROTOCOL = 5


def dump_pickle(value: Any) -> bytes:
    """Pickle a value so that Python 2.7 can read it."""
    return pickle.dumps(value, SHARED_PROTOCOL)


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


class SignedPickles:
    """Pickles that are unpickled only if we wrote them, for servers that others can write to.

    A value is a format byte, an HMAC-SHA256 of name and pickle, and the pickle. The name under
    which it is stored is part of what is signed, so that a value cannot be moved to another name.

    :param key: a key for this purpose only, see :func:`webapp2_sessions.keys.derive_key`.
    """

    #: First byte of each value; another format gets another byte.
    FORMAT = b"\x01"

    _DIGEST_SIZE = 32

    def __init__(self, key: bytes) -> None:
        self._hmac = hmac.new(key, digestmod="sha256")

    def dumps(self, name: bytes, value: Any) -> bytes:
        """Return the signed pickle of a value."""
        pickled = pickle.dumps(value, OWN_PROTOCOL)
        return b"".join((self.FORMAT, self._mac(name, pickled), pickled))

    def loads(self, name: bytes, data: bytes) -> Any:
        """Return the value of a signed pickle.

        :raises BadSignature: it was not written by us under this name; nothing was unpickled.
        :raises Exception: whatever a pickle of a missing class raises.
        """
        start = len(self.FORMAT) + self._DIGEST_SIZE
        pickled = data[start:]
        if not data.startswith(self.FORMAT) or not hmac.compare_digest(
            data[len(self.FORMAT) : start], self._mac(name, pickled)
        ):
            raise BadSignature("a stored value was not written by this application")
        return pickle.loads(pickled)

    def _mac(self, name: bytes, pickled: bytes) -> bytes:
        mac = self._hmac.copy()
        mac.update(b"%d:%s" % (len(name), name))  # the length keeps name and pickle apart
        mac.update(pickled)
        return mac.digest()
