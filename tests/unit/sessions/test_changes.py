"""Snapshots: what counts as a change of a session, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.kinds import KINDS, UNSTORABLE

from webapp2_sessions.sessions.changes import Snapshot


class Unreadable:
    """An object that is pickled, and cannot be unpickled, as errors of some libraries."""

    def __reduce__(self) -> Any:
        return Unreadable, ("one argument too many",)


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
