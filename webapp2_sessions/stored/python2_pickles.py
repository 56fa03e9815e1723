"""Conversion of Python 2 pickles: each ``str`` in them becomes text or bytes.

Python 3 can only read all of them as text, or all as bytes. So the pickle itself is rewritten
before it is loaded: valid UTF-8 becomes text. Classes then get their state as from a pickle of
Python 3.
"""

from __future__ import annotations

import copyreg
import datetime
import pickle
from collections.abc import Callable, Iterator
from typing import Any

# Opcodes of protocols 0 to 2 by their arguments: lines, a number of bytes, or a size in bytes
# followed by as many bytes.
_LINES = {
    **dict.fromkeys((pickle.FLOAT, pickle.INT, pickle.LONG, pickle.STRING, pickle.UNICODE), 1),
    **dict.fromkeys((pickle.PERSID, pickle.GET, pickle.PUT), 1),
    **dict.fromkeys((pickle.GLOBAL, pickle.INST), 2),
}
_BYTES = {
    **dict.fromkeys((pickle.BININT1, pickle.BINGET, pickle.BINPUT), 1),
    **dict.fromkeys((pickle.PROTO, pickle.EXT1), 1),
    **dict.fromkeys((pickle.BININT2, pickle.EXT2), 2),
    **dict.fromkeys((pickle.BININT, pickle.LONG_BINGET, pickle.LONG_BINPUT, pickle.EXT4), 4),
    pickle.BINFLOAT: 8,
}
_SIZES = {
    **dict.fromkeys((pickle.SHORT_BINSTRING, pickle.LONG1), 1),
    **dict.fromkeys((pickle.BINSTRING, pickle.BINUNICODE, pickle.LONG4), 4),
}

_STRINGS = (pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING)

#: Opcodes that store a value in the memo, with the decoders of the memo's index.
_PUTS: dict[bytes, Callable[[bytes], int]] = {
    pickle.PUT: int,
    pickle.BINPUT: lambda number: number[0],
    pickle.LONG_BINPUT: lambda number: int.from_bytes(number, "little"),
}


def rewritten(data: bytes, loads: Callable[..., Any]) -> bytes:
    """Convert a pickle of protocol 0 to 2.

    :param loads: :func:`pickle.loads`.
    :raises Exception: the pickle is damaged.
    """
    operations = [*_operations(data)]
    spare = 1 + max((_PUTS[code](rest) for code, rest in operations if code in _PUTS), default=0)
    calls = {pickle.REDUCE: _calling(call, spare), pickle.NEWOBJ: _calling(create, spare)}
    return b"".join(
        _string(loads(code + rest + pickle.STOP, encoding="bytes"))
        if code in _STRINGS
        else calls.get(code) or code + rest
        for code, rest in operations
    )


def _operations(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each opcode with its argument."""
    position = 0
    while position < len(data):
        code, start = data[position : position + 1], position + 1
        position = start + _BYTES.get(code, 0)
        for _ in range(_LINES.get(code, 0)):
            position = data.index(b"\n", position) + 1
        if code in _SIZES:
            position += _SIZES[code]
            position += int.from_bytes(data[start:position], "little")
        yield code, data[start:position]


def _string(value: bytes) -> bytes:
    """Return the operation that loads a string: as text if it is UTF-8, else as bytes."""
    try:
        value.decode("utf-8")
        code = pickle.BINUNICODE
    except UnicodeDecodeError:
        code = pickle.BINBYTES
    return code + len(value).to_bytes(4, "little") + value


def _calling(function: Callable[..., Any], spare: int) -> bytes:
    """Return operations that replace a call by ``function(callable, arguments)``.

    :param spare: an unused index of the memo.
    """
    number = spare.to_bytes(4, "little")
    both = pickle.TUPLE2 + pickle.LONG_BINPUT + number + pickle.POP
    name = f"{function.__module__}\n{function.__qualname__}\n".encode("ascii")
    return both + pickle.GLOBAL + name + pickle.LONG_BINGET + number + pickle.REDUCE


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function for a Python 2 pickle."""
    return function(*_converted(function, arguments))


def create(cls: Any, arguments: tuple[Any, ...]) -> Any:
    """Create an object for a Python 2 pickle."""
    return cls.__new__(cls, *_converted(cls, arguments))


def _converted(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments of the types that Python 3 expects."""
    if function is copyreg._reconstructor:  # type: ignore[attr-defined]
        cls, base, state = arguments
        return cls, base, _text(state) if base is str else state
    first, rest = arguments[:1], arguments[1:]
    if not isinstance(function, type):
        return arguments
    if issubclass(function, (datetime.date, datetime.time)):
        return *map(_binary, first), *rest
    if issubclass(function, str):
        return *map(_text, first), *rest
    return arguments


def _binary(state: Any) -> Any:
    return state.encode("utf-8") if isinstance(state, str) else state


def _text(state: Any) -> Any:
    # A subclass of str cannot hold bytes; surrogates preserve them.
    return state.decode("utf-8", "surrogateescape") if isinstance(state, bytes) else state
