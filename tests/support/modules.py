"""Modules of an application, which are written, imported by commands, and forgotten."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["modules_in"]

#: A module that was imported is not read again: each has a name of its own.
_numbers = itertools.count()


@contextmanager
def modules_in(folder: Path) -> Iterator[Callable[[str], str]]:
    """Write modules into a folder as long as the block runs.

    Gives a function that writes the source of one, and returns its name.
    """
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
