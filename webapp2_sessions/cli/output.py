"""Input and output of commands: text, tables, JSON, colors, and questions."""

from __future__ import annotations

import datetime
import json
import os
import sys
from typing import Any

from webapp2_sessions.errors import ConfigError, SessionError

_STYLES = {"error": "31", "warning": "33", "advice": "36", "good": "32", "label": "1"}

#: How many characters a command reads from standard input at most.
_MAX_INPUT = 1_000_000

#: Longer durations are not counted.
_MAX_DURATION = 10_000 * 365 * 86_400

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def echo(text: str) -> None:
    """Write a line to standard output; characters that its encoding lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def echo_error(text: str) -> None:
    """Write a line to standard error: standard output has nothing but the result."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def echo_table(rows: list[tuple[str, str]]) -> None:
    """Write labels and texts in two columns; further lines of a text are indented."""
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        indented = text.replace("\n", "\n" + " " * (width + 2))
        echo(f"{style(label.ljust(width), 'label')}  {indented}")


def echo_json(value: Any) -> None:
    """Write a value as ASCII JSON, with a tag in place of NaN and infinities.

    :raises SessionError: it is nested too deeply, or has a number with too many digits.
    """
    plain = json.loads(_dump(value), parse_constant=lambda name: {"!float": repr(float(name))})
    sys.stdout.write(_dump(plain) + "\n")


def _dump(value: Any, **options: Any) -> str:
    try:
        try:
            return json.dumps(value, indent=2, **options)
        except RecursionError:
            return json.dumps(value, **options)  # in C, which needs less of the stack
    except RecursionError:
        raise SessionError("the value is nested too deeply to be shown") from None
    except ValueError:
        raise SessionError("the value has a number with too many digits to be shown") from None


def printable(value: Any) -> str:
    """Return text, or another value as JSON, with control characters escaped.

    :raises SessionError: as :func:`echo_json`.
    """
    text = value if isinstance(value, str) else _dump(value, ensure_ascii=False)
    shown = (each if each.isprintable() or each == "\n" else _escape(each) for each in text)
    return "".join(shown)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != 0x7F else "\\u007f"


def style(text: str, name: str) -> str:
    """Return text in color if standard output is a terminal that has some.

    NO_COLOR in the environment switches colors off (https://no-color.org).
    """
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if is_plain or not sys.stdout.isatty():
        return text
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m"


def format_time(seconds: float) -> str:
    """Return Unix seconds as date and time in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return "after the year 9999" if seconds > 0 else "before the year 1"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 999 else moment.isoformat()


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two."""
    if abs(seconds) > _MAX_DURATION:
        return "more than 10000 years"
    size, unit = next((each for each in _UNITS if abs(seconds) >= 2 * each[0]), _UNITS[-1])
    count = int(abs(seconds) // size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def is_interactive() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(prompt: str) -> str:
    """Return a line from standard input; the prompt is no result, and goes to standard error."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline()


def confirm(question: str) -> bool:
    """Ask on the terminal; any answer but yes means no."""
    return _ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def read_secret(argument: str, name: str) -> str:
    """Return an argument; if it is ``-``, a line from the terminal or all of standard input.

    :param name: the argument's name, for the prompt and errors.
    :raises ConfigError: it is empty.
    """
    if argument == "-":
        argument = _ask(f"{name}: ") if is_interactive() else _read_input()
    if not argument.strip():
        raise ConfigError(name, "is empty")
    return argument


def _read_input() -> str:
    if sys.stdin is None:  # closed
        return ""
    raw = getattr(sys.stdin, "buffer", None)
    if raw is None:
        return sys.stdin.read(_MAX_INPUT)
    return str(raw.read(_MAX_INPUT).decode("utf-8", "replace"))
