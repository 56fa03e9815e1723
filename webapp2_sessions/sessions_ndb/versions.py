"""Versions of entities, which Datastore counts and ndb does not show, and writes that ask for one.

ndb sends its requests through the ``stub`` of a client. The one here stands before it: it notes
the version in each answer, and lets a commit fail if the entity has another version by now
(google.datastore.v1.Mutation, ``base_version`` and ``conflict_resolution_strategy``).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from google.cloud.datastore_v1.types import (
    CommitRequest,
    CommitResponse,
    LookupRequest,
    LookupResponse,
    Mutation,
)

from webapp2_sessions.sessions_ndb.calls import waiting

__all__ = ["ABSENT", "ANY", "PRESENT", "EntityName", "VersionedStub", "versioned_client"]

#: Write whatever is stored.
ANY: Any = None
#: Write only if nothing is stored.
ABSENT = 0
#: Write only if something is stored, of whatever version.
PRESENT = -1

#: The default strategy overwrites on some servers, without a word.
_FAIL = Mutation.ConflictResolutionStrategy.FAIL


class EntityName(NamedTuple):
    """Which entity of a client's project, database and namespace is meant."""

    kind: str
    name: str

    def is_of(self, key: Any) -> bool:
        """Whether a key of Datastore's API is this entity's."""
        return bool(key.path) and self == (key.path[-1].kind, key.path[-1].name)


class VersionedStub:
    """Stands before the stub of a client; what is about another entity passes.

    :param stub: the client's.
    :param entity: the entity whose version is meant.
    :param expected: the version that a commit replaces, :data:`ABSENT`,
        :data:`PRESENT` or :data:`ANY`.
    """

    def __init__(self, stub: Any, entity: EntityName, expected: int | None = ANY) -> None:
        self._stub = stub
        self._entity = entity
        self._expected = expected
        self._version: Callable[[], int | None] = lambda: None

    @property
    def version(self) -> int | None:
        """Version of the entity by the last answer; ``None`` if it does not exist or none came."""
        return self._version()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    @property
    def lookup(self) -> Any:
        """As the stub's."""
        return _Call(self._lookup)

    @property
    def commit(self) -> Any:
        """As the stub's, with the expected version."""
        return _Call(self._commit)

    def _lookup(self, request: Any, **options: Any) -> Any:
        call = self._stub.lookup.future(request, **options)

        def version() -> int | None:
            found = LookupResponse.pb(call.result()).found
            ours = (each.version for each in found if self._entity.is_of(each.entity.key))
            return next(ours, None)

        if any(map(self._entity.is_of, LookupRequest.pb(request).keys)):
            self._version = version
        return call

    def _commit(self, request: Any, **options: Any) -> Any:
        mutations = CommitRequest.pb(request).mutations
        ours = [self._entity.is_of(_key_of(mutation)) for mutation in mutations]
        if self._expected is not None:
            for mutation in itertools.compress(mutations, ours):
                _expect(mutation, self._expected)
        call = self._stub.commit.future(request, **options)
        if any(ours):

            def version() -> int:
                results = CommitResponse.pb(call.result()).mutation_results
                return int(results[ours.index(True)].version)

            self._version = version
        return call


class _Call:
    """A remote procedure as ndb calls it."""

    def __init__(self, future: Callable[..., Any]) -> None:
        self.future = future


def _key_of(mutation: Any) -> Any:
    return mutation.delete if mutation.HasField("delete") else mutation.upsert.key


def _expect(mutation: Any, version: int) -> None:
    """Let a mutation of Datastore's API, as ndb sends it, fail if it is not first."""
    if mutation.HasField("delete"):
        mutation.base_version = version
        mutation.conflict_resolution_strategy = _FAIL
        return
    entity = copy.deepcopy(mutation.upsert)  # one operation takes the place of the other
    if version == ABSENT:
        mutation.insert.CopyFrom(entity)
        return
    mutation.update.CopyFrom(entity)
    if version == PRESENT:
        return
    mutation.base_version = version
    mutation.conflict_resolution_strategy = _FAIL


def versioned_client(
    client: Any, entity: EntityName, expected: int | None
) -> tuple[Any, VersionedStub]:
    """Return a client for one operation, and its stub; they share the connection of ``client``."""
    stub = VersionedStub(waiting(client.stub), entity, expected)
    versioned = object.__new__(type(client))  # a client refuses to be copied
    vars(versioned).update(vars(client), stub=stub)
    return versioned, stub
