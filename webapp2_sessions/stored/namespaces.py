"""The namespace in which an application works now, by google-cloud-ndb or by App Engine's SDK.

Neither library is imported here: who has not loaded it has chosen nothing by it.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["chosen_namespace", "current_namespace"]

_NDB = "google.cloud.ndb"
_SDK = "google.appengine.api.namespace_manager"


def current_namespace() -> str:
    """Return the namespace of the active ndb context, or else App Engine's; ``""`` for none.

    A context that was given no namespace has its client's, after App Engine's.
    """
    chosen = chosen_namespace()
    if chosen is not None:
        return chosen
    context = _active_context()
    return "" if context is None else context.client.namespace or ""


def chosen_namespace() -> str | None:
    """Return the namespace that the active ndb context was given, or else App Engine's.

    ``None`` where neither says anything, so that a client's namespace counts. ``""`` is the
    default namespace, which a context may have been given on purpose.
    """
    context = _active_context()
    # Without a namespace of its own, a context has a marker in its place, or None.
    if context is not None and isinstance(context.namespace, str):
        return context.namespace
    ask = getattr(sys.modules.get(_SDK), "get_namespace", None)
    return (ask() if ask is not None else None) or None


def _active_context() -> Any:
    get_context = getattr(sys.modules.get(_NDB), "get_context", None)
    return None if get_context is None else get_context(raise_context_error=False)
