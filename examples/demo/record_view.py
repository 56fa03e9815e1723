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

#: The name of a session's record in memcached and Redis.
KEY = "session:{}"


@dataclass(frozen=True)
class RecordView:
    """A stored record."""

    #: The name under which it is stored, with the middle of the id hidden.
    key: str
    #: Bytes of the stored value.
    size: int
    #: How large it could be.
    limit: str = "1 MB"
    #: When it was written, in Unix seconds, where the server knows.
    written_at: float | None = None
    #: Seconds until the server drops it by itself; None where it does not.
    seconds_left: int | None = None
    #: What the value is signed with, its middle hidden; None where it is not.
    signature: str | None = None


def record_of(
    backend: str, sid: str, memcached: str, redis_url: str, project: str | None
) -> RecordView | None:
    """The record of a session; None where there is none, or the server does not tell."""
    if backend == "memcache":
        return memcached_record(memcached, sid)
    if backend == "redis":
        return redis_record(redis_url, sid)
    if backend == "datastore":
        return datastore_record(project, sid)
    return None


def memcached_record(address: str, sid: str) -> RecordView | None:
    """Ask for time to live and value ("meta get", memcached 1.6)."""
    try:
        with probes.connection(address) as server, server.makefile("rb") as answer:
            server.sendall(f"mg {KEY.format(sid)} t v\r\n".encode("ascii"))
            _, size, left = answer.readline().split()  # "VA 83 t28801", or fewer words
            return keyed_record(sid, answer.read(int(size)), int(left[1:]), "1 MB")
    except (OSError, ValueError):
        return None


def redis_record(url: str, sid: str) -> RecordView | None:
    """Ask for value and time to live."""
    from redis import RedisError  # only where this backend is used

    key = KEY.format(sid)
    try:
        with probes.redis_client(url) as server:
            value, left = server.pipeline(transaction=False).get(key).pttl(key).execute()
    except RedisError:
        return None
    return keyed_record(sid, value, left // 1000, "512 MB") if value else None


def keyed_record(sid: str, value: bytes, left: int, limit: str) -> RecordView:
    """The record of a server that has values under keys: a byte, an HMAC-SHA256, and the data."""
    return RecordView(
        KEY.format(hide_middle(sid)),
        len(value),
        limit,
        seconds_left=None if left < 0 else left,
        signature=hide_middle(value[1:33].hex(), 6),
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
