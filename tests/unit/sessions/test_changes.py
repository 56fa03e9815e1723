"""Snapshots: what counts as a change of a session, and what does not."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from support.kinds import KINDS, UNSTORABLE

from webapp2_sessions.sessions.changes import Snapshot


class Thing:
    """An object without an ``==`` of its own."""

    def __init__(self, value: object) -> None:
        self.value = value


class Text(str):
    """Text that JSON writes as any other."""


class Unreadable:
    """An object that is pickled, and cannot be unpickled, as errors of some libraries."""

    def __reduce__(self) -> Any:
        return Unreadable, ("one argument too many",)


def as_json(data: Any) -> bytes:
    return json.dumps(data).encode()


SAME = [
    ({}, {}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
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
    ({"a": {"x": 1, "y": [1]}}, {"a": {"y": [1], "x": 1}}, ["a"]),
    ({1: "a"}, {True: "a"}, [1, True]),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_data_that_is_stored_alike_is_no_change(
    before: dict[Any, Any], after: dict[Any, Any]
) -> None:
    assert Snapshot(before).differs(after) is False


@pytest.mark.parametrize(("before", "after", "keys"), DIFFERENT)
def test_keys_that_were_set_changed_or_removed_are_named(
    before: dict[Any, Any], after: dict[Any, Any], keys: list[str]
) -> None:
    snapshot = Snapshot(before)
    assert (snapshot.differs(after), snapshot.changed_keys(after)) == (True, keys)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_value_that_was_left_alone_is_no_change_beside_others(make: Callable[[], Any]) -> None:
    snapshot = Snapshot({"a": make(), "b": 1})
    assert snapshot.changed_keys({"a": make(), "b": 1}) == []
    assert snapshot.changed_keys({"a": make(), "b": 2}) == ["b"]


def test_change_inside_a_value_is_one_until_it_is_undone() -> None:
    data = {"cart": [1]}
    snapshot = Snapshot(data)
    data["cart"].append(2)
    assert snapshot.changed_keys(data) == ["cart"]
    data["cart"].pop()
    assert snapshot.differs(data) is False


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ({"a": [1]}, {"a": (1,)}, False),
        ({"1": "x"}, {1: "x"}, False),
        ({"a": 1}, {"a": True}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, True),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": float("nan")}, {"a": float("nan")}, False),
        ({"a": "x"}, {"a": Text("x")}, False),
    ],
)
def test_what_json_cannot_tell_apart_is_no_change_of_a_session_in_a_cookie(
    before: dict[Any, Any], after: dict[Any, Any], differs: bool
) -> None:
    assert Snapshot(before, dumps=as_json, loads=json.loads).differs(after) is differs


def test_data_that_cannot_be_kept_does_not_pass_for_unchanged() -> None:
    function = {"a": lambda: None}
    assert Snapshot({"a": 1}).changed_keys(function) == ["a"]
    assert Snapshot(function).differs({"a": 1}) is True


@pytest.mark.parametrize("make", UNSTORABLE.values(), ids=UNSTORABLE)
def test_removing_data_that_cannot_be_kept_is_a_change(make: Callable[[], Any]) -> None:
    snapshot = Snapshot({"a": make(), "b": 1})
    assert snapshot.changed_keys({}) == ["a", "b"]
    assert snapshot.differs({}) is True
    assert Snapshot({"b": 1}).changed_keys({"a": make()}) == ["b", "a"]


def test_data_that_cannot_be_read_again_is_no_error() -> None:
    snapshot = Snapshot({"a": Unreadable(), "b": 1})
    assert snapshot.changed_keys({"a": Unreadable(), "b": 1}) == []
    assert snapshot.changed_keys({"a": Unreadable(), "c": 2}) == ["a", "b", "c"]
