"""Places of session entities: an ndb client and a namespace, and ndb contexts that work there."""

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

#: Original, kept to detect clients whose contexts have a namespace of their own.
_open_context = ndb.Client.context


class Place(NamedTuple):
    """Client and namespace of a session's entity, fixed while the session is open."""

    #: A client of the application; ``None`` for the configured one, which each process makes for
    #: itself, a child that is forked during a request as well.
    client: Any
    #: ``""`` is the default namespace, ``None`` the client's, which is not known yet.
    namespace: str | None


def active_place() -> Place | None:
    """Return the place of the active ndb context, ``None`` if there is none."""
    context = ndb.get_context(raise_context_error=False)
    return None if context is None else Place(context.client, context.get_namespace() or "")


def place_to_open_at(fixed: str | None) -> Place:
    """Return the place of a session that is opened now.

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
    # A method of the application may choose a namespace for each context.
    return contextvars.Context().run(_in_context, client, None, _active_namespace)


def run_at(
    client: Any, namespace: str | None, operation: Callable[..., Result], *args: Any
) -> Result:
    """Call ``operation(*args)`` in an ndb context of a client and a namespace.

    The active context is used if it matches. A transaction of the application is left alone: a
    session is not part of what it may roll back.

    :param namespace: ``None`` for that of the contexts that the client opens.
    """
    context = ndb.get_context(raise_context_error=False)
    if context is None:
        return _in_context(client, namespace, operation, *args)
    if _works_at(context, client, namespace) and not context.in_transaction():
        return operation(*args)
    return contextvars.Context().run(_in_context, client, namespace, operation, *args)


def _in_context(
    client: Any, namespace: str | None, operation: Callable[..., Result], *args: Any
) -> Result:
    # Without arguments, which a method of the application may not accept.
    with client.context():
        context = ndb.get_context()
        if namespace is None:
            namespace = context.get_namespace() or ""
        if _works_at(context, client, namespace):
            return operation(*args)
        with context.new(client=client, namespace=namespace).use():
            return operation(*args)


def _works_at(context: Any, client: Any, namespace: str | None) -> bool:
    return context.client == client and (context.get_namespace() or "") == namespace


def _active_namespace() -> str:
    return ndb.get_context().get_namespace() or ""
