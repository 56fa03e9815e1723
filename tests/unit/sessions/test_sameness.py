"""sameness: two values are the same if they would be stored the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinds import ALIKE, DIFFERENT, KINDS, NEARLY, UNSTORABLE, diamonds
from support.python2_values import EXPECTED, PROTOCOLS, pickled

from webapp2_sessions.errors import UnstorableValue
from webapp2_sessions.sessions.sameness import same_value, stored_forms
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, SHARED_PROTOCOL, Serializer


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_values_made_alike_are_the_same_and_have_the_same_form(make: Callable[[], Any]) -> None:
    one, other = make(), make()
    assert same_value(one, other)
    assert len(set(stored_forms([one, other]))) == 1


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_identity_and_the_order_of_sets_do_not_count(one: Any, other: Any) -> None:
    # In pickles they do.
    assert same_value(one, other)
    assert same_value(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [*NEARLY.values(), *DIFFERENT.values()], ids=[*NEARLY, *DIFFERENT]
)
def test_different_values_are_told_apart_whatever_their_equality_says(one: Any, other: Any) -> None:
    assert (same_value(one, other), same_value(other, one)) == (False, False)
    assert not same_value([0, (one, 1)], [0, (other, 1)])
    assert len(set(stored_forms([one, other]))) == 2


@pytest.mark.parametrize("make", UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_cannot_be_stored_is_never_the_same_and_no_error(make: Callable[[], Any]) -> None:
    one, other = make(), make()
    assert not same_value(one, other)
    assert not same_value([one], [one])
    assert len(set(stored_forms([one, other, 1, 1]))) == 3


@pytest.mark.parametrize("make", [*KINDS.values(), *UNSTORABLE.values()], ids=[*KINDS, *UNSTORABLE])
def test_value_is_the_same_as_itself(make: Callable[[], Any]) -> None:
    value = make()
    assert same_value(value, value)


# Loaded twice: a value that nobody changed must never stand against another request's change.

SERIALIZERS = {
    "memcache": Serializer("pickle", protocol=OWN_PROTOCOL),
    "datastore": Serializer("pickle", protocol=SHARED_PROTOCOL),
    "json": Serializer("json"),
}


def _encoded(make: Callable[[], Any], serializer: Serializer) -> bytes | None:
    try:
        return serializer.dumps(make())
    except UnstorableValue:
        return None  # JSON has no such type


STORED = {
    f"{name} {kind}": (serializer, encoded)
    for name, serializer in SERIALIZERS.items()
    for kind, make in KINDS.items()
    if (encoded := _encoded(make, serializer)) is not None
}


@pytest.mark.parametrize(("serializer", "encoded"), STORED.values(), ids=STORED)
def test_value_that_was_loaded_twice_is_the_same(serializer: Serializer, encoded: bytes) -> None:
    one, other = serializer.loads(encoded), serializer.loads(encoded)
    assert same_value(one, other)
    assert len(set(stored_forms([one, other]))) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EXPECTED)
def test_session_of_python2_that_was_loaded_twice_is_the_same(name: str, protocol: int) -> None:
    serializer, encoded = SERIALIZERS["datastore"], pickled(name, protocol)
    one, other = serializer.loads(encoded), serializer.loads(encoded)
    assert same_value(one, other)
    assert len(set(stored_forms([one, other]))) == 1


# Cost


def test_shared_objects_are_looked_at_once() -> None:
    one, other = diamonds(60), diamonds(60)
    assert same_value(one, other)
    assert not same_value([one, 1], [other, 1.0])


def test_value_that_is_too_deep_to_be_pickled_counts_as_changed() -> None:
    one: list[Any] = []
    other: list[Any] = []
    for _ in range(100_000):
        one, other = [one], [other]
    assert not same_value(one, other)


# Any graph of objects, against a simple and slow way

GRAPHS = st.lists(
    st.tuples(st.sampled_from(["list", "object", "set"]), st.lists(st.integers(0, 7), max_size=3)),
    min_size=8,
    max_size=8,
)


class Node:
    """An object that refers to others."""

    def __init__(self) -> None:
        self.parts: Any = None


def _graph(description: list[tuple[str, list[int]]]) -> list[Node]:
    """Nodes that refer to each other, in cycles as well."""
    nodes = [Node() for _ in description]
    for node, (kind, numbers) in zip(nodes, description, strict=True):
        parts = [nodes[number] for number in numbers]
        node.parts = set(parts) if kind == "set" else (kind, parts)
    return nodes


def _colours(nodes: list[Node], seeds: list[Any]) -> list[Any]:
    """What is told apart when each node's parts are looked at as often as there are nodes."""
    colours = dict.fromkeys(nodes, 0)
    for _ in nodes:
        seen = {
            node: (
                ("set", *sorted(colours[part] for part in node.parts))
                if isinstance(node.parts, set)
                else (node.parts[0], *(colours[part] for part in node.parts[1]))
            )
            for node in nodes
        }
        numbers = {form: number for number, form in enumerate(sorted(set(seen.values()), key=repr))}
        colours = {node: numbers[seen[node]] for node in nodes}
    return [colours[node] for node in seeds]


@settings(deadline=None, max_examples=300)
@given(GRAPHS)
def test_objects_are_told_apart_by_their_parts_and_parts_of_parts(
    description: list[tuple[str, list[int]]],
) -> None:
    nodes = _graph(description)
    forms, colours = stored_forms(nodes), _colours(nodes, nodes)
    assert [forms.index(form) for form in forms] == [colours.index(each) for each in colours]


@settings(deadline=None)
@given(GRAPHS, st.integers(0, 2**32))
def test_order_in_which_objects_were_made_does_not_count(
    description: list[tuple[str, list[int]]], seed: int
) -> None:
    nodes = [*_graph(description), *_graph(description)]
    order = random.Random(seed).sample(range(len(nodes)), len(nodes))
    forms = stored_forms(nodes[index] for index in order)
    found = dict(zip(order, forms, strict=True))
    half = len(description)
    assert [found[index] for index in range(half)] == [found[index + half] for index in range(half)]
