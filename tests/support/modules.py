"""Temporary modules of an application, for commands that import one."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["modules_in"]

#: Each module has a new name, because Python caches imported modules.
_numbers = itertools.count()


@contextmanager
def modules_in(folder: Path) -> Iterator[Callable[[str], str]]:
    """Yield a function that writes a module's source into a folder and returns its name."""
    names = []

    def write(source: str) -> str:
        name = f"shop{next(_numbers)}"
        (folder / f"{name}.py").write_text(source, "utf-8")
        names.append(name)
        return name

    try:
        yield write
    finally:
        for name in names:
            sys.modules.pop(name, None)
