"""Virtual environments, each with a Python and versions of the libraries, and tests in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from matrix.metadata import Metadata, lowest

__all__ = ["Environment", "Outcome", "wanted"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """One Python with one choice of libraries."""

    #: "3.12".
    minor: str
    #: Whether libraries are of the lowest versions that setup.py allows, or of the newest.
    is_lowest: bool = False

    @property
    def name(self) -> str:
        """Such as "3.12" or "3.10-lowest"."""
        return f"{self.minor}-lowest" if self.is_lowest else self.minor


@dataclass(frozen=True)
class Outcome:
    """How the tests went."""

    name: str
    passed: bool
    #: pytest's last line, or which step has failed.
    line: str
    seconds: float


def wanted(metadata: Metadata) -> list[Environment]:
    """The newest libraries on each Python, and the lowest on the oldest of these."""
    oldest = Environment(metadata.pythons[0], is_lowest=True)
    return [oldest, *map(Environment, metadata.pythons)]


def try_out(
    environment: Environment,
    python: Path,
    wheel: Path,
    metadata: Metadata,
    folder: Path,
    tests: Sequence[str],
) -> Outcome:
    """Make the environment anew, install the wheel into it and run the tests.

    All that is printed goes into a log beside it, of which a failure shows the end.
    """
    started = time.monotonic()
    home = folder / environment.name
    with (folder / f"{environment.name}.log").open("w+", encoding="utf-8") as log:
        step = _install(environment, python, wheel, metadata, home, log)
        if step is None:
            command = [home / "bin" / "pytest", "-q", "-p", "no:cacheprovider", *tests]
            passed = _run(command, log)
            line = _last_line(log)
        else:
            passed, line = False, f"failed to {step}"
    return Outcome(environment.name, passed, line, time.monotonic() - started)


def _install(
    environment: Environment,
    python: Path,
    wheel: Path,
    metadata: Metadata,
    home: Path,
    log: TextIO,
) -> str | None:
    """Install everything; which step has failed, None if all is well."""
    shutil.rmtree(home, ignore_errors=True)
    if not _run([python, "-m", "venv", home], log):
        return "make a virtual environment"
    constraints: list[str | Path] = []
    if environment.is_lowest:
        file = home / "constraints.txt"
        lines = lowest(metadata.requirements, environment.minor, "test")
        file.write_text("\n".join(lines) + "\n", "utf-8")
        constraints = ["--constraint", file]
    pip = [home / "bin" / "python", "-m", "pip", "install"]
    return None if _run([*pip, f"{wheel}[test]", *constraints], log) else "install the libraries"


def _run(command: Sequence[str | Path], log: TextIO) -> bool:
    log.write(f"$ {' '.join(map(str, command))}\n")
    log.flush()
    # Python's own settings would lead into the environment that this runs in.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode == 0


def _last_line(log: TextIO) -> str:
    log.seek(0)
    lines = log.read().splitlines()
    return lines[-1].strip("= ") if lines else ""
