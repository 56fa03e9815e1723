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
import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import grpc
from google.cloud.datastore_v1.types import (
    CommitRequest,
    CommitResponse,
    LookupRequest,
    LookupResponse,
    Mutation,
)

__all__ = ["ABSENT", "ANY", "PRESENT", "EntityVersion", "Stub", "client_with", "inserting"]

#: Write whatever is stored.
ANY: Any = None
#: Write only if nothing is stored.
ABSENT = 0
#: Write only if something is stored, of whatever version.
PRESENT = -1

#: The default strategy overwrites on some servers, without a word.
_FAIL = Mutation.ConflictResolutionStrategy.FAIL


@dataclasses.dataclass
class EntityVersion:
    """The version of one entity: the one to be replaced, and the one by the last answer.

    Project, database and namespace are those of the context.
    """

    kind: str
    #: The name of its key.
    name: str
    #: The version that a commit replaces, :data:`ABSENT`, :data:`PRESENT` or :data:`ANY`.
    expected: int | None = ANY
    #: ``None`` if the entity does not exist, or nobody has asked yet.
    current: int | None = None

    def is_of(self, key: Any) -> bool:
        """Whether a key of Datastore's API is this entity's."""
        path = key.path
        return bool(path) and (path[-1].name, path[-1].kind) == (self.name, self.kind)

    def restrict(self, mutation: Any) -> bool:
        """Let a mutation as ndb sends it fail if the entity has another version than expected.

        :returns: whether it is a mutation of this entity; others stay as they are.
        """
        is_deletion = mutation.HasField("delete")
        if not self.is_of(mutation.delete if is_deletion else mutation.upsert.key):
            return False
        expected = self.expected
        if expected is not ANY and not is_deletion:
            entity = copy.deepcopy(mutation.upsert)  # one operation takes the place of the other
            (mutation.insert if expected == ABSENT else mutation.update).CopyFrom(entity)
        if expected is not ANY and (is_deletion or expected not in (ABSENT, PRESENT)):
            mutation.base_version = expected
            mutation.conflict_resolution_strategy = _FAIL
        return True


class Stub:
    """Stands before the stub of a client; lookups and commits are done when they are returned.

    :param stub: the client's. One like this is replaced.
    :param entity: learns its version from the answers; requests for others pass.
    """

    def __init__(self, stub: Any, entity: EntityVersion | None = None) -> None:
        stub = stub._stub if isinstance(stub, Stub) else stub
        self._stub: Any = stub
        lookup, commit = stub.lookup, stub.commit
        if entity is not None:
            lookup = functools.partial(_lookup, lookup, entity)
            commit = functools.partial(_commit, commit, entity)
        # Remote procedures as ndb calls them. No bound methods, which would keep this alive.
        #: Reads entities.
        self.lookup: SimpleNamespace = SimpleNamespace(future=functools.partial(_call, lookup))
        #: Writes entities, ours only if it has the expected version.
        self.commit: SimpleNamespace = SimpleNamespace(future=functools.partial(_call, commit))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)


def _call(send: Callable[..., Any], request: Any, **options: Any) -> Future[Any]:
    """Call a remote procedure and wait; return a future that is done."""
    future: Future[Any] = Future()
    try:
        future.set_result(send(request, **options))
    except grpc.RpcError as error:
        future.set_exception(error)
    return future


def _lookup(send: Callable[..., Any], entity: EntityVersion, request: Any, **options: Any) -> Any:
    answer = send(request, **options)
    if any(map(entity.is_of, LookupRequest.pb(request).keys)):
        found = LookupResponse.pb(answer).found
        ours = (each.version for each in found if entity.is_of(each.entity.key))
        entity.current = next(ours, None)
    return answer


def _commit(send: Callable[..., Any], entity: EntityVersion, request: Any, **options: Any) -> Any:
    ours = [*map(entity.restrict, CommitRequest.pb(request).mutations)]
    answer = send(request, **options)
    if True in ours:
        results = CommitResponse.pb(answer).mutation_results
        entity.current = int(results[ours.index(True)].version)
    return answer


def client_with(client: Any, stub: Stub) -> Any:
    """Return a client for one operation, which shares all else with ``client``."""
    copied = object.__new__(type(client))  # a client refuses to be copied
    vars(copied).update(vars(client), stub=stub)
    return copied


def inserting(client: Any) -> Any:
    """Return a client for one operation, of which a commit inserts all entities, or none."""
    stub = Stub(client.stub)
    stub.commit = SimpleNamespace(future=functools.partial(_insert, stub.commit))
    return client_with(client, stub)


def _insert(commit: Any, request: Any, **options: Any) -> Any:
    message = CommitRequest.pb(request)
    message.mode = CommitRequest.Mode.TRANSACTIONAL
    message.single_use_transaction.read_write.SetInParent()
    for mutation in message.mutations:
        entity = copy.deepcopy(mutation.upsert)  # one operation takes the place of the other
        mutation.insert.CopyFrom(entity)
    return commit.future(request, **options)
