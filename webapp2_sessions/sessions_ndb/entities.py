"""Tombstones, ages and times in entities, and their names in the cache."""

from __future__ import annotations

import datetime
from typing import Any

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions_ndb.client import ndb

__all__ = [
    "SessionEnded",
    "UtcNowProperty",
    "bounded_age",
    "entry_name",
    "entry_name_of",
    "kind_is_taken",
    "unix_seconds",
]

#: Upper limit of a session's own age in seconds, 68 years.
_LONGEST_AGE = 2**31 - 1


class UtcNowProperty(ndb.DateTimeProperty):
    """A naive datetime in UTC, as ndb keeps it."""

    @staticmethod
    def _now() -> datetime.datetime:
        # ndb calls utcnow(), which warns from Python 3.12 on.
        return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class SessionEnded(ndb.Model):
    """Tombstone of a revoked session, under its id; needed for as long as a request may take."""

    _use_cache = False
    _use_global_cache = False

    #: When it was revoked, in UTC.
    updated: Any = UtcNowProperty(auto_now=True)
    #: Whether the session has got another id.
    is_superseded: Any = ndb.BooleanProperty(indexed=False)


def bounded_age(age: Any) -> int | None:
    """Return a session's own age if it is valid, else ``None``."""
    return age if type(age) is int and 1 <= age <= _LONGEST_AGE else None


def unix_seconds(utc: Any) -> Any:
    """Convert a time as ndb keeps it to Unix seconds; return anything else unchanged."""
    if isinstance(utc, datetime.datetime):
        return utc.replace(tzinfo=datetime.timezone.utc).timestamp()
    return utc


def entry_name_of(key: Any) -> str:
    """Return the name of the cache entry of the entity with that key."""
    return entry_name(key.project(), key.database(), key.namespace(), *key.flat()[-2:])


def entry_name(
    project: str, database: str | None, namespace: str | None, kind: str, key_name: object
) -> str:
    """Return the name of a cache entry, unique per project, database, namespace and kind."""
    return f"{project}/{database or ''}/{namespace or ''}/{kind}/{key_name}"


def kind_is_taken(model: type[Any]) -> ConfigError:
    """Return the error for an application's model that took over the kind of sessions."""
    return ConfigError(
        "session_model",
        f"{model.__module__}.{model.__qualname__} has the kind {model._get_kind()!r} as well, and "
        "ndb loads sessions as that class; rename one of them, or let it derive from "
        "webapp2_sessions.sessions_ndb.Session",
    )
