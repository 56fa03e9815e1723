"""A value that is pickled by a name, which a later version of an application does not have."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["Named", "is_missing"]

#: Whether the application that answers now lacks the name.
is_missing: ContextVar[bool] = ContextVar("is_missing", default=False)


def _plain(text: str) -> str:
    return text


_plain.__qualname__ = _plain.__name__ = "plain"


class Named(str):
    """A text that is stored by the name, and is a plain one when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (str(self),)


def __getattr__(name: str) -> Any:
    """Return what is renamed, where it has its former name."""
    if name == "plain" and not is_missing.get():
        return _plain
    raise AttributeError(name)
