"""What stands before the stub of an ndb client: calls that wait, and versions of an entity.

ndb sends each request as a future, which gRPC serves by a thread that it starts for it. An
operation on a session is one request, and there is nothing else to do until it is answered: waiting
without that thread takes less time, of the processor as well.

Datastore counts the versions of entities, which ndb does not show. The answers have them, and a
commit can be made to fail if the entity has another version by now (google.datastore.v1.Mutation,
``base_version`` and ``conflict_resolution_strategy``).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import grpc
from google.cloud.datastore_v1.types import (
    CommitRequest,
    CommitResponse,
    LookupRequest,
    LookupResponse,
    Mutation,
)

__all__ = ["ABSENT", "ANY", "PRESENT", "EntityVersion", "Stub", "client_with"]

#: Write whatever is stored.
ANY: Any = None
#: Write only if nothing is stored.
ABSENT = 0
#: Write only if something is stored, of whatever version.
PRESENT = -1

#: The default strategy overwrites on some servers, without a word.
_FAIL = Mutation.ConflictResolutionStrategy.FAIL


class EntityVersion:
    """The version of one entity: the one to be replaced, and the one by the last answer.

    :param kind: the entity's kind. Project, database and namespace are those of the context.
    :param name: the name of its key.
    :param expected: the version that a commit replaces, :data:`ABSENT`, :data:`PRESENT` or
        :data:`ANY`.
    """

    def __init__(self, kind: str, name: str, expected: int | None = ANY) -> None:
        self._name = kind, name
        self.expected = expected
        #: ``None`` if the entity does not exist, or nobody has asked yet.
        self.current: int | None = None

    def is_of(self, key: Any) -> bool:
        """Whether a key of Datastore's API is this entity's."""
        return bool(key.path) and self._name == (key.path[-1].kind, key.path[-1].name)


class Stub:
    """Stands before the stub of a client; lookups and commits are done when they are returned.

    :param stub: the client's. One like this is replaced.
    :param entity: learns its version from the answers; requests for others pass.
    """

    def __init__(self, stub: Any, entity: EntityVersion | None = None) -> None:
        self._stub: Any = stub._stub if isinstance(stub, Stub) else stub
        self._entity = entity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    @property
    def lookup(self) -> _Call:
        """Reads entities."""
        return _Call(self._stub.lookup if self._entity is None else self._lookup)

    @property
    def commit(self) -> _Call:
        """Writes entities, ours only if it has the expected version."""
        return _Call(self._stub.commit if self._entity is None else self._commit)

    def _lookup(self, request: Any, **options: Any) -> Any:
        answer = self._stub.lookup(request, **options)
        entity: Any = self._entity
        if any(map(entity.is_of, LookupRequest.pb(request).keys)):
            found = LookupResponse.pb(answer).found
            ours = (each.version for each in found if entity.is_of(each.entity.key))
            entity.current = next(ours, None)
        return answer

    def _commit(self, request: Any, **options: Any) -> Any:
        entity: Any = self._entity
        mutations = CommitRequest.pb(request).mutations
        ours = [entity.is_of(_key_of(mutation)) for mutation in mutations]
        if entity.expected is not ANY:
            for mutation in itertools.compress(mutations, ours):
                _expect(mutation, entity.expected)
        answer = self._stub.commit(request, **options)
        if any(ours):
            results = CommitResponse.pb(answer).mutation_results
            entity.current = int(results[ours.index(True)].version)
        return answer


class _Call:
    """A remote procedure as ndb calls it.

    :param send: sends a request and waits for the answer.
    """

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def future(self, request: Any, **options: Any) -> _Answer:
        """Call, wait, and return what a future of gRPC is when it is done."""
        try:
            return _Answer(self._send(request, **options), None)
        except grpc.RpcError as error:
            return _Answer(None, error)


class _Answer:
    """A future of gRPC that is done, as far as ndb needs it.

    :param result: what was answered.
    :param error: what the call raised, ``None`` if it was answered.
    """

    def __init__(self, result: Any, error: grpc.RpcError | None) -> None:
        self._result = result
        self._error = error

    def result(self) -> Any:
        """Return what was answered, or raise the error."""
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> grpc.RpcError | None:
        """Return the error."""
        return self._error

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback`` at once, since the call is done."""
        callback(self)

    def cancel(self) -> bool:
        """Cancel nothing; it is too late."""
        return False


def _key_of(mutation: Any) -> Any:
    return mutation.delete if mutation.HasField("delete") else mutation.upsert.key


def _expect(mutation: Any, version: int) -> None:
    """Let a mutation of Datastore's API, as ndb sends it, fail if there is another version."""
    if not mutation.HasField("delete"):
        entity = copy.deepcopy(mutation.upsert)  # one operation takes the place of the other
        (mutation.insert if version == ABSENT else mutation.update).CopyFrom(entity)
        if version in (ABSENT, PRESENT):
            return
    mutation.base_version = version
    mutation.conflict_resolution_strategy = _FAIL


def client_with(client: Any, stub: Stub) -> Any:
    """Return a client for one operation, which shares all else with ``client``."""
    copied = object.__new__(type(client))  # a client refuses to be copied
    vars(copied).update(vars(client), stub=stub)
    return copied
