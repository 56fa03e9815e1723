"""The command ``purge``: what it was told, how far it is, and how it ends."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from typing import Any

from webapp2_sessions.cli.output import ask, can_ask, tell
from webapp2_sessions.errors import ConfigError, SessionError

__all__ = ["run_purge"]

#: What is shorter is more often a slip than meant: a unit that is missing, or minutes for months.
_SHORTEST = datetime.timedelta(days=1)
_IN_USE = "is less than a day, and ends sessions that are in use"

#: Seconds between two lines of progress where there is no terminal.
_LINE_EVERY = 5.0


def run_purge(options: argparse.Namespace) -> int:
    """Delete old sessions, and return the exit code."""
    if options.older_than < _SHORTEST and not options.dry_run and not options.yes:
        if not can_ask():
            raise ConfigError("--older-than", f"{_IN_USE}; give --yes as well if that is meant")
        if not ask(f"That {_IN_USE}. Delete all that were not written for so long?"):
            tell("nothing deleted")
            return 1
    report = _Report("would be deleted" if options.dry_run else "deleted", options.limit)
    try:
        with report:
            _purge_by(options, report)
    except KeyboardInterrupt:
        tell(f"interrupted: {report} so far; run the command again to go on")
        return 130
    except SessionError as error:
        tell(f"error: {error}; {report} so far")
        return 2 if isinstance(error, ConfigError) else 1
    sys.stdout.write(f"{report}\n")
    return 0


def _purge_by(options: argparse.Namespace, report: _Report) -> None:
    # Imported here, because this loads google-cloud-ndb, which nothing else needs.
    from webapp2_sessions.sessions_ndb.purging import purge_sessions

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
            tell(f"{self} so far")


def _bar(done: str, total: int | None) -> Any:
    """Return a progress bar, ``None`` without the library for it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=done, total=total, unit=" sessions", file=sys.stderr)


def _monotonic() -> float:
    return time.monotonic()
