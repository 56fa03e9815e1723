"""What commands read and write: rows, JSON, colours on a terminal, questions."""

from __future__ import annotations

import datetime
import json
import os
import sys
from typing import Any, TextIO

from webapp2_sessions.errors import ConfigError

__all__ = [
    "age_of",
    "ask",
    "paint",
    "printable",
    "read_secret",
    "tell",
    "time_of",
    "write",
    "write_json",
    "write_rows",
]

_STYLES = {"error": "31", "warning": "33", "advice": "36", "good": "32", "label": "1"}

#: Characters that a command reads from its standard input at most.
_MOST_READ = 1_000_000

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def tell(text: str) -> None:
    """Write a line to the standard error: the standard output has the result alone."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Write a line to the standard output; characters that it lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def write_json(value: Any) -> None:
    """Write a value for a program: JSON that is ASCII."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_rows(rows: list[tuple[str, str]]) -> None:
    """Write a table of two columns; a text of several lines goes on below itself."""
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        indented = text.replace("\n", "\n" + " " * (width + 2))
        write(f"{paint(label.ljust(width), 'label', sys.stdout)}  {indented}")


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return text in a colour, where the stream is a terminal that has some.

    No colours are used where NO_COLOR is set (https://no-color.org).
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def printable(value: Any) -> str:
    """Return text, or another value as JSON, without characters that a terminal would obey."""
    is_text = isinstance(value, str)
    text = value if is_text else json.dumps(value, indent=2, ensure_ascii=False)
    shown = (each if each.isprintable() or each == "\n" else _escape(each) for each in text)
    return "".join(shown)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != 0x7F else "\\u007f"


def time_of(seconds: float) -> str:
    """Return a time in Unix seconds as text, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds since 1970"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 999 else moment.isoformat()


def age_of(seconds: float) -> str:
    """Return a number of seconds as text in the largest unit of which there are two."""
    size, unit = next((each for each in _UNITS if abs(seconds) >= 2 * each[0]), _UNITS[-1])
    count = int(abs(seconds) // size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def read_secret(argument: str, what: str) -> str:
    """Return an argument, or for ``-`` what is on the standard input.

    :raises ConfigError: there is nothing.
    """
    if argument == "-":
        if sys.stdin.isatty():
            sys.stderr.write(f"{what}: ")
            sys.stderr.flush()
            argument = sys.stdin.readline()
        else:
            argument = _all_input()
    if not argument.strip():
        raise ConfigError(what, "is empty")
    return argument


def _all_input() -> str:
    raw = getattr(sys.stdin, "buffer", None)
    if raw is None:
        return sys.stdin.read(_MOST_READ)
    return str(raw.read(_MOST_READ).decode("utf-8", "replace"))


def ask(question: str) -> bool:
    """Ask on the terminal; anything but yes means no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
