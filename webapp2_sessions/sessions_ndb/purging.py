"""Purging old sessions from Datastore: page by page, limited in number and in time."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.config.checks import CHECKS
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.config.value_checks import (
    Check,
    is_number,
    optional,
    valid_if,
    wrong,
    wrong_value,
)
from webapp2_sessions.errors import BackendError
from webapp2_sessions.sessions_ndb import Session
from webapp2_sessions.sessions_ndb.client import Datastore, is_transient, ndb
from webapp2_sessions.sessions_ndb.records import SessionEnded, forget_cached

__all__ = ["purge_sessions"]

Result = TypeVar("Result")

#: A tombstone is needed for as long as a request may run that has read the session before.
_TOMBSTONES_LIVE = datetime.timedelta(days=1)

#: Seconds between the retries of a request after a transient fault.
_PAUSES = (1.0, 2.0, 4.0)

#: Lower limit of a request's timeout when the time of the run is nearly up, so that the run does
#: not end with an error while the service works.
_SHORTEST_TIMEOUT = 1.0

#: Datastore's limit of deletions in one request.
_LARGEST_BATCH = 500


def _is_count(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and value >= 1


def _can_be_purged(model: Any) -> bool:
    updated = getattr(model, "updated", None)
    return (
        isinstance(model, type)
        and issubclass(model, ndb.Model)
        and isinstance(updated, ndb.DateTimeProperty)
        and getattr(updated, "_indexed", True)  # others cannot be asked for
    )


_ARGUMENTS: dict[str, Check] = {
    "limit": optional(valid_if(_is_count, "a positive whole number or None")),
    "batch": valid_if(
        lambda value: _is_count(value) and value <= _LARGEST_BATCH, f"1 to {_LARGEST_BATCH}"
    ),
    "seconds": optional(
        valid_if(
            lambda value: is_number(value) and value > 0, "a positive number of seconds or None"
        )
    ),
    "model": valid_if(_can_be_purged, "an ndb model with an indexed DateTimeProperty 'updated'"),
    # Without the value, which may hold a secret.
    "config": optional(
        valid_if(lambda value: isinstance(value, Mapping), "a dictionary or None", wrong)
    ),
    "dry_run": valid_if(lambda value: isinstance(value, bool), "True or False"),
    "progress": optional(valid_if(callable, "a function or None")),
}


def purge_sessions(
    older_than: float | datetime.timedelta,
    *,
    model: Any = Session,
    config: Mapping[str, Any] | None = None,
    limit: int | None = None,
    seconds: float | None = None,
    dry_run: bool = False,
    batch: int = 500,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Delete the sessions that were last written longer ago than ``older_than``.

    Let ``older_than`` be the configured ``session_max_age``, or the longest age that is given to
    ``session.set_max_age()`` if that is more, and a day: no cookie leads to such a session any
    more, so nobody can be renewing it between the query that finds it and its deletion. A run that
    was interrupted or failed is continued by calling it again.

    :param older_than: seconds, or a :class:`datetime.timedelta`; not negative.
    :param model: the model of the entities, with an indexed ``updated``.
    :param config: a session configuration, by default the active application's. An ndb context
        of the caller decides on project, database and namespace.
    :param limit: the most sessions to delete.
    :param seconds: how long the run may take: after that no page is begun.
    :param dry_run: count what would be deleted, and delete nothing.
    :param batch: how many sessions make a page, 1 to 500.
    :param progress: called after each page with the number of sessions so far.
    :returns: the number of sessions that were, or would be, deleted. Tombstones of sessions that
        were destroyed more than a day ago are deleted as well, and do not count.
    :raises ConfigError: an argument is wrong.
    :raises BackendError: Datastore failed, also when asked again; the pages that ``progress`` was
        called for are deleted.
    """
    given = limit, batch, seconds, model, config, dry_run, progress
    for (name, check), value in zip(_ARGUMENTS.items(), given, strict=True):
        check(name, value)
    cutoff = _cutoff(older_than)
    pages = _Pages(active_config() if config is None else config, seconds)
    count = 0
    cursor, more = None, True
    while more and not pages.time_is_up() and (limit is None or count < limit):
        size = batch if limit is None else min(batch, limit - count)
        keys, cursor, more = pages.fetch(model, cutoff, size, cursor)
        if not keys:
            break
        if not dry_run:
            pages.delete(keys)
        count += len(keys)
        if progress is not None:
            progress(count)
    if not dry_run:
        pages.delete_tombstones()
    return count


class _Pages:
    """Find and delete pages of sessions until the time is up.

    :param config: a session configuration.
    :param seconds: the time, ``None`` for any.
    """

    def __init__(self, config: Mapping[str, Any], seconds: float | None) -> None:
        CHECKS["datastore"]("datastore", config.get("datastore") or {})
        self._config = config
        self._settings = datastore_settings(config)
        self._end = math.inf if seconds is None else _monotonic() + seconds

    def time_is_up(self) -> bool:
        """Return whether no page may be begun any more."""
        return self._left() <= 0

    def fetch(
        self, model: Any, cutoff: datetime.datetime, size: int, cursor: Any
    ) -> tuple[list[Any], Any, bool]:
        """Return the keys of a page, the cursor behind it, and whether there may be more."""

        def query(options: dict[str, Any]) -> Any:
            # A query has no option "retries": ndb retries it three times, with sleeps.
            return model.query(model.updated < cutoff).fetch_page(
                size, keys_only=True, start_cursor=cursor, timeout=options["timeout"]
            )

        keys, cursor, more = self._run(query)
        return keys, cursor, more

    def delete(self, keys: list[Any]) -> None:
        """Delete a page, also from the cache.

        It is a request of its own, so that repeating it deletes and counts the same sessions.
        """
        try:
            self._delete(keys)
        finally:  # also after a failure or an interrupt: they may be deleted all the same
            forget_cached(self._config, keys)

    def _delete(self, keys: list[Any]) -> None:
        self._run(lambda options: ndb.delete_multi(keys, **options))

    def delete_tombstones(self) -> None:
        """Delete the tombstones of sessions that were destroyed long ago; they do not count."""
        cutoff = _utc_now() - _TOMBSTONES_LIVE
        cursor, more = None, True
        while more and not self.time_is_up():
            keys, cursor, more = self.fetch(SessionEnded, cutoff, _LARGEST_BATCH, cursor)
            if keys:
                self._delete(keys)

    def _run(self, operation: Callable[[dict[str, Any]], Result]) -> Result:
        """Call ``operation(options)`` in an ndb context; retry it after transient faults."""
        pauses = iter(_PAUSES)
        while True:
            timeout = min(self._settings["timeout"], max(self._left(), _SHORTEST_TIMEOUT))
            datastore = Datastore({**self._settings, "timeout": timeout})
            try:
                return datastore.run(operation, datastore.options)
            except BackendError as error:
                pause = next(pauses, None)
                if pause is None or pause >= self._left() or not is_transient(error):
                    raise
            _sleep(pause)

    def _left(self) -> float:
        return self._end - _monotonic()


def _cutoff(older_than: Any) -> datetime.datetime:
    """Return the time, as ndb keeps it, before which a session was last written if it is old."""
    age = older_than
    try:
        if is_number(age) and not math.isnan(age):
            age = datetime.timedelta(seconds=age)
        if not isinstance(age, datetime.timedelta):
            raise wrong_value("older_than", older_than, "a number of seconds or a timedelta")
        if age < datetime.timedelta(0):
            raise wrong_value("older_than", older_than, "0 or more")
        return _utc_now() - age
    except OverflowError:
        raise wrong_value("older_than", older_than, "a time since the year 1") from None


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def _monotonic() -> float:
    return time.monotonic()


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
