"""The command ``purge``."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from contextlib import closing
from typing import Any

from webapp2_sessions.cli.output import confirm, echo_error, is_interactive
from webapp2_sessions.errors import ConfigError, SessionError

#: A shorter duration is more often a slip than meant: a missing unit, or minutes for months.
_SHORTEST = datetime.timedelta(days=1)
_IN_USE = "is less than a day, and ends sessions that are in use"

#: Seconds between two lines of progress without a terminal.
_INTERVAL = 5.0


def run_purge(options: argparse.Namespace) -> int:
    """Delete old sessions, and return the exit code."""
    if options.older_than < _SHORTEST and not options.dry_run and not options.yes:
        if not is_interactive():
            raise ConfigError("--older-than", f"{_IN_USE}; give --yes as well if that is meant")
        if not confirm(f"That {_IN_USE}. Delete all that were not written for so long?"):
            echo_error("nothing deleted")
            return 1
    progress = _Progress("would be deleted" if options.dry_run else "deleted", options.limit)
    try:
        with closing(progress):
            _purge(options, progress)
    except KeyboardInterrupt:
        echo_error(f"interrupted: {progress} so far; run the command again to go on")
        return 130
    except SessionError as error:
        echo_error(f"error: {error}; {progress} so far")
        return 2 if isinstance(error, ConfigError) else 1
    sys.stdout.write(f"{progress}\n")
    return 0


def _purge(options: argparse.Namespace, progress: _Progress) -> None:
    from webapp2_sessions.sessions_ndb.purging import purge_sessions  # loads google-cloud-ndb

    keys = ("project", "namespace", "database", "timeout")
    given = {key: getattr(options, key) for key in keys}
    purge_sessions(
        options.older_than,
        model=_model_of(options.kind),
        config={"datastore": {key: value for key, value in given.items() if value is not None}},
        limit=options.limit,
        dry_run=options.dry_run,
        progress=progress.update,
    )


def _model_of(kind: str) -> Any:
    """Return ``Session``, or a subclass of another kind."""
    from webapp2_sessions.sessions_ndb import Session

    if kind == "Session":
        return Session
    return type("SessionOfKind", (Session,), {"_get_kind": classmethod(lambda _: kind)})


class _Progress:
    """Shows progress: a bar on a terminal, lines elsewhere.

    :param done: what happened to the sessions, e.g. ``"deleted"``.
    :param total: the most that it can be, ``None`` if unknown.
    """

    def __init__(self, done: str, total: int | None) -> None:
        #: The number of sessions so far.
        self.count = 0
        self._done = done
        self._bar = _bar(done, total) if sys.stderr.isatty() else None
        self._line_at = -_INTERVAL

    def __str__(self) -> str:
        noun = "session" if self.count == 1 else "sessions"
        return f"{self.count} {noun} {self._done}"

    def close(self) -> None:
        """End the bar, so that what is written next begins a line."""
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int) -> None:
        """Show a new number of sessions; as a line only every few seconds."""
        self.count = count
        if self._bar is not None:
            self._bar.update(count - self._bar.n)
        elif time.monotonic() - self._line_at >= _INTERVAL:
            self._line_at = time.monotonic()
            echo_error(f"{self} so far")


def _bar(done: str, total: int | None) -> Any:
    """Return a progress bar, ``None`` without the library for it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=done, total=total, unit=" sessions", file=sys.stderr)
