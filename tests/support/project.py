"""What the project says of itself, in setup.py and pyproject.toml."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

__all__ = ["ROOT", "requirements", "settings"]

ROOT = Path(__file__).parents[2]


def settings() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def requirements() -> list[Requirement]:
    """Return what the installed package and its extras need, and its development."""
    groups = settings()["dependency-groups"].values()
    lines = [line for group in groups for line in group if isinstance(line, str)]
    return [*map(Requirement, [*(importlib.metadata.requires("webapp2_sessions") or []), *lines])]
