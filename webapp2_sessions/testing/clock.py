"""The clock by which sessions go, in the hands of a test."""

from __future__ import annotations

import datetime
import http.cookiejar
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import webob.cookies

from webapp2_sessions import securecookie
from webapp2_sessions.sessions import factories
from webapp2_sessions.stored import factory as stored_sessions

__all__ = ["Clock", "moved_clock", "now"]

_UTC = datetime.timezone.utc

#: Guards all that follows.
_lock = threading.Lock()
#: The clocks in use, of which the last one counts.
_clocks: list[Clock] = []
#: What stood in :data:`_PLACES` before the first of them.
_originals: list[Any] = []


def now() -> float:
    """Return the time by which sessions go, in Unix seconds."""
    try:
        return _clocks[-1].time()
    except IndexError:
        return time.time()


class Clock:
    """A clock that stands until it is moved.

    :param at: where it begins: Unix seconds, or a :class:`datetime.datetime`, which is UTC if it
        has no zone; by default the present, in whole seconds as cookies count.
    """

    def __init__(self, at: float | datetime.datetime | None = None) -> None:
        self._now = float(int(now())) if at is None else _unix_seconds(at)

    def time(self) -> float:
        """Return the time in Unix seconds, as :func:`time.time` does."""
        return self._now

    def utc(self) -> datetime.datetime:
        """Return the time as a :class:`datetime.datetime` in UTC."""
        return datetime.datetime.fromtimestamp(self._now, _UTC)

    def advance(self, seconds: float | datetime.timedelta) -> None:
        """Move on by so much; a negative number moves back."""
        if isinstance(seconds, datetime.timedelta):
            seconds = seconds.total_seconds()
        with _lock:
            self._now += seconds

    def move_to(self, at: float | datetime.datetime) -> None:
        """Move to a point in time, given as to the class."""
        moved = _unix_seconds(at)
        with _lock:
            self._now = moved


def _unix_seconds(at: float | datetime.datetime) -> float:
    if not isinstance(at, datetime.datetime):
        return float(at)
    return (at if at.tzinfo else at.replace(tzinfo=_UTC)).timestamp()


@contextmanager
def moved_clock(at: Clock | float | datetime.datetime | None = None) -> Iterator[Clock]:
    """Let sessions go by a clock of the test's own, in all threads, until the block ends.

    Cookies are signed and expire by it, on both sides: here and in cookie jars of Python's
    :mod:`http.cookiejar`, WebTest's among them. So do sessions in memory. ``time.time()`` itself
    stays as it is, and so do real servers, which have clocks of their own.

    A block within a block has a clock of its own; afterwards the outer one counts again.

    :param at: a clock, or where a new one begins; by default at the present.
    """
    clock = at if isinstance(at, Clock) else Clock(at)
    with _lock:
        if not _clocks:
            _originals[:] = [vars(module)[name] for module, name, _ in _PLACES]
            for module, name, stand_in in _PLACES:
                setattr(module, name, stand_in)
        _clocks.append(clock)
    try:
        yield clock
    finally:
        with _lock:
            _take_away(clock)


def _take_away(clock: Clock) -> None:
    """Take the last use of a clock out of those in use, which other threads may have ended since.

    The places are as they were when the last one has gone, in whatever order that happens.
    """
    index = max(index for index, each in enumerate(_clocks) if each is clock)
    if len(_clocks) == 1:
        for (module, name, _), original in zip(_PLACES, _originals, strict=True):
            setattr(module, name, original)
    del _clocks[index]


class _Time:
    """Stands in for the module :mod:`time` where that is asked for the time."""

    def time(self) -> float:
        return now()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Datetime(datetime.datetime):
    """Stands in for the class by which WebOb dates a cookie."""

    @classmethod
    def utcnow(cls) -> Any:
        return datetime.datetime.fromtimestamp(now(), _UTC).replace(tzinfo=None)


_TIME = _Time()

#: Who asks for the time: the module, the name that it has for what it asks, and what stands in.
#: Not ``time.time`` itself, which others use for other things.
_PLACES: tuple[tuple[Any, str, Any], ...] = (
    (factories, "time", _TIME),
    (securecookie, "time", _TIME),
    (stored_sessions, "time", _TIME),
    (webob.cookies, "datetime", _Datetime),
    (http.cookiejar, "time", _TIME),
)
