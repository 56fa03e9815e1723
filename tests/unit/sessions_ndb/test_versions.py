"""datastore_versions: what the stub before ndb's notes and changes, on requests as ndb makes them.

tests/integration/test_datastore_versions.py has the same on emulators.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.cloud.datastore_v1 import types

from webapp2_sessions.sessions_ndb.versions import (
    ABSENT,
    ANY,
    EntityName,
    VersionedStub,
    versioned_client,
)

OURS = EntityName("Session", "a name")
FAIL = types.Mutation.ConflictResolutionStrategy.FAIL


def key(name: str | None = "a name", kind: str = "Session", parent: str = "") -> types.Key:
    """A key; without a name it is incomplete."""
    path: list[dict[str, Any]] = [{"kind": "Parent", "name": parent}] if parent else []
    path.append({"kind": kind} if name is None else {"kind": kind, "name": name})
    return types.Key(path=path)


class Call:
    """A call that was sent; the answer is there when it is asked for."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def result(self) -> Any:
        """The answer."""
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Stub:
    """A client's stub, which keeps what it is sent."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.sent: list[Any] = []
        self.options: list[dict[str, Any]] = []
        #: As the stub's other procedures.
        self.run_query = object()

    @property
    def lookup(self) -> Any:
        """A remote procedure."""
        return self

    commit = lookup

    def future(self, request: Any, **options: Any) -> Call:
        """Send a request."""
        return Call(self(request, **options))

    def __call__(self, request: Any, **options: Any) -> Any:
        """Send a request and wait."""
        self.sent.append(copy.deepcopy(request))
        self.options.append(options)
        return self.answer


def found(**versions: int) -> types.LookupResponse:
    """An answer with the entities of these names and versions."""
    results = [
        types.EntityResult(entity=types.Entity(key=key(name.replace("_", " "))), version=version)
        for name, version in versions.items()
    ]
    return types.LookupResponse(found=results)


def committed(*versions: int) -> types.CommitResponse:
    """An answer with the new versions of what was written."""
    results = [types.MutationResult(version=version) for version in versions]
    return types.CommitResponse(mutation_results=results)


def lookup_of(*keys: types.Key) -> types.LookupRequest:
    """A request for entities."""
    return types.LookupRequest(project_id="test", keys=keys)


def upsert(target: types.Key) -> types.Mutation:
    """A write as ndb sends it."""
    return types.Mutation(upsert=types.Entity(key=target, properties={"a": {"integer_value": 1}}))


def commit_of(*mutations: types.Mutation) -> types.CommitRequest:
    """A request to write."""
    return types.CommitRequest(
        project_id="test", mode=types.CommitRequest.Mode.NON_TRANSACTIONAL, mutations=mutations
    )


def sent_by(request: types.CommitRequest, expected: int | None) -> Any:
    """What becomes of a commit on its way."""
    stub = Stub(committed(*[1] * len(request.mutations)))
    VersionedStub(stub, OURS, expected).commit.future(request)
    return stub.sent[0]


# Reading


@pytest.mark.parametrize(
    ("answer", "version"), [(found(a_name=7), 7), (found(other=8, a_name=7), 7), (found(), None)]
)
def test_version_of_an_answer(answer: Any, version: int | None) -> None:
    """It is our entity's, wherever that is in the answer; None where it does not exist."""
    stub = VersionedStub(Stub(answer), OURS)
    stub.lookup.future(lookup_of(key("other"), key()))
    assert stub.version == version


def test_version_before_any_answer() -> None:
    """It is not known."""
    assert VersionedStub(Stub(), OURS, 5).version is None


def test_lookup_of_another_entity_tells_nothing() -> None:
    """What a model reads besides does not replace the version that is known."""
    client = Stub(found(a_name=7))
    stub = VersionedStub(client, OURS)
    stub.lookup.future(lookup_of(key()))
    for other in (key("other"), key(kind="Other"), key(None)):
        client.answer = found(other=8)
        stub.lookup.future(lookup_of(other))
    assert stub.version == 7


def test_entity_with_a_parent() -> None:
    """A model may keep its entities below another."""
    answer = types.LookupResponse(
        found=[{"entity": types.Entity(key=key(parent="x")), "version": 7}]
    )
    stub = VersionedStub(Stub(answer), OURS)
    stub.lookup.future(lookup_of(key(parent="x")))
    assert stub.version == 7


def test_lookup_is_passed_on() -> None:
    """The request, its options and the call are the stub's."""
    client = Stub(found())
    call = VersionedStub(client, OURS, 5).lookup.future(lookup_of(key()), timeout=3)
    assert (client.sent, client.options) == ([lookup_of(key())], [{"timeout": 3}])
    assert call.result() is client.answer


def test_failed_call_raises_where_its_version_is_asked_for() -> None:
    """As its result does."""
    stub = VersionedStub(Stub(OSError("gone")), OURS)
    stub.lookup.future(lookup_of(key()))
    with pytest.raises(OSError, match="gone"):
        _ = stub.version


def test_other_procedures_are_the_stubs() -> None:
    """Queries, transactions and ids are none of our business."""
    client = Stub()
    assert VersionedStub(client, OURS).run_query is client.run_query


# Writing


def test_write_of_a_version() -> None:
    """It becomes an update of that version, which fails where there is another."""
    assert sent_by(commit_of(upsert(key())), 7) == commit_of(
        types.Mutation(
            update=upsert(key()).upsert, base_version=7, conflict_resolution_strategy=FAIL
        )
    )


def test_deletion_of_a_version() -> None:
    """It fails where there is another version."""
    assert sent_by(commit_of(types.Mutation(delete=key())), 7) == commit_of(
        types.Mutation(delete=key(), base_version=7, conflict_resolution_strategy=FAIL)
    )


def test_write_where_nothing_is() -> None:
    """It becomes an insert, which fails where there is something."""
    expected = commit_of(types.Mutation(insert=upsert(key()).upsert))
    assert sent_by(commit_of(upsert(key())), ABSENT) == expected


def test_write_of_any_version() -> None:
    """It stays as it is."""
    assert sent_by(commit_of(upsert(key())), ANY) == commit_of(upsert(key()))


@pytest.mark.parametrize("expected", [7, ABSENT])
@pytest.mark.parametrize(
    "mutation",
    [
        upsert(key("other")),
        upsert(key(kind="Other")),
        upsert(key(None)),
        upsert(key(None, "Other")),
        types.Mutation(delete=key("other")),
        types.Mutation(insert=types.Entity(key=key())),
    ],
    ids=["another", "another kind", "no name", "neither", "a delete of another", "an insert"],
)
def test_other_mutations_stay_as_they_are(mutation: types.Mutation, expected: int) -> None:
    """What a model writes besides has no version."""
    assert sent_by(commit_of(mutation), expected) == commit_of(mutation)


def test_write_among_others() -> None:
    """Of several mutations ours is changed, and its version is noted."""
    client = Stub(committed(1, 2, 3))
    stub = VersionedStub(client, OURS, ABSENT)
    stub.commit.future(commit_of(upsert(key("other")), upsert(key()), upsert(key(None))))
    operations = [
        types.Mutation.pb(mutation).WhichOneof("operation") for mutation in client.sent[0].mutations
    ]
    assert (operations, stub.version) == (["upsert", "insert", "upsert"], 2)


def test_write_of_another_entity_tells_nothing() -> None:
    """The version that is known stays."""
    client = Stub(committed(7))
    stub = VersionedStub(client, OURS)
    stub.commit.future(commit_of(upsert(key())))
    client.answer = committed(8)
    stub.commit.future(commit_of(upsert(key("other"))))
    assert stub.version == 7


def test_version_is_that_of_the_last_answer() -> None:
    """A write replaces what was read."""
    client = Stub(found(a_name=7))
    stub = VersionedStub(client, OURS, 7)
    stub.lookup.future(lookup_of(key()))
    client.answer = committed(8)
    stub.commit.future(commit_of(upsert(key())))
    assert stub.version == 8


# Clients


class Client:
    """A client as ndb's, which cannot be copied."""

    def __init__(self) -> None:
        self.stub: Any = Stub()
        self.namespace = "a namespace"

    def __getstate__(self) -> Any:
        raise TypeError("Clients have non-trivial state that is local and unpickleable.")


def test_versioned_client() -> None:
    """It is as the client, with the stub before the client's; the client stays as it is."""
    client = Client()
    before = dict(vars(client))
    versioned, stub = versioned_client(client, OURS, 7)
    assert vars(versioned) == {"stub": stub, "namespace": "a namespace"}
    assert (type(versioned), vars(client)) == (Client, before)
    assert stub.run_query is client.stub.run_query


def test_versioned_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation on one entity is one request, and whoever asks waits for the answer."""
    client = Client()
    client.stub = Stub(found(a_name=7))
    monkeypatch.setattr(Stub, "future", None)
    _, stub = versioned_client(client, OURS, 7)
    stub.lookup.future(lookup_of(key()))
    assert stub.version == 7
