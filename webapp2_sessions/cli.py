"""The command line: arguments, progress, and what a command's end tells the shell."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from webapp2_sessions.errors import ConfigError, SessionError

__all__ = ["main"]

_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130

#: Seconds between two lines of progress where there is no terminal.
_LINE_EVERY = 5.0

_SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw]?)")

_PURGE_HELP = """\
Delete the Datastore entities of sessions that were last written longer ago than a given time.

Let that be the application's session_max_age, or the most that set_max_age() is given, and a day.
What counts is the last change: a session that is read and never changed is old as well.
"""

_PURGE_EXAMPLES = """\
examples:
  python -m webapp2_sessions purge --older-than 31d --dry-run
  python -m webapp2_sessions purge --older-than 31d --project shop --namespace de
  python -m webapp2_sessions purge --older-than 12h --limit 10000

DURATION is a number and a unit: 45s, 90m, 12h, 30d, 2w; without a unit it is seconds.

The exit code is 0 when all is done, 1 when Datastore failed, 2 for wrong arguments, 130 when
interrupted. After a failure or an interrupt run the command again: it goes on with what is left.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :param arguments: by default those of the process.
    :returns: the exit code.
    :raises SystemExit: the arguments are wrong, or only help was asked for.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m webapp2_sessions",
        description="Commands for those who run applications with webapp2_sessions.",
        epilog="python -m webapp2_sessions COMMAND --help tells more.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in (_add_purge,):
        add_command(commands)
    return parser


def _add_purge(commands: Any) -> None:
    parser = commands.add_parser(
        "purge",
        help="delete old sessions from Datastore",
        description=_PURGE_HELP,
        epilog=_PURGE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--older-than", required=True, type=_duration, metavar="DURATION", help="e.g. 31d")
    add("--dry-run", action="store_true", help="count, and delete nothing")
    add("--limit", type=_whole_number, metavar="N", help="delete N sessions at most")
    add("--project", metavar="P", help="Google project (default: the environment's)")
    add("--namespace", metavar="N", help="namespace (default: the empty one)")
    add("--database", metavar="D", help="database (default: the project's default one)")
    add("--kind", default="Session", type=_name, metavar="K", help="kind (default: Session)")
    # Nobody waits for a page here, and a query that steps over many deleted entities takes long.
    seconds = "seconds for each request (default: 30)"
    add("--timeout", default=30.0, type=_seconds, metavar="S", help=seconds)
    parser.set_defaults(run=_purge)


def _purge(options: argparse.Namespace) -> int:
    report = _Report("would be deleted" if options.dry_run else "deleted", options.limit)
    try:
        with report:
            _purge_by(options, report)
    except KeyboardInterrupt:
        _tell(f"interrupted: {report} so far; run the command again to go on")
        return _INTERRUPTED
    except SessionError as error:
        _tell(f"error: {error}; {report} so far")
        return _USAGE if isinstance(error, ConfigError) else _FAILED
    sys.stdout.write(f"{report}\n")
    return _DONE


def _purge_by(options: argparse.Namespace, report: _Report) -> None:
    # Imported here, because this loads google-cloud-ndb, which nothing else needs.
    from webapp2_sessions.purging import purge_sessions

    places = ("project", "namespace", "database", "timeout")
    given = {place: getattr(options, place) for place in places}
    purge_sessions(
        options.older_than,
        model=_model_of(options.kind),
        config={"datastore": {key: value for key, value in given.items() if value is not None}},
        limit=options.limit,
        dry_run=options.dry_run,
        progress=report.update,
    )


def _model_of(kind: str) -> Any:
    """Return ``Session``, or a model that differs from it by its kind only."""
    from webapp2_sessions.sessions_ndb import Session

    if kind == "Session":
        return Session
    return type("SessionOfKind", (Session,), {"_get_kind": classmethod(lambda _: kind)})


class _Report:
    """Shows how far a command is: a bar on a terminal, lines elsewhere.

    :param done: what has happened to the sessions, e.g. ``"deleted"``.
    :param total: how many it can be at most, ``None`` if that is not known.
    """

    def __init__(self, done: str, total: int | None) -> None:
        #: The number of sessions so far.
        self.count = 0
        self._done = done
        self._total = total
        self._bar: Any = None
        self._line_at = -_LINE_EVERY

    def __str__(self) -> str:
        noun = "session" if self.count == 1 else "sessions"
        return f"{self.count} {noun} {self._done}"

    def __enter__(self) -> _Report:
        self._bar = _bar(self._done, self._total) if sys.stderr.isatty() else None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int) -> None:
        """Show the number of sessions so far; lines only every few seconds."""
        self.count = count
        if self._bar is not None:
            self._bar.update(count - self._bar.n)
        elif _monotonic() - self._line_at >= _LINE_EVERY:
            self._line_at = _monotonic()
            _tell(f"{self} so far")


def _bar(done: str, total: int | None) -> Any:
    """Return a progress bar, ``None`` without the library for it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=done, total=total, unit=" sessions", file=sys.stderr)


def _tell(text: str) -> None:
    # Not to the standard output, which has the result alone.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _duration(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration; give a number and a unit: 45s, 90m, 12h, 30d, 2w"
        )
    return datetime.timedelta(seconds=float(match[1]) * _SECONDS_OF[match[2]])


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,15}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return float(text)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a kind has a name")
    return text


def _monotonic() -> float:
    return time.monotonic()
