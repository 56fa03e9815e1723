"""Terminals, and processes in which commands run."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import webapp2_sessions
from webapp2_sessions.cli import main

#: Processes start here, and so use the same package as the tests.
HOME = Path(webapp2_sessions.__file__).parents[1]

#: Seconds after which a command that hangs is a failure.
PATIENCE = 60.0


class Terminal(io.StringIO):
    """A standard stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Done(NamedTuple):
    """How a command has ended, and what it has written."""

    code: Any
    out: str
    err: str

    @property
    def rows(self) -> dict[str, str]:
        """The rows of a table, by their labels; JSON without its line breaks."""
        rows: dict[str, str] = {}
        for line in self.out.splitlines():
            label, _, text = line.partition("  ")
            if label:
                rows[label] = text.strip()
            else:
                rows[[*rows][-1]] += text.strip()
        return rows


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in this process."""

    def run(*arguments: str) -> Done:
        try:
            code: Any = main(arguments)
        except SystemExit as caught:  # of the parser
            code = caught.code
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def terminal() -> type[Terminal]:
    """Makes a terminal, on which something may have been typed."""
    return Terminal


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start Python with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Without the warnings with which Google's libraries greet some versions of Python.
    line = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.Popen(line, text=True, cwd=HOME, **{**pipes, **options})


@pytest.fixture
def start_python() -> Callable[..., subprocess.Popen[str]]:
    """Starts a Python process."""
    return start


def run_to_the_end(*arguments: str, text: str | None = None, **options: Any) -> Done:
    with start(*arguments, **options) as process:
        out, err = process.communicate(text, timeout=PATIENCE)
    return Done(process.returncode, out, err)


@pytest.fixture
def run_python() -> Callable[..., Done]:
    """Runs a Python process to its end, with a text on its standard input."""
    return run_to_the_end


@pytest.fixture
def run_without() -> Callable[..., Done]:
    """Runs a command where some libraries are missing."""

    def run(libraries: tuple[str, ...], *arguments: str) -> Done:
        return run_to_the_end(
            "-c",
            f"import sys; sys.modules.update(dict.fromkeys({libraries!r}));"
            f"from webapp2_sessions.cli import main; sys.exit(main({arguments!r}))",
        )

    return run
