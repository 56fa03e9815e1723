"""What a server holds of a session, seen without the library that put it there.

Applications need none of this: it asks the servers what their own tools would show.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import probes
from places import EMULATED_PROJECT
from words import hide_middle

#: Seconds that Datastore may take.
PATIENCE = 2.0


@dataclass(frozen=True)
class RecordView:
    """A stored record."""

    #: The name under which it is stored, with the middle of the id hidden.
    key: str
    #: Bytes of the stored value.
    size: int
    #: When it was written, in Unix seconds, where the server knows.
    written_at: float | None = None
    #: Seconds until the server drops it by itself; None where it does not.
    seconds_left: int | None = None


def record_of(backend: str, sid: str, memcached: str, project: str | None) -> RecordView | None:
    """The record of a session; None where there is none, or the server does not tell."""
    if backend == "memcache":
        return memcached_record(memcached, sid)
    if backend == "datastore":
        return datastore_record(project, sid)
    return None


def memcached_record(address: str, sid: str) -> RecordView | None:
    """Ask for size and time to live, without the value ("meta get", memcached 1.6)."""
    try:
        with probes.connection(address) as server:
            server.sendall(f"mg session:{sid} s t\r\n".encode("ascii"))
            code, *flags = server.recv(100).decode("ascii", "replace").split()
    except (OSError, ValueError):
        return None
    told = {flag[0]: flag[1:] for flag in flags}
    if code != "HD" or not {"s", "t"} <= told.keys():
        return None
    left = int(told["t"])
    return RecordView(
        f"session:{hide_middle(sid)}", int(told["s"]), seconds_left=None if left < 0 else left
    )


def datastore_record(project: str | None, sid: str) -> RecordView | None:
    """Look the entity up, by Google's plain client for Datastore."""
    from google.api_core.exceptions import GoogleAPIError  # only where this backend is used

    client = _datastore(project or EMULATED_PROJECT, os.environ.get("DATASTORE_EMULATOR_HOST"))
    try:
        entity = client.get(client.key("Session", sid), retry=None, timeout=PATIENCE)
    except GoogleAPIError:
        return None
    if entity is None:
        return None
    return RecordView(
        f'Key("Session", "{hide_middle(sid)}")',
        len(entity["data"]),
        written_at=min(entity["updated"].timestamp(), time.time()),
    )


@functools.lru_cache(maxsize=4)
def _datastore(project: str, _emulator: str | None) -> Any:
    """The client, which reads the emulator's address when it is made."""
    from google.cloud import datastore

    client: Callable[..., Any] = datastore.Client  # it has no types
    return client(project=project)
