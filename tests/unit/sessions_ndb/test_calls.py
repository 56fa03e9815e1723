"""datastore_calls: what a stub that waits makes of calls, as ndb uses them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from support.servers import free_port

from webapp2_sessions.sessions_ndb.calls import waiting
from webapp2_sessions.sessions_ndb.versions import EntityName, VersionedStub


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


class Stub:
    """A client's stub."""

    def __init__(self, answer: Any = None) -> None:
        self.lookup = Procedure(answer)
        self.commit = Procedure(answer)
        #: As the stub's other procedures.
        self.run_query = object()


BOTH = pytest.mark.parametrize("procedure", ["lookup", "commit"])


def sent_by(stub: Any, procedure: str) -> Any:
    """The future of a call of a stub that waits."""
    return getattr(waiting(stub), procedure).future("request", timeout=5.0, metadata=())


@BOTH
def test_call_is_done(procedure: str) -> None:
    """The answer is there when the call returns; whoever asks to be told is told at once."""
    told: list[Any] = []
    future = sent_by(Stub("answer"), procedure)
    future.add_done_callback(told.append)
    assert (future.result(), future.exception()) == ("answer", None)
    assert told == [future]
    assert not future.cancel()


@BOTH
def test_request_is_passed_on(procedure: str) -> None:
    """With its deadline and metadata."""
    stub = Stub()
    sent_by(stub, procedure)
    assert getattr(stub, procedure).sent == [("request", {"timeout": 5.0, "metadata": ()})]


@BOTH
def test_failed_call(procedure: str) -> None:
    """The error of gRPC is the future's, as ndb expects it, and is not raised before."""
    error = grpc.RpcError("unavailable")
    future = sent_by(Stub(error), procedure)
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

    stub = Stub()
    setattr(stub, procedure, fail)
    with pytest.raises(type(error)):
        sent_by(stub, procedure)


@BOTH
def test_error_of_grpc_tells_its_code(procedure: str) -> None:
    """The one that is raised by waiting has what ndb makes its own errors of."""
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        stub = Stub()
        setattr(stub, procedure, channel.unary_unary("/google.datastore.v1.Datastore/Lookup"))
        future = getattr(waiting(stub), procedure).future(b"", timeout=5.0)
        error = future.exception()
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_other_procedures_are_the_stubs() -> None:
    """Queries, for instance, do not wait."""
    stub = Stub()
    assert waiting(stub).run_query is stub.run_query


def test_stub_waits_once() -> None:
    """One that waits stays as it is, also behind a stub that knows a version."""
    stub = waiting(Stub())
    versioned = VersionedStub(stub, EntityName("Session", "a name"))
    assert waiting(stub) is stub
    assert waiting(versioned) is versioned
