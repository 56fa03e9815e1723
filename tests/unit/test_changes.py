"""Whether a session's data is what was loaded: what counts as a change, and what does not."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from webapp2_sessions.changes import Snapshot


class Thing:
    """An object without an ``==`` of its own."""

    def __init__(self, value: object) -> None:
        self.value = value


def as_json(data: Any) -> bytes:
    """As sessions in cookies are kept."""
    return json.dumps(data).encode()


SAME = [
    ({}, {}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": {"x": 1, "y": [1]}}, {"a": {"y": [1], "x": 1}}),
    ({"a": {1, 2, 3}}, {"a": {3, 2, 1}}),
    ({"a": Thing(5)}, {"a": Thing(5)}),
    ({"a": float("nan")}, {"a": float("nan")}),
    ({"a": ["x", "x"]}, {"a": ["x", "".join(["x"])]}),
    ({"a": datetime.datetime(2026, 1, 2)}, {"a": datetime.datetime(2026, 1, 2)}),
]

DIFFERENT = [
    ({}, {"a": 1}, ["a"]),
    ({"a": 1}, {}, ["a"]),
    ({"a": 1}, {"a": 2}, ["a"]),
    ({"a": 1}, {"a": True}, ["a"]),
    ({"a": 1}, {"a": 1.0}, ["a"]),
    ({"a": [1]}, {"a": (1,)}, ["a"]),
    ({"a": [1, [2]]}, {"a": [1, [3]]}, ["a"]),
    ({"a": "1", "b": [1]}, {"a": "1", "b": [1, 2], "c": 3}, ["b", "c"]),
    ({"a": Thing(5)}, {"a": Thing(6)}, ["a"]),
    ({"a": None}, {}, ["a"]),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_same_data(before: dict[Any, Any], after: dict[Any, Any]) -> None:
    """Equal values of equal types are no change, in whatever order the keys are."""
    assert Snapshot(before).differs(after) is False


@pytest.mark.parametrize(("before", "after", "keys"), DIFFERENT)
def test_different_data(before: dict[Any, Any], after: dict[Any, Any], keys: list[str]) -> None:
    """The keys that were set, changed or removed are named."""
    snapshot = Snapshot(before)
    assert (snapshot.differs(after), snapshot.changed_keys(after)) == (True, keys)


def test_change_inside_a_value() -> None:
    """A snapshot shares nothing with the data."""
    data = {"cart": [1]}
    snapshot = Snapshot(data)
    data["cart"].append(2)
    assert snapshot.changed_keys(data) == ["cart"]


def test_change_that_was_undone() -> None:
    """Only what is there in the end counts."""
    data = {"cart": [1]}
    snapshot = Snapshot(data)
    data["cart"].append(data["cart"].pop())
    data["x"] = 1
    del data["x"]
    assert snapshot.differs(data) is False


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ({"a": [1]}, {"a": (1,)}, False),
        ({"1": "x"}, {1: "x"}, False),
        ({"a": 1}, {"a": True}, True),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, False),
    ],
)
def test_data_as_json(before: dict[Any, Any], after: dict[Any, Any], differs: bool) -> None:
    """What JSON cannot tell apart is no change of a session in a cookie."""
    assert Snapshot(before, dumps=as_json, loads=json.loads).differs(after) is differs


def test_data_that_cannot_be_kept_differs() -> None:
    """Whoever saves it hears why; it does not pass for unchanged."""
    function = {"a": lambda: None}
    assert Snapshot({"a": 1}).changed_keys(function) == ["a"]
    assert Snapshot(function).differs({"a": 1}) is True
