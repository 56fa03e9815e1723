"""Which Pythons are on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["download", "find"]

#: Seconds after which a program that hangs counts as unusable.
_PATIENCE = 60.0

#: A Python that can make virtual environments; Debian's may be without.
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def find(minor: str) -> Path | None:
    """Return an interpreter of a version such as "3.12", None if there is none that works."""
    for candidate in _candidates(minor):
        if _output_of(str(candidate), "-c", _PROBE) == minor:
            return candidate
    return None


def _candidates(minor: str) -> Iterator[Path]:
    """pyenv's, the newest first; the one on the path; uv's."""
    root = os.environ.get("PYENV_ROOT") or _output_of("pyenv", "root")
    if root:
        yield from sorted(
            Path(root).glob(f"versions/{minor}.*/bin/python"), key=_numbers, reverse=True
        )
    on_path = shutil.which(f"python{minor}")
    if on_path:
        yield Path(on_path)
    managed = _output_of("uv", "python", "find", "--no-project", minor)
    if managed:
        yield Path(managed)


def _numbers(python: Path) -> list[int]:
    """3.10.9 is less than 3.10.13, and any release more than what is none, such as 3.13.0rc1."""
    parts = python.parts[-3].split(".")
    return [int(part) if part.isdigit() else -1 for part in parts]


def download(minors: list[str]) -> None:
    """Have uv, which comes from PyPI if it is not there, download Pythons; find() finds them."""
    if not shutil.which("uv"):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
        bin_first = [str(Path(sys.executable).parent), os.environ["PATH"]]
        os.environ["PATH"] = os.pathsep.join(bin_first)
    subprocess.run(["uv", "python", "install", *minors], check=False)


def _output_of(*command: str) -> str:
    """What a command prints; "" if it is missing or fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
