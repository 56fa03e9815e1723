"""Tagged JSON: values keep their types, and unsupported ones are refused with their path."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import inspect
import io
import json
import math
import sys
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.exact import exact

from webapp2_sessions import SessionDict, UnstorableValue
from webapp2_sessions.stored.json_tags import MAX_DIGITS, SCALARS
from webapp2_sessions.stored.tagged_json import MAX_DEPTH, dumps, loads

LONG = 10**MAX_DIGITS
UTC = datetime.timezone.utc
NOON = datetime.datetime(2024, 5, 6, 12, 0, 7)


def hours(count: int, *name: str) -> datetime.timezone:
    """Return a fixed-offset zone."""
    return datetime.timezone(datetime.timedelta(hours=count), *name)


# The format. These bytes are in servers: they are read by all versions, and written as long as
# the format is the same.

SAMPLES: list[tuple[Any, str]] = [
    # As it is
    ({}, "{}"),
    ({"user": 5, "a": [1, "b", None, True, False]}, '{"user":5,"a":[1,"b",null,true,false]}'),
    ({"b": 1, "a": {"c": []}}, '{"b":1,"a":{"c":[]}}'),
    ("Grüße \U0001f600\u2028\x7f", '"Grüße \U0001f600\u2028\x7f"'),
    ('"\\/\b\t\n\x00', '"\\"\\\\/\\b\\t\\n\\u0000"'),
    ([0, -1, LONG - 1, 1 - LONG], f"[0,-1,{LONG - 1},{1 - LONG}]"),
    ([0.0, -0.0, 1.5, 1e16, 5e-324, 0.1], "[0.0,-0.0,1.5,1e+16,5e-324,0.1]"),
    # Numbers and text that JSON lacks
    (LONG, f'{{"!int":"{LONG:x}"}}'),
    (-LONG, f'{{"!int":"{-LONG:x}"}}'),
    (
        [math.nan, math.inf, -math.inf],
        '[{"!float":"nan"},{"!float":"inf"},{"!float":"-inf"}]',
    ),
    (1.5 - 2j, '{"!complex":[1.5,-2.0]}'),
    (complex(-0.0, math.nan), '{"!complex":[-0.0,{"!float":"nan"}]}'),
    ("a\ud800", '{"!str":"Ye2ggA=="}'),
    ("\udc80", '{"!str":"7bKA"}'),
    ("\ud83d\ude00", '{"!str":"7aC97biA"}'),
    # Containers
    ((), '{"!tuple":[]}'),
    ({"_flash": [("saved", "info")]}, '{"_flash":[{"!tuple":["saved","info"]}]}'),
    ({"b", "a", 'a"', "a!", 1}, '{"!set":["a!","a","a\\"","b",1]}'),
    (frozenset({(2, 1), None}), '{"!frozenset":[null,{"!tuple":[2,1]}]}'),
    (
        {2: "b", 1: "a", None: (), (1, "x"): b"", "text": 0},
        '{"!dict":[[2,"b"],[1,"a"],[null,{"!tuple":[]}],[{"!tuple":[1,"x"]},{"!bytes":""}],'
        '["text",0]]}',
    ),
    ({"\ud800": 1}, '{"!dict":[[{"!str":"7aCA"},1]]}'),
    # Looks like a tag
    ({"!tuple": [1]}, '{"!dict":[["!tuple",[1]]]}'),
    ({"!": {"!x": 1}}, '{"!dict":[["!",{"!dict":[["!x",1]]}]]}'),
    ({"!tuple": [1], "b": 2}, '{"!tuple":[1],"b":2}'),
    # The standard library's
    (b"\x00\xff\xfe", '{"!bytes":"AP/+"}'),
    (bytearray(b"ab"), '{"!bytearray":"YWI="}'),
    (
        [decimal.Decimal(text) for text in ("9.90", "-0", "1E+5", "NaN12", "sNaN", "-Infinity")],
        '[{"!decimal":"9.90"},{"!decimal":"-0"},{"!decimal":"1E+5"},{"!decimal":"NaN12"},'
        '{"!decimal":"sNaN"},{"!decimal":"-Infinity"}]',
    ),
    (uuid.UUID(int=10), '{"!uuid":"0000000000000000000000000000000a"}'),
    (datetime.date(33, 4, 3), '{"!date":"0033-04-03"}'),
    (datetime.time(7, 8, 9, 10), '{"!time":"07:08:09.000010"}'),
    (datetime.time(7, 8, fold=1, tzinfo=UTC), '{"!time":["07:08:00",1,{"!timezone":[Z]}]}'),
    (datetime.timedelta(-1, 2, 3), '{"!timedelta":[-1,2,3]}'),
    (NOON, '{"!datetime":"2024-05-06T12:00:07"}'),
    (NOON.replace(fold=1), '{"!datetime":["2024-05-06T12:00:07",1,null]}'),
    (NOON.replace(tzinfo=UTC), '{"!datetime":"2024-05-06T12:00:07+00:00"}'),
    (NOON.replace(tzinfo=hours(-3)), '{"!datetime":"2024-05-06T12:00:07-03:00"}'),
    (
        NOON.replace(tzinfo=hours(0, "GMT")),
        '{"!datetime":["2024-05-06T12:00:07",0,{"!timezone":[Z,"GMT"]}]}',
    ),
    (UTC, '{"!timezone":[Z]}'),
]
SAMPLES = [(value, text.replace("Z", '{"!timedelta":[0,0,0]}')) for value, text in SAMPLES]
EACH_SAMPLE = pytest.mark.parametrize(
    ("value", "text"), SAMPLES, ids=[text[:40].encode("unicode_escape") for _, text in SAMPLES]
)


@EACH_SAMPLE
def test_each_value_has_one_form_which_is_read_as_the_same_type(value: Any, text: str) -> None:
    assert text == dumps(value).decode("utf-8")
    assert exact(value) == exact(loads(text.encode("utf-8")))


def test_each_tag_has_a_sample() -> None:
    text = "".join(text for _, text in [*SAMPLES, *ZONE_SAMPLES])
    assert [tag for tag in SCALARS if f'{{"{tag}":' not in text] == []


# Time zones by name

BERLIN = "Europe/Berlin"
ZONE_SAMPLES = [
    (0, '{"!datetime":["2024-10-27T02:30:00",0,{"!zoneinfo":"Europe/Berlin"}]}'),
    (1, '{"!datetime":["2024-10-27T02:30:00",1,{"!zoneinfo":"Europe/Berlin"}]}'),
]


@pytest.fixture
def berlin() -> zoneinfo.ZoneInfo:
    """A zone from the system's database."""
    try:
        return zoneinfo.ZoneInfo(BERLIN)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zones here: apt-get install tzdata")


@pytest.mark.parametrize(("fold", "text"), ZONE_SAMPLES)
def test_a_zone_keeps_its_key(berlin: zoneinfo.ZoneInfo, fold: int, text: str) -> None:
    """Ambiguous times and time zone arithmetic are preserved."""
    moment = datetime.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=berlin)
    assert text == dumps(moment).decode("ascii")
    assert loads(dumps(moment)).tzinfo is berlin
    assert moment.utcoffset() == loads(dumps(moment)).utcoffset()


@pytest.mark.parametrize("key", [None, "Europe/Nowhere", "../Berlin"])
def test_a_zone_that_would_not_be_found_is_refused(key: str | None) -> None:
    """A zone from a file may have no key, or one that is not in the database."""
    with pytest.raises(UnstorableValue, match=r"ZoneInfo\(key\)") as caught:
        dumps({"at": NOON.replace(tzinfo=zoneinfo.ZoneInfo.from_file(io.BytesIO(TZIF), key))})
    assert (caught.value.path, caught.value.kind) == ("session['at'].tzinfo", "ZoneInfo")


@pytest.fixture
def tzdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty tzdata package, the fallback for the system's database."""
    (tmp_path / "tzdata" / "zoneinfo").mkdir(parents=True)
    for folder in ("tzdata", "tzdata/zoneinfo"):
        (tmp_path / folder / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, folder.replace("/", "."), raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("tzdata")
def test_a_zone_whose_file_cannot_be_opened_is_not_found() -> None:
    """The OSError about its file name is not passed on."""
    key = "x" * 300
    with pytest.raises(OSError, match="too long"):
        zoneinfo.ZoneInfo(key)
    with pytest.raises(ValueError, match="malformed !zoneinfo"):
        loads(json.dumps({"!zoneinfo": key}).encode())
    with pytest.raises(UnstorableValue, match="no time zone is found"):
        dumps(zoneinfo.ZoneInfo.from_file(io.BytesIO(TZIF), key))


#: The smallest file of a zone: version 1, one type, which is UTC (RFC 8536).
TZIF = b"TZif" + bytes(16) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))


@pytest.mark.parametrize("microseconds", [1, -1, -999_999, 1_000_001, 86_399_999_999])
def test_offsets_below_a_second_are_kept(microseconds: int) -> None:
    """fromisoformat() takes some of these for UTC."""
    zone = datetime.timezone(datetime.timedelta(microseconds=microseconds))
    for value in (NOON.replace(tzinfo=zone), datetime.time(1, tzinfo=zone)):
        assert exact(value) == exact(loads(dumps(value)))


TZIF += bytes(6) + b"UTC\0"


# Independence of settings


@pytest.fixture
def _low_limit() -> Iterator[None]:
    """Python's limit for reading and printing ints, as low as it can be set."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    yield
    sys.set_int_max_str_digits(limit)


@pytest.mark.usefixtures("_low_limit")
@pytest.mark.parametrize("value", [LONG - 1, LONG, -(10**640), 1 << 100_000], ids=int.bit_length)
def test_ints_are_free_of_pythons_limit(value: int) -> None:
    """A limit on decimal digits neither changes the bytes nor prevents reading."""
    assert exact([value]) == exact(loads(dumps([value])))


@pytest.mark.parametrize("offset", range(0, MAX_DIGITS, 7))
def test_a_long_int_is_found_anywhere(offset: int) -> None:
    assert b'{"!int":' in dumps(["x" * offset, LONG])


def test_decimals_are_free_of_the_context() -> None:
    """Neither its format nor its traps matter."""
    with decimal.localcontext() as context:
        context.capitals = 0
        context.clear_traps()
        context.prec = 1
        assert dumps(decimal.Decimal("1.25E+50")) == b'{"!decimal":"1.25E+50"}'
        assert loads(b'{"!decimal":"1.25E+50"}') == decimal.Decimal("1.25E+50")
        with pytest.raises(ValueError, match="malformed"):
            loads(b'{"!decimal":"x"}')


@pytest.mark.parametrize("key", ["!x", 1, "\ud800"], ids=["look-alike", "int", "surrogate"])
def test_each_value_is_visited_once(key: Any) -> None:
    """Nested dicts that need a tag take linear time."""
    value: Any = 1
    for _ in range(16):
        value = {"a": value, key: 1} if key == 1 else {key: value}
    visited = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal visited
        visited += event == "call"

    sys.setprofile(count)
    try:
        dumps(value)
    finally:
        sys.setprofile(None)
    assert visited < 1000


class Money:
    """A class that must be neither shown nor compared."""

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        raise AssertionError("shown")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")


class Color(enum.IntEnum):
    RED = 1


class Zone(datetime.tzinfo):
    """A custom tzinfo, as those of pytz and dateutil."""

    def utcoffset(self, _moment: Any) -> datetime.timedelta:
        return datetime.timedelta(0)


class Markup(str):
    __slots__ = ()


class Stamp(datetime.datetime):
    pass


Point = collections.namedtuple("Point", "x y")

REFUSED: list[tuple[Any, str, str]] = [
    (Money(), "session", "Money"),
    ({"cart": [1, 2, 3, {"price": Money()}]}, "session['cart'][3]['price']", "Money"),
    ({"a": (1, Money())}, "session['a'][1]", "Money"),
    ({"a": {1, Money()}}, "session['a']{...}", "Money"),
    ({"a": frozenset({(1, Money())})}, "session['a']{...}[1]", "Money"),
    ({"a": {Money(): 1}}, "session['a'].keys()", "Money"),
    ({(1, Money()): 1}, "session.keys()[1]", "Money"),
    ({-3: Money()}, "session[-3]", "Money"),
    ({"!x": Money()}, "session['!x']", "Money"),
    ({(1, "x"): Money(), "b": 1}, "session[<tuple>]", "Money"),
    ({b"x": Money()}, "session[<bytes>]", "Money"),
    ({LONG: Money()}, "session[<int>]", "Money"),
    ({True: Money()}, "session[<bool>]", "Money"),
    ({"a" * 100: Money()}, "session['aaaaaaaaaaaa...aaaaaaaaaaaaa']", "Money"),
    ({"\n\ud800": Money()}, "session['\\n\\ud800']", "Money"),
    ({"a": int}, "session['a']", "type"),
    ({"a": range(3)}, "session['a']", "range"),
    ({"at": NOON.replace(tzinfo=Zone())}, "session['at'].tzinfo", "Zone"),
    ({"at": datetime.time(tzinfo=Zone())}, "session['at'].tzinfo", "Zone"),
    ({"a": hours(1, Markup("x"))}, "session['a'].tzname(None)", "Markup"),
    # json.dumps() would turn these keys into text.
    *(
        ({"a": {key: 1}}, "session['a'].keys()", type(key).__name__)
        for key in (Color.RED, Markup("x"), Point(1, 2))
    ),
]

SUBCLASSES: list[tuple[Any, str]] = [
    (collections.OrderedDict(a=1), "dict"),
    (collections.defaultdict(list), "dict"),
    (SessionDict(None), "dict"),
    (Point(1, 2), "tuple"),
    (Color.RED, "int"),
    (Markup("x"), "str"),
    (Stamp(2024, 1, 1), "datetime"),
]


@pytest.mark.parametrize(("value", "path", "kind"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_the_error_tells_the_place_and_the_type(value: Any, path: str, kind: str) -> None:
    with pytest.raises(UnstorableValue) as caught:
        dumps(value)
    assert (path, kind) == (caught.value.path, caught.value.kind)


@pytest.mark.parametrize(("value", "base"), SUBCLASSES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("more", [0, math.nan], ids=["quick", "exact"])
def test_a_subclass_is_refused(value: Any, base: str, more: float) -> None:
    """It would become its base class."""
    with pytest.raises(UnstorableValue, match=f"as {base}; store a plain {base}") as caught:
        dumps({"more": more, "a": [value]})
    assert ("session['a'][0]", type(value).__name__) == (caught.value.path, caught.value.kind)


def test_the_message_says_what_where_and_what_to_do() -> None:
    with pytest.raises(UnstorableValue) as caught:
        dumps({"price": Money()})
    assert str(caught.value) == (
        "session['price'] (Money): JSON cannot keep this type; store plain values from which it "
        "can be made again"
    )


def nested(depth: int, make: Any) -> Any:
    """Return a value in nested containers."""
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    return value


MAKERS = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"a": value},
    "pairs": lambda value: {1: value},
    "frozenset": lambda value: frozenset({value}),
}
EACH_MAKER = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@EACH_MAKER
def test_values_can_be_nested_up_to_the_limit(make: Any) -> None:
    value = nested(MAX_DEPTH, make)
    assert value == loads(dumps(value))


@EACH_MAKER
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000])
def test_a_value_that_is_too_deep_is_refused_by_a_short_path(make: Any, depth: int) -> None:
    if make is MAKERS["frozenset"]:
        depth = MAX_DEPTH + 1  # hashing a deeper one is beyond Python
    with pytest.raises(UnstorableValue, match="too deep") as caught:
        dumps(nested(depth, make))
    assert caught.value.path.startswith("session")
    assert len(caught.value.path) < 100


def test_the_callers_depth_is_no_crash() -> None:
    """If Python's recursion limit is reached first, it is the same error."""
    value = nested(MAX_DEPTH, MAKERS["dict"])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + MAX_DEPTH // 2)
    try:
        with pytest.raises(UnstorableValue, match="too deep"):
            dumps(value)
    finally:
        sys.setrecursionlimit(limit)


def test_a_value_in_itself_is_refused() -> None:
    """The path ends at the reference to a container around it."""
    cart: dict[str, Any] = {"items": [0]}
    cart["items"].append({"cart": cart})
    with pytest.raises(UnstorableValue, match="contains itself") as caught:
        dumps({"cart": cart})
    assert caught.value.path == "session['cart']['items'][1]['cart']"
    assert caught.value.kind == "dict"


def test_a_value_twice_is_no_circle() -> None:
    item = [1]
    assert loads(dumps({"a": item, "b": [item]})) == {"a": [1], "b": [[1]]}


BROKEN = [
    b"",
    b"nonsense",
    b"{",
    b'{"a":1}x',
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\x00"',
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"9" * 5000,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"!tuple":[' * 100_000,
    b'{"!tuple":[' * 50_000 + b"]}" * 50_000,
]
MALFORMED = [
    ("!unknown", "[1]", '"x"', "null"),
    ("!", "[]"),
    ("!dict", "[]", '[["a",1]]', "[[1]]", "[[1,2,3]]", "[[1,2],[1,3]]", '["ab"]', "[[[],1]]"),
    (
        "!dict",
        "{}",
        '{"a":1}',
        '"x"',
        '[[1,2],{"a":1}]',
        '[{"!tuple":[1,2]}]',
        '{"!tuple":[[1,2]]}',
    ),
    ("!tuple", '"abc"', "{}", "1", "null", '{"!tuple":[1]}', '{"!set":[1]}'),
    ("!set", '"abc"', "[1,1]", "[1,true]", "[[]]", "[{}]", '[{"!decimal":"sNaN"}]'),
    ("!frozenset", '"abc"', "[1,1]", "[[]]", '{"!frozenset":[1]}'),
    ("!int", "5", '"5"', '"x"', '""', '"0x1"', f'"0{LONG:x}"', f'"{LONG:X}"', f'"+{LONG:x}"'),
    ("!float", "1.5", '"1.5"', '"NaN"', '"infinity"', '"-nan"', '" inf"'),
    ("!str", '"YQ=="', '"7aCA="', '"7aCB\\n"', '"/w=="', '"é"', "[]", "null"),
    ("!bytes", '"YQ"', '"YR=="', '"Y Q="', '"-_=="', '"é"', "[]", "null", "1"),
    ("!bytearray", '"YQ"', "[]", "[1]", "1"),
    ("!complex", "[1,2]", "[1.0]", "[1.0,2]", "[true,1.0]", '"1j"', '["1","2"]', "[1.0,2.0,3.0]"),
    ("!decimal", '"1e5"', '"x"', '" 1"', '"1_0"', '"٣"', "1", "1.5", "[0,[1],0]", '"nan"'),
    ("!uuid", '"x"', f'"{uuid.UUID(int=10)}"', '"a"', "[]", f'"{10:032X}"', f'"-{10:032x}"'),
    ("!date", '"20240506"', '"2024-13-01"', '"2024-W01-1"', "[2024,1,1]", "null"),
    ("!time", '"07"', '"07:08"', '"25:00:00"', '["07:08:00",0,null]', '["07:08:00",2,null]'),
    ("!datetime", '"2024-05-06"', '"2024-05-06 12:00:07"', '"2024-05-06T12:00:07Z"', "1", "[]"),
    ("!datetime", '["2024-05-06T12:00:07",true,null]', '["2024-05-06T12:00:07",1,"UTC"]'),
    ("!datetime", '["2024-05-06T12:00:07",0,{"!timezone":[{"!timedelta":[0,0,0]}]}]', "[1,1,1]"),
    ("!timedelta", "[1]", "[0,86400,0]", "[0.0,0,0]", "[true,0,0]", "[9999999999,0,0]", '"abc"'),
    ("!timezone", "[]", "[0]", '["UTC"]', '[{"!timedelta":[1,0,0]}]', '"UTC"', "null"),
    ("!timezone", '[{"!timedelta":[0,0,0]},null]', '[{"!timedelta":[0,0,0]},"a","b"]'),
    ("!zoneinfo", '"Europe/Nowhere"', '"../../etc/passwd"', '"/etc/passwd"', '""', '"."', "null"),
    ("!zoneinfo", "[]", '"Europe"', '"a\\u0000b"', '"\\ud800"', '"tzdata.zi"', '"a..b/c"', "{}"),
]
DOCUMENTS = [f'{{"{tag}":{state}}}'.encode() for tag, *states in MALFORMED for state in states]


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: repr(data[:20]))
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"stored JSON|Exceeds the limit"):
        loads(data)


@pytest.mark.parametrize("data", DOCUMENTS, ids=lambda data: data.decode()[:60])
@pytest.mark.parametrize("form", ["%s", '{"a":[%s]}'], ids=["alone", "inside"])
def test_a_tag_that_is_never_written_is_refused(data: bytes, form: str) -> None:
    """An unknown tag, or one whose contents nothing is written as."""
    with pytest.raises(ValueError, match=r"stored JSON has (a malformed|the unknown tag) "):
        loads(form.encode() % data)


def test_an_unknown_tag_is_named() -> None:
    """It may be one of a later version."""
    with pytest.raises(ValueError, match="the unknown tag '!fraction'"):
        loads(b'{"!fraction":[1,2]}')


def test_an_escaped_tag_is_a_tag() -> None:
    assert loads(b'{"\\u0021tuple":[1]}') == (1,)


def test_each_tag_is_tried_with_malformed_contents() -> None:
    assert {tag for tag, *_ in MALFORMED} >= set(SCALARS)


@pytest.mark.parametrize(
    "form", ["%s", '"%s', '["%s"', '{"!datetime":"%s"}', '{"!uuid":"%s"}', '{"!int":"%s"}']
)
def test_errors_do_not_show_the_data(form: str) -> None:
    with pytest.raises(ValueError, match="stored JSON") as caught:
        loads((form % "s3cret").encode())
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__suppress_context__
