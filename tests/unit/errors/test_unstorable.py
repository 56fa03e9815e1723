"""The search for the value that cannot be pickled, which reports its path and type only."""

from __future__ import annotations

import collections
import copy
import pickle
import threading
from typing import Any

import pytest

from webapp2_sessions.errors import SessionError, UnstorableValue
from webapp2_sessions.stored.serializers import (
    OWN_PROTOCOL,
    SHARED_PROTOCOL,
    Serializer,
    load_pickle,
)

BAD = threading.Lock()


class Holder:
    """An object with attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Slotted:
    """An object with slots."""

    __slots__ = ("empty", "lock")

    def __init__(self) -> None:
        self.lock = BAD


class Careful(Holder):
    """Its state has no lock, but a lambda."""

    def __getstate__(self) -> Any:
        return {"open": lambda: None}


class Words(list[Any]):
    """A list that has attributes as well."""


Point = collections.namedtuple("Point", "x y")


class Failing:
    """It raises an error when it is pickled."""

    def __reduce__(self) -> Any:
        raise LookupError("theirs")


def words() -> Words:
    """Words with an attribute that cannot be pickled."""
    found = Words(["a"])
    found.lock = BAD  # type: ignore[attr-defined]
    return found


def entangled() -> list[Any]:
    """Return a list whose first items refer to the list, and whose last cannot be pickled."""
    root: list[Any] = []
    root.extend([[[root]], {"root": root}, BAD])
    return root


REFUSED: list[tuple[Any, str, str]] = [
    ({"a": BAD}, "session['a']", "lock"),
    ({"a": [1, {"b": (BAD,)}]}, "session['a'][1]['b'][0]", "lock"),
    ({"a": lambda: "secret"}, "session['a']", "function"),
    ({"a": {BAD: 1}}, "session['a'].keys()", "lock"),
    ({"a": {("secret", BAD): 1}}, "session['a'].keys()[1]", "lock"),
    ({("secret",): [BAD]}, "session[<tuple>][0]", "lock"),
    ({"a": {BAD}}, "session['a']{...}", "lock"),
    ({"a": collections.deque([1, BAD])}, "session['a'][1]", "lock"),
    ({"a": collections.OrderedDict(b=BAD)}, "session['a']['b']", "lock"),
    ({"a": collections.defaultdict(lambda: 0)}, "session['a']", "defaultdict"),
    ({"a": Point(1, BAD)}, "session['a'][1]", "lock"),
    ({"a": Holder(b=[Holder(c=BAD)])}, "session['a'].b[0].c", "lock"),
    ({"a": Slotted()}, "session['a'].lock", "lock"),
    ({"a": Careful(lock=BAD)}, "session['a']", "Careful"),
    ({"a": words()}, "session['a'].lock", "lock"),
    ({"a": (each for each in "secret")}, "session['a']", "generator"),
    ({"a": type("Local", (), {})()}, "session['a']", "Local"),
    ({"a": entangled()}, "session['a'][2]", "lock"),
    (BAD, "session", "lock"),
]

EACH_PROTOCOL = pytest.mark.parametrize("protocol", [SHARED_PROTOCOL, OWN_PROTOCOL])


@EACH_PROTOCOL
@pytest.mark.parametrize(("value", "path", "kind"), REFUSED)
def test_bad_value_is_named(value: Any, path: str, kind: str, protocol: int) -> None:
    """The error has its path and type, and is also what pickle raises."""
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)) as expected:
        pickle.dumps(value, protocol)
    with pytest.raises(UnstorableValue) as caught:
        Serializer(protocol=protocol).dumps(value)
    assert (caught.value.path, caught.value.kind) == (path, kind)
    assert isinstance(caught.value, expected.type)
    assert isinstance(caught.value, TypeError)
    assert "secret" not in str(caught.value)


@EACH_PROTOCOL
def test_too_deep_value_is_a_recursion_error(protocol: int) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError, match=r"session\['a'\]\[0\]") as caught:
        Serializer(protocol=protocol).dumps({"a": value})
    assert isinstance(caught.value, UnstorableValue)


@EACH_PROTOCOL
def test_cycles_are_stored(protocol: int) -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    found = load_pickle(Serializer(protocol=protocol).dumps(value))
    assert found["a"][0] is found


@EACH_PROTOCOL
def test_error_of_an_applications_class_stays_what_it_is(protocol: int) -> None:
    """Only errors of pickle itself are converted."""
    with pytest.raises(LookupError, match="theirs") as caught:
        Serializer(protocol=protocol).dumps({"a": Failing()})
    assert not isinstance(caught.value, SessionError)


def test_error_of_several_base_classes_can_be_pickled_and_copied() -> None:
    with pytest.raises(UnstorableValue) as caught:
        Serializer().dumps({"a": BAD})
    error = caught.value
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))
