"""What the stub before that of an ndb client makes of requests as ndb sends them.

tests/integration/test_datastore_versions.py has the same on emulators.
"""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.cloud.datastore_v1 import types
from support.servers import free_port

from webapp2_sessions.sessions_ndb.stub import ABSENT, ANY, EntityVersion, Stub, client_with

FAIL = types.Mutation.ConflictResolutionStrategy.FAIL


def ours(expected: int | None = ANY) -> EntityVersion:
    """The entity whose version is asked for."""
    return EntityVersion("Session", "a name", expected)


class Procedure:
    """A remote procedure as gRPC has it, which keeps what it is sent."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sent: list[tuple[Any, dict[str, Any]]] = []

    def __call__(self, request: Any, **options: Any) -> Any:
        """Send a request and wait."""
        self.sent.append((request, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def future(self, request: Any, **options: Any) -> Any:
        """Send a request, and do not wait."""
        raise AssertionError("nobody waited")


class ClientStub:
    """A client's stub; each of its procedures has this answer."""

    def __init__(self, answer: Any = None) -> None:
        self.lookup = self.commit = Procedure(answer)
        #: As the stub's other procedures.
        self.run_query = object()


def key(name: str | None = "a name", kind: str = "Session", parent: str = "") -> types.Key:
    """A key; without a name it is incomplete."""
    path: list[dict[str, Any]] = [{"kind": "Parent", "name": parent}] if parent else []
    path.append({"kind": kind} if name is None else {"kind": kind, "name": name})
    return types.Key(path=path)


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
    stub = ClientStub(committed(*[1] * len(request.mutations)))
    Stub(stub, ours(expected)).commit.future(request)
    return stub.commit.sent[0][0]


# Calls


BOTH = pytest.mark.parametrize("procedure", ["lookup", "commit"])


def called(stub: Any, procedure: str) -> Any:
    """The future of a call, of an entity whose version nobody asks for."""
    return getattr(Stub(stub), procedure).future("request", timeout=5.0, metadata=())


@BOTH
def test_call_is_done(procedure: str) -> None:
    """The answer is there when the call returns; whoever asks to be told is told at once."""
    told: list[Any] = []
    future = called(ClientStub("answer"), procedure)
    future.add_done_callback(told.append)
    assert (future.result(), future.exception()) == ("answer", None)
    assert told == [future]
    assert not future.cancel()


@BOTH
def test_request_is_passed_on(procedure: str) -> None:
    """With its deadline and metadata."""
    stub = ClientStub()
    called(stub, procedure)
    assert getattr(stub, procedure).sent == [("request", {"timeout": 5.0, "metadata": ()})]


@BOTH
def test_failed_call(procedure: str) -> None:
    """The error of gRPC is the future's, as ndb expects it, and is not raised before."""
    error = grpc.RpcError("unavailable")
    future = called(ClientStub(error), procedure)
    assert future.exception() is error
    with pytest.raises(grpc.RpcError) as caught:
        future.result()
    assert caught.value is error


@BOTH
@pytest.mark.parametrize("error", [ValueError("closed"), KeyboardInterrupt()], ids=repr)
def test_other_error_passes(procedure: str, error: Any) -> None:
    """What gRPC does not answer with is raised by the call, as without waiting."""

    def fail(request: Any, **options: Any) -> Any:
        raise error

    stub = ClientStub()
    setattr(stub, procedure, fail)
    with pytest.raises(type(error)):
        called(stub, procedure)


@BOTH
def test_error_of_grpc_tells_its_code(procedure: str) -> None:
    """The one that is raised by waiting has what ndb makes its own errors of."""
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        stub = ClientStub()
        setattr(stub, procedure, channel.unary_unary("/google.datastore.v1.Datastore/Lookup"))
        future = getattr(Stub(stub), procedure).future(b"", timeout=5.0)
        error = future.exception()
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_other_procedures_are_the_stubs() -> None:
    """Queries, transactions and ids are none of our business."""
    client = ClientStub()
    assert Stub(client, ours()).run_query is client.run_query


def test_stub_is_replaced_by_another() -> None:
    """The one that is nearer to an operation knows the version, and sends by the client's."""
    client = ClientStub(found(a_name=7))
    first, second = ours(), ours()
    Stub(Stub(client, first), second).lookup.future(lookup_of(key()))
    assert (first.current, second.current, len(client.lookup.sent)) == (None, 7, 1)


# Reading


@pytest.mark.parametrize(
    ("answer", "version"), [(found(a_name=7), 7), (found(other=8, a_name=7), 7), (found(), None)]
)
def test_version_of_an_answer(answer: Any, version: int | None) -> None:
    """It is our entity's, wherever that is in the answer; None where it does not exist."""
    entity = ours()
    Stub(ClientStub(answer), entity).lookup.future(lookup_of(key("other"), key()))
    assert entity.current == version


def test_version_before_any_answer() -> None:
    """It is not known."""
    assert ours(5).current is None


def test_lookup_of_another_entity_tells_nothing() -> None:
    """What a model reads besides does not replace the version that is known."""
    entity = ours()
    Stub(ClientStub(found(a_name=7)), entity).lookup.future(lookup_of(key()))
    for other in (key("other"), key(kind="Other"), key(None)):
        Stub(ClientStub(found(other=8)), entity).lookup.future(lookup_of(other))
    assert entity.current == 7


def test_entity_with_a_parent() -> None:
    """A model may keep its entities below another."""
    answer = types.LookupResponse(
        found=[{"entity": types.Entity(key=key(parent="x")), "version": 7}]
    )
    entity = ours()
    Stub(ClientStub(answer), entity).lookup.future(lookup_of(key(parent="x")))
    assert entity.current == 7


def test_failed_call_tells_nothing() -> None:
    """The version that is known stays."""
    entity = ours()
    Stub(ClientStub(found(a_name=7)), entity).lookup.future(lookup_of(key()))
    failing = Stub(ClientStub(grpc.RpcError("gone")), entity)
    failing.lookup.future(lookup_of(key()))
    failing.commit.future(commit_of(upsert(key())))
    assert entity.current == 7


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
    client, entity = ClientStub(committed(1, 2, 3)), ours(ABSENT)
    mutations = (upsert(key("other")), upsert(key()), upsert(key(None)))
    Stub(client, entity).commit.future(commit_of(*mutations))
    sent = client.commit.sent[0][0].mutations
    operations = [types.Mutation.pb(mutation).WhichOneof("operation") for mutation in sent]
    assert (operations, entity.current) == (["upsert", "insert", "upsert"], 2)


def test_write_of_another_entity_tells_nothing() -> None:
    """The version that is known stays."""
    entity = ours()
    Stub(ClientStub(committed(7)), entity).commit.future(commit_of(upsert(key())))
    Stub(ClientStub(committed(8)), entity).commit.future(commit_of(upsert(key("other"))))
    assert entity.current == 7


def test_version_is_that_of_the_last_answer() -> None:
    """A write replaces what was read."""
    entity = ours(7)
    Stub(ClientStub(found(a_name=7)), entity).lookup.future(lookup_of(key()))
    Stub(ClientStub(committed(8)), entity).commit.future(commit_of(upsert(key())))
    assert entity.current == 8


# Clients


class Client:
    """A client as ndb's, which cannot be copied."""

    def __init__(self) -> None:
        self.stub: Any = ClientStub()
        self.namespace = "a namespace"

    def __getstate__(self) -> Any:
        raise TypeError("Clients have non-trivial state that is local and unpickleable.")


def test_client_with_another_stub() -> None:
    """It is as the client, which stays as it is."""
    client = Client()
    before = dict(vars(client))
    stub = Stub(client.stub, ours(7))
    other = client_with(client, stub)
    assert vars(other) == {"stub": stub, "namespace": "a namespace"}
    assert (type(other), vars(client)) == (Client, before)
