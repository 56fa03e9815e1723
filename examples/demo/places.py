"""The places where a session can be: one for each backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import probes

#: The place that is always there.
DEFAULT = "securecookie"

#: A project for the emulator, which takes any.
EMULATED_PROJECT = "demo"


@dataclass(frozen=True)
class Place:
    """Where a session can be."""

    #: The backend's keyword, for ``get_session(backend=...)``.
    keyword: str
    title: str
    #: A sentence about it.
    summary: str
    #: Whether the data is on a server, and the cookie holds only an id.
    on_server: bool
    #: Whether it knows which sessions a user has.
    lists: bool
    #: Asks whether it can be used now.
    probe: Callable[[], probes.Answer]

    @property
    def cookie(self) -> str:
        """The name of the session there, and of its cookie."""
        return f"session_{self.keyword}"


def all_places(
    memcached: str, redis_url: str, project: str | None, probe_seconds: float
) -> dict[str, Place]:
    """The five places, by keyword; a server is asked every `probe_seconds` at most."""
    places = [
        Place(
            DEFAULT,
            "Signed cookie",
            "All of it is in the cookie. You can read it, and cannot change it.",
            on_server=False,
            lists=False,
            probe=probes.securecookie,
        ),
        Place(
            "encryptedcookie",
            "Encrypted cookie",
            "All of it is in the cookie, which only the server can read.",
            on_server=False,
            lists=False,
            probe=probes.encryptedcookie,
        ),
        Place(
            "memcache",
            "memcached",
            "Fast, and shared by all processes. The cookie holds only an id.",
            on_server=True,
            lists=False,
            probe=probes.Remembered(partial(probes.memcached, memcached), probe_seconds),
        ),
        Place(
            "redis",
            "Redis",
            "Fast, and drops nothing by itself. The cookie holds only an id.",
            on_server=True,
            lists=True,
            probe=probes.Remembered(partial(probes.redis, redis_url), probe_seconds),
        ),
        Place(
            "datastore",
            "Datastore",
            "Durable, in a database of Google. The cookie holds only an id.",
            on_server=True,
            lists=True,
            probe=probes.Remembered(partial(probes.datastore, project), probe_seconds),
        ),
    ]
    return {place.keyword: place for place in places}
