"""SessionDict tracks whether it was modified."""

from __future__ import annotations

import copy
import json
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from webapp2_sessions import ConfigError, SessionDict

Change = Callable[[SessionDict], Any]


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


# Making one


def test_a_session_starts_unmodified() -> None:
    """Initial data are what was loaded, not a change."""
    assert session(a=1).modified is False


@pytest.mark.parametrize("new", [True, False])
def test_new_is_what_the_factory_says(new: bool) -> None:
    """The session itself cannot tell whether a valid one came with the request."""
    assert new is SessionDict(None, new=new).new


def test_a_session_is_not_new_by_default() -> None:
    """The default is that of upstream."""
    assert session().new is False


@pytest.mark.parametrize("container", [None, "text", object(), 5])
def test_a_container_may_be_anything(container: Any) -> None:
    """The session keeps what it is given as its container."""
    assert container is SessionDict(container).container


@pytest.mark.parametrize("data", [None, {}, [], ()])
def test_no_data_is_an_empty_session(data: Any) -> None:
    """A factory may give None for nothing."""
    assert SessionDict(None, data=data) == {}


@pytest.mark.parametrize("data", [{"a": 1}, [("a", 1)], iter([("a", 1)])])
def test_data_may_be_whatever_dict_takes(data: Any) -> None:
    """A mapping or pairs."""
    assert SessionDict(None, data=data) == {"a": 1}


# What marks it

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
    "add_flash": lambda s: s.add_flash("saved"),
    "get_flashes with flashes": lambda s: s.get_flashes(key="a"),
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
    "pop of a missing key": lambda s: s.pop("b", None),
    "get_flashes without flashes": lambda s: s.get_flashes(),
    "json": lambda s: json.dumps(s),
    "repr": lambda s: repr(s),
}


@pytest.mark.parametrize("change", MARKING.values(), ids=MARKING)
def test_a_change_marks_the_session(change: Change) -> None:
    """Each method that may change the dictionary sets `modified`."""
    changed = session(a=1)
    change(changed)
    assert changed.modified is True


@pytest.mark.parametrize("look", NOT_MARKING.values(), ids=NOT_MARKING)
def test_a_look_does_not_mark_the_session(look: Change) -> None:
    """A session that was only read is not written."""
    looked_at = session(a=1)
    look(looked_at)
    assert looked_at.modified is False


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: s.__delitem__("b"), KeyError),
        (lambda s: s.pop("b"), KeyError),
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
    """Where nothing was changed there is nothing to save."""
    kept = session(a=1)
    with pytest.raises(error):
        change(kept)
    assert (kept, kept.modified) == ({"a": 1}, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(pairs_that_fail()),
        lambda s: s.update(Keyed()),
        lambda s: s.__ior__(pairs_that_fail()),
        lambda s: s.__ior__(Keyed()),
    ],
)
def test_a_change_that_fails_halfway_marks_it(change: Change) -> None:
    """What was set before the error is saved; upstream keeps it and does not save it."""
    changed = session()
    with pytest.raises(LookupError):
        change(changed)
    assert (changed, changed.modified) == ({"a": 1}, True)


def test_a_value_replaced_by_an_equal_one_halfway_marks_it() -> None:
    """Values are not compared, since their `==` may be anything."""
    changed = session(a=1.0)
    with pytest.raises(LookupError):
        changed.update(pairs_that_fail())
    assert changed.modified is True


def test_popitem_of_an_empty_session_does_not_mark_it() -> None:
    """It raises as a dictionary does."""
    empty = session()
    with pytest.raises(KeyError):
        empty.popitem()
    assert empty.modified is False


def test_clearing_an_empty_session_marks_it() -> None:
    """As upstream."""
    empty = session()
    empty.clear()
    assert empty.modified is True


def test_a_change_inside_a_value_is_not_seen() -> None:
    """The documented limit, and the documented way round it."""
    cart = session(cart=[])
    cart["cart"].append(1)
    assert cart.modified is False
    cart.modified = True
    assert cart.modified is True


def test_the_mark_may_be_taken_off() -> None:
    """Applications assign `modified = False` to drop a change."""
    changed = session()
    changed["a"] = 1
    changed.modified = False
    assert changed.modified is False


# Methods


@pytest.mark.parametrize(
    ("args", "expected", "left"),
    [(("a",), 1, {}), (("a", 2), 1, {}), (("b", 2), 2, {"a": 1}), (("b", None), None, {"a": 1})],
)
def test_pop(args: tuple[Any, ...], expected: Any, left: dict[str, int]) -> None:
    """The value or the default is returned, and only the former removed."""
    popped = session(a=1)
    assert expected == popped.pop(*args)
    assert left == popped


def test_pop_of_a_missing_key_raises() -> None:
    """The error holds the key."""
    with pytest.raises(KeyError, match="'b'"):
        session(a=1).pop("b")


def test_pop_takes_no_keyword() -> None:
    """The default is positional only, as upstream."""
    with pytest.raises(TypeError):
        session(a=1).pop("a", default=None)


def test_popitem_returns_the_last_item() -> None:
    """As a dictionary does."""
    assert session(a=1, b=2).popitem() == ("b", 2)


@pytest.mark.parametrize(("key", "expected"), [("a", 1), ("b", 2)])
def test_setdefault_returns_the_value(key: str, expected: int) -> None:
    """The present value wins."""
    assert expected == session(a=1).setdefault(key, 2)


def test_setdefault_without_a_value_sets_none() -> None:
    """As a dictionary does."""
    changed = session()
    changed.setdefault("a")
    assert changed == {"a": None}


def test_clear_removes_all_items() -> None:
    """As a dictionary does."""
    cleared = session(a=1, b=2)
    cleared.clear()
    assert cleared == {}


def test_in_place_or_keeps_the_object() -> None:
    """`session |= {...}` is a change of the session, not another one."""
    original = changed = session(a=1)
    changed |= {"b": 2}
    assert changed is original
    assert changed == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "combine", [lambda s: s | {"b": 2}, lambda s: {"b": 2} | s, dict, dict.copy]
)
def test_a_combination_is_a_plain_dictionary(combine: Callable[[Any], Any]) -> None:
    """Copies are no sessions."""
    assert type(combine(session(a=1))) is dict


def test_update_mixes_all_forms() -> None:
    """Positional and keyword items are set."""
    changed = session(a=1)
    changed.update([("b", 2)], c=3)
    assert changed == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(("items", "expected"), [({}, False), ({"a": 1}, True)])
def test_truth_is_that_of_a_dictionary(items: dict[str, Any], expected: bool) -> None:
    """An empty session is false."""
    assert expected is bool(session(**items))


def test_json_takes_it() -> None:
    """A session can be dumped as it is."""
    assert json.dumps(session(a=[1])) == '{"a": [1]}'


# Flashes


def test_flashes_come_once() -> None:
    """The first reader gets all of them in order, the next none."""
    flashing = session()
    flashing.add_flash("saved")
    flashing.add_flash("failed", level="error")
    assert flashing.get_flashes() == [("saved", None), ("failed", "error")]
    assert flashing.get_flashes() == []


def test_flashes_have_a_key() -> None:
    """The default key is upstream's."""
    flashing = session()
    flashing.add_flash("saved", "info")
    assert flashing == {"_flash": [("saved", "info")]}


def test_flashes_of_another_key_are_apart() -> None:
    """Each key holds messages of its own."""
    flashing = session()
    flashing.add_flash("a", None, "first")
    flashing.add_flash("b", key="second")
    assert flashing.get_flashes("second") == [("b", None)]
    assert flashing == {"first": [("a", None)]}


def test_a_flash_goes_behind_those_of_the_last_request() -> None:
    """What a cookie brought back is a list of lists."""
    flashing = session(_flash=[["old", None]])
    flashing.add_flash("new")
    assert flashing.get_flashes() == [["old", None], ("new", None)]


def test_get_flashes_of_a_key_that_holds_something_else() -> None:
    """It is returned and removed, whatever it is, as upstream."""
    assert session(a=5).get_flashes("a") == 5


# Attributes, copies, subclasses


def test_any_attribute_may_be_set() -> None:
    """Applications keep helpers on the session."""
    helped = session()
    helped.user = "u"
    assert helped.user == "u"
    assert (helped, helped.modified, vars(helped)) == ({}, False, {"user": "u"})


def test_a_session_can_be_referred_to_weakly() -> None:
    """Caches may hold it without keeping it."""
    referred = session()
    assert referred is weakref.ref(referred)()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copied_session_is_a_session(copied: Callable[[Any], Any]) -> None:
    """The copy has the items and the attributes, and is marked, as upstream's."""
    original = SessionDict("container", data={"a": 1}, new=True)
    other = copied(original)
    assert type(other) is SessionDict
    assert (other, other.container, other.new, other.modified) == (
        {"a": 1},
        "container",
        True,
        True,
    )
    assert original.modified is False


def test_a_subclass_may_watch_changes() -> None:
    """`on_update` is called once for each change."""
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


def test_a_subclass_may_switch_watching_off() -> None:
    """`on_update = None` leaves the mark alone, as upstream."""

    class Unwatched(SessionDict):
        on_update = None

    unwatched = Unwatched(None)
    unwatched["a"] = 1
    unwatched |= {"b": 2}
    assert (unwatched, unwatched.modified) == ({"a": 1, "b": 2}, False)


# Flash messages of a level, and looking without taking


MESSAGES = [("one", None), ("two", "info"), ("three", "error"), ("four", "info")]


def with_messages(**options: Any) -> SessionDict:
    """Return a session with messages of several levels."""
    return SessionDict(None, data={"_flash": [*MESSAGES]}, **options)


def test_messages_of_a_level_are_taken() -> None:
    """The others stay, in their order."""
    session = with_messages()
    assert session.get_flashes(level="info") == [("two", "info"), ("four", "info")]
    assert session["_flash"] == [("one", None), ("three", "error")]
    assert session.modified is True


def test_last_messages_leave_nothing() -> None:
    """No empty list is kept."""
    session = SessionDict(None, data={"_flash": [("two", "info")]})
    assert session.get_flashes(level="info") == [("two", "info")]
    assert session == {}


def test_level_without_messages_modifies_nothing() -> None:
    """As with no messages at all."""
    session = with_messages()
    assert session.get_flashes(level="debug") == []
    assert (session.modified, session["_flash"]) == (False, MESSAGES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, MESSAGES), ({"level": "error"}, [("three", "error")]), ({"level": "x"}, [])],
)
def test_peeking_takes_nothing(options: dict[str, Any], expected: list[Any]) -> None:
    """The messages stay, and the session is not modified."""
    session = with_messages()
    assert session.peek_flashes(**options) == expected
    assert (session.modified, session["_flash"]) == (False, MESSAGES)


def test_peeking_where_there_is_nothing() -> None:
    """Without messages the list is empty."""
    assert SessionDict(None).peek_flashes() == []


def test_peeked_list_is_a_copy() -> None:
    """What the caller does with it changes nothing in the session."""
    session = with_messages()
    session.peek_flashes().clear()
    assert session["_flash"] == MESSAGES


def test_messages_from_a_cookie_have_levels_too() -> None:
    """There they are lists."""
    session = SessionDict(None, data={"_flash": [["two", "info"], ["one", None]]})
    assert session.get_flashes(level="info") == [["two", "info"]]


@pytest.mark.parametrize(("limit", "kept"), [(None, 5), (1, 1), (3, 3), (5, 5)])
def test_backlog_of_messages(limit: int | None, kept: int) -> None:
    """With a limit the oldest go that nobody has read."""
    session = SessionDict(SimpleNamespace(max_flashes=limit))
    for number in range(5):
        session.add_flash(number)
    assert session["_flash"] == [(number, None) for number in range(5)][-kept:]


# Changes that are asked for


def test_changed_marks_the_session() -> None:
    """It is written whatever it holds."""
    session = SessionDict(None)
    session.changed()
    assert (session.modified, session._forced) == (True, True)


def test_regenerating_marks_the_session() -> None:
    """It is written under a new id."""
    session = SessionDict(None)
    session.regenerate_id()
    assert (session.modified, session._regenerates) == (True, True)


@pytest.mark.parametrize(("seconds", "kept"), [(60, 60), (60.9, 60), (0.5, 1), (None, None)])
def test_age_of_its_own(seconds: float | None, kept: int | None) -> None:
    """It is kept with the session, which is written for it."""
    container = SimpleNamespace(own_max_age=5)
    session = SessionDict(container)
    session.set_max_age(seconds)
    assert (container.own_max_age, session.modified) == (kept, True)


@pytest.mark.parametrize("seconds", [0, -1, "60", True, float("nan"), float("inf"), 2**31])
def test_age_that_is_none(seconds: Any) -> None:
    """The error says what is allowed."""
    with pytest.raises(ConfigError, match=r"set_max_age\(\): must be a positive number of sec"):
        SessionDict(SimpleNamespace()).set_max_age(seconds)
