"""Direct access to Datastore, bypassing the package under test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from google.cloud import ndb
from google.cloud.datastore_v1 import DatastoreClient
from google.cloud.datastore_v1.types import Entity, Key

from support.servers import PROJECT

__all__ = [
    "context",
    "delete",
    "kinds_restored",
    "names_of",
    "put_aged",
    "put_raw",
    "raw_entity",
]


@contextlib.contextmanager
def context(namespace: str = "") -> Iterator[Any]:
    """An ndb context as an application opens one."""
    with ndb.Client(project=PROJECT).context(namespace=namespace) as active:
        yield active


@contextlib.contextmanager
def kinds_restored() -> Iterator[None]:
    """Undo what models that are defined in the block do to ndb's table of kinds."""
    kinds = dict(ndb.Model._kind_map)
    try:
        yield
    finally:
        ndb.Model._kind_map.clear()
        ndb.Model._kind_map.update(kinds)


def raw_entity(name: str, kind: str = "Session", namespace: str = "") -> Entity | None:
    """Return an entity as Datastore's API gives it; None when there is none."""
    key = Key(
        partition_id={"project_id": PROJECT, "namespace_id": namespace},
        path=[{"kind": kind, "name": name}],
    )
    service = DatastoreClient(transport=ndb.Client(project=PROJECT).stub)
    answer = service.lookup(
        request={"project_id": PROJECT, "keys": [key]}, retry=None, timeout=10.0
    )
    return answer.found[0].entity if answer.found else None


def put_raw(name: str, data: bytes | None, updated: datetime | None = None) -> None:
    """Store a session entity with these bytes as its data."""
    with kinds_restored(), context():

        class RawSession(ndb.Model):
            updated = ndb.DateTimeProperty()
            data = ndb.BlobProperty()

            @classmethod
            def _get_kind(cls) -> str:
                return "Session"

        RawSession(id=name, data=data, updated=updated).put(timeout=10, retries=0)


def delete(name: str) -> None:
    """Remove a session entity."""
    with context():
        ndb.Key("Session", name).delete(timeout=10, retries=0)


def put_aged(
    times: Mapping[str, datetime] | Iterable[tuple[str, datetime]],
    *,
    kind: str = "Session",
    namespace: str = "",
    data: bytes = b"",
) -> None:
    """Store session entities that were last written at these times, in UTC without a zone."""
    pairs = times.items() if isinstance(times, Mapping) else times
    with kinds_restored(), context(namespace):

        class AgedSession(ndb.Model):
            _use_cache = False
            updated = ndb.DateTimeProperty()
            data = ndb.BlobProperty()

            @classmethod
            def _get_kind(cls) -> str:
                return kind

        entities = [AgedSession(id=name, updated=time, data=data) for name, time in pairs]
        ndb.put_multi(entities, timeout=30, retries=0)


def names_of(kind: str = "Session", namespace: str = "") -> set[str]:
    """Return the key names of all entities of a kind."""
    with context(namespace):
        return {str(key.id()) for key in ndb.Query(kind=kind).fetch(keys_only=True, timeout=30)}
