"""SessionDict tracks whether it was modified."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from webapp2_sessions import ConfigError, SessionDict

Change = Callable[[Any], Any]


def session(**items: Any) -> SessionDict:
    """Return a session with these items, as it is after loading."""
    return SessionDict(None, data=items)


class Keyed:
    """What `dict.update()` takes as a mapping, with a key that fails."""

    def keys(self) -> list[str]:
        return ["a", "b"]

    def __getitem__(self, key: str) -> int:
        if key == "b":
            raise LookupError("b is gone")
        return 1


def pairs_that_fail() -> Iterator[tuple[str, int]]:
    """Return one good pair, then an error."""
    yield "a", 1
    raise LookupError("no more")


@pytest.mark.parametrize("options", [{"new": True}, {"new": False}, {}])
def test_session_has_what_the_factory_gives_and_starts_unmodified(options: dict[str, bool]) -> None:
    container = object()
    made = SessionDict(container, data={"a": 1}, **options)
    assert (made, made.container, made.modified) == ({"a": 1}, container, False)
    assert made.new is options.get("new", False)


#: Changes of a dictionary that holds {"a": 1}.
MARKING: dict[str, Change] = {
    "set": lambda s: s.__setitem__("b", 2),
    "set the same": lambda s: s.__setitem__("a", 1),
    "delete": lambda s: s.__delitem__("a"),
    "clear": lambda s: s.clear(),
    "pop": lambda s: s.pop("a"),
    "pop with a default": lambda s: s.pop("a", None),
    "popitem": lambda s: s.popitem(),
    "setdefault of a missing key": lambda s: s.setdefault("b", 2),
    "setdefault of a present key": lambda s: s.setdefault("a", 2),
    "setdefault without a value": lambda s: s.setdefault("b"),
    "update with a dictionary": lambda s: s.update({"b": 2}),
    "update with pairs": lambda s: s.update([("b", 2)]),
    "update with keywords": lambda s: s.update(b=2),
    "update with both": lambda s: s.update({"b": 2}, c=3),
    "update with nothing": lambda s: s.update(),
    "update with an empty dictionary": lambda s: s.update({}),
    "in-place or with a dictionary": lambda s: s.__ior__({"b": 2}),
    "in-place or with pairs": lambda s: s.__ior__([("b", 2)]),
}
NOT_MARKING: dict[str, Change] = {
    "get": lambda s: s.get("a"),
    "get item": lambda s: s["a"],
    "in": lambda s: "a" in s,
    "length": lambda s: len(s),
    "iteration": lambda s: list(s.items()),
    "equality": lambda s: s == {"a": 1},
    "copy": lambda s: s.copy(),
    "or": lambda s: s | {"b": 2},
    "or from the right": lambda s: {"b": 2} | s,
    "pop of a missing key": lambda s: s.pop("b", 2),
    "json": lambda s: json.dumps(s),
    "repr": lambda s: repr(s),
    "truth": lambda s: bool(s),
}


@pytest.mark.parametrize("act", [*MARKING.values(), *NOT_MARKING.values()])
def test_every_method_is_that_of_a_dictionary(act: Change) -> None:
    ours, plain = session(a=1), {"a": 1}
    result, expected = act(ours), act(plain)
    assert ours == plain
    assert (result, type(result)) == (expected, type(expected)) or result is ours


@pytest.mark.parametrize("change", MARKING.values(), ids=MARKING)
def test_a_change_marks_the_session(change: Change) -> None:
    changed = session(a=1)
    change(changed)
    assert changed.modified is True


@pytest.mark.parametrize("look", NOT_MARKING.values(), ids=NOT_MARKING)
def test_a_look_does_not_mark_the_session(look: Change) -> None:
    looked_at = session(a=1)
    look(looked_at)
    assert looked_at.modified is False


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: s.__delitem__("b"), KeyError),
        (lambda s: s.pop("b"), KeyError),
        (lambda s: s.pop("a", default=None), TypeError),
        (lambda s: s.pop("a", 1, 2), TypeError),
        (lambda s: s.__setitem__([], 1), TypeError),
        (lambda s: s.setdefault([], 1), TypeError),
        (lambda s: s.update(5), TypeError),
        (lambda s: s.update({}, {}), TypeError),
        (lambda s: s.__ior__(5), TypeError),
        (lambda s: s.update([("a", s["a"]), 5]), TypeError),
    ],
)
def test_a_change_that_fails_whole_does_not_mark_it(change: Change, error: type[Exception]) -> None:
    kept = session(a=1)
    with pytest.raises(error):
        change(kept)
    assert (kept, kept.modified) == ({"a": 1}, False)


def test_popitem_of_an_empty_session_does_not_mark_it() -> None:
    empty = session()
    with pytest.raises(KeyError):
        empty.popitem()
    assert empty.modified is False


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(pairs_that_fail()),
        lambda s: s.update(Keyed()),
        lambda s: s.__ior__(pairs_that_fail()),
        lambda s: s.__ior__(Keyed()),
    ],
)
@pytest.mark.parametrize("before", [{}, {"a": 1.0}], ids=["set", "replaced by an equal one"])
def test_a_change_that_fails_halfway_marks_it(change: Change, before: dict[str, Any]) -> None:
    changed = session(**before)
    with pytest.raises(LookupError):
        change(changed)
    assert (changed, changed.modified) == ({"a": 1}, True)


def test_in_place_or_keeps_the_object() -> None:
    original = changed = session(a=1)
    changed |= {"b": 2}
    assert changed is original


def test_a_session_can_be_referred_to_weakly() -> None:
    referred = session()
    assert referred is weakref.ref(referred)()


def test_a_subclass_hears_once_of_each_change() -> None:
    seen = []

    class Watched(SessionDict):
        def on_update(self) -> None:
            seen.append(dict(self))
            super().on_update()

    watched = Watched(None)
    watched["a"] = 1
    watched.update(b=2)
    assert seen == [{"a": 1}, {"a": 1, "b": 2}]
    assert watched.modified is True


def test_a_subclass_without_on_update_is_not_marked() -> None:
    class Unwatched(SessionDict):
        on_update = None

    unwatched = Unwatched(None)
    unwatched["a"] = 1
    unwatched |= {"b": 2}
    assert (unwatched, unwatched.modified) == ({"a": 1, "b": 2}, False)


MESSAGES = [("one", None), ("two", "info"), ("three", "error"), ("four", "info")]


@pytest.fixture
def flashing() -> SessionDict:
    """A session with messages of several levels."""
    return session(_flash=[*MESSAGES])


def test_flashes_come_once() -> None:
    flashing = session()
    flashing.add_flash("saved")
    flashing.add_flash("failed", level="error")
    assert flashing == {"_flash": [("saved", None), ("failed", "error")]}
    flashing.modified = False
    assert flashing.get_flashes() == [("saved", None), ("failed", "error")]
    assert (flashing, flashing.modified) == ({}, True)


def test_last_messages_of_a_level_leave_no_empty_list() -> None:
    flashing = session(_flash=[["two", "info"]])
    assert flashing.get_flashes(level="info") == [["two", "info"]]
    assert flashing == {}


def test_level_without_messages_modifies_nothing(flashing: SessionDict) -> None:
    assert flashing.get_flashes(level="debug") == []
    assert (flashing.modified, flashing["_flash"]) == (False, MESSAGES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, MESSAGES), ({"level": "error"}, [("three", "error")]), ({"level": "x"}, [])],
)
def test_peeking_takes_nothing(flashing: SessionDict, options: Any, expected: list[Any]) -> None:
    peeked = flashing.peek_flashes(**options)
    assert peeked == expected
    peeked.clear()
    assert (flashing.modified, flashing["_flash"]) == (False, MESSAGES)


@pytest.mark.parametrize("method", ["changed", "regenerate_id"])
def test_session_is_written_if_that_is_asked_for(method: str) -> None:
    asked = session()
    getattr(asked, method)()
    assert asked.modified is True


@pytest.mark.parametrize(("seconds", "kept"), [(60, 60), (60.9, 60), (0.5, 1), (None, None)])
def test_own_age_is_kept_with_the_session(seconds: float | None, kept: int | None) -> None:
    container = SimpleNamespace(own_max_age=5)
    aged = SessionDict(container)
    aged.set_max_age(seconds)
    assert (container.own_max_age, aged.modified) == (kept, True)


@pytest.mark.parametrize("seconds", [0, -1, "60", True, float("nan"), float("inf"), 2**31])
def test_own_age_is_a_positive_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ConfigError, match=r"set_max_age\(\): must be a positive number of sec"):
        SessionDict(SimpleNamespace()).set_max_age(seconds)
