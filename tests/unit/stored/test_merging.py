"""The three-way merge of sessions, and saving by compare-and-set."""

from __future__ import annotations

import copy
import functools
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinds import KINDS, NEARLY, Plain, Unpicklable

from webapp2_sessions.sessions.sameness import same_value
from webapp2_sessions.stored import merging
from webapp2_sessions.stored.merging import (
    NEW,
    Merger,
    TooManyConflicts,
    Version,
    changed_keys,
    merge,
)

Session = dict[str, Any]


def test_key_is_another_one_if_it_would_be_stored_differently() -> None:
    merged = merge({1: "x", "a": 1}, {True: "x", "a": 1}, {1: "x", "a": 2})
    assert repr(merged) == "{'a': 2, True: 'x'}"


@pytest.mark.parametrize("make", [lambda: float("nan"), lambda: Plain(a=1)], ids=["nan", "object"])
def test_key_without_equality(make: Callable[[], Any]) -> None:
    """It is found by what would be stored, in a session that was loaded several times."""
    encoded = pickle.dumps({make(): 1, "a": 1})
    base, mine, theirs = (pickle.loads(encoded) for _ in range(3))
    mine["a"] = 2
    theirs["b"] = 3
    assert [*merge(base, mine, theirs).values()] == [1, 2, 3]


def test_value_that_cannot_be_stored() -> None:
    """It counts as changed, so that saving it raises the error."""
    value = Unpicklable()
    assert merge({}, {"a": value}, {"a": 1, "b": 2}) == {"a": value, "b": 2}


def test_keys_and_messages_have_the_order_of_mine_where_theirs_is_base() -> None:
    base = {"a": 1, "b": 2, "_flash": [("old", None)]}
    mine = {"b": 2, "a": 1, "_flash": [("mine", None), ("old", None)]}
    assert repr(merge(base, mine, again(base))) == repr(mine)


def test_keys_have_the_order_of_theirs_which_is_no_change_in_itself() -> None:
    merged = merge({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    assert [*merged.items()] == [("a", 1), ("b", 3)]


@pytest.mark.parametrize("key", ["_flash", "notices"])
@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        ("old", "old", "old theirs", "old theirs"),
        ("old", "old mine", "theirs", "theirs mine"),
        ("", "", "theirs", "theirs"),  # added, and shown in the same request
    ],
)
def test_assigned_messages_are_merged_one_by_one(
    key: str, base: str, mine: str, theirs: str, merged: str
) -> None:
    """Adding and showing messages assigns their key."""
    sessions = [{key: each.split()} if each else {} for each in (base, mine, theirs)]
    assert merge(*sessions, {"notices"}, {key}) == {key: merged.split()}


def test_arguments_stay_as_they_are() -> None:
    base = {"a": 1, "_flash": [("old", None)]}
    mine = {"_flash": [("old", None), ("mine", None)]}
    theirs = {"a": 1, "b": 2, "_flash": [("old", None), ("theirs", None)]}
    before = copy.deepcopy((base, mine, theirs))
    merged = merge(base, mine, theirs)
    merged["_flash"].clear()
    merged["c"] = 3
    assert (base, mine, theirs) == before


# Flash messages

OLD, MINE, THEIRS = ("old", None), ("mine", "info"), ("theirs", "error")


@pytest.mark.parametrize(
    ("base", "mine", "theirs"),
    [
        ({}, {"notices": [MINE]}, {"notices": [THEIRS]}),
        ({}, {"_flash": "text"}, {"_flash": [THEIRS]}),
        ({}, {"_flash": [MINE]}, {"_flash": "text"}),
        ({}, {"_flash": None}, {"_flash": 1}),
        ({}, {"_flash": (MINE,)}, {"_flash": [THEIRS]}),
        ({"_flash": "text"}, {}, {"_flash": "other"}),
        ({"_flash": 1}, {"_flash": 1}, {"_flash": 2}),
    ],
)
def test_what_is_no_list_of_messages_is_a_value_like_any_other(
    base: Session, mine: Session, theirs: Session
) -> None:
    assert merge(base, mine, theirs, assigned={"_flash"}) == mine


class Message:
    """A message that counts how often it is looked at."""

    looks = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        Message.looks += 1
        return isinstance(other, Message) and self.text == other.text

    def __hash__(self) -> int:
        Message.looks += 1
        return hash(self.text)

    def __reduce__(self) -> Any:
        Message.looks += 1
        return Message, (self.text,)


def test_messages_are_not_compared_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of them takes time that grows with their number, and no faster."""

    def messages(name: str) -> list[Any]:
        return [(Message(f"{name} {number}"), None) for number in range(300)]

    base, mine, theirs = messages("old"), messages("mine"), messages("theirs")
    monkeypatch.setattr(Message, "looks", 0)
    merged = merge({"_flash": base}, {"_flash": mine}, {"_flash": base + theirs})
    assert Message.looks <= 20 * len(base + mine + theirs)
    assert merged["_flash"] == theirs + mine


@pytest.mark.parametrize(("one", "other"), NEARLY.values(), ids=NEARLY)
def test_messages_that_would_be_stored_differently_are_different_ones(one: Any, other: Any) -> None:
    merged = merge({"_flash": [one]}, {"_flash": [one]}, {"_flash": [one, other]}, (), {"_flash"})
    assert merged["_flash"][1] is other
    merged = merge({"_flash": [one]}, {"_flash": []}, {"_flash": [other, one]})
    assert [each is other for each in merged["_flash"]] == [True]


def test_messages_that_were_all_shown_leave_no_empty_list() -> None:
    assert merge({"_flash": [OLD]}, {}, {"_flash": [OLD], "a": 1}) == {"a": 1}


def test_messages_that_cannot_be_stored() -> None:
    """They are kept, so that saving them raises the error."""
    values = [Unpicklable(), Unpicklable()]
    merged = merge({"_flash": [OLD]}, {"_flash": [*values, OLD]}, {"_flash": [OLD, THEIRS]})
    assert merged == {"_flash": [OLD, THEIRS, *values]}


def _pairwise_merge(base: list[Any], mine: list[Any], theirs: list[Any]) -> list[Any]:
    """Messages merged in the simple way, which compares each with each."""

    def without(messages: list[Any], others: list[Any]) -> list[Any]:
        others = list(others)
        left = []
        for message in messages:
            for index, other in enumerate(others):
                if same_value(message, other):
                    del others[index]
                    break
            else:
                left.append(message)
        return left

    shown, added = without(base, mine), without(mine, base)
    return [*without(theirs, shown), *added]


LISTS = st.lists(
    st.sampled_from(["a", "b", ("a", None), ("a", 0), ("a", False), ["a", None], 1.0, {"a": 1}]),
    max_size=7,
)


@settings(deadline=None, max_examples=300)
@given(LISTS, LISTS, LISTS, st.sampled_from([(), ("_flash",)]))
def test_messages_are_merged_as_by_comparing_each_with_each(
    base: list[Any], mine: list[Any], theirs: list[Any], assigned: tuple[str, ...]
) -> None:
    others = {"_flash": theirs, "other": 1}
    merged = merge({"_flash": base}, {"_flash": mine}, others, (), assigned)
    assert same_value(merged.get("_flash", []), _pairwise_merge(base, mine, theirs))


#: Few, so that sessions have many in common.
VALUES = st.sampled_from(
    [None, True, 1, 1.0, float("nan"), "a", [1], [True], (1,), {"x": [1]}, {"x": [1.0]}]
)
MESSAGES = st.lists(st.tuples(st.sampled_from("mno"), st.none()), min_size=1, max_size=4)
SESSIONS = st.builds(
    lambda values, flashes: {**values, **flashes},
    st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=5),
    st.dictionaries(st.just("_flash"), MESSAGES),
)


def again(session: Session) -> Session:
    """Return an equal session of other objects, as it is loaded."""
    loaded: Session = pickle.loads(pickle.dumps(session))
    return loaded


# Saving by compare-and-set


class Store:
    """A store of one session, with a counter for its token, and others who come in between."""

    def __init__(self, data: Any = None) -> None:
        self.data = pickle.dumps({"a": 1} if data is None else data)
        self.token = 1
        self.is_new = False
        self.is_destroyed = False
        #: What others do before each write, one after the other.
        self.others: list[Callable[[], None]] = []
        #: Calls of read and write, and the pauses in between.
        self.log: list[Any] = []
        self.loses_answers = False
        self.tells_tokens = True

    def read(self) -> Version | None:
        """Return the present state."""
        self.log.append("read")
        if self.is_destroyed:
            return None
        if self.is_new:
            return Version(NEW, dict)
        data = self.data
        return Version(self.token, lambda: pickle.loads(data))

    def write(self, data: dict[Any, Any], token: Any) -> Version | None:
        """Compare and set."""
        self.log.append("write")
        if self.others:
            self.others.pop(0)()
        present = NEW if self.is_new else self.token
        if self.is_destroyed or token != present:
            return None
        self.put(data)
        if self.loses_answers:
            self.loses_answers = False
            return None
        known = self.data
        return Version(self.token if self.tells_tokens else None, lambda: pickle.loads(known))

    def put(self, data: Any) -> None:
        """Store data whatever is there."""
        self.data = pickle.dumps(data)
        self.token += 1
        self.is_new = False

    def update(self, **values: Any) -> Callable[[], None]:
        """Another request, which sets these values."""
        return lambda: self.put({**self.content, **values})

    def destroy(self) -> None:
        """Another request, which destroys the session."""
        self.is_destroyed = True

    def drop(self) -> None:
        """The server needs the room."""
        self.is_new = True

    @property
    def content(self) -> Any:
        """What is stored."""
        return pickle.loads(self.data)

    def merger(self) -> Merger:
        """Return a merger of a request that has just loaded the session."""
        merger = Merger(self.read, self.write)
        known = self.read()
        assert known is not None
        merger.known = known
        self.log.clear()
        return merger


def setting(**values: Any) -> Callable[[Store], None]:
    """Another request, which sets these values."""
    return lambda store: store.update(**values)()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Longest times of the pauses, which are not made."""
    longest: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        longest.append(high)
        return high

    monkeypatch.setattr(merging.random, "uniform", uniform)
    slept: list[float] = []
    monkeypatch.setattr(merging.time, "sleep", slept.append)
    yield longest
    assert slept == longest


@pytest.fixture
def store() -> Store:
    """A store whose session is {"a": 1}."""
    return Store()


Steps = list[Callable[[Store], None]]
BOTH = {"a": 1, "mine": 2, "theirs": 1}
MANY = {f"other{number}": number for number in range(19)}

#: What other requests do before each write of this one, what this one saves, and what is stored.
SAVES: dict[str, tuple[Steps, Session, Session]] = {
    "no conflict": ([], {"a": 2}, {"a": 2}),
    "conflict": ([setting(theirs=1)], {"a": 1, "mine": 2}, BOTH),
    "conflicts before all attempts but the last": (
        [setting(**{key: value}) for key, value in MANY.items()],
        {"mine": 2},
        {"mine": 2, **MANY},
    ),
    "same key": ([setting(a=10), setting(a=11), setting(a=12)], {"a": 2}, {"a": 2}),
    "assigned key": ([setting(a=2), setting(a=3, b=4)], {"a": 1}, {"a": 1, "b": 4}),
    "messages": (
        [setting(_flash=["b"]), setting(_flash=["b", "c"])],
        {"a": 1, "_flash": ["mine"]},
        {"a": 1, "_flash": ["b", "c", "mine"]},
    ),
    "messages of another key": (
        [setting(notices=["theirs"])],
        {"a": 1, "notices": ["mine"]},
        {"a": 1, "notices": ["theirs", "mine"]},
    ),
    "evicted": ([Store.drop], {"a": 1, "mine": 2}, {"a": 1, "mine": 2}),
    "evicted and stored by another request": (
        [Store.drop, lambda store: store.put({"a": 1, "theirs": 1})],
        {"a": 1, "mine": 2},
        BOTH,
    ),
    "evicted after a conflict": (
        [setting(theirs=1), Store.drop],
        {"a": 1, "mine": 2},
        {"a": 1, "mine": 2},
    ),
}


@pytest.mark.parametrize(("others", "mine", "expected"), SAVES.values(), ids=SAVES)
def test_save_stores_the_changes_of_all_requests(
    store: Store, others: Steps, mine: Any, expected: Any
) -> None:
    """It returns them, and writes once more than there are conflicts."""
    merger = store.merger()
    store.others = [functools.partial(step, store) for step in others]
    assigned = {"a"} if mine == {"a": 1} else ()
    assert merger.save(mine, {"notices"}, assigned) == expected
    assert store.content == expected
    assert store.log == ["write"] + ["read", "write"] * len(others)


#: How the stored session changed after this request has loaded it, and what merged() returns for
#: {"mine": 2, "a": 1}, with the order of keys.
MERGED: dict[str, tuple[Steps, Session | None]] = {
    "unchanged": ([], {"mine": 2, "a": 1}),
    "changed": ([setting(theirs=1)], {"a": 1, "theirs": 1, "mine": 2}),
    "evicted": ([Store.drop], {"mine": 2, "a": 1}),
    "destroyed": ([Store.destroy], None),
    "replaced by a list": ([lambda store: store.put([])], None),
    "replaced by text": ([lambda store: store.put("text")], None),
    "replaced by a number": ([lambda store: store.put(7)], None),
}


@pytest.mark.parametrize(("others", "expected"), MERGED.values(), ids=MERGED)
def test_merged_and_save_of_a_changed_session(store: Store, others: Steps, expected: Any) -> None:
    """merged() reads once and writes nothing; save() stores what it returned, or nothing."""
    mergers = store.merger(), store.merger()
    for step in others:
        step(store)
    before = store.content
    merged = mergers[0].merged({"mine": 2, "a": 1})
    assert repr(merged) == repr(expected)
    assert (store.content, store.log) == (before, ["read"])
    assert mergers[1].save({"mine": 2, "a": 1}) == expected
    assert store.content == (before if expected is None else expected)


def test_new_session_is_merged_with_nothing_and_written_where_nothing_is(store: Store) -> None:
    store.drop()
    merger, mine = Merger(store.read, store.write), {"b": 2}
    assert merger.merged(mine) is mine
    assert merger.save(mine) is mine
    assert (store.content, store.log) == ({"b": 2}, ["write"])


OTHERS = [setting(**{f"other{number}": number}) for number in range(21)]


def test_save_gives_up_after_twenty_conflicts_and_may_be_tried_again(
    store: Store, pauses: list[float]
) -> None:
    """The first repetition comes at once, later ones after a random time of growing bounds."""
    merger = store.merger()
    store.others = [functools.partial(step, store) for step in OTHERS]
    with pytest.raises(TooManyConflicts):
        merger.save({"mine": 2})
    others = {f"other{number}": number for number in range(20)}
    assert store.content == {"a": 1, **others}
    assert pauses == [0.002 * 2**attempt for attempt in range(1, 9)] + [1.024] * 11
    store.others.clear()
    merger.save({"mine": 2})
    assert store.content == {"mine": 2, **others}


@pytest.mark.parametrize(
    ("tells_tokens", "log"), [(True, ["write", "read", "write"]), (False, ["read", "write"])]
)
def test_second_save_begins_with_what_the_first_has_written(
    store: Store, tells_tokens: bool, log: list[str]
) -> None:
    """Where the token is not told, the current state is read first, and its token used."""
    store.tells_tokens = tells_tokens
    merger = store.merger()
    merger.save({"a": 1, "b": 2})
    store.update(theirs=3)()
    store.log.clear()
    assert merger.save({"a": 1}) == {"a": 1, "theirs": 3}
    assert store.log == log


def test_second_save_does_not_write_what_is_stored_already(store: Store) -> None:
    store.tells_tokens = False
    merger = store.merger()
    merger.save({"b": 2})
    store.log.clear()
    assert merger.save({"b": 2}) == {"b": 2}
    assert store.log == ["read"]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_write_whose_answer_was_lost_is_found_and_not_repeated(
    store: Store, make: Callable[[], Any]
) -> None:
    store.put({"_flash": ["old"]})
    merger = store.merger()
    store.loses_answers = True
    mine = {"a": make(), "_flash": ["old", "mine"]}
    assert merger.save(mine) is mine
    assert (store.content["_flash"], store.log) == (["old", "mine"], ["write", "read"])


def test_save_after_a_lost_answer_begins_with_what_was_found(store: Store) -> None:
    merger = store.merger()
    store.loses_answers = True
    merger.save({"a": 1, "mine": 2})
    store.update(theirs=1)()
    assert merger.save({"a": 1}) == {"a": 1, "theirs": 1}


@pytest.mark.parametrize(("one", "other"), NEARLY.values(), ids=NEARLY)
def test_nearly_the_same_is_not_taken_for_a_lost_answer(store: Store, one: Any, other: Any) -> None:
    store.put({"a": "old"})
    merger = store.merger()
    store.others = [lambda: store.put({"a": one})]
    merger.save({"a": other})
    assert same_value(store.content, {"a": other})


def test_merged_is_told_flash_keys_and_assigned_ones(store: Store) -> None:
    merger = store.merger()
    store.put({"a": 5, "notices": ["theirs"]})
    merged = merger.merged({"a": 1, "notices": ["mine"]}, {"notices"}, {"a"})
    assert merged == {"a": 1, "notices": ["theirs", "mine"]}


def test_save_after_merged_starts_from_there(store: Store) -> None:
    """Messages are added once, and later changes are merged too."""
    merger = store.merger()
    store.update(theirs=1, _flash=["theirs"])()
    merged = merger.merged({"a": 1, "_flash": ["mine"]})
    assert merged == {"a": 1, "theirs": 1, "_flash": ["theirs", "mine"]}
    store.update(later=2)()
    expected = {**merged, "later": 2}
    assert merger.save(merged) == expected
    assert store.content == expected


def test_nothing_is_asked_of_a_session_that_was_dropped() -> None:
    """A backend need not say what such a session would hold."""
    versions = [Version(NEW, None), Version(1, dict)]  # type: ignore[arg-type]
    merger = Merger(lambda: versions[0], lambda data, token: versions[1] if token is NEW else None)
    merger.known = Version(1, lambda: {"a": 1})
    assert merger.merged({"a": 2}) == {"a": 2}
    assert merger.save({"a": 2}) == {"a": 2}


def test_data_that_a_failed_save_has_stored_is_not_merged_with_itself(store: Store) -> None:
    merger, mine = store.merger(), {"a": 1, "_flash": ["mine"]}
    store.put(mine)
    assert merger.merged(mine) is mine


@settings(deadline=None)
@given(SESSIONS, SESSIONS, SESSIONS)
def test_merged_is_what_save_stores(base: Session, mine: Session, theirs: Session) -> None:
    store = Store(base)
    merger = store.merger()
    store.put(theirs)
    other = store.merger()
    other.known = merger.known
    merged = merger.merged(mine, (), {"a"})
    other.save(mine, (), {"a"})
    assert same_value(merged, store.content)


@pytest.mark.parametrize("after", [0, 3])
def test_destroyed_session_is_not_written_even_after_conflicts(store: Store, after: int) -> None:
    merger = store.merger()
    store.others = [store.update(other=number) for number in range(after)] + [store.destroy]
    before = store.content if after == 0 else {"a": 1, "other": after - 1}
    assert merger.save({"mine": 2}) is None
    assert (store.content, store.log[-1]) == (before, "read")


@pytest.mark.parametrize(
    ("method", "where"), [("save", "read"), ("save", "write"), ("merged", "read")]
)
def test_error_of_the_store_is_passed_on_and_the_request_may_try_again(
    store: Store, method: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    merger = store.merger()
    store.others = [store.update(theirs=1)] * 2

    def fail(*args: Any) -> Any:
        raise OSError("the store is gone")

    with monkeypatch.context() as context:
        context.setattr(merger, f"_{where}", fail)
        with pytest.raises(OSError, match="the store is gone"):
            getattr(merger, method)({"a": 1, "mine": 2})
    assert merger.save({"a": 1, "mine": 2}) == {"a": 1, "mine": 2, "theirs": 1}


@settings(deadline=None)
@given(st.lists(st.tuples(SESSIONS, st.integers(0, 2)), min_size=1, max_size=4), st.randoms())
def test_saves_of_several_requests(
    requests: list[tuple[Session, int]], order: random.Random
) -> None:
    """Requests that all loaded the session and save in any order: each one's changes are there."""
    store = Store({"shared": 0})
    mergers = [store.merger() for _ in requests]
    expected: Session = {"shared": 0}
    for number in order.sample(range(len(requests)), len(requests)):
        values, shared = requests[number]
        own = {f"{number} {key}": value for key, value in values.items()}
        expected |= own | ({"shared": shared} if shared else {})
        mergers[number].save({"shared": shared, **own})
    assert changed_keys(store.content, expected) == []
