"""Events: what an application is told that watches its sessions."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from webapp2_sessions.errors import BackendError

__all__ = ["SessionEvent"]

logger: logging.Logger = logging.getLogger(__name__)


class SessionEvent(NamedTuple):
    """One thing that happened to a session, for ``config["on_event"]``.

    It holds no id, no name and no value, so that all of it may become part of a metric.
    """

    #: ``"load"``, ``"save"``, ``"refresh"``, ``"renewal"``, ``"end"``, ``"conflict"``, ``"error"``,
    #: ``"degraded"``, ``"cache_hit"`` or ``"cache_miss"``.
    kind: str
    #: Keyword of the backend, such as ``"redis"``; of a cache, that of its server.
    backend: str
    #: How long it took, ``None`` where nothing was waited for.
    seconds: float | None = None
    #: Bytes of the record, or of the cookie as browsers send it; ``None`` if there was none, or its
    #: size is not known.
    size: int | None = None
    #: Name of the class of an error, such as ``"BackendUnavailable"``.
    error: str | None = None


def start(config: Mapping[str, Any]) -> float | None:
    """Return the time from which an event counts, ``None`` if nobody is told."""
    return None if config.get("on_event") is None else _now()


def tell(
    config: Mapping[str, Any],
    kind: str,
    backend: str,
    started: float | None = None,
    **details: Any,
) -> None:
    """Tell of an event, if a function is configured.

    What that function raises is logged and nothing else: a session must not be lost because it
    cannot be counted.

    :param started: what :func:`start` returned, ``None`` where nothing was waited for.
    :param details: ``size`` and ``error`` of a :class:`SessionEvent`.
    """
    on_event = config.get("on_event")
    if on_event is None:
        return
    seconds = None if started is None else _now() - started
    call("on_event", repr(kind), on_event, SessionEvent(kind, backend, seconds, **details))


def call(key: str, news: str, function: Callable[..., object], *args: Any) -> None:
    """Call a function of the configuration that is told of something; log what it raises."""
    handled = sys.exc_info()[1]
    try:
        function(*args)
    except Exception as error:
        _part(error, handled)
        logger.exception("config[%r] failed when it was told of %s", key, news)


def _part(error: BaseException, handled: BaseException | None) -> None:
    """Part an error from the one that is being handled, whose texts are not for the log."""
    while error.__context__ is not None and error.__context__ is not handled:
        error = error.__context__
    error.__context__ = None


def tell_error(config: Mapping[str, Any], error: BaseException) -> None:
    """Tell of the failure of a backend; other errors are the application's own."""
    if isinstance(error, BackendError):
        tell(config, "error", error.backend, error=type(error).__name__)


_now = time.perf_counter
