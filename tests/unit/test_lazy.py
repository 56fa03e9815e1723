"""Properties that are computed, and names that are imported, on first use."""

from __future__ import annotations

import pytest

from webapp2_sessions.errors import SessionError
from webapp2_sessions.lazy import imported_once, made_once


class Thing:
    """Something with such a property."""

    def __init__(self) -> None:
        self.made = 0

    @made_once
    def part(self) -> list[int]:
        """A part of it."""
        self.made += 1
        return [self.made]


def test_it_is_made_on_first_use_only() -> None:
    """Afterwards it is an attribute like any other."""
    thing = Thing()
    assert thing.made == 0
    assert thing.part is thing.part
    assert (thing.made, vars(thing)["part"]) == (1, [1])


def test_it_can_be_set_and_made_anew() -> None:
    """An application may put something else in its place."""
    thing = Thing()
    thing.part = [5]
    assert thing.part == [5]
    del thing.part
    assert thing.part == [1]


def test_each_instance_has_its_own() -> None:
    """Nothing is shared."""
    assert Thing().part is not Thing().part


def test_the_class_tells_of_it() -> None:
    """Its docstring is that of the function."""
    assert (type(Thing.part), Thing.part.__doc__) == (made_once, "A part of it.")


def test_a_name_is_imported_on_first_use() -> None:
    """And is then one of the module's own."""
    namespace = {"__name__": "some.module", "own": 1}
    get, names = imported_once(namespace, SessionError="errors")
    assert names() == ["SessionError", "__name__", "own"]
    assert get("SessionError") is SessionError
    assert namespace["SessionError"] is SessionError


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    """The import system relies on the error."""
    get, _ = imported_once({"__name__": "some.module"}, SessionError="errors")
    with pytest.raises(AttributeError, match=r"^module 'some\.module' has no attribute 'other'$"):
        get("other")
