"""What stands in session entities and beside them: marks of ends, times, names in the cache."""

from __future__ import annotations

import datetime
from typing import Any

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions_ndb.client import UtcNowProperty, ndb

__all__ = [
    "SessionEnded",
    "bounded_age",
    "entry_name",
    "entry_name_of",
    "kind_is_taken",
    "unix_seconds",
]

#: A lifetime in a record is not longer, in seconds; that is 68 years.
_LONGEST_AGE = 2**31 - 1


class SessionEnded(ndb.Model):
    """Marks a session that was ended, by its id; of use for as long as a request may take."""

    _use_cache = False
    _use_global_cache = False

    #: When that was, in UTC.
    updated: Any = UtcNowProperty(auto_now=True)
    #: Whether the session has got another id.
    is_superseded: Any = ndb.BooleanProperty(indexed=False)


def bounded_age(age: Any) -> int | None:
    """Return a lifetime as it stands in a record, ``None`` if it is none."""
    return age if type(age) is int and 1 <= age <= _LONGEST_AGE else None


def unix_seconds(utc: Any) -> Any:
    """Return a time as ndb keeps it in Unix seconds; what is none, as it is."""
    if isinstance(utc, datetime.datetime):
        return utc.replace(tzinfo=datetime.timezone.utc).timestamp()
    return utc


def entry_name_of(key: Any) -> str:
    """Return the name of the entry of the entity with that key."""
    return entry_name(key.project(), key.database(), key.namespace(), *key.flat()[-2:])


def entry_name(
    project: str, database: str | None, namespace: str | None, kind: str, key_name: object
) -> str:
    """Return the name of an entry, another one for each kind, database and namespace."""
    return f"{project}/{database or ''}/{namespace or ''}/{kind}/{key_name}"


def kind_is_taken(model: type[Any]) -> ConfigError:
    """Return the error for a model of the application's own that has the kind of sessions."""
    return ConfigError(
        "session_model",
        f"{model.__module__}.{model.__qualname__} has the kind {model._get_kind()!r} as well, and "
        "ndb loads sessions as that class; rename one of them, or let it derive from "
        "webapp2_sessions.sessions_ndb.Session",
    )
