"""Names of other modules, imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["imported_once"]


def imported_once(
    namespace: dict[str, Any], **homes: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` (PEP 562) of a module with names from others.

    These are imported when somebody asks for such a name, so that they cost nothing before. Only
    for what applications name in their sources: during a request an import may be the first one,
    which keeps the other threads waiting, and for ever in a process that is forked meanwhile.

    :param namespace: ``globals()`` of the module; the names go there once they are imported.
    :param homes: for each name the module of the package that defines it.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        home = import_module(f"webapp2_sessions.{homes[name]}")
        value = namespace[name] = getattr(home, name)
        return value

    return get, lambda: sorted({*namespace, *homes})
