"""The session stores of a request, and what they are told of users.

There are two, because a store has one configuration: in Redis and Datastore the sessions of a user
are listed (``user_index``), and in the other places they cannot be. An application that keeps its
sessions in one place needs one store, and the keys of ``rules()`` in its configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from places import Place

from webapp2_sessions import SessionStore

#: The keys of the two in the application's configuration.
USUAL = "webapp2_extras.sessions"
LISTING = "demo.listed_sessions"

#: What ends sessions in cookies and in memcached: Redis, once it was seen.
REVOKER = "redis"


class ListingStore(SessionStore):
    """Sessions in the places that can list them."""

    config_key = LISTING


class Store(SessionStore):
    """Sessions in the other places; it saves both."""

    def __init__(self, request: Any, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(request, config)
        self.listing = ListingStore(request)

    def of(self, place: Place) -> SessionStore:
        """The store for a place."""
        return self.listing if place.lists else self

    def save_sessions(self, response: Any) -> None:
        super().save_sessions(response)
        self.listing.save_sessions(response)


def configured(common: dict[str, Any], places: Iterable[Place], user_stamp: Any) -> dict[str, Any]:
    """The configuration of the application.

    Args:
        common: what both stores are told.
        places: where sessions can be.
        user_stamp: returns what changes with the password of a user.
    """
    places = [*places]
    return {
        key: common | rules([place for place in places if place.lists is lists], lists, user_stamp)
        for key, lists in ((USUAL, False), (LISTING, True))
    }


def rules(places: Iterable[Place], lists: bool, user_stamp: Any) -> dict[str, Any]:
    """What a store is told of users."""
    return {
        # Who is signed in: each place has a session of its own.
        "user_key": dict.fromkeys((place.cookie for place in places), "name"),
        "user_stamp": user_stamp,
        "user_index": lists,
    }


def look_for_revoker(app: Any, places: Mapping[str, Place]) -> None:
    """Configure `revocation` once Redis is there. An application names its server from the start.

    From then on Redis is asked about each session in which somebody is signed in. If it goes away,
    these are not opened: one that was ended does not count again because nobody can be asked.
    """
    without = [key for key in (USUAL, LISTING) if app.config[key].get("revocation") is None]
    if without and places[REVOKER].probe().usable:
        for key in without:
            app.config[key] = {**app.config[key], "revocation": REVOKER}
