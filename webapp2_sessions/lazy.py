"""What is made, or imported, on first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["imported_once", "made_once"]


class made_once:  # noqa: N801 # a decorator
    """A property that is computed on first use, and can be set.

    Without a lock, which webapp2's has: it would be one for all requests, and could be left locked
    in a forked process.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


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
