"""Pickles of any Python are read, ours are read by Python 2.7, and foreign ones never loaded."""

from __future__ import annotations

import collections
import datetime
import decimal
import hmac
import pickle
import pickletools
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.python2_values import EXPECTED, FOLDER, PROTOCOLS, describe, pickled

from webapp2_sessions.errors import BadSignature
from webapp2_sessions.serializers import SignedPickles, dump_pickle, load_pickle

NAME = b"session:0123456789abcdefghijkl"


def without_fold(moment: Any) -> Any:
    """The same time; pickle itself drops `fold` in protocols below 4."""
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


class Bomb:
    """Its pickle makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def signed() -> SignedPickles:
    """Signs with a fixed key."""
    return SignedPickles(b"k" * 32)


@pytest.fixture
def crater(tmp_path: Path) -> Path:
    """Where the bomb's file appears when its pickle is loaded."""
    return tmp_path / "crater"


@pytest.fixture(scope="session")
def python2() -> str:
    """A Python 2.7 that works."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for candidate in (*map(str, pyenv), shutil.which("python2.7")):
        if candidate and subprocess.run([candidate, "-c", ""], check=False).returncode == 0:
            return candidate
    pytest.skip("there is no Python 2.7 on the path or in ~/.pyenv/versions")


# Pickles of Python 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EXPECTED)
def test_python2_session_is_read(name: str, protocol: int) -> None:
    """What Python 2.7 wrote comes back as its equivalent on Python 3, types and identity too."""
    assert describe(EXPECTED[name]) == describe(load_pickle(pickled(name, protocol)))


def test_every_python2_fixture_has_an_expected_value() -> None:
    """No file of the fixtures goes untested."""
    names = {path.name.split(".")[0] for path in FOLDER.glob("*.pickle")}
    assert set(EXPECTED) == names


def test_python2_text_with_a_lone_surrogate_stays_text() -> None:
    """A unicode with half a pair beside a str that is not UTF-8 is not taken for bytes."""
    written = b"(dp0\nV\\ud83d\np1\nS'\\xff'\np2\ns."  # {u'\ud83d': '\xff'} by protocol 0
    assert load_pickle(written) == {"\ud83d": b"\xff"}


# Pickles of Python 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@settings(deadline=None, max_examples=20)
@given(session=sessions)
def test_python3_session_is_read(protocol: int, session: dict[Any, Any]) -> None:
    """What Python 3 wrote in any protocol comes back unchanged."""
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
    ],
    ids=lambda value: type(value).__name__,
)
def test_python3_value_of_the_standard_library_is_read(protocol: int, value: object) -> None:
    """Values of other types than JSON's keep type and value."""
    found = load_pickle(pickle.dumps({"value": value}, protocol))["value"]
    assert (type(value), value) == (type(found), found)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_instance_of_an_application_class_is_read(protocol: int) -> None:
    """An instance of a class that can be imported comes back as one."""
    note = pickle.dumps({"note": Note("hello")}, protocol)
    assert {"note": Note("hello")} == load_pickle(note)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x02", b"\x80\xff.", b"no pickle", b"(dp0"])
def test_broken_pickle_raises(data: bytes) -> None:
    """Data that is no pickle is an error, not a value."""
    with pytest.raises((pickle.UnpicklingError, EOFError, IndexError, ValueError)):
        load_pickle(data)


def test_pickle_of_a_missing_class_raises() -> None:
    """A class that is gone is an error."""
    with pytest.raises(AttributeError, match="Vanished"):
        load_pickle(b"ccollections\nVanished\n.")


# What we write


@settings(deadline=None, max_examples=40)
@given(session=sessions)
def test_written_session_is_read(session: dict[Any, Any]) -> None:
    """dump_pickle and load_pickle undo each other."""
    assert describe(session) == describe(load_pickle(dump_pickle(session)))


@settings(deadline=None, max_examples=40)
@given(session=sessions)
def test_written_pickle_is_protocol_2(session: dict[Any, Any]) -> None:
    """Protocol 2 is the newest that Python 2.7 reads; no opcode is newer."""
    opcodes = [opcode for opcode, _, _ in pickletools.genops(dump_pickle(session))]
    assert max(opcode.proto for opcode in opcodes) == 2


#: Python 2 gets a pickle per line, in hexadecimal, and answers with what it read, by protocol 2.
ECHO = """
import cPickle, sys
for line in sys.stdin:
    value = cPickle.loads(line.strip().decode('hex'))
    print(cPickle.dumps(value, 2).encode('hex'))
"""


def test_python2_reads_and_returns_what_we_write(python2: str) -> None:
    """Sessions go to Python 2.7 and back without a change."""
    values = [value for name, value in EXPECTED.items() if not name.startswith("cycles")]
    lines = "".join(dump_pickle(value).hex() + "\n" for value in values)
    echo = subprocess.run(
        [python2, "-c", ECHO], input=lines, capture_output=True, text=True, check=True
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
    """Python 2.7 reads our pickle as the value of the same meaning."""
    program = "import cPickle, sys; print(repr(cPickle.load(sys.stdin)))"
    seen = subprocess.run(
        [python2, "-c", program], input=dump_pickle(value), capture_output=True, check=True
    )
    assert expected == seen.stdout.decode("ascii").strip()


# Signed pickles


@settings(deadline=None, max_examples=40)
@given(session=sessions)
def test_signed_session_is_read(session: dict[Any, Any]) -> None:
    """dumps and loads undo each other."""
    signed = SignedPickles(b"k" * 32)
    assert describe(session) == describe(signed.loads(NAME, signed.dumps(NAME, session)))


def test_signed_session_is_read_by_another_process(signed: SignedPickles) -> None:
    """Nothing but the key is needed to read it."""
    assert SignedPickles(b"k" * 32).loads(NAME, signed.dumps(NAME, {"a": 1})) == {"a": 1}


def test_layout_of_a_signed_pickle(signed: SignedPickles) -> None:
    """The format is fixed: a byte, an HMAC-SHA256 over the name, its length and the pickle."""
    data = signed.dumps(NAME, {"a": 1})
    pickled_part = data[33:]
    mac = hmac.digest(b"k" * 32, b"%d:%s" % (len(NAME), NAME) + pickled_part, "sha256")
    assert b"\x01" + mac + pickle.dumps({"a": 1}, 5) == data


def test_bomb_goes_off_where_it_is_loaded(signed: SignedPickles, crater: Path) -> None:
    """Loading the bomb has the effect by which the following tests see that nobody did."""
    signed.loads(NAME, signed.dumps(NAME, Bomb(crater)))
    assert crater.exists()


def forgeries(crater: Path) -> dict[str, bytes]:
    """Values with the bomb in them that we did not write under NAME."""
    ours, bomb = SignedPickles(b"k" * 32), Bomb(crater)
    data = ours.dumps(NAME, bomb)
    pickled_part = data[33:]
    return {
        "plain pickle": pickle.dumps(bomb),
        "plain pickle of protocol 0": pickle.dumps(bomb, 0),
        "format byte and pickle": b"\x01" + pickled_part,
        "signature of zeros": b"\x01" + bytes(32) + pickled_part,
        "signature of another value": ours.dumps(NAME, {})[:33] + pickled_part,
        "other key": SignedPickles(b"K" * 32).dumps(NAME, bomb),
        "empty key": SignedPickles(b"").dumps(NAME, bomb),
        "other name": ours.dumps(b"session:another", bomb),
        "no name": ours.dumps(b"", bomb),
        "longer name": ours.dumps(NAME + b"\x80", bomb),
        "other format": b"\x02" + data[1:],
        "no format": data[1:],
        "something before": b"\x00" + data,
        "something after": data + b"\x00",
        "last byte cut off": data[:-1],
    }


@pytest.mark.parametrize("kind", forgeries(Path()))
def test_forged_value_is_refused(signed: SignedPickles, crater: Path, kind: str) -> None:
    """A value that we did not write under this name raises BadSignature."""
    with pytest.raises(BadSignature):
        signed.loads(NAME, forgeries(crater)[kind])


@pytest.mark.parametrize("kind", forgeries(Path()))
def test_forged_value_is_not_unpickled(signed: SignedPickles, crater: Path, kind: str) -> None:
    """A value that we did not write is refused before its pickle is loaded."""
    with pytest.raises(BadSignature):
        signed.loads(NAME, forgeries(crater)[kind])
    assert not crater.exists()


@pytest.mark.parametrize("length", range(33))
def test_cut_value_is_refused(signed: SignedPickles, length: int) -> None:
    """What is too short for a signature raises BadSignature as well."""
    with pytest.raises(BadSignature):
        signed.loads(NAME, signed.dumps(NAME, {})[:length])


@given(data=st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    """A value with one byte changed, wherever it is, raises BadSignature."""
    signed = SignedPickles(b"k" * 32)
    value = bytearray(signed.dumps(NAME, {"user": 1, "cart": ["a"]}))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadSignature):
        signed.loads(NAME, bytes(value))


@given(garbage=st.binary(max_size=100))
def test_garbage_is_refused(garbage: bytes) -> None:
    """Arbitrary bytes raise BadSignature and nothing else."""
    with pytest.raises(BadSignature):
        SignedPickles(b"k" * 32).loads(NAME, garbage)


def test_name_and_pickle_are_kept_apart(signed: SignedPickles) -> None:
    """Bytes cannot be moved between the end of the name and the start of the pickle."""
    data = signed.dumps(b"name", {})
    moved = data[:33] + data[34:]
    with pytest.raises(BadSignature):
        signed.loads(b"name" + data[33:34], moved)


def test_signed_pickle_of_a_missing_class_is_no_forgery(signed: SignedPickles) -> None:
    """A value of ours that cannot be unpickled raises what pickle raises."""
    data = signed.dumps(NAME, {"note": Note("hello")}).replace(b"Note", b"Gone")
    mac = signed._mac(NAME, data[33:])
    with pytest.raises(AttributeError, match="Gone"):
        signed.loads(NAME, b"\x01" + mac + data[33:])


def test_refusal_shows_nothing_of_the_value(signed: SignedPickles) -> None:
    """The error's text holds neither value nor name."""
    with pytest.raises(BadSignature) as caught:
        signed.loads(NAME, b"\x01" + bytes(32) + pickle.dumps("credit card"))
    assert str(caught.value) == "a stored value was not written by this application"
