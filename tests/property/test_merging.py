"""Any three states of a session are merged key by key, whatever objects they are made of."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from webapp2_sessions.sessions.changes import Snapshot, changed_keys
from webapp2_sessions.sessions.sameness import same_value
from webapp2_sessions.stored.merging import merge
from webapp2_sessions.stored.serializers import Serializer

#: Few, so that values of several sessions are alike, and different by type or sign alone.
atoms = st.sampled_from([None, True, False, 0, 1, 0.0, -0.0, 1.0, float("nan"), "", "a", b"a"])
members = st.one_of(atoms, st.tuples(atoms, atoms))
values = st.recursive(
    atoms | st.sets(members, max_size=3) | st.frozensets(members, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(members, inner, max_size=3)
        # One object in several places.
        | st.tuples(inner, st.integers(2, 3)).map(lambda drawn: [drawn[0]] * drawn[1])
    ),
    max_leaves=6,
)
sessions = st.dictionaries(st.sampled_from("abcdef"), values, max_size=6)

_ABSENT = object()


def rebuilt(value: Any) -> Any:
    """The same value, in which no object is in two places, and sets were filled otherwise."""
    kind = type(value)
    if kind is dict:
        return {rebuilt(key): rebuilt(item) for key, item in value.items()}
    if kind in (list, tuple):
        return kind(map(rebuilt, value))
    if kind in (set, frozenset):
        return kind([rebuilt(member) for member in [*value][::-1]])
    if kind in (str, bytes):
        return kind().join([value[:1], value[1:]])
    return copy.copy(value)


def text(value: Any) -> str:
    """The value by its types and signs, and the order of everything but sets."""
    kind = type(value)
    if kind is dict:
        items = [f"{text(key)}: {text(item)}" for key, item in value.items()]
        return f"{{{', '.join(items)}}}"
    if kind in (list, tuple):
        return f"{kind.__name__}({', '.join(map(text, value))})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({', '.join(sorted(map(text, value)))})"
    return repr(value)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The keys whose texts are different."""
    return {
        key
        for key in before.keys() | after.keys()
        if text(before.get(key, _ABSENT)) != text(after.get(key, _ABSENT))
    }


@settings(deadline=None)
@given(values, values)
def test_values_are_the_same_if_their_texts_are(one: Any, other: Any) -> None:
    """And only then; each is the same as a copy made in another way."""
    assert same_value(one, other) is (text(one) == text(other))
    assert same_value(one, rebuilt(one))


@settings(deadline=None)
@given(sessions, sessions, sessions, st.sets(st.sampled_from("abcdefg")))
def test_each_key_is_of_who_changed_it(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], assigned: set[str]
) -> None:
    """Mine where I changed or assigned it, theirs otherwise, and no key besides."""
    merged = merge(base, mine, theirs, assigned=assigned)
    of_mine = changed(base, mine) | (assigned if changed(base, theirs) else set())
    for key in {*base, *mine, *theirs, *merged}:
        source = mine if key in of_mine else theirs
        assert text(merged.get(key, _ABSENT)) == text(source.get(key, _ABSENT))


@settings(deadline=None)
@given(sessions, sessions, sessions, st.sets(st.sampled_from("abcdef")))
def test_objects_do_not_count(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], assigned: set[str]
) -> None:
    """Sessions that are made of other objects, or loaded from bytes, are merged alike."""
    expected = text(merge(base, mine, theirs, assigned=assigned))
    for copied in (rebuilt, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        for number in range(8):
            copies = [
                copied(session) if number & 2**place else session
                for place, session in enumerate((base, mine, theirs))
            ]
            assert text(merge(*copies, assigned=assigned)) == expected


@settings(deadline=None)
@given(sessions, sessions)
def test_snapshots_name_what_changed(before: dict[str, Any], after: dict[str, Any]) -> None:
    """As sessions on a server are compared with what was loaded, in either format."""
    for serializer in (Serializer("pickle"), Serializer("json")):
        snapshot = Snapshot(before, serializer.dumps, serializer.loads)
        assert set(snapshot.changed_keys(after)) == changed(before, after)
        assert snapshot.changed_keys(rebuilt(before)) == []
    assert set(changed_keys(before, after)) == changed(before, after)


@settings(deadline=None)
@given(sessions, sessions)
def test_snapshots_of_cookies_name_what_changed(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """What JSON cannot tell from another is no change; what it refuses is one."""

    def dumps(data: Any) -> bytes:
        return json.dumps(data).encode()

    try:
        was, now = json.loads(dumps(before)), json.loads(dumps(after))
    except TypeError:
        return
    keys = Snapshot(before, dumps, json.loads).changed_keys(after)
    assert set(keys) == changed(was, now)
