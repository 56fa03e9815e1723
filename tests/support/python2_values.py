"""What the sessions pickled by Python 2.7 have to be read as on Python 3.

The pickles are tests/fixtures/python2/NAME.PROTOCOL.pickle; `EXPECTED` has the same names.
A Python 2 `str` that is valid UTF-8 is read as `str`, any other as `bytes`; `unicode` is
read as `str` and `long` as `int`.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

__all__ = ["EXPECTED", "FOLDER", "PROTOCOLS", "describe", "pickled"]

FOLDER = Path(__file__).parent.parent / "fixtures" / "python2"

#: Those that Python 2 can write.
PROTOCOLS = (0, 1, 2)

Session = dict[Any, Any]


def pickled(name: str, protocol: int) -> bytes:
    """A session as Python 2.7 stored it."""
    return (FOLDER / f"{name}.{protocol}.pickle").read_bytes()


def describe(value: object) -> object:
    """A form of `value` that == compares by exact types and by which containers are shared.

    Plain == takes True for 1, gives up on cycles and does not see whether two equal lists
    are one.
    """
    return _describe(value, {})


def _describe(value: object, seen: dict[int, int]) -> object:
    """`describe`, with the order in which mutable containers were met."""
    kind = type(value).__name__
    if isinstance(value, list | dict | set | bytearray):
        if id(value) in seen:
            return (kind, "number", seen[id(value)])
        seen[id(value)] = len(seen)
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: repr(item[0]))
        return (kind, [(_describe(k, seen), _describe(v, seen)) for k, v in items])
    if isinstance(value, set | frozenset):
        return (kind, [_describe(item, seen) for item in sorted(value, key=repr)])
    if isinstance(value, list | tuple):
        return (kind, [_describe(item, seen) for item in value])
    return (kind, repr(value))


def _shared() -> Session:
    """One list, one dict and one set, each reachable in two ways."""
    items, options, tags = ["one", "two"], {"size": "L"}, {"new"}
    return {
        "cart": items,
        "wishlist": items,
        "first": [options, tags],
        "second": [options, tags],
    }


def _shared_binary() -> Session:
    """One list and one dict, each reachable twice, with text that is not UTF-8."""
    items: list[object] = [b"\xff", "two"]
    options = {"city": b"Z\xfcrich"}
    return {"cart": items, "wishlist": items, "options": [options, options]}


def _cycles() -> Session:
    """A list, a dict and a tuple that contain themselves."""
    ring: list[object] = ["ring"]
    ring.append(ring)
    node: dict[str, object] = {"name": "node"}
    node["self"] = node
    inner: list[object] = []
    pair = ("pair", inner)
    inner.append(pair)
    return {"ring": ring, "node": node, "pair": pair}


def _cycles_binary() -> Session:
    """A list and a dict that contain themselves and text that is not UTF-8."""
    ring: list[object] = [b"Z\xfcrich"]
    ring.append(ring)
    node: dict[str, object] = {"name": b"Z\xfcrich"}
    node["self"] = node
    return {"ring": ring, "node": node}


EXPECTED: dict[str, Session] = {
    "empty": {},
    "text": {
        "str": "value",
        "unicode key": "value",
        "empty": "",
        "markup": '<a href="/">home</a>\r\n\tend',
        "unicode": "Zürich",
        "beyond the BMP": "\U0001f40d",
        "key é": "café",
    },
    "utf8": {
        "city": "Zürich",
        "café": "key that is not ASCII",
        "snake": "\U0001f40d",
        "nul": "a\x00b",
    },
    "binary": {
        "latin-1": b"Z\xfcrich",
        "every byte": bytes(range(256)),
        "truncated utf-8": b"Z\xc3",
        "surrogate": b"\xed\xa0\x80",
        "text beside it": "plain",
        "unicode beside it": "Zürich",
    },
    "binary_key": {b"\xff\xfe": "value", "plain": b"\xff\xfe"},
    "numbers": {
        "int": 42,
        "negative": -7,
        "largest int": 2**63 - 1,
        "long": 2**63,
        "small long": 5,
        "large long": -(10**40),
        "float": 0.1,
        "infinite": float("inf"),
        "whole float": 3.0,
        "true": True,
        "false": False,
        "none": None,
        7: "key that is an int",
        None: "key that is None",
    },
    "dates": {
        "datetime": datetime.datetime(2014, 5, 13, 16, 53, 20, 123456),
        "state is ASCII": datetime.datetime(1820, 1, 2, 3, 4, 5),
        "date": datetime.date(2014, 5, 13),
        "time": datetime.time(23, 59, 58, 999999),
        "midnight": datetime.time(),
        "timedelta": datetime.timedelta(days=-1, seconds=2, microseconds=3),
        "earliest": datetime.datetime.min,
        "latest": datetime.datetime.max,
    },
    "dates_binary": {
        "datetime": datetime.datetime(2014, 5, 13, 16, 53, 20, 123456),
        "date": datetime.date(2014, 5, 13),
        "time": datetime.time(23, 59, 58, 999999),
        "latin-1": b"Z\xfcrich",
        "list": [datetime.date(2014, 5, 13), b"\xff"],
    },
    "decimal": {
        "price": decimal.Decimal("1.10"),
        "small": decimal.Decimal("1E-30"),
        "infinite": decimal.Decimal("Infinity"),
    },
    "uuid": {"id": uuid.UUID("12345678-1234-5678-1234-567812345678")},
    "bytearray": {
        "ascii": bytearray(b"abc"),
        "every byte": bytearray(range(256)),
        "empty": bytearray(),
    },
    "containers": {
        "tuples": [(), ("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")],
        "set": {"a", "b", 3},
        "empty set": set(),
        "frozenset": frozenset(["x", "y"]),
        "lists": [[], ["a", ["b", ["c"]]]],
        "dicts": {"a": {"b": {"c": "d"}}, "empty": {}},
        "tuple key": {("a", 1): "b"},
        "mixed": [{"a": ({"b"}, [None, True])}],
    },
    "containers_binary": {
        "tuples": [(b"\xff",), ("a", ("b", b"\xff"))],
        "set": {"a", b"\xff"},
        "frozenset": frozenset([b"\xff", "y"]),
        "lists": ["a", ["b", [b"\xff"]]],
        "dicts": {"a": {b"\xff": {"c": b"\xff"}}},
        "tuple key": {("a", b"\xff"): "b"},
    },
    "shared": _shared(),
    "shared_binary": _shared_binary(),
    "cycles": _cycles(),
    "cycles_binary": _cycles_binary(),
    "flashes": {
        "_flash": [("Saved.", "success"), ("Café full", "error"), ("No level", None)],
    },
    "auth": {"_user": [5629499534213120, True, "token", 1400000000, 1400000001]},
    "auth_unicode": {"_user": ["5629499534213120", 1, "token", 1400000000, 1400000001]},
}
