"""What Datastore knows of users: their sessions, and since when they must have signed in."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.sessions_ndb.client import Datastore, Place, ndb
from webapp2_sessions.sessions_ndb.records import SessionRepository, UtcNowProperty
from webapp2_sessions.stored.clients import Identity
from webapp2_sessions.stored.factory import Noted

__all__ = ["moments_in_datastore", "noted_of_user"]

#: How many keys are asked for at once.
_PAGE = 1000


def noted_of_user(
    repository: SessionRepository, model: Any, name: str, user: str
) -> Iterator[Noted]:
    """Yield the ids of a user's sessions of a name, those that were noted last first."""
    prefix = f"{name} {user}"

    def page_after(cursor: Any) -> Any:
        # All in one index that Datastore keeps by itself.
        query = model.query(model.user_index >= f"{prefix} ", model.user_index < f"{prefix}!")
        fetch = query.order(-model.user_index).fetch_page
        timeout = repository.timeout
        return fetch(_PAGE, projection=[model.user_index], start_cursor=cursor, timeout=timeout)

    cursor, more = None, True
    while more:
        found, cursor, more = repository.run(page_after, cursor)
        for entity in found:
            yield Noted(entity.key.id(), int(entity.user_index.rpartition(" ")[2]))


class UserSignedOut(ndb.Model):
    """The moment up to which no session of a user counts; the key's name is ``user:NAME``."""

    _use_cache = False
    _use_global_cache = False

    #: In Unix milliseconds.
    moment: Any = ndb.IntegerProperty(indexed=False)
    updated: Any = UtcNowProperty(auto_now=True)


class MomentsInDatastore:
    """Since when users must have signed in: an entity a user.

    :param settings: ``config["datastore"]``, with all its keys.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._datastore = Datastore(settings)

    def here(self) -> Place:
        """Return the place where a session would be opened now."""
        return self._datastore.here()

    def latest(self, place: Place, users: Sequence[str]) -> int:
        """Return the latest moment of some users, in Unix milliseconds; -1 for none."""

        def get() -> list[Any]:
            keys = [ndb.Key(UserSignedOut, f"user:{user}") for user in users]
            return list(ndb.get_multi(keys, **self._datastore.options))

        found = self._datastore.run(get, place=place)
        return max((each.moment for each in found if each is not None), default=-1)

    def set(self, place: Place, user: str, moment: int) -> None:
        """Set the moment of a user, unless a later one is there."""
        key_name = f"user:{user}"

        def set_in_transaction() -> None:
            stored = UserSignedOut.get_by_id(key_name)
            if stored is None or stored.moment < moment:
                UserSignedOut(id=key_name, moment=moment).put()

        transaction = functools.partial(ndb.transaction, set_in_transaction)
        self._datastore.run(transaction, place=place)


def moments_in_datastore(config: Mapping[str, Any]) -> MomentsInDatastore:
    """Return the moments of a configuration; the same object for the same settings."""
    settings = datastore_settings(config)
    settings["client"] = settings["client"] and Identity(settings["client"])
    return _moments(*settings.items())


@functools.lru_cache(maxsize=64)
def _moments(*items: tuple[str, Any]) -> MomentsInDatastore:
    settings = dict(items)
    settings["client"] = settings["client"] and settings["client"].value
    return MomentsInDatastore(settings)
