"""Where session entities are, an ndb client and a namespace, and ndb contexts that work there."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from webapp2_sessions.stored.namespaces import chosen_namespace

if TYPE_CHECKING:
    from webapp2_sessions.sessions_ndb import ndb_types as ndb
else:
    from google.cloud import ndb

__all__ = ["Place", "active_place", "namespace_of", "place_to_open_at", "run_at"]

Result = TypeVar("Result")

#: ndb's own method of clients; its contexts have the client's namespace.
_open_context = ndb.Client.context


class Place(NamedTuple):
    """Where the entity of a session is; it stays there, whatever the application enters next."""

    #: A client of the application's; ``None`` for the configured one, which each process makes for
    #: itself, also one that is forked during a request.
    client: Any
    #: ``""`` is the default namespace, ``None`` that of the client, which was not asked yet.
    namespace: str | None


def active_place() -> Place | None:
    """Return where the active ndb context works, ``None`` if there is none."""
    context = ndb.get_context(raise_context_error=False)
    return None if context is None else Place(context.client, context.get_namespace() or "")


def place_to_open_at(fixed: str | None) -> Place:
    """Return where a session belongs that is opened now.

    :param fixed: the namespace that holds in all contexts; ``None`` for the current one.
    """
    namespace = chosen_namespace() if fixed is None else fixed
    active = active_place()
    if active is None:
        return Place(None, namespace)
    return active if namespace is None else active._replace(namespace=namespace)


def namespace_of(client: Any) -> str:
    """Return the namespace of the contexts that a client opens."""
    if getattr(client.context, "__func__", None) is _open_context:
        return client.namespace or ""
    # An application's own method may choose a namespace for each context.
    return _beside(client, None, _active_namespace)


def run_at(client: Any, namespace: str | None, operation: Callable[[], Result]) -> Result:
    """Call ``operation()`` in an ndb context of a client and a namespace.

    That is the active one if it works there, and beside it otherwise. A transaction of the
    application is left alone: a session is not part of what it may roll back.

    :param namespace: ``None`` for that of the contexts that the client opens.
    """
    if Place(client, namespace) == active_place() and not ndb.get_context().in_transaction():
        return operation()
    return _beside(client, namespace, operation)


def _beside(client: Any, namespace: str | None, operation: Callable[[], Result]) -> Result:
    if active_place() is None:
        return _in_context(client, namespace, operation)
    return contextvars.Context().run(_in_context, client, namespace, operation)


def _in_context(client: Any, namespace: str | None, operation: Callable[[], Result]) -> Result:
    # Without arguments, which an application's own method may not take.
    with client.context():
        context = ndb.get_context()
        wanted = Place(client, _active_namespace() if namespace is None else namespace)
        if wanted == active_place():
            return operation()
        with context.new(client=client, namespace=wanted.namespace).use():
            return operation()


def _active_namespace() -> str:
    return ndb.get_context().get_namespace() or ""
