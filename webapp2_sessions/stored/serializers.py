"""Session data as bytes for servers: pickles, Python 2's included, or tagged JSON."""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

# Of CPython's own, whatever an application has put into pickle before this is first needed.
try:
    from _pickle import Unpickler as _Unpickler
    from _pickle import dumps as _dumps
    from _pickle import loads as _loads
except ImportError:  # another Python
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

__all__ = [
    "OWN_PROTOCOL",
    "SHARED_PROTOCOL",
    "Serializer",
    "UnpicklableValue",
    "dump_pickle",
    "format_of",
    "load_pickle",
    "undecodable",
]

#: The newest protocol that Python 2.7 reads, so that old applications can share entities.
SHARED_PROTOCOL = 2

#: The newest protocol that all supported versions of Python write alike.
OWN_PROTOCOL = 5

#: How JSON begins here. A pickle of any protocol begins with an opcode, and these are none.
_JSON_BEGINS = (b"{", b"[", b" ")


_NO_PICKLE = "it cannot be pickled ({}); store plain values from which it can be made again"


class UnpicklableValue(UnstorableValue, pickle.PicklingError, AttributeError):
    """It cannot be pickled; the error is also what pickle raises, which differs by the value.

    It is defined here and not with the other errors, because it needs pickle.
    """


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
            _dump_json if writes == "json" else functools.partial(dump_pickle, protocol=protocol)
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
        found = format_of(data)
        if found not in self._reads:
            raise RefusedFormat(found)
        return _load_json(data) if found == "json" else load_pickle(data)


def format_of(data: bytes) -> str:
    """Return the format of stored data, ``"json"`` or ``"pickle"``; nothing is decoded."""
    return "json" if data.startswith(_JSON_BEGINS) else "pickle"


def undecodable(error: Exception) -> str:
    """Return what an error of :meth:`Serializer.loads` says about a session, without its data."""
    is_safe = isinstance(error, (MissingClass, RefusedFormat))
    return f"a stored session cannot be decoded ({error if is_safe else type(error).__name__})"


@functools.lru_cache(maxsize=16)
def _serializer(writes: str, also_reads: tuple[str, ...], protocol: int) -> Serializer:
    return Serializer(writes, also_reads, protocol)


# Imported where it is used: it needs much of the standard library, which takes 10 ms to load.


def _load_json(data: bytes) -> Any:
    from webapp2_sessions.stored import tagged_json

    return tagged_json.loads(data)


def _dump_json(value: Any) -> bytes:
    from webapp2_sessions.stored import tagged_json

    data = tagged_json.dumps(value)
    return data if data[:1] in _JSON_BEGINS else b" " + data


def dump_pickle(value: Any, protocol: int = SHARED_PROTOCOL) -> bytes:
    """Pickle a value, by default so that Python 2.7 can read it.

    :raises UnstorableValue: a value in it cannot be pickled, or is too deep.
    :raises Exception: whatever a class raises whose instances cannot be pickled.
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
    """Unpickle a value that any Python from 2.5 on has written.

    Text that Python 2 wrote as ``str`` comes back as ``str`` where it is valid UTF-8, and as
    ``bytes`` otherwise. Never give it data that others could have written.

    :raises MissingClass: it names a class that cannot be imported.
    :raises Exception: whatever a broken pickle raises.
    """
    try:
        return _loads(data)  # which takes what Python 2 wrote for ASCII
    except UnicodeDecodeError:
        may_be_of_python2 = data[:1] != b"\x80" or data[1] <= SHARED_PROTOCOL
        again = rewritten(data, _loads) if may_be_of_python2 else data
    except Exception:
        again = data
    return _Explainer(io.BytesIO(again)).load()


class _Explainer(_Unpickler):
    """Unpickles again what could not be unpickled, and names the class for which that is so."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except Exception as error:
            raise MissingClass(f"{module}.{name}", type(error).__name__) from error
