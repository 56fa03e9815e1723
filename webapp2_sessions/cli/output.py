"""What commands read and write: rows, JSON, colours on a terminal, questions."""

from __future__ import annotations

import datetime
import json
import os
import sys
from typing import Any, TextIO

from webapp2_sessions.errors import ConfigError, SessionError

__all__ = [
    "age_of",
    "ask",
    "can_ask",
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

#: Seconds above which nothing is counted any more.
_LONGEST = 10_000 * 365 * 86_400

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
    """Write a value for a program: JSON that is ASCII, and has a tag for what is no number.

    :raises SessionError: it is too deep, or a number in it is too long.
    """
    text = _json(value)
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        text = _json(json.loads(text, parse_constant=lambda name: {"!float": repr(float(name))}))
    sys.stdout.write(text + "\n")


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _json(value: Any, **options: Any) -> str:
    try:
        try:
            return json.dumps(value, indent=2, **options)
        except RecursionError:
            return json.dumps(value, **options)  # in C, which takes less of the stack
    except RecursionError:
        raise SessionError("what was found is too deep to be shown") from None
    except ValueError:
        raise SessionError("what was found has a number that is too long to be shown") from None


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
    """Return text, or another value as JSON, without characters that a terminal would obey.

    :raises SessionError: it is too deep, or a number in it is too long.
    """
    text = value if isinstance(value, str) else _json(value, ensure_ascii=False)
    shown = (each if each.isprintable() or each == "\n" else _escape(each) for each in text)
    return "".join(shown)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != 0x7F else "\\u007f"


def time_of(seconds: float) -> str:
    """Return a time in Unix seconds as text, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return "after the year 9999" if seconds > 0 else "before the year 1"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 999 else moment.isoformat()


def age_of(seconds: float) -> str:
    """Return a number of seconds as text in the largest unit of which there are two."""
    if abs(seconds) > _LONGEST:
        return "more than 10000 years"
    size, unit = next((each for each in _UNITS if abs(seconds) >= 2 * each[0]), _UNITS[-1])
    count = int(abs(seconds) // size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def read_secret(argument: str, what: str) -> str:
    """Return an argument, or for ``-`` what is on the standard input.

    :raises ConfigError: there is nothing.
    """
    if argument == "-":
        if can_ask():
            sys.stderr.write(f"{what}: ")
            sys.stderr.flush()
            argument = sys.stdin.readline()
        else:
            argument = _all_input()
    if not argument.strip():
        raise ConfigError(what, "is empty")
    return argument


def _all_input() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    raw = getattr(sys.stdin, "buffer", None)
    if raw is None:
        return sys.stdin.read(_MOST_READ)
    return str(raw.read(_MOST_READ).decode("utf-8", "replace"))


def can_ask() -> bool:
    """Whether there is somebody at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> bool:
    """Ask on the terminal; anything but yes means no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
