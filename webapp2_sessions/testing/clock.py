"""A clock for sessions that a test sets and moves."""

from __future__ import annotations

import datetime
import http.cookiejar
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import webob.cookies

_UTC = datetime.timezone.utc

#: The wings of the package that ask for the time of sessions. Not those of backends: real servers
#: have clocks of their own.
_WINGS = ("securecookie", "sessions", "stored", "users")

#: Guards what follows.
_lock = threading.Lock()
#: The clocks in use, of which the last one counts.
_clocks: list[Clock] = []
#: Puts back what the first of them has replaced.
_originals = ExitStack()


def now() -> float:
    """Return the time of sessions in Unix seconds."""
    try:
        return _clocks[-1].time()
    except IndexError:
        return time.time()


class Clock:
    """A clock that stands still until it is moved.

    :param at: the time to start from: Unix seconds, or a :class:`datetime.datetime`, which is UTC
        if it has no zone; by default the present, in whole seconds as in cookies.
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
        """Move forward; by a negative number, back."""
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
def travel(at: Clock | float | datetime.datetime | None = None) -> Iterator[Clock]:
    """Replace the time of sessions, in all threads, until the block ends.

    By the clock cookies are signed and expire, here and in the jars of Python's
    :mod:`http.cookiejar`, WebTest's among them; so do sessions in memory. ``time.time()`` itself
    stays as it is, and so do real servers, which have clocks of their own.

    Blocks can be nested; the clock of the innermost counts.

    :param at: a clock, or the time at which a new one starts; by default the present.
    """
    clock = at if isinstance(at, Clock) else Clock(at)
    with _lock:
        if not _clocks:
            _replace_time()
        _clocks.append(clock)
    try:
        yield clock
    finally:
        with _lock:
            # Its last use: other threads may have ended theirs in any order.
            del _clocks[max(index for index, each in enumerate(_clocks) if each is clock)]
            if not _clocks:
                _originals.close()


def _replace_time() -> None:
    """Replace what asks for the time; not ``time.time`` itself, which others use too."""
    _replace(webob.cookies, "datetime", _Datetime)
    for module in (http.cookiejar, *_own_modules()):
        _replace(module, "time", _TIME)


def _replace(module: Any, name: str, stand_in: Any) -> None:
    _originals.callback(setattr, module, name, vars(module)[name])
    setattr(module, name, stand_in)


def _own_modules() -> Iterator[Any]:
    for name, module in sys.modules.copy().items():
        package, _, rest = name.partition(".")
        is_own = package == "webapp2_sessions" and rest.partition(".")[0] in _WINGS
        if is_own and "time" in vars(module):
            yield module


class _Time:
    """Stands in for the module :mod:`time`."""

    def time(self) -> float:
        return now()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_TIME = _Time()


class _Datetime(datetime.datetime):
    """Stands in for the class by which WebOb dates cookies."""

    @classmethod
    def utcnow(cls) -> Any:
        return datetime.datetime.fromtimestamp(now(), _UTC).replace(tzinfo=None)
