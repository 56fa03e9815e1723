"""Values of all kinds, equal and nearly equal pairs, and values that cannot be stored."""

from __future__ import annotations

import array
import copyreg
import dataclasses
import datetime
import enum
import fractions
import functools
import ipaddress
import operator
import pathlib
import re
import threading
import types
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = [
    "ALIKE",
    "DIFFERENT",
    "KINDS",
    "NEARLY",
    "UNSTORABLE",
    "Array",
    "Liar",
    "Plain",
    "Quarrelsome",
    "Unpicklable",
    "cycle",
    "diamonds",
]

UTC = datetime.timezone.utc
#: A system without time zones has only the offset.
NEW_YORK = (
    zoneinfo.ZoneInfo("America/New_York")
    if "America/New_York" in zoneinfo.available_timezones()
    else datetime.timezone(datetime.timedelta(hours=-5), "EST")
)


class Plain:
    """An object that is equal to itself only."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Liar(Plain):
    """An object that claims to be equal to anything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 1


class Row(Plain):
    """As a database's: equal to any row of the same key."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and vars(self)["key"] == vars(other)["key"]

    def __hash__(self) -> int:
        return hash(vars(self)["key"])


class Array:
    """As numpy's arrays: comparing two gives one answer for each value, which is no truth."""

    def __init__(self, *values: int) -> None:
        self.values = values

    def __eq__(self, other: object) -> Any:
        return Answers([one == two for one, two in zip(self.values, other.values, strict=True)])  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]


class Answers(list[bool]):
    """What comparing arrays gives."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value of several answers is ambiguous")


class Quarrelsome:
    """An object that does not let itself be compared."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


class Unpicklable:
    """An object that is equal to itself only, and cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("do not pickle me")


class Endless:
    """An object that is pickled as one of the same kind, and so on."""

    def __reduce__(self) -> Any:
        return Endless, (Endless(),)


class Text(str):
    """Text with attributes."""

    language: str


class Items(list[Any]):
    """A list with attributes."""

    page: int


class Tags(set[Any]):
    """A set with attributes."""

    owner: str


class Colour(enum.IntEnum):
    """Equal to its number."""

    RED = 1


class Point(NamedTuple):
    """Equal to a plain tuple."""

    x: int
    y: int


@dataclasses.dataclass
class Price:
    """A dataclass of which one field is not compared."""

    amount: int
    currency: str = dataclasses.field(compare=False)


class Slots:
    """An object without a dictionary."""

    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Keyworded:
    """An object that is made by keywords."""

    def __new__(cls, *, a: Any = None) -> Keyworded:
        made = super().__new__(cls)
        made.a = a
        return made

    a: Any

    def __getnewargs_ex__(self) -> Any:
        return (), {"a": self.a}

    def __getstate__(self) -> Any:
        return None


class Registered(Plain):
    """An object whose class says nothing about pickles; :mod:`copyreg` does."""


copyreg.pickle(Registered, lambda each: (_registered, (vars(each)["a"],)))


def _registered(a: Any) -> Registered:
    return Registered(a=a)


def _as(kind: Any, value: Any, **attributes: Any) -> Any:
    made = kind(value)
    vars(made).update(attributes)
    return made


def cycle(*values: Any) -> list[Any]:
    """Return a list that holds the values, and itself."""
    result = list(values)
    result.append(result)
    return result


def _text() -> str:
    """Equal text, each time another object."""
    return "".join(["te", "xt"])


def _tree(depth: int = 3, leaf: str = "leaf", parent: Any = None) -> Plain:
    """Objects without a hash of their own, which know their children and their parent."""
    node = Plain(parent=parent, name=leaf if depth == 0 else str(depth))
    vars(node)["children"] = {_tree(depth - 1, f"{leaf}{n}", node) for n in range(3 * (depth > 0))}
    return node


def _chain(length: int, last: str) -> Plain:
    """Objects that know the one before and the one behind."""
    first = node = Plain(value="a", before=None)
    for _ in range(length):
        behind = Plain(value="a", before=node)
        vars(node)["behind"] = behind
        node = behind
    vars(node).update(behind=None, value=last)
    return first


def diamonds(depth: int) -> list[Any]:
    """Return a list that holds one list twice, which does the same, and so on."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value, value]
    return value


def _set_of(*members: Any) -> set[Any]:
    made: set[Any] = set()
    for member in members:
        made.add(member)
    return made


#: Each call makes the value once more, of other objects.
KINDS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "truth": lambda: True,
    "text": _text,
    "lone surrogate": lambda: "\ud800",
    "number": lambda: int("1234567890123"),
    "float": lambda: float("1.5"),
    "not a number": lambda: float("nan"),
    "not a number inside": lambda: {"a": [float("nan")]},
    "complex": lambda: complex(float("nan"), -0.0),
    "bytes": lambda: bytes([1, 2]),
    "bytearray": lambda: bytearray(b"ab"),
    "containers": lambda: {"a": [1, (2, {"b": {3}})], "c": frozenset({4})},
    "keys": lambda: {1: 1, None: 2, (3, "a"): 3, b"x": 4, 1.5: 5},
    "set of nans": lambda: {float("nan"), float("nan")},
    "set of objects": lambda: {Plain(a=number) for number in range(20)},
    "set of sets": lambda: {frozenset({"a", "b"}), frozenset({"c"})},
    "subclass of a set": lambda: _as(Tags, {Plain(a=number) for number in range(20)}, owner="me"),
    "subclass of text": lambda: _as(Text, "a", language="en"),
    "subclass of a list": lambda: _as(Items, [1], page=2),
    "ordered dict": lambda: OrderedDict(a=1, b=[2]),
    "defaultdict": lambda: defaultdict(list, a=[1]),
    "counter": lambda: Counter("abca"),
    "deque": lambda: deque([1, [2]], maxlen=3),
    "named tuple": lambda: Point(1, 2),
    "enumeration": lambda: [Colour.RED],
    "dataclass": lambda: Price(1, "EUR"),
    "slots": lambda: Slots(1, [2]),
    "made by keywords": lambda: Keyworded(a=[1]),
    "registered": lambda: Registered(a=[1]),
    "decimal": lambda: Decimal("9.90"),
    "decimal that is no number": lambda: Decimal("sNaN5"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "uuid": lambda: uuid.UUID(int=5),
    "date": lambda: datetime.date(2026, 1, 1),
    "time": lambda: datetime.datetime(2026, 1, 1, tzinfo=UTC),
    "second hour": lambda: datetime.datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=NEW_YORK),
    "time difference": lambda: datetime.timedelta(days=-1, microseconds=5),
    "zone": lambda: datetime.timezone(datetime.timedelta(hours=1), "somewhere"),
    "path": lambda: pathlib.PurePosixPath("/a/b"),
    "network": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "array of numbers": lambda: array.array("i", [1, 2]),
    "pattern": lambda: re.compile("a+", re.IGNORECASE),
    "range": lambda: range(1, 5, 2),
    "slice": lambda: slice(1, None),
    "ellipsis": lambda: [..., NotImplemented],
    "class": lambda: [Plain, int, type(None)],
    "function": lambda: [len, cycle, operator.itemgetter(1), re.compile],
    "method": lambda: [dict.fromkeys, "text".upper],
    "partial": lambda: functools.partial(cycle, 1, [2]),
    "error": lambda: ValueError("wrong", 5),
    "namespace": lambda: types.SimpleNamespace(a=[1]),
    "iterator": lambda: iter([1, 2]),
    "object": lambda: Plain(a=[1]),
    "object inside": lambda: [(Plain(a=[1]),)],
    "object as a key": lambda: {Plain(a=1): 1},
    "array": lambda: Array(1, 2),
    "array inside": lambda: {"a": [Array(1, 2)]},
    "an == that raises": lambda: Quarrelsome(1),
    "an == that lies": lambda: Liar(a=1),
    "row": lambda: Row(key=1, name="a"),
    "cycle": lambda: cycle(1),
    "cycle of objects": lambda: _tree(2),
    "long cycle": lambda: _chain(50, "z"),
    "shared": lambda: diamonds(8),
}

#: Pairs that would be stored the same, although their pickles can be different.
ALIKE: dict[str, tuple[Any, Any]] = {
    "text that is one object or two": ([text := _text(), text], [_text(), _text()]),
    "in a tuple": ((text, text), (_text(), _text())),
    "in an object": (Plain(a=text, b=text), Plain(a=_text(), b=_text())),
    "as a key": ({text: text}, {_text(): _text()}),
    "decimals": ([price := Decimal("1.5")] * 2, [Decimal("1.5"), price]),
    "lists": ([text, items := [1], items], [text, [1], [1]]),
    "objects": ([row := Row(key=1), row], [Row(key=1), Row(key=1)]),
    "lists of lists": (diamonds(10), [diamonds(9), diamonds(9)]),
    "sets": (_set_of(0, 8, 16), _set_of(16, 8, 0)),
    "sets of text": ({"a", "b"}, _set_of(*sorted({"a", "b"}, reverse=True), "c") - {"c"}),
    "frozen sets": (frozenset(_set_of(0, 8)), frozenset(_set_of(8, 0))),
    "subclasses of sets": (Tags([0, 8, 16]), Tags([16, 8, 0])),
    "sets that were larger": (_set_of(*range(100)) - {*range(3, 100)}, {0, 1, 2}),
    "trees": ([_tree(), text, text], [_tree(), _text(), _text()]),
    "cycles": (cycle(text, text), cycle(_text(), _text())),
    "cycle in a set": (
        [Plain(a={ring[0]: ring[0] for ring in [cycle("a", text, text)]})],
        [Plain(a={ring[0]: ring[0] for ring in [cycle("a", _text(), _text())]})],
    ),
}

#: Pairs that are equal by ``==``, or would say so, and would be stored differently.
NEARLY: dict[str, tuple[Any, Any]] = {
    "bool and int": (True, 1),
    "bool and int inside": ([{"a": (False,)}], [{"a": (0,)}]),
    "int and float": (1, 1.0),
    "float and decimal": (1.0, Decimal(1)),
    "sign of zero": (0.0, -0.0),
    "sign of zero inside": ({"a": [0.0]}, {"a": [-0.0]}),
    "sign of an imaginary zero": (complex(0, 0.0), complex(0, -0.0)),
    "decimals": (Decimal("9.9"), Decimal("9.90")),
    "decimals inside": ([{"price": Decimal("9.9")}], [{"price": Decimal("9.90")}]),
    "bytes and bytearray": (b"a", bytearray(b"a")),
    "dict and ordered dict": ({"a": 1}, OrderedDict(a=1)),
    "dict and counter": ({"a": 1}, Counter("a")),
    "set and frozenset": ({1}, frozenset({1})),
    "order of a dict": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "order of a dict inside": ([({"a": 1, "b": 2},)], [({"b": 2, "a": 1},)]),
    "order of an ordered dict": (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    "order of a counter": (Counter("ab"), Counter("ba")),
    "key of a dict": ({1: "a"}, {True: "a"}),
    "members of a set": ({1, "a"}, {1.0, "a"}),
    "members of a frozenset": (frozenset({0}), frozenset({False})),
    "what a defaultdict makes": (defaultdict(list, a=[1]), defaultdict(set, a=[1])),
    "what a defaultdict makes no more": (defaultdict(list, a=[1]), defaultdict(None, a=[1])),
    "length of a deque": (deque([1], maxlen=2), deque([1], maxlen=3)),
    "length of a deque that had none": (deque([1]), deque([1], maxlen=3)),
    "another zone": (
        datetime.datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime.datetime(2026, 1, 1, 7, tzinfo=NEW_YORK),
    ),
    "zone of another name": (
        datetime.datetime(2026, 1, 1, tzinfo=UTC),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(0), "Zulu")),
    ),
    "second hour": (
        datetime.datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK),
        datetime.datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=1),
    ),
    "second hour without a zone": (datetime.time(1, 30), datetime.time(1, 30, fold=1)),
    "text and a subclass": ("a", Text("a")),
    "attribute of a text": (_as(Text, "a", language="en"), _as(Text, "a", language="de")),
    "attribute of a list": (_as(Items, [1], page=1), _as(Items, [1], page=2)),
    "attribute of a set": (_as(Tags, {1}, owner="me"), _as(Tags, {1}, owner="you")),
    "enumeration and int": (Colour.RED, 1),
    "named tuple and tuple": (Point(1, 2), (1, 2)),
    "field that is not compared": (Price(1, "EUR"), Price(1, "USD")),
    "rows": (Row(key=1, name="a"), Row(key=1, name="b")),
    "rows inside": ([Row(key=1, name="a")], [Row(key=1, name="b")]),
    "rows in a set": ({Row(key=1, name="a")}, {Row(key=1, name="b")}),
    "row as a key": ({Row(key=1, name="a"): 1}, {Row(key=1, name="b"): 1}),
    "an == that lies": (Liar(a=1), Liar(a=2)),
    "ranges": (range(0), range(1, 1)),
}

#: Pairs that are different by any measure.
DIFFERENT: dict[str, tuple[Any, Any]] = {
    "text and bytes": ("a", b"a"),
    "list and tuple": ([1], (1,)),
    "none and missing": ({"a": None}, {}),
    "values": ({"a": 1}, {"a": 2}),
    "keys": ({"a": 1}, {"b": 1}),
    "key and value": ({"a": "b"}, {"b": "a"}),
    "length": ([1], [1, 1]),
    "order": ([1, 2], [2, 1]),
    "nesting": ([[1], 2], [[1, 2]]),
    "sets": ({1, 2}, {1, 3}),
    "objects": (Plain(a=1), Plain(a=2)),
    "objects in a set": ({Plain(a=1), Plain(a=1)}, {Plain(a=1), Plain(a=2)}),
    "classes": (Plain, Row),
    "objects of other classes": (Plain(key=1), Row(key=1)),
    "functions": (cycle, _text),
    "methods": (datetime.datetime.now, datetime.datetime.today),
    "arrays": (Array(1, 2), Array(1, 3)),
    "arrays of other sizes": (Array(1, 2), Array(1)),
    "an == that raises": (Quarrelsome(1), Quarrelsome(2)),
    "registered": (Registered(a=1), Registered(a=2)),
    "cycles": (cycle(1), cycle(2)),
    "cycle and none": (cycle(1), [1, [1]]),
    "trees": (_tree(), _tree(3, "other")),
    "one leaf": ([_tree(), _tree()], [_tree(), _tree(3, "other")]),
    "far end of a chain": (_chain(100, "y"), _chain(100, "z")),
    "length of a chain": (_chain(99, "a"), _chain(100, "a")),
}

#: Each call makes a value that no server can store.
UNSTORABLE: dict[str, Callable[[], Any]] = {
    "no pickle": Unpicklable,
    "function without a name": lambda: lambda: None,
    "local class": lambda: type("Local", (), {}),
    "object of a local class": lambda: type("Local", (), {})(),
    "lock": threading.Lock,
    "generator": lambda: (each for each in ()),
    "view of a dict": {"a": 1}.keys,
    "inside": lambda: {"a": [1, Unpicklable()]},
    "in a cycle": lambda: cycle(Unpicklable()),
    "without an end": Endless,
}
