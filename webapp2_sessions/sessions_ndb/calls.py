"""Calls of Datastore that wait for their answer in the thread that makes them.

ndb sends each request as a future, which gRPC serves by a thread that it starts for it. An
operation on a session is one request, and nothing is done until it is answered: waiting without
that thread takes less time, of the processor as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

__all__ = ["WaitingStub", "waiting"]


def waiting(stub: Any) -> Any:
    """Return a client's stub as one whose calls wait."""
    return stub if getattr(stub, "waits", False) else WaitingStub(stub)


class WaitingStub:
    """Stands before the stub of a client; lookups and commits are done when they are returned.

    :param stub: the client's.
    """

    #: Tells such a stub from others, also through what stands before it.
    waits = True

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    @property
    def lookup(self) -> Any:
        """As the stub's."""
        return _WaitingCall(self._stub.lookup)

    @property
    def commit(self) -> Any:
        """As the stub's."""
        return _WaitingCall(self._stub.commit)


class _WaitingCall:
    """A remote procedure as ndb calls it.

    :param call: the procedure as gRPC has it.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def future(self, request: Any, **options: Any) -> _Answer:
        """Call, wait, and return what a future of gRPC is when it is done."""
        try:
            return _Answer(self._call(request, **options), None)
        except grpc.RpcError as error:
            return _Answer(None, error)


class _Answer:
    """What ndb needs of a future of gRPC, of one that is done.

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
