"""Names that are imported on first use."""

from __future__ import annotations

import pytest

from webapp2_sessions.errors import SessionError
from webapp2_sessions.lazy import imported_once


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
