"""Pickles of any Python are read, ours are read by Python 2.7, and foreign ones never loaded."""

from __future__ import annotations

import collections
import datetime
import decimal
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
import types
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.python2_values import EXPECTED, FOLDER, PROTOCOLS, describe, pickled

from webapp2_sessions import errors
from webapp2_sessions.errors import RefusedFormat
from webapp2_sessions.stored import serializers
from webapp2_sessions.stored.serializers import (
    OWN_PROTOCOL,
    SHARED_PROTOCOL,
    Serializer,
    dump_pickle,
    load_pickle,
)


def without_fold(moment: Any) -> Any:
    """Return the same time; pickle itself drops `fold` in protocols below 4."""
    return moment.replace(fold=0)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes().map(without_fold)
    | st.dates()
    | st.times().map(without_fold)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
keys = st.text() | st.integers() | st.binary() | st.tuples(st.text(), st.integers())
sessions = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(keys, inner)
            | st.sets(keys, max_size=3)
            | st.frozensets(keys, max_size=3)
        ),
        max_leaves=4,
    ),
    max_size=4,
)


class Note:
    """A class whose instances an application may keep in a session."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Note) and self.text == other.text

    __hash__ = None


@pytest.fixture(scope="session")
def python2() -> str:
    """The path of a Python 2.7."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for candidate in (*map(str, pyenv), shutil.which("python2.7")):
        if candidate and subprocess.run([candidate, "-c", ""], check=False).returncode == 0:
            return candidate
    pytest.skip("there is no Python 2.7 on the path or in ~/.pyenv/versions")


# Pickles of Python 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EXPECTED)
def test_python2_session_is_read(name: str, protocol: int) -> None:
    """Values of Python 2.7 become their equivalents, with types and shared references."""
    assert describe(EXPECTED[name]) == describe(load_pickle(pickled(name, protocol)))


def test_every_python2_fixture_has_an_expected_value() -> None:
    names = {path.name.split(".")[0] for path in FOLDER.glob("*.pickle")}
    assert set(EXPECTED) == names


def test_python2_text_with_a_lone_surrogate_stays_text() -> None:
    """A unicode with a surrogate is no bytes, even beside a str that is not UTF-8."""
    written = b"(dp0\nV\\ud83d\np1\nS'\\xff'\np2\ns."  # {u'\ud83d': '\xff'} by protocol 0
    assert load_pickle(written) == {"\ud83d": b"\xff"}


# Pickles of Python 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@settings(deadline=None, max_examples=20)
@given(session=sessions)
def test_python3_session_is_read(protocol: int, session: dict[Any, Any]) -> None:
    assert describe(session) == describe(load_pickle(pickle.dumps(session, protocol)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"\xff\x00"),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.defaultdict(list, {"a": [1]}),
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
        datetime.time(12, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        decimal.Decimal("1.10"),
        uuid.UUID(int=7),
        2 + 3j,
        range(3),
        "\ud800",
        Note("hello"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_python3_value_of_another_type_is_read(protocol: int, value: object) -> None:
    found = load_pickle(pickle.dumps({"value": value}, protocol))["value"]
    assert (type(value), value) == (type(found), found)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x02", b"\x80\xff.", b"no pickle", b"(dp0"])
def test_broken_pickle_raises(data: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError, IndexError, ValueError)):
        load_pickle(data)


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (b"ccollections\nVanished\n.", "collections.Vanished"),
        # Beside text of Python 2 that is not UTF-8, before it and behind it.
        (b"(S'\\xff'\ncshop\nCart\nt.", "shop.Cart"),
        (b"(cshop\nCart\nS'\\xff'\nt.", "shop.Cart"),
        # No valid names, which a message must not show.
        (b"c\x1b[31m\nx\n.", "?"),
        (b"ca b\nc\n.", "?"),
        (b"c" + b"x" * 300 + b"\ny\n.", "?"),
    ],
)
def test_error_names_the_missing_class_of_a_pickle(data: bytes, missing: str) -> None:
    with pytest.raises(errors.MissingClass) as caught:
        load_pickle(data)
    assert caught.value.missing == missing


class Moody:
    """Its instances raise when they are unpickled."""

    error: Exception = ValueError("a secret")

    def __setstate__(self, state: object) -> None:
        raise self.error


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "error", [ValueError("a secret"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")], ids=repr
)
def test_error_of_a_class_stays_what_it_is(
    protocol: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a UnicodeDecodeError, which looks like a pickle of Python 2."""
    monkeypatch.setattr(Moody, "error", error)
    moody = Moody()
    moody.mood = "bad"  # type: ignore[attr-defined]
    with pytest.raises(type(error)) as caught:
        load_pickle(pickle.dumps({"a": moody}, protocol))
    assert caught.value is error
    text = serializers.undecodable(error)
    assert text == f"a stored session cannot be decoded ({type(error).__name__})"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("remaining", [["shop", "shop.models"], []], ids=["class", "module"])
def test_error_names_the_class_that_was_renamed_or_is_in_a_renamed_module(
    protocol: int, remaining: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = types.ModuleType("shop.models")
    cart = models.Cart = type("Cart", (), {"__module__": "shop.models"})  # type: ignore[attr-defined]
    modules = {"shop": types.ModuleType("shop"), "shop.models": models}
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        data = pickle.dumps({"secret": [cart()]}, protocol)
    del models.Cart  # type: ignore[attr-defined]
    for name in remaining:
        monkeypatch.setitem(sys.modules, name, modules[name])
    with pytest.raises(errors.MissingClass) as caught:
        load_pickle(data)
    assert caught.value.missing == "shop.models.Cart"
    assert "shop.models.Cart" in serializers.undecodable(caught.value)
    assert "secret" not in serializers.undecodable(caught.value)


REPLACED = """
import sys
sys.path[:] = {path!r}
import pickle
def restricted(*args, **options):
    raise pickle.UnpicklingError("restricted")
class Restricted:
    load = dump = restricted
    def __init__(self, *args, **options):
        pass
def replace():
    pickle.loads = pickle.dumps = pickle.load = pickle.dump = restricted
    pickle.Unpickler = pickle.Pickler = pickle._Unpickler = pickle._Pickler = Restricted
if {before}:
    replace()
from webapp2_sessions.stored.serializers import Serializer
serializer = Serializer()
replace()
assert serializer.loads(serializer.dumps({{"a": (1,)}})) == {{"a": (1,)}}
assert serializer.loads(b"(S'a'\\nS'\\\\xff'\\nd.") == {{"a": b"\\xff"}}
"""


@pytest.mark.parametrize("before", [True, False])
def test_what_an_application_puts_into_pickle_is_not_used(before: bool) -> None:
    """Patched before or after the import, by functions that raise."""
    program = REPLACED.format(path=sys.path, before=before)
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")


# What we write


@settings(deadline=None, max_examples=40)
@given(session=sessions)
def test_written_session_is_read_and_a_pickle_of_protocol_2(session: dict[Any, Any]) -> None:
    """Protocol 2 is the newest that Python 2.7 reads; no opcode is newer."""
    written = dump_pickle(session)
    assert describe(session) == describe(load_pickle(written))
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(written)) == 2


#: Python 2 gets a pickle per line, in hexadecimal, and answers with what it read, by protocol 2.
ECHO = """
import cPickle, sys
for line in sys.stdin:
    value = cPickle.loads(line.strip().decode('hex'))
    print(cPickle.dumps(value, 2).encode('hex'))
"""


def test_python2_reads_and_returns_what_we_write(python2: str) -> None:
    """Sessions go to Python 2.7 and back without a change."""
    # It has no way back for classes that have become others, and its cPickle none for the last.
    no_way_back = {"labels", "old_style", "cycles", "cycles_binary"}
    values = [value for name, value in EXPECTED.items() if name not in no_way_back]
    lines = "".join(dump_pickle(value).hex() + "\n" for value in values)
    echo = subprocess.run(
        [python2, "-B", "-c", ECHO],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent.parent)},
    )
    returned = [load_pickle(bytes.fromhex(line)) for line in echo.stdout.split()]
    assert list(map(describe, values)) == list(map(describe, returned))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "u'text'"),
        ("Zürich", r"u'Z\xfcrich'"),
        (b"\x00\xff", r"'\x00\xff'"),
        ((1, 2**70, None, True), "(1, 1180591620717411303424L, None, True)"),
        ({"a"}, "set([u'a'])"),
        (datetime.datetime(2014, 5, 13, 16, 53), "datetime.datetime(2014, 5, 13, 16, 53)"),
        (decimal.Decimal("1.10"), "Decimal('1.10')"),
    ],
)
def test_python2_sees_the_same_value(python2: str, value: object, expected: str) -> None:
    program = "import cPickle, sys; print(repr(cPickle.load(sys.stdin)))"
    seen = subprocess.run(
        [python2, "-c", program], input=dump_pickle(value), capture_output=True, check=True
    )
    assert expected == seen.stdout.decode("ascii").strip()


#: What a session may be in either format; the latter three are no sessions, and not refused.
VALUES = [{}, {"a": 1}, {"a": (1, b"\xff")}, [1], (1,), "text", 1, 1.5, None, True, b"bytes"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("writes", ["pickle", "json"])
def test_value_is_read_back(writes: str, value: object) -> None:
    """loads() is the inverse of dumps(), also if both formats are accepted."""
    for also_reads in ((), ("pickle", "json")):
        serializer = Serializer(writes, also_reads)
        assert serializer.loads(serializer.dumps(value)) == value


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(("writes", "reads"), [("pickle", "json"), ("json", "pickle")])
def test_other_format_is_read_only_where_it_is_named(
    writes: str, reads: str, value: object
) -> None:
    """During a migration both are read."""
    data = Serializer(writes).dumps(value)
    assert Serializer(reads, (writes,)).loads(data) == value
    with pytest.raises(RefusedFormat, match=f"it is {writes}") as caught:
        Serializer(reads).loads(data)
    assert caught.value.found == writes


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_pickle_is_taken_for_json(protocol: int, value: object) -> None:
    """Formats are told apart by their first byte, for pickles of every protocol."""
    with pytest.raises(RefusedFormat, match="it is pickle"):
        Serializer("json").loads(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", [SHARED_PROTOCOL, OWN_PROTOCOL])
def test_protocol_of_the_pickles(protocol: int) -> None:
    """Entities are shared with Python 2, and memcached is not."""
    assert Serializer(protocol=protocol).dumps({"a": 1}) == pickle.dumps({"a": 1}, protocol)


def test_serializer_of_a_configuration() -> None:
    """It follows the two keys, which a custom store's configuration may lack."""
    assert Serializer.of({}, 2).dumps({"a": 1})[:1] == b"\x80"
    migrating = Serializer.of({"serializer": "json", "serializer_fallbacks": ["pickle"]}, 2)
    assert migrating.dumps({"a": 1}) == b'{"a":1}'
    assert migrating.loads(pickle.dumps({"a": 1})) == {"a": 1}
    assert Serializer.of({"serializer": "json"}, 2) is Serializer.of({"serializer": "json"}, 2)
