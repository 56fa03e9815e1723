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

#: A condition for the version 7.
OF_7 = {
    "base_version": 7,
    "conflict_resolution_strategy": types.Mutation.ConflictResolutionStrategy.FAIL,
}


def ours(expected: int | None = ANY) -> EntityVersion:
    return EntityVersion("Session", "a name", expected)


class Procedure:
    """A remote procedure as gRPC has it, which keeps what it is sent."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sent: list[tuple[Any, dict[str, Any]]] = []

    def __call__(self, request: Any, **options: Any) -> Any:
        """Send a request and wait."""
        self.sent.append((request, options))
        if isinstance(self.answer, BaseException):
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
    results = [
        types.EntityResult(entity=types.Entity(key=key(name.replace("_", " "))), version=version)
        for name, version in versions.items()
    ]
    return types.LookupResponse(found=results)


def committed(*versions: int) -> types.CommitResponse:
    results = [types.MutationResult(version=version) for version in versions]
    return types.CommitResponse(mutation_results=results)


def lookup_of(*keys: types.Key) -> types.LookupRequest:
    return types.LookupRequest(project_id="test", keys=keys)


def upsert(target: types.Key) -> types.Mutation:
    return types.Mutation(upsert=types.Entity(key=target, properties={"a": {"integer_value": 1}}))


def commit_of(*mutations: types.Mutation) -> types.CommitRequest:
    return types.CommitRequest(
        project_id="test", mode=types.CommitRequest.Mode.NON_TRANSACTIONAL, mutations=mutations
    )


def sent_by(request: types.CommitRequest, expected: int | None) -> Any:
    stub = ClientStub(committed(*[1] * len(request.mutations)))
    Stub(stub, ours(expected)).commit.future(request)
    return stub.commit.sent[0][0]


BOTH = pytest.mark.parametrize("procedure", ["lookup", "commit"])


def called(stub: Any, procedure: str) -> Any:
    """The future of a call, of an entity whose version nobody asks for."""
    return getattr(Stub(stub), procedure).future("request", timeout=5.0, metadata=())


def looked_up(entity: EntityVersion, answer: Any, *keys: types.Key) -> int | None:
    """The version of an entity after a lookup with this answer."""
    Stub(ClientStub(answer), entity).lookup.future(lookup_of(*keys or [key()]))
    return entity.current


def written(entity: EntityVersion, answer: Any, *mutations: types.Mutation) -> int | None:
    """The version of an entity after a commit with this answer."""
    Stub(ClientStub(answer), entity).commit.future(commit_of(*mutations or [upsert(key())]))
    return entity.current


@BOTH
def test_answer_is_there_when_the_call_returns(procedure: str) -> None:
    told: list[Any] = []
    future = called(ClientStub("answer"), procedure)
    future.add_done_callback(told.append)
    assert (future.result(), future.exception()) == ("answer", None)
    assert told == [future]
    assert not future.cancel()


@BOTH
def test_request_is_passed_on_with_its_deadline_and_metadata(procedure: str) -> None:
    stub = ClientStub()
    called(stub, procedure)
    assert getattr(stub, procedure).sent == [("request", {"timeout": 5.0, "metadata": ()})]


@BOTH
def test_error_of_grpc_is_the_futures(procedure: str) -> None:
    error = grpc.RpcError("unavailable")
    future = called(ClientStub(error), procedure)
    assert future.exception() is error
    with pytest.raises(grpc.RpcError) as caught:
        future.result()
    assert caught.value is error


@BOTH
@pytest.mark.parametrize("error", [ValueError("closed"), KeyboardInterrupt()], ids=repr)
def test_error_of_another_kind_is_raised_by_the_call(procedure: str, error: Any) -> None:
    with pytest.raises(type(error)):
        called(ClientStub(error), procedure)


@BOTH
def test_error_that_is_raised_by_waiting_tells_its_code(procedure: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        stub = ClientStub()
        setattr(stub, procedure, channel.unary_unary("/google.datastore.v1.Datastore/Lookup"))
        future = getattr(Stub(stub), procedure).future(b"", timeout=5.0)
        error = future.exception()
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_other_procedures_are_the_stubs() -> None:
    client = ClientStub()
    assert Stub(client, ours()).run_query is client.run_query


def test_stub_that_is_nearer_to_an_operation_knows_the_version() -> None:
    client = ClientStub(found(a_name=7))
    first, second = ours(), ours()
    Stub(Stub(client, first), second).lookup.future(lookup_of(key()))
    assert (first.current, second.current, len(client.lookup.sent)) == (None, 7, 1)


@pytest.mark.parametrize(
    ("answer", "version"), [(found(a_name=7), 7), (found(other=8, a_name=7), 7), (found(), None)]
)
def test_version_is_that_of_our_entity_in_the_answer(answer: Any, version: int | None) -> None:
    entity = ours(5)
    assert entity.current is None
    assert looked_up(entity, answer, key("other"), key()) == version


@pytest.mark.parametrize("other", [key("other"), key(kind="Other"), key(None)], ids=str)
def test_lookup_of_another_entity_tells_nothing(other: types.Key) -> None:
    entity = ours()
    looked_up(entity, found(a_name=7))
    assert looked_up(entity, found(other=8), other) == 7


def test_entity_may_have_a_parent() -> None:
    entity = types.Entity(key=key(parent="x"))
    answer = types.LookupResponse(found=[{"entity": entity, "version": 7}])
    assert looked_up(ours(), answer, key(parent="x")) == 7


def test_failed_call_tells_nothing() -> None:
    entity = ours()
    looked_up(entity, found(a_name=7))
    assert looked_up(entity, grpc.RpcError("gone")) == 7
    assert written(entity, grpc.RpcError("gone")) == 7


@pytest.mark.parametrize(
    ("mutation", "expected", "sent"),
    [
        (upsert(key()), ANY, upsert(key())),
        (upsert(key()), ABSENT, types.Mutation(insert=upsert(key()).upsert)),
        (upsert(key()), 7, types.Mutation(update=upsert(key()).upsert, **OF_7)),
        (types.Mutation(delete=key()), 7, types.Mutation(delete=key(), **OF_7)),
    ],
    ids=["any version", "absent", "a version", "deletion"],
)
def test_write_fails_where_another_version_is(
    mutation: types.Mutation, expected: int | None, sent: types.Mutation
) -> None:
    assert sent_by(commit_of(mutation), expected) == commit_of(sent)


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
    assert sent_by(commit_of(mutation), expected) == commit_of(mutation)


def test_of_several_mutations_ours_is_changed_and_its_version_noted() -> None:
    client, entity = ClientStub(committed(1, 2, 3)), ours(ABSENT)
    mutations = (upsert(key("other")), upsert(key()), upsert(key(None)))
    Stub(client, entity).commit.future(commit_of(*mutations))
    sent = client.commit.sent[0][0].mutations
    operations = [types.Mutation.pb(mutation).WhichOneof("operation") for mutation in sent]
    assert (operations, entity.current) == (["upsert", "insert", "upsert"], 2)


def test_version_is_that_of_the_last_answer_about_our_entity() -> None:
    entity = ours(7)
    assert looked_up(entity, found(a_name=7)) == 7
    assert written(entity, committed(8)) == 8
    assert written(entity, committed(9), upsert(key("other"))) == 8


class Client:
    """A client as ndb's, which cannot be copied."""

    def __init__(self) -> None:
        self.stub: Any = ClientStub()
        self.namespace = "a namespace"

    def __getstate__(self) -> Any:
        raise TypeError("Clients have non-trivial state that is local and unpickleable.")


def test_client_with_another_stub_is_as_the_client_which_stays_as_it_is() -> None:
    client = Client()
    before = dict(vars(client))
    stub = Stub(client.stub, ours(7))
    other = client_with(client, stub)
    assert vars(other) == {"stub": stub, "namespace": "a namespace"}
    assert (type(other), vars(client)) == (Client, before)
