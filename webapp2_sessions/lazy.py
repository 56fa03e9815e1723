"""What is made on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["made_once"]


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
