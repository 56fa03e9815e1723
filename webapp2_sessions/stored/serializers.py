"""Serialization of stored sessions: pickles, including those of Python 2, or tagged JSON."""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

# CPython's own functions, even if an application has patched those of the pickle module.
try:
    from _pickle import Unpickler as _Unpickler
    from _pickle import dumps as _dumps
    from _pickle import loads as _loads
except ImportError:  # another implementation of Python
    from pickle import Unpickler as _Unpickler
    from pickle import dumps as _dumps
    from pickle import loads as _loads

from webapp2_sessions.errors import (
    MissingClass,
    RefusedFormat,
    TooDeepValue,
    UnstorableValue,
    unstorable,
)
from webapp2_sessions.stored.python2_pickles import rewritten

#: The newest protocol that Python 2.7 reads, so that old applications can share entities.
SHARED_PROTOCOL = 2

#: The newest protocol that all supported versions of Python write alike.
OWN_PROTOCOL = 5

#: First bytes of stored JSON. No pickle begins with one of them, since they are no opcodes.
_JSON_STARTS = (b"{", b"[", b" ")

_NO_PICKLE = "it cannot be pickled ({}); store plain values from which it can be made again"


class UnpicklableValue(UnstorableValue, pickle.PicklingError, AttributeError):
    """A value cannot be pickled. The other base classes are what pickle raises.

    It is not defined in :mod:`webapp2_sessions.errors`, which would have to import pickle.
    """


class Serializer:
    """Serializes to one format, and deserializes each accepted format.

    :param writes: ``"pickle"`` or ``"json"``.
    :param also_reads: further formats to deserialize.
    :param protocol: the protocol of new pickles.
    """

    def __init__(
        self,
        writes: str = "pickle",
        also_reads: Collection[str] = (),
        protocol: int = SHARED_PROTOCOL,
    ) -> None:
        #: The readers of accepted formats, by whether that is JSON.
        self._readers = {
            is_json: load
            for name, is_json, load in (("json", True, _load_json), ("pickle", False, load_pickle))
            if name in (writes, *also_reads)
        }
        #: Serializes a value; raises :class:`UnstorableValue` or what a class of the value raises.
        self.dumps: Callable[[Any], bytes] = (
            _dump_json if writes == "json" else functools.partial(dump_pickle, protocol=protocol)
        )

    @staticmethod
    def of(config: Mapping[str, Any], protocol: int) -> Serializer:
        """Return the serializer of a session configuration, which need not be validated."""
        writes = config.get("serializer") or "pickle"
        return _serializer(writes, tuple(config.get("serializer_fallbacks") or ()), protocol)

    def loads(self, data: bytes) -> Any:
        """Deserialize a value. Unpickling untrusted data runs code: verify its origin first.

        :raises RefusedFormat: the format is not accepted; nothing was deserialized.
        :raises Exception: whatever damaged data, or a pickle of a missing class, raises.
        """
        read = self._readers.get(data.startswith(_JSON_STARTS))
        if read is None:
            raise RefusedFormat(format_of(data))
        return read(data)


def format_of(data: bytes) -> str:
    """Return the format of stored data, ``"json"`` or ``"pickle"``, without decoding it."""
    return "json" if data.startswith(_JSON_STARTS) else "pickle"


def undecodable(error: Exception) -> str:
    """Return a message for an error of :meth:`Serializer.loads` that shows no session data."""
    is_safe = isinstance(error, (MissingClass, RefusedFormat))
    return f"a stored session cannot be decoded ({error if is_safe else type(error).__name__})"


_serializer = functools.lru_cache(maxsize=16)(Serializer)


# Optimization: tagged_json is imported on first use; the modules it needs take 10 ms to load.


def _load_json(data: bytes) -> Any:
    from webapp2_sessions.stored import tagged_json

    return tagged_json.loads(data)


def _dump_json(value: Any) -> bytes:
    from webapp2_sessions.stored import tagged_json

    data = tagged_json.dumps(value)
    return data if data[:1] in _JSON_STARTS else b" " + data


def dump_pickle(value: Any, protocol: int = SHARED_PROTOCOL) -> bytes:
    """Pickle a value, by default in a protocol of Python 2.7.

    :raises UnstorableValue: a value in it cannot be pickled, or is nested too deeply.
    :raises Exception: whatever a class raises in its pickling methods.
    """
    try:
        return _dumps(value, protocol)
    except RecursionError as error:
        culprit = unstorable.deepest(value, unstorable.in_pickle)
        raise TooDeepValue(culprit.path, culprit.kind, unstorable.TOO_DEEP) from error
    except (AttributeError, pickle.PicklingError, TypeError) as error:
        again = functools.partial(_dumps, protocol=protocol)
        culprit = unstorable.find(value, again, unstorable.in_pickle, False)
        problem = _NO_PICKLE.format(type(error).__name__)
        raise UnpicklableValue(culprit.path, culprit.kind, problem) from error


def load_pickle(data: bytes) -> Any:
    """Unpickle a value that any Python since 2.5 has pickled.

    A ``str`` of Python 2 is returned as ``str`` if it is valid UTF-8, and as ``bytes`` otherwise.
    Unpickling untrusted data runs code: verify its origin first.

    :raises MissingClass: a class in it cannot be imported.
    :raises Exception: whatever a damaged pickle raises.
    """
    try:
        return _loads(data)  # it reads each str of Python 2 as ASCII
    except UnicodeDecodeError:
        may_be_of_python2 = data[:1] != b"\x80" or data[1] <= SHARED_PROTOCOL
        again = rewritten(data, _loads) if may_be_of_python2 else data
    except Exception:
        again = data
    return _ExplainingUnpickler(io.BytesIO(again)).load()


class _ExplainingUnpickler(_Unpickler):
    """An unpickler for a second attempt, which names the class that cannot be imported."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except Exception as error:
            raise MissingClass(f"{module}.{name}", type(error).__name__) from error
