"""The sessions pickled by Python 2.7, as Python 3 has to read them.

The pickles are tests/fixtures/python2/NAME.PROTOCOL.pickle; `EXPECTED` has the same names.
A Python 2 `str` that is valid UTF-8 is read as `str`, any other as `bytes`; `unicode` is
read as `str` and `long` as `int`.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

from support import python2_classes as classes

__all__ = ["EXPECTED", "FOLDER", "PROTOCOLS", "describe", "pickled"]

FOLDER = Path(__file__).parent.parent / "fixtures" / "python2"

#: Those that Python 2 can write.
PROTOCOLS = (0, 1, 2)

Session = dict[Any, Any]


def pickled(name: str, protocol: int) -> bytes:
    """Return a session as Python 2.7 stored it."""
    return (FOLDER / f"{name}.{protocol}.pickle").read_bytes()


def describe(value: object) -> object:
    """Return a form of `value` that == compares by exact types and by which containers are shared.

    Plain == takes True for 1, gives up on cycles and does not see whether two equal lists
    are one.
    """
    return _describe(value, {})


def _describe(value: object, seen: dict[int, int]) -> object:
    """`describe`, with the order in which mutable containers were met."""
    if type(value).__module__ == classes.__name__:
        if id(value) in seen:
            return ("number", seen[id(value)])
        seen[id(value)] = len(seen)
        names = vars(value) if hasattr(value, "__dict__") else getattr(value, "__slots__", ())
        attributes = {name: getattr(value, name) for name in names if hasattr(value, name)}
        described = sorted((name, _describe(item, seen)) for name, item in attributes.items())
        return (type(value).__name__, described, _describe_content(value, seen))
    return _describe_content(value, seen)


def _describe_content(value: object, seen: dict[int, int]) -> object:
    """`describe`, of what a container holds, and of a value whose repr() is all of it."""
    kind = type(value).__name__
    if isinstance(value, list | dict | set | bytearray | collections.deque):
        if id(value) in seen:
            return (kind, "number", seen[id(value)])
        seen[id(value)] = len(seen)
    if isinstance(value, collections.defaultdict):
        kind += f" of {value.default_factory}"
    if isinstance(value, collections.OrderedDict):
        return (kind, [(_describe(k, seen), _describe(v, seen)) for k, v in value.items()])
    if isinstance(value, collections.deque):
        return (kind, value.maxlen, [_describe(item, seen) for item in value])
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: repr(item[0]))
        return (kind, [(_describe(k, seen), _describe(v, seen)) for k, v in items])
    if isinstance(value, set | frozenset):
        return (kind, [_describe(item, seen) for item in sorted(value, key=repr)])
    if isinstance(value, list | tuple):
        return (kind, [_describe(item, seen) for item in value])
    return (kind, kind if type(value).__repr__ is object.__repr__ else repr(value))


def _counted() -> Session:
    """Return a defaultdict of lists."""
    found: dict[Any, Any] = collections.defaultdict(list)
    found["a"].append(b"\xff")
    found[b"\xff"].append("Zürich")
    return found


def _instances(text: str | bytes) -> Session:
    """Objects of all kinds that hold a text."""
    words, options = classes.Words([text]), classes.Options({text: text})
    words.note, options.note = text, text  # type: ignore[attr-defined]
    note = classes.Note(text=text, inside=[text, (text,)])
    note.itself = note
    return {
        "list": words,
        "dict": options,
        "set": classes.Tags([text]),
        "tuple": classes.Pair([text]),
        "namedtuple": classes.Point(text, "y"),
        "note": note,
        "slots": classes.Slotted(text),
        "state": classes.Stateful(text),
        "reduced": classes.Reduced(text, [text]),
        "error": ValueError(text),
        "title": classes.Title("Zürich"),
    }


def _moments(cls_date: Any, cls_datetime: Any, cls_time: Any) -> Session:
    """Dates whose state is ASCII, is UTF-8 by chance, and is neither."""
    return {
        "date": cls_date(2014, 5, 13),
        "ASCII date": cls_date(1820, 1, 2),
        "datetime": cls_datetime(2014, 5, 13, 16, 53, 20, 123456),
        "ASCII datetime": cls_datetime(1820, 1, 2, 3, 4, 5),
        "UTF-8 datetime": cls_datetime(1820, 1, 2, 3, 4, 5, 0xC3A9),
        "zone": cls_datetime(2014, 5, 13, 16, tzinfo=classes.Zone()),
        "time": cls_time(23, 59, 58, 999999),
        "ASCII time": cls_time(1, 2, 3),
        "UTF-8 time": cls_time(1, 2, 3, 0xC3A9),
        "text like a time": "\x01\x02\x03\x00é",
        "class": cls_datetime,
    }


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
    """Return a list, a dict and a tuple that contain themselves."""
    ring: list[object] = ["ring"]
    ring.append(ring)
    node: dict[str, object] = {"name": "node"}
    node["self"] = node
    inner: list[object] = []
    pair = ("pair", inner)
    inner.append(pair)
    return {"ring": ring, "node": node, "pair": pair}


def _cycles_binary() -> Session:
    """Return a list and a dict that contain themselves and text that is not UTF-8."""
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
    "collections_binary": {
        "OrderedDict": collections.OrderedDict([(b"\xff", 1), ("b", b"\xff"), ("a", [b"\xff"])]),
        "defaultdict": _counted(),
        "deque": collections.deque([b"\xff", "two", (b"\xff",)], 5),
        "Counter": collections.Counter([b"\xff", b"\xff", "a"]),
        "nested": [collections.OrderedDict(a=collections.deque([b"\xff"]))],
    },
    "old_style": {
        "with arguments": classes.Old(b"\xff"),
        "with attributes": classes.Older(b"\xff"),
    },
    "instances": _instances("Zürich"),
    "instances_binary": _instances(b"Z\xfcrich"),
    "moments": _moments(datetime.date, datetime.datetime, datetime.time),
    "moments_binary": {
        **_moments(datetime.date, datetime.datetime, datetime.time),
        "binary": b"\xff",
    },
    "own_moments": _moments(classes.Day, classes.Moment, classes.Clock),
    "labels": {
        "ASCII": classes.Label("a"),
        "UTF-8": classes.Label("Zürich"),
        "binary": classes.Label("Z\udcfcrich"),
    },
    "arrays": {"ints": array.array("i", [1, -1, 65]), "ASCII": array.array("b", [1, 65])},
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
